"""Large images in overlapping tiles: which window is solved, and which part of it is kept."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

__all__ = ["Tile", "plan_tiles"]


@dataclass(frozen=True)
class Tile:
    """A window of the data and the part of it whose answer is kept, as (start, stop) of rows and of columns."""

    rows: tuple[int, int]
    columns: tuple[int, int]
    kept_rows: tuple[int, int]
    kept_columns: tuple[int, int]

    @property
    def window(self) -> tuple[slice, slice]:
        """The window as slices of the data."""
        return slice(*self.rows), slice(*self.columns)

    def target(self, scale: int) -> tuple[slice, slice]:
        """Return where the kept part goes in an answer that is `scale` times larger."""
        return slice(*(scale * i for i in self.kept_rows)), slice(*(scale * i for i in self.kept_columns))

    def inner(self, scale: int) -> tuple[slice, slice]:
        """Return the kept part inside the window's own answer."""
        rows = slice(*(scale * (i - self.rows[0]) for i in self.kept_rows))
        return rows, slice(*(scale * (i - self.columns[0]) for i in self.kept_columns))


ALIGNMENT = 8
"""Windows begin at multiples of this, so that wavelets lie on one grid in all of them."""


def plan_tiles(height: int, width: int, size: int, overlap: int) -> tuple[Tile, ...]:
    """Return tiles of at most `size` kept pixels a side whose windows reach `overlap` further, row by row.

    Parameters
    ----------
    height, width : int
        The data's size.
    size : int
        Side of the kept part, at least 1.
    overlap : int
        Margin on each side, at least 0; windows are clipped at the image, and begin at multiples of `ALIGNMENT`.

    Returns
    -------
    tuple of Tile
        Their kept parts cover the image once.
    """
    return tuple(
        Tile(rows, columns, kept_rows, kept_columns)
        for rows, kept_rows in _intervals(height, size, overlap)
        for columns, kept_columns in _intervals(width, size, overlap)
    )


def _intervals(length: int, size: int, overlap: int) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    count = -(-length // size)
    # equal parts rather than a thin last one
    edges = [length * i // count for i in range(count + 1)]
    return [
        ((max(0, start - overlap) // ALIGNMENT * ALIGNMENT, min(length, stop + overlap)), (start, stop))
        for start, stop in pairwise(edges)
    ]
