"""Run benchmarks and keep their lines under benchmarks/results/ with date, machine and commit.

APHELEIA_DATA=... python benchmarks/record.py tv_deblurring import_time large_image
"""

import datetime
import json
import platform
import subprocess
import sys
from pathlib import Path

import torch

HERE = Path(__file__).parent


def processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.processor())


def main() -> None:
    date = datetime.date.today().isoformat()
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], check=True, capture_output=True, text=True, cwd=HERE
    ).stdout.strip()
    about = {
        "date": date,
        "commit": commit,
        "machine": f"{processor()}, {torch.get_num_threads()} cores",
        "torch": torch.__version__,
    }
    about["python"] = platform.python_version()
    for name in sys.argv[1:]:
        run = subprocess.run([sys.executable, str(HERE / f"{name}.py")], check=True, stdout=subprocess.PIPE, text=True)
        rows = [json.loads(line) for line in run.stdout.splitlines()]
        path = HERE / "results" / f"{date}-{name}.jsonl"
        path.parent.mkdir(exist_ok=True)
        path.write_text("".join(json.dumps(row | about) + "\n" for row in rows))
        print(run.stdout, end="")


if __name__ == "__main__":
    main()
