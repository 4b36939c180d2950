"""demo: a real photograph is blurred and roughened, restored, and judged against the truth."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy

import apheleia
from apheleia.cli.output import display_images, make_folder, picture, report_numbers, residual_picture, verdicts, write_report
from apheleia.cli.parsing import parse_blur
from apheleia.cli.progress import progress_bar
from apheleia.core.errors import ArgumentError
from apheleia.core.report import Status
from apheleia.data import sample
from apheleia.imaging import ImagingModel, restore
from apheleia.metrics import psnr
from apheleia.operators import Convolution
from apheleia.report import Page

__all__ = ["run_demo"]


def run_demo(out: Path, image: str, blur: str, noise: float, prior: str, seed: int, as_json: bool) -> int:
    """Run the demonstration and return the exit code.

    Parameters
    ----------
    out : Path
        Output folder.
    image : str
        A name of `apheleia.data.SAMPLES`.
    blur : str
        Simulated blur, "gaussian:1.6" or "box:5".
    noise : float
        Simulated noise, standard deviation in units of full scale, above zero.
    prior : str
        A name of `apheleia.imaging.PRIORS`.
    seed : int
        Seed of the noise, at least zero.
    as_json : bool
        Whether to print report.json.

    Raises
    ------
    ArgumentError
        If a number is out of range.
    """
    if not 0 < noise <= 1:
        raise ArgumentError(f"demo: --noise must be above 0 and at most 1, in units of full scale; got {noise}.")
    if seed < 0:
        raise ArgumentError(f"demo: --seed must be at least 0; got {seed}.")
    kernel = parse_blur(blur)
    make_folder(out)
    truth = sample(image).astype(numpy.float32) / 255
    channels_first = truth[None] if truth.ndim == 2 else numpy.moveaxis(truth, -1, 0)
    blurred = numpy.asarray(Convolution(kernel)(channels_first))
    blurred = blurred[0] if truth.ndim == 2 else numpy.moveaxis(blurred, 0, -1)
    observed = blurred + noise * numpy.random.default_rng(seed).standard_normal(truth.shape).astype(numpy.float32)
    # the solver is told the blur and neither the noise nor the truth
    with progress_bar() as tell:
        result = restore(observed, ImagingModel(kernel=kernel, prior=prior, bounds=(0.0, 1.0)), progress=tell)
    before, after = float(psnr(observed, truth)), float(psnr(result.image, truth))
    numbers = report_numbers(result, before, after)
    page = Page(
        title=f"Restoring the photograph “{image}”",
        summary=(
            f"A photograph was blurred ({blur}) and given noise of {noise:g} of full scale. Told the blur, and neither the noise nor "
            f"the photograph, the model below brought it from {before:.2f} dB to {after:.2f} dB of the truth in {result.seconds:.1f} s."
        ),
        images=display_images(observed, result, truth, (0.0, 1.0)),
        formula=result.formula,
        legend=result.model.legend(False),
        figures=(
            ("PSNR of the observation", f"{before:.2f} dB"),
            ("PSNR of the restoration", f"{after:.2f} dB"),
            ("Gain", f"{after - before:+.2f} dB"),
            ("Noise", f"{result.noise_std:.4g} of full scale, {result.noise_how}; simulated: {noise:g}"),
            ("Weight of the prior", f"{result.weight:.4g}, {result.weight_how}"),
            ("Residual", f"{result.residual_std:.4g} of full scale"),
        ),
        verdicts=verdicts(result, after - before),
        solver=result.report,
        provenance=(
            ("Command", f"apheleia demo --image {image} --blur {blur} --noise {noise:g} --prior {prior} --seed {seed}"),
            ("Version", f"apheleia {apheleia.__version__}"),
            ("Photograph", f"{image}, from scikit-image {_version('scikit-image')}"),
            ("Date", time.strftime("%Y-%m-%d %H:%M")),
        ),
    )
    reach = 4 * result.noise_std
    pictures = {
        "observed.png": picture(observed, (0.0, 1.0)),
        "restored.png": picture(result.image, (0.0, 1.0)),
        "truth.png": picture(truth, (0.0, 1.0)),
        "residual.png": residual_picture(result.residual, reach),
    }
    write_report(out, page, numbers, pictures)
    if as_json:
        print(json.dumps(numbers, ensure_ascii=False))
    else:
        print(f"{result.formula}\n\n{result.report}\n")
        print(f"PSNR         {before:.2f} dB observed, {after:.2f} dB restored ({after - before:+.2f} dB)")
        print(f"time         {result.seconds:.1f} s in all")
        print(f"report       {out / 'report.html'}")
    return 1 if result.report.status in (Status.MAX_STEPS, Status.DIVERGED) else 0


def _version(package: str) -> str:
    from importlib.metadata import version

    return version(package)
