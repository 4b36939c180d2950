"""demo: a real photograph is blurred and roughened, restored, and judged against the truth."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import numpy

import apheleia
from apheleia.cli.output import display_images, make_folder, picture, report_numbers, residual_picture, verdicts, write_report
from apheleia.cli.parsing import parse_blur
from apheleia.cli.progress import progress_bar
from apheleia.core.errors import ArgumentError
from apheleia.core.report import Status
from apheleia.data import sample
from apheleia.imaging import ImagingModel, Restoration, restore
from apheleia.metrics import psnr
from apheleia.operators import Convolution
from apheleia.report import Page

__all__ = ["Demo"]


@dataclass(frozen=True)
class Demo:
    """Blur and roughen a real photograph, restore it, and write a report that says what is proved about the answer."""

    out: Path = Path("demo")
    """Folder for report.html, report.json and the pictures."""

    image: Literal["camera", "astronaut", "coins", "moon", "cell", "page"] = "camera"
    """Photograph, from scikit-image; astronaut is in colour."""

    blur: str = "gaussian:1.6"
    """Simulated blur: gaussian:SIGMA or box:SIZE, in pixels."""

    noise: float = 0.05
    """Simulated noise: standard deviation in units of full scale."""

    prior: Literal["tv", "smoothed-tv", "wavelet", "quadratic"] = "tv"
    """What is known of the photograph."""

    seed: int = 0
    """Seed of the simulated noise."""

    json: bool = False
    """Print report.json on standard output instead of words."""

    def run(self) -> int:
        """Run the command and return the exit code.

        Raises
        ------
        ApheleiaError
            For bad input; nothing is written then.
        """
        if not 0 < self.noise <= 1:
            raise ArgumentError(f"demo: --noise must be above 0 and at most 1, in units of full scale; got {self.noise}.")
        if self.seed < 0:
            raise ArgumentError(f"demo: --seed must be at least 0; got {self.seed}.")
        kernel = parse_blur(self.blur)
        make_folder(self.out)
        truth = sample(self.image).astype(numpy.float32) / 255
        channels_first = truth[None] if truth.ndim == 2 else numpy.moveaxis(truth, -1, 0)
        blurred = numpy.asarray(Convolution(kernel)(channels_first))
        blurred = blurred[0] if truth.ndim == 2 else numpy.moveaxis(blurred, 0, -1)
        observed = blurred + self.noise * numpy.random.default_rng(self.seed).standard_normal(truth.shape).astype(numpy.float32)
        # the solver is told the blur and neither the noise nor the truth
        with progress_bar() as tell:
            result = restore(observed, ImagingModel(kernel=kernel, prior=self.prior, bounds=(0.0, 1.0)), progress=tell)
        before, after = psnr(observed, truth), psnr(result.image, truth)
        numbers = report_numbers(result, before, after)
        page = _page(self, observed, truth, result, (before, after))
        reach = 4 * result.noise_std
        pictures = {
            "observed.png": picture(observed, (0.0, 1.0)),
            "restored.png": picture(result.image, (0.0, 1.0)),
            "truth.png": picture(truth, (0.0, 1.0)),
            "residual.png": residual_picture(result.residual, reach),
        }
        write_report(self.out, page, numbers, pictures)
        if self.json:
            print(json.dumps(numbers, ensure_ascii=False))
        else:
            print(f"{result.formula}\n\n{result.report}\n")
            print(f"PSNR         {before:.2f} dB observed, {after:.2f} dB restored ({after - before:+.2f} dB)")
            print(f"time         {result.seconds:.1f} s in all")
            print(f"report       {self.out / 'report.html'}")
        return 1 if result.report.status in (Status.MAX_STEPS, Status.DIVERGED) else 0


def _page(
    options: Demo, observed: numpy.ndarray, truth: numpy.ndarray, result: Restoration, decibels: tuple[float, float]
) -> Page:
    before, after = decibels
    choices = f"--image {options.image} --blur {options.blur} --noise {options.noise:g} --prior {options.prior}"
    return Page(
        title=f"Restoring the photograph “{options.image}”",
        summary=(
            f"A photograph was blurred ({options.blur}) and given noise of {options.noise:g} of full scale. Told the blur, "
            f"and neither the noise nor the photograph, the model below brought it from {before:.2f} dB to {after:.2f} dB "
            f"of the truth in {result.seconds:.1f} s."
        ),
        images=display_images(observed, result, truth, (0.0, 1.0)),
        formula=result.formula,
        legend=result.model.legend(False),
        figures=(
            ("PSNR of the observation", f"{before:.2f} dB"),
            ("PSNR of the restoration", f"{after:.2f} dB"),
            ("Gain", f"{after - before:+.2f} dB"),
            ("Noise", f"{result.noise_std:.4g} of full scale, {result.noise_how}; simulated: {options.noise:g}"),
            ("Weight of the prior", f"{result.weight:.4g}, {result.weight_how}"),
            ("Residual", f"{result.residual_std:.4g} of full scale"),
        ),
        verdicts=verdicts(result, after - before),
        solver=result.report,
        provenance=(
            ("Command", f"apheleia demo {choices} --seed {options.seed}"),
            ("Version", f"apheleia {apheleia.__version__}"),
            ("Photograph", f"{options.image}, from scikit-image {version('scikit-image')}"),
            ("Date", time.strftime("%Y-%m-%d %H:%M")),
        ),
    )
