"""The loop of one side: make the task, then run it a few times whenever a line comes in, and print the seconds it took.

python side.py {apheleia,deepinv} CASE FOLDER, with the arrays of the case in FOLDER/*.npy.
"""

import importlib
import json
import statistics
import sys
import time
from pathlib import Path

import numpy
import torch


def clock(run) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def turn(task) -> float:
    """Return the median over one turn: up to five runs, no more than fit into a second, as the other side's leave cold caches."""
    values, began = [], time.perf_counter()
    while len(values) < 5 and (not values or time.perf_counter() - began < 1):
        seconds = clock(task.run)
        values.append(seconds / clock(task.over) if task.over else seconds)
    return statistics.median(values)


def memory() -> int:
    # not getrusage, whose peak a process inherits from the one that started it
    status = Path("/proc/self/status").read_text()
    return 1024 * next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))


def main() -> None:
    name, case, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    torch.set_num_threads(1)
    values = {path.stem: numpy.load(path) for path in folder.glob("*.npy")}
    given = json.loads((folder / "given.json").read_text())
    side = importlib.import_module(f"{name}_side")
    before = memory()
    task = side.task(case, values, given)
    if case.endswith("memory"):
        task.run()
        print(json.dumps({"bytes": memory() - before}), flush=True)
        return
    if not task.is_long:
        task.run()
    if task.answer is not None:
        numpy.save(folder / f"{name}_answer", task.answer())
    print(json.dumps({"notes": task.notes}), flush=True)
    for _ in sys.stdin:
        print(json.dumps({"value": turn(task)}), flush=True)


if __name__ == "__main__":
    main()
