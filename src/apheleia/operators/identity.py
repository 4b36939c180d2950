"""The identity, x -> x."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from apheleia.core.bound import Bound
from apheleia.core.space import IMAGE, Space, per_sample
from apheleia.operators.linear import LinearOperator
from apheleia.operators.transforms import RANK, Basis

__all__ = ["Identity"]


@final
class Identity(LinearOperator):
    """x -> x: data are the signal itself, as in denoising.

    Parameters
    ----------
    space : Space, default images of any size
        Domain and codomain.

    Notes
    -----
    Certificate: norm and smallest singular value are 1, exact.

    Examples
    --------
    >>> print(Identity().norm())
    1 (exact: identity)
    """

    is_orthonormal = True
    is_non_negative = True
    has_shifted_solve = True
    has_gram_solve = True

    def __init__(self, space: Space = IMAGE) -> None:
        super().__init__(space, space)
        self.gram_bases = ("fourier", "cosine") if space.rank == 3 and not space.is_complex else ()

    @property
    def H(self) -> LinearOperator:
        """The adjoint operator."""
        return self

    def _forward(self, x: Tensor) -> Tensor:
        return x

    def _adjoint(self, y: Tensor) -> Tensor:
        return y

    def _norm(self, shape: tuple[int, ...] | None) -> Bound | None:
        return Bound(1.0, "exact", "identity")

    def _smallest_singular_value(self, shape: tuple[int, ...]) -> Bound | None:
        return Bound(1.0, "exact", "identity")

    def _gram(self) -> LinearOperator:
        return self

    def _gram_eigenvalues(self, basis: Basis, shape: tuple[int, ...]) -> Tensor:
        return torch.ones((1,) * RANK[basis], dtype=torch.float64)

    def _shifted_solve(self, rhs: Tensor, shift: Tensor | float) -> Tensor:
        return rhs / (1 + per_sample(shift, rhs, self.domain.rank))

    def prepared(self, shape: tuple[int, ...], dtype: torch.dtype) -> LinearOperator:
        """Return the same object with all that depends only on shape and precision computed once."""
        return Identity(Space(shape, self.domain.is_complex))
