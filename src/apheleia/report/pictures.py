"""The pictures of a page: an overview of each image, and the close-ups chosen by rule."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from apheleia.report.crops import Crop
from apheleia.report.encode import Rung, data_uri
from apheleia.report.images import Images
from apheleia.report.pixels import shrink, survey, symmetric_range, to_bytes

__all__ = ["CloseUp", "Picture", "close_ups", "overview_note", "overviews"]

_TITLES = {"observed": "Observed", "restored": "Restored", "truth": "Truth", "residual": "Residual A x − y"}


@dataclass(frozen=True)
class Picture:
    """One image on the page.

    Attributes
    ----------
    name : str
        An identifier, unique on the page.
    title, note, alt : str
        The caption, a remark on what the screen cannot show, and the text for readers who cannot see it.
    uri : str
        The pixels as a data URI.
    coarse : bool
        Whether its pixels are few enough to be shown as squares.
    """

    name: str
    title: str
    note: str
    alt: str
    uri: str
    coarse: bool


@dataclass(frozen=True)
class CloseUp:
    """The same rectangle of every image, pixel for pixel.

    Attributes
    ----------
    crop : Crop
        The rectangle and its rule.
    pictures : tuple of Picture
        One for each image.
    """

    crop: Crop
    pictures: tuple[Picture, ...]


def overviews(images: Images, rung: Rung) -> tuple[Picture, ...]:
    """Return the whole images, at most `rung.side` pixels on the longer side, in the quality of `rung`."""
    black, white = images.display_range
    pictures = []
    for name, image in images.named():
        small = shrink(image, rung.side)
        if name == "residual":
            reach = symmetric_range(small)
            pixels, note = to_bytes(small, -reach, reach), f"black −{reach:g}, mid-grey 0, white {reach:g}"
        else:
            pixels, note = to_bytes(small, black, white), _remark(image, black, white)
        uri = data_uri(pixels, rung.quality)
        alt = f"{_TITLES[name]}, the whole image, {_size(image)}"
        pictures.append(Picture(f"whole-{name}", _TITLES[name], note, alt, uri, max(pixels.shape[:2]) < 300))
    return tuple(pictures)


def overview_note(images: Images, rung: Rung) -> str:
    """Return how the overviews were made from the images, for the reader who judges sharpness by them."""
    k = math.ceil(max(images.restored.shape[:2]) / rung.side)
    kind = "lossless PNG" if rung.quality is None else f"JPEG of quality {rung.quality}"
    shown = "at their own size" if k == 1 else f"as means over {k} × {k} pixels"
    if images.scale == 1:
        return f"Images of {_size(images.observed)}, shown {shown} ({kind})."
    return f"Observed: {_size(images.observed)}. Restored: {_size(images.restored)}, shown {shown} ({kind})."


def close_ups(images: Images, crops: tuple[Crop, ...]) -> tuple[tuple[CloseUp, ...], float]:
    """Return the close-ups in lossless PNG, and the value shown as white in all their residuals, with black its negative."""
    black, white = images.display_range
    reach = symmetric_range(*(crop.cut(images.residual) for crop in crops))

    def picture(number: int, crop: Crop, name: str, image: NDArray[np.floating]) -> Picture:
        low, high = (-reach, reach) if name == "residual" else (black, white)
        scale = images.scale if name in ("restored", "truth") else 1
        uri = data_uri(to_bytes(crop.cut(image, scale), low, high))
        alt = f"{_TITLES[name]}, close-up {number}, {crop.rule}: {crop.place}"
        return Picture(f"crop-{number}-{name}", _TITLES[name], "", alt, uri, True)

    rows = tuple(
        CloseUp(crop, tuple(picture(number, crop, name, image) for name, image in images.named()))
        for number, crop in enumerate(crops, start=1)
    )
    return rows, reach


def _size(image: NDArray[np.floating]) -> str:
    return f"{image.shape[1]} × {image.shape[0]} pixels"


def _remark(image: NDArray[np.floating], black: float, white: float) -> str:
    seen = survey(image, black, white)
    if math.isnan(seen.low):
        return "no finite value (magenta)"
    parts = [f"values {seen.low:.3g} to {seen.high:.3g}".replace("-", "−")]
    parts += [f"{100 * seen.clipped:.2g} % clipped for display"] if seen.clipped else []
    parts += [f"{seen.not_finite} not finite (magenta)"] if seen.not_finite else []
    return ", ".join(parts)
