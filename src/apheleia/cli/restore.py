"""restore: a user's own image in, its restoration with a report out."""

from __future__ import annotations

import json
import shlex
import time
from pathlib import Path
from typing import Protocol

import numpy

import apheleia
from apheleia.cli.output import (
    display_images,
    native,
    picture,
    report_numbers,
    residual_picture,
    verdicts,
    write_report,
)
from apheleia.cli.parsing import parse_blur, parse_number
from apheleia.cli.progress import progress_bar
from apheleia.core.errors import ArgumentError, FileError
from apheleia.core.report import Status
from apheleia.imaging import ImagingModel, Restoration, read_kernel, restore
from apheleia.io import Measurement, read
from apheleia.operators.boundary import Boundary
from apheleia.report import Page

__all__ = ["RestoreOptions", "run_restore"]

LARGEST_SCALE = 16
"""Beyond it a single pixel would be asked for hundreds."""


class RestoreOptions(Protocol):
    """What the command line says to `restore`; see the command's own help for each."""

    @property
    def input(self) -> Path: ...
    @property
    def out(self) -> Path: ...
    @property
    def blur(self) -> str | None: ...
    @property
    def kernel(self) -> Path | None: ...
    @property
    def mask(self) -> Path | None: ...
    @property
    def scale(self) -> int: ...
    @property
    def noise(self) -> str: ...
    @property
    def prior(self) -> str: ...
    @property
    def weight(self) -> str: ...
    @property
    def boundary(self) -> Boundary: ...
    @property
    def axes(self) -> str | None: ...
    @property
    def tol(self) -> float: ...
    @property
    def max_steps(self) -> int: ...
    @property
    def max_bytes(self) -> int: ...
    @property
    def json(self) -> bool: ...


def run_restore(options: RestoreOptions) -> int:
    """Restore an image and return the exit code.

    Raises
    ------
    ApheleiaError
        For bad input; nothing is written then.
    """
    noise = parse_number(options.noise, "--noise", zero=False)
    weight = parse_number(options.weight, "--weight", zero=True)
    if not 1 <= options.scale <= LARGEST_SCALE:
        raise ArgumentError(f"restore: --scale must be a whole number from 1 to {LARGEST_SCALE}; got {options.scale}.")
    if not 0 < options.tol < 1 or options.max_steps < 1:
        raise ArgumentError(f"restore: --tol must lie between 0 and 1 and --max-steps be at least 1; got {options.tol}, {options.max_steps}.")
    measurement = read(options.input, axes=options.axes, budget_bytes=options.max_bytes)
    observed = measurement.as_float()
    mask = None if options.mask is None else _read_mask(options.mask, measurement, options.max_bytes)
    bytes_or_words = measurement.data.dtype.kind == "u" and measurement.data.dtype.itemsize <= 2
    model = ImagingModel(
        kernel=_kernel(options),
        scale=options.scale,
        boundary=options.boundary,
        prior=options.prior,
        bounds=(0.0, 1.0) if bytes_or_words else None,
    )
    with progress_bar() as tell:
        result = restore(
            observed,
            model,
            mask=mask,
            noise_std=noise,
            weight=weight,
            tol=options.tol,
            max_steps=options.max_steps,
            progress=tell,
        )
    numbers = report_numbers(result, None, None)
    shown = (0.0, 1.0) if bytes_or_words else _range(observed)
    page = _page(options, measurement, observed, result, shown, mask is not None)
    images = page.images
    pictures = {
        f"restored{_suffix(options.input)}": native(result, measurement),
        "observed.png": picture(images.observed, shown),
        "residual.png": residual_picture(images.residual, 4 * result.noise_std),
    }
    if _suffix(options.input) != ".png" or images.restored.ndim != observed.ndim:
        pictures["restored.png"] = picture(images.restored, shown)
    write_report(options.out, page, numbers, pictures)
    if options.json:
        print(json.dumps(numbers, ensure_ascii=False))
    else:
        print(f"{result.formula}\n\n{result.report}\n")
        print(f"noise        {result.noise_std:.4g} of full scale ({result.noise_how})")
        print(f"weight       {result.weight:.4g} ({result.weight_how})")
        print(f"time         {result.seconds:.1f} s in all, {result.tiles} window{'s' if result.tiles > 1 else ''}")
        print(f"image        {options.out / f'restored{_suffix(options.input)}'}")
        print(f"report       {options.out / 'report.html'}")
    return 1 if result.report.status in (Status.MAX_STEPS, Status.DIVERGED) else 0


def _kernel(options: RestoreOptions) -> numpy.ndarray | None:
    if options.kernel is not None:
        return read_kernel(options.kernel, options.max_bytes)
    return None if options.blur is None else parse_blur(options.blur)


def _read_mask(path: Path, measurement: Measurement, max_bytes: int) -> numpy.ndarray:
    mask = read(path, budget_bytes=max_bytes)
    first = measurement.axes.index("Y")
    size = measurement.data.shape[first : first + 2]
    if mask.axes != "YX" or mask.data.shape != size:
        raise FileError(
            f"{path}: the mask must be one grey image of the input's size, {size[0]} x {size[1]}; it is {mask.axes} {mask.data.shape}."
        )
    if not mask.data.any():
        raise FileError(f"{path}: the mask is all zero; non-zero (white) marks measured pixels.")
    return mask.data


def _suffix(path: Path) -> str:
    """Return the format of the answer: that of the input, PNG for a JPEG, whose losses would mar the restoration."""
    suffix = path.suffix.lower()
    return suffix if suffix in (".tif", ".tiff", ".npy") else ".png"


def _range(image: numpy.ndarray) -> tuple[float, float]:
    low, high = float(image.min()), float(image.max())
    return (low, high) if high > low else (low - 0.5, low + 0.5)


def _page(
    options: RestoreOptions,
    measurement: Measurement,
    observed: numpy.ndarray,
    result: Restoration,
    shown: tuple[float, float],
    has_mask: bool,
) -> Page:
    unit = f"full scale is {measurement.full_scale:g}" + (
        ", the range of the data" if measurement.data.dtype.kind == "f" and measurement.full_scale != 1 else ""
    )
    notes = []
    if result.tiles > 1:
        notes.append(
            f"The image was solved in {result.tiles} windows; the certificates and the curve are those of the window that fared worst."
        )
    if result.noise_how != "given":
        notes.append("The noise was estimated from the image as white and Gaussian; texture reads as noise, correlated noise does not.")
    task = "Restoring" if result.model.kernel is not None or has_mask else "Enlarging" if result.model.scale > 1 else "Denoising"
    return Page(
        title=f"{task} {options.input.name}",
        summary=(
            f"{measurement.data.dtype} {measurement.axes} of shape {' x '.join(map(str, measurement.data.shape))}, restored by the model "
            f"below in {result.seconds:.1f} s. Numbers are in units of full scale: {unit}."
        ),
        images=display_images(observed, result, None, shown),
        formula=result.formula,
        legend=result.model.legend(has_mask),
        figures=(
            ("Noise", f"{result.noise_std:.4g} of full scale, {result.noise_how}"),
            ("Weight of the prior", f"{result.weight:.4g}, {result.weight_how}"),
            ("Residual", f"{result.residual_std:.4g} of full scale"),
            ("Time in all", f"{result.seconds:.1f} s"),
        ),
        verdicts=verdicts(result, None),
        solver=result.report,
        provenance=(
            ("Input", options.input.name),
            ("Command", _command(options)),
            ("Version", f"apheleia {apheleia.__version__}"),
            ("Date", time.strftime("%Y-%m-%d %H:%M")),
        ),
        notes=tuple(notes),
    )


def _command(options: RestoreOptions) -> str:
    words = ["apheleia", "restore", options.input.name]
    named: tuple[tuple[str, object, object], ...] = (
        ("--blur", options.blur, None),
        ("--kernel", None if options.kernel is None else options.kernel.name, None),
        ("--mask", None if options.mask is None else options.mask.name, None),
        ("--scale", options.scale, 1),
        ("--noise", options.noise, "auto"),
        ("--prior", options.prior, "tv"),
        ("--weight", options.weight, "auto"),
        ("--boundary", options.boundary, "reflect"),
        ("--axes", options.axes, None),
    )
    for flag, value, default in named:
        if value != default:
            words += [flag, str(value)]
    return " ".join(shlex.quote(word) for word in words)
