"""Time of `import apheleia` beyond torch's own import, in fresh processes run in turn.

python benchmarks/import_time.py [--repeats 9]
Prints one JSON object a line.
"""

import argparse
import json
import statistics
import subprocess
import sys


def seconds(statement: str) -> float:
    code = f"import time; t = time.perf_counter(); {statement}; print(time.perf_counter() - t)"
    return float(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=9)
    runs = [(seconds("import torch"), seconds("import apheleia")) for _ in range(parser.parse_args().repeats)]
    torch_alone, whole = (statistics.median(column) for column in zip(*runs, strict=True))
    for method, value in (("torch", torch_alone), ("apheleia", whole), ("beyond_torch", whole - torch_alone)):
        print(json.dumps({"benchmark": "import_time", "case": "fresh", "method": method, "metric": "seconds", "value": value}))


if __name__ == "__main__":
    main()
