"""Signals regarded as matrices, and functions of their singular values with derivatives that are safe everywhere."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from apheleia.core.errors import ArgumentError
from apheleia.core.space import Space

__all__ = ["MatrixView", "singular_value_decomposition", "with_singular_values"]


class MatrixView:
    """The matrix whose rows run over some signal axes and whose columns run over the others.

    Parameters
    ----------
    rows : tuple of int
        Axes of the rows, counted from the end.
    space : Space
        Where signals live.
    who : str
        The functional, for messages.

    Raises
    ------
    ArgumentError
        If an axis is no signal axis, comes twice, or none is left for the columns.
    """

    def __init__(self, rows: tuple[int, ...], space: Space, who: str) -> None:
        legal = set(rows) <= set(space.axes) and len(set(rows)) == len(rows)
        if not legal or not 0 < len(rows) < space.rank:
            raise ArgumentError(
                f"{who}: `rows` must name some of the axes {-space.rank} to -1, each once and not all of them; got {rows}."
            )
        self.rows = rows
        self.columns = tuple(axis for axis in space.axes if axis not in rows)

    def matrix(self, x: Tensor) -> Tensor:
        """Return the matrices, (*batch, rows, columns)."""
        moved = x.movedim((*self.rows, *self.columns), tuple(range(-len(self.rows + self.columns), 0)))
        return moved.flatten(-len(self.columns)).flatten(-1 - len(self.rows), -2)

    def signal(self, matrix: Tensor, like: Tensor) -> Tensor:
        """Return the signals whose matrices these are, in the shape of `like`."""
        sizes = [like.shape[axis] for axis in (*self.rows, *self.columns)]
        moved = matrix.reshape(*matrix.shape[:-2], *sizes)
        return moved.movedim(tuple(range(-len(sizes), 0)), (*self.rows, *self.columns))


class _SpectralMap(torch.autograd.Function):
    """X = U diag(s) V^H -> U diag(f) V^H for numbers f of the singular values, f = f(s) with slopes f'(s).

    The derivative of such a map is self-adjoint, and needs divided differences of f alone: with P = U^H dX V and its Hermitian
    and skew parts H and S, it is U ((f_i - f_j) / (s_i - s_j) H + (f_i + f_j) / (s_i + s_j) S) V^H, plus f_i / s_i times what
    of dX lies outside of the spans of U and V. So equal singular values and zeros do no harm, where the derivatives of
    U and V alone do not exist.
    """

    @staticmethod
    def forward(ctx: Any, X: Tensor, U: Tensor, s: Tensor, V: Tensor, f: Tensor, slope: Tensor) -> Tensor:
        ctx.save_for_backward(U, s, V, f, slope)
        return (U * f.unsqueeze(-2)) @ V.mH

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (grad,) = grads
        U, s, V, f, slope = ctx.saved_tensors
        P = U.mH @ grad @ V
        apart = s.unsqueeze(-1) - s.unsqueeze(-2)
        mean = 0.5 * (slope.unsqueeze(-1) + slope.unsqueeze(-2))
        steep = torch.where(apart == 0, mean, (f.unsqueeze(-1) - f.unsqueeze(-2)) / torch.where(apart == 0, 1.0, apart))
        total = s.unsqueeze(-1) + s.unsqueeze(-2)
        flat = torch.where(total > 0, (f.unsqueeze(-1) + f.unsqueeze(-2)) / torch.where(total > 0, total, 1.0), mean)
        inner = steep * 0.5 * (P + P.mH) + flat * 0.5 * (P - P.mH)
        ratio = torch.where(s > 0, f / torch.where(s > 0, s, 1.0), slope)
        # what U or V does not span; one of the two is square
        right = U.mH @ grad - P @ V.mH
        left = grad @ V - U @ P
        out = U @ inner @ V.mH + (U * ratio.unsqueeze(-2)) @ right + (left * ratio.unsqueeze(-2)) @ V.mH
        return out, None, None, None, torch.diagonal(P, dim1=-2, dim2=-1).real, None


def with_singular_values(X: Tensor, parts: tuple[Tensor, Tensor, Tensor], f: Tensor, slope: Tensor) -> Tensor:
    """Return U diag(f) V^H for X = U diag(s) V^H, differentiable in X and in what f depends on beside s.

    Parameters
    ----------
    X : Tensor, (*batch, rows, columns)
        The matrices.
    parts : tuple of Tensor
        U, s, V of `singular_value_decomposition`.
    f, slope : Tensor, (*batch, min(rows, columns))
        The new singular values and their derivatives with respect to the old ones.
    """
    U, s, V = parts
    return _SpectralMap.apply(X, U, s, V, f, slope)  # type: ignore[return-value]


def singular_value_decomposition(X: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return U, s, V with X = U diag(s) V^H, without gradients of their own."""
    with torch.no_grad():
        U, s, Vh = torch.linalg.svd(X.detach(), full_matrices=False)
    return U, s, Vh.mH
