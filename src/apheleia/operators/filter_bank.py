"""One level of an orthogonal filter bank as a product of overlapping windows with one small dense matrix: fast on any CPU."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

__all__ = ["FilterBank"]

BLOCK = 16
"""Coefficients of each band that one window makes: enough for a matrix product to be fast, few enough to waste little."""


@final
class FilterBank:
    """Periodic analysis into low and high halves along rows or columns, and its transpose; without gradients.

    band[n] = sum_k f[k] x[(2 n + k) mod N] for both filters f.

    Parameters
    ----------
    low, high : tuple of float
        Filters of one even length.
    """

    def __init__(self, low: tuple[float, ...], high: tuple[float, ...]) -> None:
        self.length = len(low)
        window = 2 * BLOCK + self.length - 2
        self.analysis = torch.zeros(2, BLOCK, window, dtype=torch.float64)
        for band, taps in enumerate((low, high)):
            for n in range(BLOCK):
                self.analysis[band, n, 2 * n : 2 * n + self.length] = torch.tensor(taps, dtype=torch.float64)
        # outputs 2 m + phase read coefficients m - j of both bands: the same numbers, sorted by output
        reach = self.length // 2 - 1
        self.synthesis = torch.zeros(2, 2 * BLOCK, BLOCK + reach, dtype=torch.float64)
        for band, taps in enumerate((low, high)):
            for m in range(BLOCK):
                for j in range(self.length // 2):
                    self.synthesis[band, 2 * m : 2 * m + 2, reach + m - j] = torch.tensor(
                        taps[2 * j : 2 * j + 2], dtype=torch.float64
                    )

    def analyse_columns(self, x: Tensor, out: Tensor) -> None:
        """Write the bands along the height of x, (n, height, width), to the upper and the lower half of `out`."""
        matrix, half = self.analysis.to(x), x.shape[-2] // 2
        windows = _windows(_extended(x, -2, 0, self._size(half) - x.shape[-2]), 2 * BLOCK, matrix.shape[-1], -2)
        _store(torch.matmul(matrix[0], windows).flatten(1, 2), out[:, :half], -2)
        _store(torch.matmul(matrix[1], windows).flatten(1, 2), out[:, half:], -2)

    def analyse_rows(self, x: Tensor, out: Tensor) -> None:
        """Write the bands along the width of x, (n, height, width), to the left and the right half of `out`."""
        matrix, half = self.analysis.to(x), x.shape[-1] // 2
        windows = _windows(_extended(x, -1, 0, self._size(half) - x.shape[-1]), 2 * BLOCK, matrix.shape[-1], -1)
        bands = torch.matmul(windows, matrix.flatten(0, 1).mT)
        for band in (0, 1):
            _store(
                bands[..., band * BLOCK : (band + 1) * BLOCK].transpose(1, 2).flatten(2, 3), out.narrow(-1, band * half, half), -1
            )

    def synthesise_columns(self, y: Tensor, out: Tensor) -> None:
        """Write the transpose of `analyse_columns` at y to `out`."""
        matrix, half, reach = self.synthesis.to(y), y.shape[-2] // 2, self.length // 2 - 1
        total = 0
        for band in (0, 1):
            wide = _extended(y.narrow(-2, band * half, half), -2, reach, -half % BLOCK)
            total = total + torch.matmul(matrix[band], _windows(wide, BLOCK, BLOCK + reach, -2))
        _store(total.flatten(1, 2), out, -2)

    def synthesise_rows(self, y: Tensor, out: Tensor) -> None:
        """Write the transpose of `analyse_rows` at y to `out`."""
        matrix, half, reach = self.synthesis.to(y), y.shape[-1] // 2, self.length // 2 - 1
        total = 0
        for band in (0, 1):
            wide = _extended(y.narrow(-1, band * half, half), -1, reach, -half % BLOCK)
            total = total + torch.matmul(_windows(wide, BLOCK, BLOCK + reach, -1), matrix[band].mT)
        _store(total.transpose(1, 2).flatten(2, 3), out, -1)

    def _size(self, half: int) -> int:
        """Return how many samples the windows of `half` coefficients a band need."""
        return 2 * (half + -half % BLOCK) + self.length - 2


def _extended(x: Tensor, dim: int, before: int, after: int) -> Tensor:
    """Return x, (n, height, width), continued periodically along one axis, contiguous."""
    size = x.shape[dim]
    if max(before, after) <= size:
        return torch.cat((x.narrow(dim, size - before, before), x, x.narrow(dim, 0, after)), dim)
    return x.index_select(dim, torch.arange(-before, size + after, device=x.device) % size)


def _windows(x: Tensor, step: int, size: int, dim: int) -> Tensor:
    """Return the overlapping windows along one axis as a view: (n, windows, size, width) or (n, windows, height, size)."""
    count = (x.shape[dim] - size) // step + 1
    n, height, width = x.shape
    plane, row, column = x.stride()
    if dim == -2:
        return x.as_strided((n, count, size, width), (plane, step * row, row, column))
    return x.as_strided((n, count, height, size), (plane, step * column, row, column))


def _store(values: Tensor, out: Tensor, dim: int) -> None:
    out.copy_(values.narrow(dim, 0, out.shape[dim]))
