"""A dense matrix, x -> M x, on vectors."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from apheleia.core.bound import Bound
from apheleia.core.errors import ShapeError
from apheleia.core.interop import ArrayLike, as_tensor, check_finite, is_floating
from apheleia.core.space import Space
from apheleia.operators.linear import LinearOperator
from apheleia.operators.operator import register

__all__ = ["Matrix"]


@final
class Matrix(LinearOperator):
    """x -> M x for vectors x of length n.

    Parameters
    ----------
    matrix : Tensor or ndarray, (*batch, m, n)
        Real or complex; batch axes give one matrix a sample.

    Raises
    ------
    ShapeError
        If it has fewer than two axes or an empty one.
    ArgumentError
        If it is not finite.

    Notes
    -----
    Certificate: norm and smallest singular value by a singular value decomposition in float64, exact and lower up to rounding.
    Complexity: O(m n) an application, O(m n min(m, n)) for the norm.
    """

    matrix: Tensor

    def __init__(self, matrix: ArrayLike) -> None:
        m = as_tensor(matrix, "Matrix", "matrix")
        if m.ndim < 2 or 0 in m.shape:
            raise ShapeError(f"Matrix: `matrix` must have shape (*batch, m, n) with m, n >= 1; got {tuple(m.shape)}.")
        if not is_floating(m):
            m = m.double()
        check_finite(m, "Matrix", "matrix", "Leave out the rows that were not measured.")
        super().__init__(Space((m.shape[-1],), m.is_complex()), Space((m.shape[-2],), m.is_complex()))
        register(self, "matrix", m)
        self.is_non_negative = not m.is_complex() and not m.requires_grad and bool((m >= 0).all())

    @property
    def absolute(self) -> LinearOperator | None:
        """The matrix of |M_ij|, on real vectors."""
        return Matrix(self.matrix.detach().abs())

    def _forward(self, x: Tensor) -> Tensor:
        return (self.matrix.to(x.dtype) @ x[..., None])[..., 0]

    def _adjoint(self, y: Tensor) -> Tensor:
        return (self.matrix.to(y.dtype).mH @ y[..., None])[..., 0]

    def _singular_values(self) -> Tensor:
        return torch.linalg.svdvals(self.matrix.to(torch.complex128 if self.matrix.is_complex() else torch.float64))

    def _norm(self, shape: tuple[int, ...] | None) -> Bound | None:
        return Bound(self._singular_values()[..., 0], "exact", "largest singular value")

    def _smallest_singular_value(self, shape: tuple[int, ...]) -> Bound | None:
        m, n = self.matrix.shape[-2:]
        if m < n:
            return Bound(0.0, "exact", "fewer rows than columns")
        values = self._singular_values()
        # the decomposition is backward stable: an error of a few eps |M| is possible, and proves nothing
        return Bound((values[..., -1] - 1e-15 * m * values[..., 0]).clamp(min=0), "lower", "smallest singular value")
