"""restore: a user's own image in, its restoration with a report out."""

from __future__ import annotations

import json
import shlex
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy
import tyro

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
from apheleia.io import DEFAULT_BUDGET_BYTES, Measurement, read
from apheleia.report import Page

__all__ = ["Restore"]

LARGEST_SCALE = 16
"""Beyond it a single pixel would be asked for hundreds."""


@dataclass(frozen=True)
class Restore:
    """Restore your own image: remove noise and a known blur, fill in missing pixels, or enlarge it."""

    input: tyro.conf.Positional[Path]
    """PNG, JPEG, TIFF (8 or 16 bit, float, multi-page) or npy; grey or colour."""

    out: Path
    """Folder for the restored image (same format and depth as the input), report.html, report.json and previews."""

    blur: str | None = None
    """Blur to remove: gaussian:SIGMA or box:SIZE, in pixels of the restored image."""

    kernel: Path | None = None
    """Blur to remove, as a file: a grey image, npy array or .mat of version 7.3, normalised to sum 1."""

    kernel_number: int = 1
    """Which kernel of a .mat file with several, from 1."""

    mask: Path | None = None
    """Grey image or npy array of the input's size: non-zero (white) where pixels were measured, zero where they are missing."""

    scale: int = 1
    """Return an image this many times larger, each input pixel being the average of SCALE x SCALE."""

    noise: str = "auto"
    """Standard deviation of the noise in units of full scale (of the data range for floats), or auto."""

    prior: Literal["tv", "smoothed-tv", "wavelet", "quadratic"] = "tv"
    """What is known of the image; `apheleia list` explains."""

    weight: str = "auto"
    """Weight of the prior in the printed model, or auto: the discrepancy principle."""

    boundary: Literal["reflect", "replicate", "zero", "circular"] = "reflect"
    """What lies beyond the edge of the image."""

    axes: Literal["YX", "YXC", "ZYX", "ZYXC"] | None = None
    """Axes of an npy array, where its shape leaves them open: Z pages, Y height, X width, C channels."""

    tol: float = 1e-3
    """Relative tolerance of the solver."""

    max_steps: int = 2000
    """Steps of the solver at most, for each window of a large image."""

    max_bytes: int = DEFAULT_BUDGET_BYTES
    """Largest decoded size of an input file, in bytes."""

    json: bool = False
    """Print report.json on standard output instead of words."""

    def run(self) -> int:
        """Run the command and return the exit code.

        Raises
        ------
        ApheleiaError
            For bad input; nothing is written then.
        """
        if self.blur is not None and self.kernel is not None:
            raise ArgumentError("restore: give --blur or --kernel, not both.")
        noise = parse_number(self.noise, "--noise", zero=False)
        weight = parse_number(self.weight, "--weight", zero=True)
        if not 1 <= self.scale <= LARGEST_SCALE:
            raise ArgumentError(f"restore: --scale must be a whole number from 1 to {LARGEST_SCALE}; got {self.scale}.")
        if not 0 < self.tol < 1 or self.max_steps < 1:
            raise ArgumentError(
                f"restore: --tol must lie between 0 and 1 and --max-steps be at least 1; got {self.tol}, {self.max_steps}."
            )
        measurement = read(self.input, axes=self.axes, budget_bytes=self.max_bytes)
        observed = measurement.as_float()
        mask = None if self.mask is None else _read_mask(self.mask, measurement, self.max_bytes)
        bytes_or_words = measurement.data.dtype.kind == "u" and measurement.data.dtype.itemsize <= 2
        model = ImagingModel(
            kernel=_kernel(self),
            scale=self.scale,
            boundary=self.boundary,
            prior=self.prior,
            bounds=(0.0, 1.0) if bytes_or_words else None,
        )
        with progress_bar() as tell:
            result = restore(
                observed,
                model,
                mask=mask,
                noise_std=noise,
                weight=weight,
                resolution=1 / measurement.full_scale if measurement.data.dtype.kind in "ui" else 0.0,
                tol=self.tol,
                max_steps=self.max_steps,
                progress=tell,
            )
        numbers = report_numbers(result, None, None)
        shown = (0.0, 1.0) if bytes_or_words else _range(observed)
        page = _page(self, measurement, observed, result, shown, mask is not None)
        images = page.images
        pictures = {
            f"restored{_suffix(self.input)}": native(result, measurement),
            "observed.png": picture(images.observed, shown),
            "residual.png": residual_picture(images.residual, 4 * result.noise_std),
        }
        if _suffix(self.input) != ".png" or images.restored.ndim != observed.ndim:
            pictures["restored.png"] = picture(images.restored, shown)
        write_report(self.out, page, numbers, pictures)
        if self.json:
            print(json.dumps(numbers, ensure_ascii=False))
        else:
            print(f"{result.formula}\n\n{result.report}\n")
            print(f"noise        {result.noise_std:.4g} of full scale ({result.noise_how})")
            print(f"weight       {result.weight:.4g} ({result.weight_how})")
            print(f"time         {result.seconds:.1f} s in all, {result.tiles} window{'s' if result.tiles > 1 else ''}")
            print(f"image        {self.out / f'restored{_suffix(self.input)}'}")
            print(f"report       {self.out / 'report.html'}")
        return 1 if result.report.status in (Status.MAX_STEPS, Status.DIVERGED) else 0


def _kernel(options: Restore) -> numpy.ndarray | None:
    if options.kernel is not None:
        return read_kernel(options.kernel, options.max_bytes, options.kernel_number)
    return None if options.blur is None else parse_blur(options.blur)


def _read_mask(path: Path, measurement: Measurement, max_bytes: int) -> numpy.ndarray:
    mask = read(path, budget_bytes=max_bytes)
    first = measurement.axes.index("Y")
    size = measurement.data.shape[first : first + 2]
    if mask.axes != "YX" or mask.data.shape != size:
        raise FileError(
            f"{path}: the mask must be one grey image of the input's size, {size[0]} x {size[1]}; "
            f"it is {mask.axes} {mask.data.shape}."
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
    options: Restore,
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
            f"The image was solved in {result.tiles} windows; "
            "the certificates and the curve are those of the window that fared worst."
        )
    if result.noise_how != "given":
        notes.append(
            "The noise was estimated from the image as white and Gaussian; texture reads as noise, correlated noise does not."
        )
    task = "Restoring" if result.model.kernel is not None or has_mask else "Enlarging" if result.model.scale > 1 else "Denoising"
    return Page(
        title=f"{task} {options.input.name}",
        summary=(
            f"{measurement.data.dtype} {measurement.axes} of shape {' x '.join(map(str, measurement.data.shape))}, "
            "restored by the model "
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


def _command(options: Restore) -> str:
    words = ["apheleia", "restore", options.input.name]
    named: tuple[tuple[str, object, object], ...] = (
        ("--blur", options.blur, None),
        ("--kernel", None if options.kernel is None else options.kernel.name, None),
        ("--kernel-number", options.kernel_number, 1),
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
