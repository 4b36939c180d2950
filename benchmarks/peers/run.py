"""Apheleia and a peer side by side, on one thread: see README.md beside this file.

python benchmarks/peers/run.py [--case NAME ...] [--repeats 11]

The peer's Python is that of APHELEIA_DEEPINV. Prints one JSON object a line.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy
import torch

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from problems import arrays  # noqa: E402
from tv_deblurring import Bare  # noqa: E402

CASES = {
    "tv256": 11,
    "tv1024": 3,
    "tv256_rgb": 7,
    "xray_forward": 15,
    "xray_adjoint": 15,
    "xray_batch8": 7,
    "xray512_memory": 1,
    "xray512_adjoint": 3,
    "blur_adjoint_ratio": 31,
    "blur_prox": 15,
    "blur_valid_adjoint_ratio": 31,
    "blur_valid_prox": 15,
    "wavelet_prox": 31,
    "mri8_prox": 15,
    "tvct256": 1,
}
"""Each case and its repeats."""


class Side:
    """One side in a process of its own, which runs its task whenever it is told to."""

    def __init__(self, name: str, python: str, case: str, folder: Path) -> None:
        environment = os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
        command = [python, str(HERE / "side.py"), name, case, str(folder)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
        self.name = name
        self.values: list[float] = []

    def told(self) -> dict:
        """Return the next line of JSON; other lines are the peer's chatter."""
        for line in self.process.stdout:
            if line.startswith("{"):
                return json.loads(line)
        raise SystemExit(f"{self.name}: its process ended with exit code {self.process.wait()}.")

    def once(self) -> None:
        self.process.stdin.write("run\n")
        self.process.stdin.flush()
        self.values.append(self.told()["value"])

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()


def optimum(values: dict[str, numpy.ndarray]) -> float:
    """Return the least objective of long runs of plain loops that share no code with either side."""
    kernel, total = torch.from_numpy(values["kernel"]), 0.0
    for channel in torch.from_numpy(values["y"]):
        bare = Bare(kernel, channel)
        steps = 3000 if channel.shape[0] == 256 else 600
        total += min(bare.objective(bare.run(steps, penalty)[0]) for penalty in (0.02, 0.05))
    return total


def emit(case: str, method: str, metric: str, value: float) -> None:
    line = {"benchmark": "peers", "case": case, "method": method, "metric": metric, "value": value}
    print(json.dumps(line), flush=True)


def measure(case: str, pythons: dict[str, str], repeats: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder, values = Path(name), arrays(case)
        for key, value in values.items():
            numpy.save(folder / key, value)
        given = {"optimum": optimum(values)} if case in ("tv256", "tv1024", "tv256_rgb") else {}
        (folder / "given.json").write_text(json.dumps(given | {"source": str(HERE.parent.parent / "src")}))
        sides = []
        for method, python in pythons.items():
            side = Side(method, python, case, folder)
            said = side.told()
            if "bytes" in said:
                emit(case, method, "bytes", said["bytes"])
                side.close()
                continue
            sides.append((side, said["notes"]))
        for _ in range(repeats if sides else 0):
            for side, _ in sides:
                side.once()
        for side, notes in sides:
            emit(case, side.name, "ratio" if case.endswith("ratio") else "seconds", statistics.median(side.values))
            for metric, value in (given | notes).items():
                emit(case, side.name, metric, value)
            side.close()
        found = [numpy.load(folder / f"{method}_answer.npy") for method in pythons if (folder / f"{method}_answer.npy").exists()]
        if len(found) == 2:
            emit(case, "both", "relative_difference", float(numpy.linalg.norm(found[0] - found[1]) / numpy.linalg.norm(found[1])))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", action="append", choices=list(CASES))
    parser.add_argument("--repeats", type=int)
    options = parser.parse_args()
    torch.set_num_threads(1)
    pythons = {"apheleia": sys.executable}
    if os.environ.get("APHELEIA_DEEPINV"):
        pythons["deepinv"] = os.environ["APHELEIA_DEEPINV"]
    else:
        print(
            "deepinv is skipped: set APHELEIA_DEEPINV to the Python of its environment (benchmarks/peers/README.md).",
            file=sys.stderr,
        )
    for case in options.case or CASES:
        measure(case, pythons, options.repeats or CASES[case])


if __name__ == "__main__":
    main()
