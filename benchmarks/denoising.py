"""Denoising of standard test images: mean PSNR, seconds an image, parameters.

python benchmarks/denoising.py [--data DIR] [--quick] [--methods tv bm3d] [--weights wcrr=runs/wcrr/prior.safetensors]

Grey images in the range 0..1 of DIR/images/BSD68_gray (--quick: Set12), DIR from APHELEIA_DATA by default; noise of 15, 25 and 50
of 255 from a generator seeded with the image's number, not clipped; answers are clipped to 0..1. Methods: "tv", total variation
with the weight that is best on the last twelve images of BSD400_gray, which train nothing; "bm3d", where it is installed;
others, learned priors in their files. Each image is solved to the library's default tolerance, on one thread.
Prints one JSON object a line.
"""

import argparse
import importlib.util
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy
import torch

import apheleia as ap
from apheleia.functionals.learned import load_prior
from apheleia.training.patches import Patches

LEVELS = (15, 25, 50)
SELECT = slice(-12, None)

Denoiser = Callable[[torch.Tensor, float], torch.Tensor]


def noisy(clean: torch.Tensor, level: int, number: int) -> torch.Tensor:
    return clean + level / 255 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(number))


def psnr(x: torch.Tensor, clean: torch.Tensor) -> float:
    return float(-10 * torch.log10(((x.clamp(0, 1) - clean).double() ** 2).mean()))


def variation(share: float) -> Denoiser:
    """Total variation with the weight share * noise_std."""

    def denoise(y: torch.Tensor, noise_std: float) -> torch.Tensor:
        problem = ap.Problem(ap.LeastSquares(ap.operators.Identity(), y), share * noise_std * ap.TotalVariation())
        return ap.solve(problem, throw=False)[0]

    return denoise


def best_variation(data: Path) -> Denoiser:
    """Choose the share on images that are no test images."""
    images = Patches.from_folder(data / "images/BSD400_gray", 1, keep=SELECT).images

    def mean(share: float) -> float:
        found = [
            psnr(variation(share)(noisy(x, level, k), level / 255), x) for k, x in enumerate(images[::3]) for level in LEVELS
        ]
        return sum(found) / len(found)

    return variation(max((0.5, 0.6, 0.7, 0.8, 0.9, 1.0), key=mean))


def learned(file: Path) -> tuple[Denoiser, int]:
    prior = load_prior(file)

    def denoise(y: torch.Tensor, noise_std: float) -> torch.Tensor:
        problem = ap.Problem(ap.LeastSquares(ap.operators.Identity(), y), prior.at(noise_std))
        return ap.solve(problem, x0=y, throw=False)[0]

    return denoise, sum(tensor.numel() for name, tensor in prior.named_buffers() if name != "noise_std")


def bm3d(y: torch.Tensor, noise_std: float) -> torch.Tensor:
    import bm3d as peer

    return torch.from_numpy(numpy.asarray(peer.bm3d(y[0].double().numpy(), noise_std), dtype=numpy.float32))[None]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, default=os.environ.get("APHELEIA_DATA"))
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--methods", nargs="*", choices=("tv", "bm3d"), default=["tv"])
    parser.add_argument("--weights", nargs="*", default=[], metavar="NAME=FILE")
    arguments = parser.parse_args()
    if arguments.data is None:
        parser.error("set APHELEIA_DATA or give --data")
    if "bm3d" in arguments.methods and importlib.util.find_spec("bm3d") is None:
        parser.error("bm3d is not installed: pip install bm3d, or leave the method out")
    torch.set_num_threads(1)
    files = dict(pair.split("=", 1) for pair in arguments.weights)
    name, folder = ("Set12", "Set12") if arguments.quick else ("BSD68", "BSD68_gray")
    images = Patches.from_folder(arguments.data / "images" / folder, 1).images
    for method in [*arguments.methods, *(own for own in files if own not in arguments.methods)]:
        parameters = 0
        if method in files:
            denoise, parameters = learned(Path(files[method]))
        else:
            denoise = best_variation(arguments.data) if method == "tv" else bm3d
        for level in LEVELS:
            found, began = [], time.perf_counter()
            for number, clean in enumerate(images):
                found.append(psnr(denoise(noisy(clean, level, number), level / 255), clean))
            seconds = (time.perf_counter() - began) / len(images)
            about = {"benchmark": "denoising", "case": f"{name}-s{level}", "method": method}
            for metric, value in (("psnr", sum(found) / len(found)), ("seconds", seconds), ("parameters", parameters)):
                print(json.dumps(about | {"metric": metric, "value": value}), flush=True)


if __name__ == "__main__":
    main()
