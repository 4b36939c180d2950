"""The product of two unknown matrices: matrix factorisation, unmixing with unknown spectra."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from apheleia.core.bound import Bound
from apheleia.core.errors import ArgumentError
from apheleia.core.space import Space
from apheleia.operators.bilinear_map import BilinearMap

__all__ = ["MatrixProduct"]


@final
class MatrixProduct(BilinearMap):
    """(E, A) -> E A, a matrix (m, p) times a matrix (p, n), or times an image with p channels, pixel by pixel.

    Parameters
    ----------
    rows, inner : int
        m, the rows of the product, such as spectral bands, and p, the number of components.
    *columns : int
        The axes of A and of the product behind the first: n, or height and width.

    Raises
    ------
    ArgumentError
        If a size is below 1 or there are no columns.

    Notes
    -----
    Certificate: the norm in each factor is the largest singular value of the other one, exact up to rounding.
    Complexity: O(m p n) an application.

    Examples
    --------
    >>> B = MatrixProduct(2, 1, 3)
    >>> B(B.join(torch.tensor([[1.0], [2.0]]), torch.tensor([[1.0, 2.0, 3.0]])))
    tensor([[1., 2., 3.],
            [2., 4., 6.]])
    """

    def __init__(self, rows: int, inner: int, *columns: int) -> None:
        if not columns or min(rows, inner, *columns) < 1:
            raise ArgumentError(f"MatrixProduct: rows, inner and columns must be at least 1; got {(rows, inner, *columns)}.")
        super().__init__(Space((rows, inner)), Space((inner, *columns)), Space((rows, *columns)))
        self.columns = columns

    def _flat(self, image: Tensor) -> Tensor:
        return image.flatten(-len(self.columns))

    def _product(self, u: Tensor, v: Tensor) -> Tensor:
        return (u @ self._flat(v)).unflatten(-1, self.columns)

    def _partial_adjoint(self, index: int, other: Tensor, w: Tensor) -> Tensor:
        if index == 0:
            return self._flat(w) @ self._flat(other).mT
        return (other.mT @ self._flat(w)).unflatten(-1, self.columns)

    def _partial_norm(self, index: int, other: Tensor) -> Bound | None:
        factor = self._flat(other).double() if index == 0 else other.double().mT
        largest = torch.linalg.eigvalsh(factor @ factor.mT)[..., -1]
        # the root has no slope at zero
        norm = torch.where(largest > 0, torch.where(largest > 0, largest, 1.0).sqrt(), 0.0)
        return Bound(norm, "exact", "largest singular value of the other factor")
