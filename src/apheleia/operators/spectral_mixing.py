"""Linear mixing of spectra: each pixel's spectrum is a combination of the spectra of few materials."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from apheleia.core.bound import Bound
from apheleia.core.errors import ShapeError
from apheleia.core.interop import ArrayLike, as_tensor, is_floating
from apheleia.core.space import Space, as_wide
from apheleia.operators.linear import LinearOperator
from apheleia.operators.operator import register

__all__ = ["SpectralMixing"]


@final
class SpectralMixing(LinearOperator):
    """x -> E x, pixel by pixel: abundances (p, height, width) to a spectral cube (bands, height, width).

    Parameters
    ----------
    endmembers : Tensor or ndarray, (*batch, bands, p)
        E: one spectrum a column, real; a Parameter is learned.

    Raises
    ------
    ShapeError
        If it is not real with at least two axes, none of them empty.

    Notes
    -----
    Certificate: norm and smallest singular value by a singular value decomposition of E in float64, exact and lower up to
    rounding. Least squares have a closed-form proximal map: a system of p x p.
    Complexity: O(bands p) a pixel.
    Source: J. Bioucas-Dias et al., IEEE Journal of Selected Topics in Applied Earth Observations and Remote Sensing 5 (2012),
    doi:10.1109/JSTARS.2012.2194696.

    Examples
    --------
    >>> E = torch.tensor([[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]])
    >>> SpectralMixing(E)(torch.tensor([[[1.0]], [[3.0]]])).flatten()
    tensor([1., 2., 3.])
    """

    endmembers: Tensor
    has_gram_solve = True

    def __init__(self, endmembers: ArrayLike) -> None:
        matrix = as_tensor(endmembers, "SpectralMixing", "endmembers")
        if matrix.ndim < 2 or 0 in matrix.shape or matrix.is_complex():
            raise ShapeError(
                f"SpectralMixing: `endmembers` must be real, (*batch, bands, p); got {matrix.dtype} {tuple(matrix.shape)}."
            )
        bands, count = matrix.shape[-2:]
        super().__init__(Space((count, None, None)), Space((bands, None, None)))
        register(self, "endmembers", matrix if is_floating(matrix) else matrix.double())
        self.is_non_negative = not matrix.requires_grad and bool((matrix >= 0).all())

    def _forward(self, x: Tensor) -> Tensor:
        return _mixed(self.endmembers, x)

    def _adjoint(self, y: Tensor) -> Tensor:
        return _mixed(self.endmembers.mT, y)

    def _gram(self) -> LinearOperator:
        return _MixingGram(self.endmembers.mT @ self.endmembers)

    def _singular_values(self) -> Tensor:
        return torch.linalg.svdvals(self.endmembers.detach().double())

    def _norm(self, shape: tuple[int, ...] | None) -> Bound | None:
        return Bound(self._singular_values()[..., 0], "exact", "largest singular value of the endmembers")

    def _smallest_singular_value(self, shape: tuple[int, ...]) -> Bound | None:
        bands, count = self.endmembers.shape[-2:]
        if bands < count:
            return Bound(0.0, "exact", "fewer bands than endmembers")
        values = self._singular_values()
        least = (values[..., -1] - 1e-15 * bands * values[..., 0]).clamp(min=0)
        return Bound(least, "lower", "smallest singular value of the endmembers")

    def _output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (self.endmembers.shape[-2], *shape[1:])

    def _input_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (self.endmembers.shape[-1], *shape[1:])


@final
class _MixingGram(LinearOperator):
    """x -> E^T E x, pixel by pixel."""

    matrix: Tensor
    has_shifted_solve = True

    def __init__(self, matrix: Tensor) -> None:
        space = Space((matrix.shape[-1], None, None))
        super().__init__(space, space)
        register(self, "matrix", matrix)

    def _forward(self, x: Tensor) -> Tensor:
        return _mixed(self.matrix, x)

    def _adjoint(self, y: Tensor) -> Tensor:
        return _mixed(self.matrix, y)

    def _norm(self, shape: tuple[int, ...] | None) -> Bound | None:
        return Bound(torch.linalg.eigvalsh(self.matrix.detach().double())[..., -1], "exact", "largest eigenvalue")

    def _shifted_solve(self, rhs: Tensor, shift: Tensor | float) -> Tensor:
        wide = as_wide(torch.as_tensor(shift), rhs, 2)
        identity = torch.eye(self.matrix.shape[-1], dtype=rhs.dtype, device=rhs.device)
        system = self.matrix.to(rhs) + wide * identity
        return torch.linalg.solve(system, rhs.flatten(-2)).unflatten(-1, rhs.shape[-2:])


def _mixed(matrix: Tensor, x: Tensor) -> Tensor:
    return (matrix.to(x) @ x.flatten(-2)).unflatten(-1, x.shape[-2:])
