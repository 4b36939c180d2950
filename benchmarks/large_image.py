"""Large photographs: tiles against the whole at 4 megapixels, and time and memory of the command at 24.

APHELEIA_DATA=... python benchmarks/large_image.py [--case tiles4 | restore24] [--grey] [--prior tv]

The photograph is a mosaic of the Kodak images, mirrored where they run out; blur gaussian:1.6, noise 0.02, seed 0.
tiles4: the largest difference between the answer in tiles and the untiled one, in units of full scale (1/255 = 0.0039).
restore24: `apheleia restore` on a PNG of 6000 x 4000 pixels, with noise and weight found by the command: seconds, peak bytes.
Prints one JSON object a line.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy
import torch

from apheleia.imaging import ImagingModel, gaussian_kernel, restore
from apheleia.imaging.pilot import find_schedule
from apheleia.io import Measurement, read, write
from apheleia.operators import Convolution


def mosaic(height: int, width: int, grey: bool) -> numpy.ndarray:
    """Return real photographs side by side, float32 (height, width[, 3]) in units of full scale."""
    root = os.environ.get("APHELEIA_DATA")
    if not root:
        sys.exit("large_image: set APHELEIA_DATA to the folder of data sets; the mosaic is made of images/Kodak24.")
    images = [read(path).data for path in sorted((Path(root) / "images" / "Kodak24").iterdir())]
    images = [image if image.shape[0] < image.shape[1] else image.swapaxes(0, 1) for image in images]
    rows = [numpy.concatenate([images[(6 * r + c) % 24] for c in range(6)], axis=1) for r in range(4)]
    whole = numpy.concatenate(rows, axis=0)
    whole = whole.mean(-1) if grey else whole
    pad = [(0, max(0, height - whole.shape[0])), (0, max(0, width - whole.shape[1]))] + [(0, 0)] * (whole.ndim - 2)
    return (numpy.pad(whole, pad, mode="symmetric")[:height, :width] / 255).astype(numpy.float32)


def channels(image: numpy.ndarray) -> numpy.ndarray:
    """Return an image with its channels first."""
    return image[None] if image.ndim == 2 else numpy.ascontiguousarray(numpy.moveaxis(image, -1, 0))


def observed(truth: numpy.ndarray) -> numpy.ndarray:
    blur = Convolution(gaussian_kernel(1.6))
    first = channels(truth)
    blurred = numpy.stack([blur(channel[None])[0] for channel in first])
    y = blurred[0] if truth.ndim == 2 else numpy.moveaxis(blurred, 0, -1)
    return y + 0.02 * numpy.random.default_rng(0).standard_normal(y.shape, dtype=numpy.float32)


def emit(case: str, metric: str, value: float) -> None:
    print(
        json.dumps({"benchmark": "large_image", "case": case, "method": "apheleia", "metric": metric, "value": value}), flush=True
    )


def tiles4(grey: bool, prior: str) -> None:
    y = observed(mosaic(2048, 2048, grey))
    model = ImagingModel(kernel=gaussian_kernel(1.6), bounds=(0.0, 1.0), prior=prior)
    options = {"noise_std": 0.02, "weight": 14.0}
    tiled = restore(y, model, **options)
    # the untiled answer runs the same schedule in one window
    schedule = find_schedule(model, torch.from_numpy(channels(y)), None, 0.02, 14.0, 1e-3, 2000)
    began = time.perf_counter()
    first = torch.from_numpy(channels(y))
    x, _ = schedule.run(model.problem(first, None, 0.02, 14.0), model.start(first))
    seconds_whole = time.perf_counter() - began
    # wavelets work on a larger image
    whole = x.numpy()[..., : y.shape[0], : y.shape[1]]
    difference = numpy.abs(channels(tiled.image) - whole)
    emit("tiles4", "windows", tiled.tiles)
    emit("tiles4", "max_difference", float(difference.max()))
    emit("tiles4", "max_difference_over_255ths", float(difference.max() * 255))
    emit("tiles4", "mean_difference", float(difference.mean()))
    emit("tiles4", "seconds_whole", seconds_whole)
    emit("tiles4", "seconds_tiled", tiled.seconds)


def restore24(grey: bool, prior: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "photograph.png"
        y = observed(mosaic(4000, 6000, grey))
        write(path, Measurement.from_array(numpy.rint(numpy.clip(y, 0, 1) * 255).astype(numpy.uint8)))
        del y
        command = [
            sys.executable,
            "-m",
            "apheleia",
            "restore",
            str(path),
            "--out",
            f"{folder}/out",
            "--blur",
            "gaussian:1.6",
            "--prior",
            prior,
            "--json",
        ]
        before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        began = time.perf_counter()
        answer = subprocess.run(command, check=False, stdout=subprocess.PIPE, text=True)
        seconds = time.perf_counter() - began
        numbers = json.loads(answer.stdout)
        peak = max(before, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
        emit("restore24", "exit_code", answer.returncode)
        emit("restore24", "seconds", seconds)
        emit("restore24", "peak_bytes", peak * 1024)
        emit("restore24", "windows", numbers["windows"])
        emit("restore24", "report_bytes", (Path(folder) / "out" / "report.html").stat().st_size)
        print(json.dumps({key: numbers[key] for key in ("status", "noise_std", "weight", "residual_std")}), file=sys.stderr)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--case", choices=("tiles4", "restore24"))
    parser.add_argument("--grey", action="store_true")
    parser.add_argument("--prior", default="tv")
    arguments = parser.parse_args()
    for name, run in (("tiles4", tiles4), ("restore24", restore24)):
        if arguments.case in (None, name):
            run(arguments.grey, arguments.prior)


if __name__ == "__main__":
    main()
