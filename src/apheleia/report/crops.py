"""Close-ups chosen by a rule, so that nobody picks the flattering ones."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from apheleia.report.pixels import block_means

__all__ = ["Crop", "choose_crops"]

_SMALLEST, _LARGEST = 96, 256  # restored pixels; below, a crop shows no context; above, it no longer fits a column at native size


@dataclass(frozen=True)
class Crop:
    """A rectangle of an image and the rule that chose it.

    Attributes
    ----------
    rule : str
        Why this place: "largest change", "median change", "smallest change" or "whole image".
    top, left, height, width : int
        The rectangle, in pixels of the observed image.
    change : float
        Root mean square of restored - observed within it, in units of full scale; infinite where a value is not finite.
    """

    rule: str
    top: int
    left: int
    height: int
    width: int
    change: float

    def cut(self, image: NDArray[np.floating], scale: int = 1) -> NDArray[np.floating]:
        """Return this rectangle of `image`, (H, W) or (H, W, 3), as a view; the image is `scale` times the observed one."""
        rows = slice(scale * self.top, scale * (self.top + self.height))
        columns = slice(scale * self.left, scale * (self.left + self.width))
        return image[rows, columns]

    @property
    def amount(self) -> str:
        """The change in words."""
        return f"root mean square {self.change:.3g}" if math.isfinite(self.change) else "with values that are not finite"

    @property
    def place(self) -> str:
        """The rectangle in words, rows and columns counted from 0."""
        return f"rows {self.top} to {self.top + self.height - 1}, columns {self.left} to {self.left + self.width - 1}"


def choose_crops(observed: NDArray[np.floating], restored: NDArray[np.floating]) -> tuple[Crop, ...]:
    """Choose the tiles where the restoration changed the image most, in the median, and least.

    The image is covered by equal tiles with a side of a quarter of its shorter side, between 96 and 256 restored pixels, ranked
    by the root mean square of restored - observed, where an enlarged restoration is first averaged to the observed pixels. A tile
    with a value that is not finite ranks as the largest change.

    Parameters
    ----------
    observed : ndarray
        Shape (H, W) or (H, W, 3), in units of full scale.
    restored : ndarray
        The same, or larger by a whole factor in both directions.

    Returns
    -------
    tuple of Crop
        Three crops; two or one where the image has no more tiles.
    """
    rows, columns = observed.shape[:2]
    scale = restored.shape[0] // rows
    side = max(min(max(scale * min(rows, columns) // 4, _SMALLEST), _LARGEST) // scale, 1)
    height, width = min(side, rows), min(side, columns)
    tiles = [Crop("", top, left, height, width, 0.0) for top in _starts(rows, height) for left in _starts(columns, width)]
    ranked = sorted(((_change(tile, observed, restored, scale), tile) for tile in tiles), key=lambda pair: -pair[0])
    chosen = {"largest change": 0, "median change": len(ranked) // 2, "smallest change": len(ranked) - 1}
    if len(ranked) == 1:
        chosen = {"whole image": 0}
    elif len(ranked) == 2:
        del chosen["median change"]
    return tuple(Crop(rule, ranked[k][1].top, ranked[k][1].left, height, width, ranked[k][0]) for rule, k in chosen.items())


def _starts(length: int, side: int) -> list[int]:
    """Return where the tiles begin: just enough of them to cover `length`, evenly spread."""
    return np.linspace(0, length - side, math.ceil(length / side)).round().astype(int).tolist()


def _change(tile: Crop, observed: NDArray[np.floating], restored: NDArray[np.floating], scale: int) -> float:
    with np.errstate(invalid="ignore", over="ignore"):
        difference = block_means(tile.cut(restored, scale), scale).astype(np.float64) - tile.cut(observed)
        change = float(np.sqrt(np.mean(np.square(difference))))
    return change if math.isfinite(change) else math.inf
