"""Decimation: keep every s-th pixel; after a blur, the data formation of super-resolution."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from apheleia.core.bound import Bound
from apheleia.core.errors import ArgumentError
from apheleia.core.space import IMAGE, Space
from apheleia.operators.linear import LinearOperator
from apheleia.operators.transforms import RANK, Basis

__all__ = ["Decimation"]


@final
class Decimation(LinearOperator):
    """x -> x[..., ::s, ::s]; `Decimation(s) @ Convolution(kernel)` is blur followed by sampling.

    Parameters
    ----------
    factor : int
        The step s >= 1 along height and width.
    space : Space, default images of any size
        The domain; fix its sizes where they are not s times those of the data.

    Raises
    ------
    ArgumentError
        If the factor is not a whole number of at least 1.

    Notes
    -----
    A domain whose size is not a multiple of s is legal: n pixels give ceil(n / s). The other way round, data of m pixels
    are taken to come from s * m.
    Certificate: norm 1, exact.

    Examples
    --------
    >>> import torch
    >>> Decimation(2)(torch.arange(9.0).reshape(1, 3, 3))
    tensor([[[0., 2.],
             [6., 8.]]])
    """

    has_orthonormal_rows = True
    is_non_negative = True

    def __init__(self, factor: int, space: Space = IMAGE) -> None:
        if not isinstance(factor, int) or factor < 1:
            raise ArgumentError(f"Decimation: `factor` must be a whole number >= 1; got {factor!r}.")
        sizes = [None if size is None else -(-size // factor) for size in space.shape[1:]]
        super().__init__(space, Space((space.shape[0], *sizes), space.is_complex))
        self.factor = factor
        # the identity
        self.gram_majorants = ("cosine", "fourier") if not space.is_complex else ()

    def _forward(self, x: Tensor) -> Tensor:
        return x[..., :: self.factor, :: self.factor]

    def _adjoint(self, y: Tensor) -> Tensor:
        out = torch.zeros(*y.shape[:-3], *self._input_shape(tuple(y.shape[-3:])), dtype=y.dtype, device=y.device)
        out[..., :: self.factor, :: self.factor] = y
        return out

    def _norm(self, shape: tuple[int, ...] | None) -> Bound | None:
        return Bound(1.0, "exact", "selection of pixels")

    def _smallest_singular_value(self, shape: tuple[int, ...]) -> Bound | None:
        whole = self.factor == 1 or max(shape[-2:]) == 1
        return Bound(1.0 if whole else 0.0, "exact", "selection of pixels")

    def _gram_eigenvalues(self, basis: Basis, shape: tuple[int, ...]) -> Tensor:
        return torch.ones((1,) * RANK[basis], dtype=torch.float64)

    def _add_gram_excess(self, basis: Basis, x: Tensor, weight: Tensor, out: Tensor) -> None:
        out.add_(weight * (x - self._adjoint(self._forward(x))))

    def _output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (shape[0], -(-shape[1] // self.factor), -(-shape[2] // self.factor))

    def _input_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        grown = (shape[0], shape[1] * self.factor, shape[2] * self.factor)
        return tuple(own or other for own, other in zip(self.domain.shape, grown, strict=True))

    def prepared(self, shape: tuple[int, ...], dtype: torch.dtype) -> LinearOperator:
        """Return the same object with all that depends only on shape and precision computed once."""
        return Decimation(self.factor, Space(shape, self.domain.is_complex))
