"""Finite differences: the isotropic image gradient with Neumann ends."""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor
from torch.nn.functional import pad

from apheleia.core.bound import Bound
from apheleia.core.space import Space
from apheleia.operators.linear import LinearOperator
from apheleia.operators.transforms import Basis, cosine_layout

__all__ = ["FiniteDifferences"]


@final
class FiniteDifferences(LinearOperator):
    """x -> (x[i+1, j] - x[i, j], x[i, j+1] - x[i, j]), zero at the last row and column (Neumann ends).

    Domain (channel, height, width), codomain (2, channel, height, width): the first signal axis holds the vertical and
    the horizontal difference, so that the group norm over it is the isotropic one.

    Parameters
    ----------
    is_complex : bool, default False
        Whether images are complex.

    Notes
    -----
    Certificate: norm 2 sqrt(cos^2(pi / 2h) + cos^2(pi / 2w)), exact for h x w images, and at most sqrt(8) for any size:
    the eigenvalues of the Neumann Laplacian are 4 sin^2(pi k / 2n), 0 <= k < n, along each axis.
    """

    def __init__(self, is_complex: bool = False) -> None:
        super().__init__(Space((None, None, None), is_complex), Space((2, None, None, None), is_complex))
        self.gram_bases = () if is_complex else ("cosine",)
        # differences that wrap around have the two ends beside these ones
        self.gram_majorants = () if is_complex else ("fourier",)

    @property
    def absolute(self) -> LinearOperator | None:
        """Sums in place of the differences."""
        return _FiniteSums(self.domain, self.codomain)

    def _forward(self, x: Tensor) -> Tensor:
        out = x.new_empty(*x.shape[:-3], 2, *x.shape[-3:])
        _subtract(x[..., 1:, :], x[..., :-1, :], out[..., 0, :, :-1, :])
        _subtract(x[..., 1:], x[..., :-1], out[..., 1, :, :, :-1])
        out[..., 0, :, -1, :] = 0
        out[..., 1, :, :, -1] = 0
        return out

    def _adjoint(self, y: Tensor) -> Tensor:
        vertical, horizontal = y[..., 0, :, :-1, :], y[..., 1, :, :, :-1]
        out = y.new_empty(*y.shape[:-4], *y.shape[-3:])
        # in place on a fresh tensor: few passes over the image; the first row and the last are apart
        if out.shape[-2] == 1:
            out.zero_()
        else:
            _subtract(vertical[..., :-1, :], vertical[..., 1:, :], out[..., 1:-1, :])
            out[..., 0, :] = -vertical[..., 0, :]
            out[..., -1, :] = vertical[..., -1, :]
        out[..., 1:] += horizontal
        out[..., :-1] -= horizontal
        return out

    def _norm(self, shape: tuple[int, ...] | None) -> Bound | None:
        if shape is None:
            return Bound(math.sqrt(8), "upper", "differences of any size")
        h, w = shape[-2:]
        # one pixel has no differences, where the cosine of a quarter turn would round to something
        value = 2 * math.sqrt(sum(math.cos(math.pi / (2 * n)) ** 2 for n in (h, w) if n > 1))
        return Bound(value, "exact", "spectrum of the Neumann Laplacian")

    def _smallest_singular_value(self, shape: tuple[int, ...]) -> Bound | None:
        return Bound(0.0, "exact", "constants have no differences")

    def _gram_eigenvalues(self, basis: Basis, shape: tuple[int, ...]) -> Tensor:
        h, w = shape[-2:]
        if basis == "fourier":
            rows, columns = _spectrum(h, h, h), _spectrum(w // 2 + 1, w, w)
            return (rows[:, None] + columns)[None]
        rows, columns = _spectrum(h, h, 2 * h), _spectrum(w, w, 2 * w)
        return cosine_layout((rows[:, None] + columns)[None])

    def _add_gram_excess(self, basis: Basis, x: Tensor, weight: Tensor, out: Tensor) -> None:
        for dim in (-2, -1):
            last = x.shape[dim] - 1
            across = weight * (x.narrow(dim, 0, 1) - x.narrow(dim, last, 1))
            out.narrow(dim, 0, 1).add_(across)
            out.narrow(dim, last, 1).sub_(across)

    def _input_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(shape[1:])

    def _output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (2, *shape)


@final
class _FiniteSums(LinearOperator):
    """x -> (x[i+1, j] + x[i, j], x[i, j+1] + x[i, j]), zero at the last row and column."""

    is_non_negative = True

    def _forward(self, x: Tensor) -> Tensor:
        down, right = x[..., 1:, :] + x[..., :-1, :], x[..., 1:] + x[..., :-1]
        return torch.stack([pad(down, (0, 0, 0, 1)), pad(right, (0, 1))], dim=-4)

    def _input_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(shape[1:])

    def _output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (2, *shape)


def _subtract(a: Tensor, b: Tensor, out: Tensor) -> None:
    """Write a - b to `out`, a part of a fresh tensor, straight where no gradient is wanted: half the passes."""
    if torch.is_grad_enabled():
        out.copy_(a - b)
    else:
        torch.sub(a, b, out=out)


def _spectrum(count: int, n: int, period: int) -> Tensor:
    """Return 4 sin^2(pi k / period), 0 <= k < count: squared differences of waves; one pixel has none."""
    return 4 * torch.sin(torch.pi * torch.arange(count, dtype=torch.float64) / period) ** 2 * (n > 1)
