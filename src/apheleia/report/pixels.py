"""From floating point arrays to 8-bit pixels for a screen, in little memory and without flattering anyone."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Survey", "block_means", "shrink", "survey", "symmetric_range", "to_bytes"]

_NOT_FINITE = (255, 0, 255)  # magenta: no photograph and no grey residual is taken for it


@dataclass(frozen=True)
class Survey:
    """What an image holds besides what the screen can show.

    Attributes
    ----------
    low, high : float
        Smallest and largest finite value; NaN where there is none.
    clipped : float
        Share of the values outside the display range, in [0, 1].
    not_finite : int
        Number of values that are NaN or infinite.
    """

    low: float
    high: float
    clipped: float
    not_finite: int


def survey(image: NDArray[np.floating], black: float, white: float) -> Survey:
    """Return the range of an image (H, W) or (H, W, 3), and what is lost when it is shown from `black` to `white`.

    It reads a few rows at a time, so that it needs about 10 MB besides the image, whatever the size.
    """
    low, high, clipped, not_finite = math.inf, -math.inf, 0, 0
    rows = max(1, 1_000_000 * len(image) // image.size)
    for start in range(0, len(image), rows):
        block = image[start : start + rows]
        values = block[np.isfinite(block)]
        not_finite += block.size - values.size
        clipped += int(np.count_nonzero((values < black) | (values > white)))
        if values.size:
            low, high = min(low, float(values.min())), max(high, float(values.max()))
    if low > high:
        low = high = math.nan
    return Survey(low, high, clipped / image.size, not_finite)


def shrink(image: NDArray[np.floating], side: int) -> NDArray[np.floating]:
    """Return the means over blocks, the smallest that bring the longer side to at most `side` pixels."""
    return block_means(image, math.ceil(max(image.shape[:2]) / side))


def block_means(image: NDArray[np.floating], k: int) -> NDArray[np.floating]:
    """Return the means over k x k pixels of an image (H, W) or (H, W, 3); the image itself for k = 1.

    Blocks at the right and lower edge average the pixels they have. One row of blocks at a time is held in float64.
    """
    if k == 1:
        return image
    height, width = image.shape[:2]
    tops, lefts = np.arange(0, height, k), np.arange(0, width, k)
    total = np.zeros((len(tops), len(lefts), *image.shape[2:]))
    with np.errstate(invalid="ignore", over="ignore"):
        for offset in range(min(k, height)):
            rows = image[offset::k]
            total[: len(rows)] += np.add.reduceat(rows, lefts, axis=1, dtype=np.float64)
        counts = np.outer(np.diff(tops, append=height), np.diff(lefts, append=width))
        return total / (counts if image.ndim == 2 else counts[:, :, None])


def symmetric_range(*residuals: NDArray[np.floating]) -> float:
    """Return r such that 99.5 % of the finite values lie within [-r, r], rounded up to two digits; 1 if all are zero.

    It is rounded so that the range printed on the page is exactly the range shown.
    """
    values = np.concatenate([np.abs(r[np.isfinite(r)], dtype=np.float64) for r in residuals])
    reach = float(np.quantile(values, 0.995)) if values.size else 0.0
    # One very bright pixel in a field of zeros is still shown.
    reach = reach or float(values.max(initial=0.0))
    if reach < 1e-300:
        return 1.0
    digit = 10.0 ** (math.floor(math.log10(reach)) - 1)
    return float(f"{math.ceil(reach / digit) * digit:.6g}")


def to_bytes(image: NDArray[np.floating], black: float, white: float) -> NDArray[np.uint8]:
    """Return 8-bit pixels, linear from `black` to `white` and clipped outside; a pixel that is not finite becomes magenta.

    The shape is (H, W) or (H, W, 3) as given; a grey image with such a pixel becomes (H, W, 3).
    """
    finite = np.isfinite(image)
    scaled = (np.clip(np.where(finite, image, black), black, white) - black) / (white - black)
    pixels = np.round(255 * scaled).astype(np.uint8)
    if finite.all():
        return pixels
    colour = np.repeat(pixels[:, :, None], 3, axis=2) if pixels.ndim == 2 else pixels
    colour[~(finite if finite.ndim == 2 else finite.all(axis=2))] = _NOT_FINITE
    return colour
