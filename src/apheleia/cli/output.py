"""What demo and restore write: the page, its numbers as JSON, and the pictures; whole files or none."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy

from apheleia.core.errors import FileError
from apheleia.imaging import Restoration
from apheleia.io import Measurement, atomic_write_bytes, quantise, write
from apheleia.report import Images, Page, Verdict, render

__all__ = ["display_images", "make_folder", "native", "picture", "report_numbers", "residual_picture", "verdicts", "write_report"]


def make_folder(out: Path) -> None:
    """Make the output folder.

    Raises
    ------
    FileError
        If its name is that of a file, or it cannot be made.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise FileError(f"{out}: --out must name a folder; a file has this name. Choose another.") from None
    except OSError as error:
        raise FileError(f"{out}: the folder cannot be made ({error.strerror}). Choose another --out.") from None


def report_numbers(result: Restoration, psnr_observed: float | None, psnr_restored: float | None) -> dict[str, object]:
    """Return the content of report.json."""
    numbers: dict[str, object] = {} if psnr_observed is None else {"psnr_observed": psnr_observed, "psnr_restored": psnr_restored}
    numbers |= result.report.as_dict()
    numbers |= {
        "seconds": result.seconds,
        "solver_seconds": result.report.seconds,
        "formula": result.formula,
        "noise_std": result.noise_std,
        "noise_how": result.noise_how,
        "weight": result.weight,
        "weight_how": result.weight_how,
        "residual_std": result.residual_std,
        "windows": result.tiles,
    }
    return numbers


def verdicts(result: Restoration, gain_db: float | None) -> tuple[Verdict, ...]:
    """Return the checks of a restoration, each computed from the number printed beside it."""
    report = result.report
    tol = report.tol if report.tol is not None else math.nan
    checks = [
        Verdict(
            "Did the solver reach its tolerance?",
            "normalised residual",
            float(report.residual),
            high=tol,
            meaning="A failure means that the image shown is not yet the model's answer: raise --max-steps.",
        ),
        Verdict(
            "Is what is left over as large as the noise?",
            "residual std / noise std",
            result.residual_std / result.noise_std,
            low=0.9,
            high=1.1,
            meaning="Below: noise was taken for image. Above: image is left in the residual, or blur or noise are misjudged.",
        ),
    ]
    if gain_db is not None:
        checks.append(
            Verdict(
                "Is it nearer to the truth than the observation?",
                "PSNR gain",
                gain_db,
                low=0.1,
                unit="dB",
                meaning="Known only here, because the truth is.",
            )
        )
    return tuple(checks)


def display_images(
    observed: numpy.ndarray, result: Restoration, truth: numpy.ndarray | None, display_range: tuple[float, float]
) -> Images:
    """Return the images of the page: one page of a stack, at most three channels."""
    return Images(
        observed=_one_page(observed, observed),
        restored=_one_page(result.image, observed),
        residual=_one_page(result.residual, observed),
        truth=truth,
        display_range=display_range,
    )


def _one_page(image: numpy.ndarray, observed: numpy.ndarray) -> numpy.ndarray:
    channels = observed.ndim == 4 or (observed.ndim == 3 and observed.shape[-1] in (3, 4))
    if image.ndim == 4 or (image.ndim == 3 and not channels):
        image = image[len(image) // 2]
    return image[..., :3] if channels else image


def picture(image: numpy.ndarray, display_range: tuple[float, float]) -> Measurement:
    """Return an image in units of full scale as bytes, the display range from black to white."""
    black, white = display_range
    bytes_ = numpy.rint(numpy.clip((image - black) / (white - black), 0, 1) * 255).astype(numpy.uint8)
    return Measurement.from_array(bytes_)


def residual_picture(residual: numpy.ndarray, reach: float) -> Measurement:
    """Return a residual as bytes: grey for zero, black and white for -reach and +reach."""
    return picture(residual, (-reach, reach))


def write_report(out: Path, page: Page, numbers: dict[str, object], pictures: dict[str, Measurement]) -> None:
    """Write the pictures, report.json and report.html, each by an atomic rename; everything is made before the first is written.

    Raises
    ------
    FileError
        If a file cannot be written.
    """
    text = render(page).encode()
    data = json.dumps(numbers, indent=2, ensure_ascii=False, allow_nan=False).encode()
    make_folder(out)
    for name, measurement in pictures.items():
        write(out / name, measurement)
    atomic_write_bytes(out / "report.json", data)
    atomic_write_bytes(out / "report.html", text)


def native(result: Restoration, measurement: Measurement) -> Measurement:
    """Return the restored image in the depth of the input, with its metadata fitted to the new size."""
    scale = result.model.scale
    metadata = dict(measurement.metadata)
    if scale > 1:
        if "alpha" in metadata:
            metadata["alpha"] = metadata["alpha"].repeat(scale, axis=-2).repeat(scale, axis=-1)
        for key in ("dpi", "resolution"):
            if key in metadata:
                metadata[key] = tuple(scale * value for value in metadata[key])
        pixels = measurement.data.shape
        first = measurement.axes.index("Y")
        shape = (*pixels[:first], scale * pixels[first], scale * pixels[first + 1], *pixels[first + 2 :])
        blank = numpy.broadcast_to(numpy.zeros((), measurement.data.dtype), shape)
        measurement = Measurement(blank, measurement.axes, measurement.full_scale, metadata)
    return quantise(result.image, measurement)
