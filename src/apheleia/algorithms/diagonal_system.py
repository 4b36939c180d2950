"""A quadratic and the terms' |K_i x|^2 that are diagonal in one basis: their sum is inverted in closed form."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor

from apheleia.core.space import as_wide
from apheleia.operators.transforms import RANK, Basis, Transform, transform
from apheleia.problem import Problem, Term

__all__ = ["DiagonalSystem", "common_basis", "diagonal_system"]

_SINGULAR = 1e-12
"""Smallest eigenvalue over the largest below which a closed form would amplify rounding."""


@dataclass(frozen=True, eq=False)
class DiagonalSystem:
    """x -> H x + weight sum_i K_i^H K_i x, H the Hessian of the quadratic parts, for images of one size.

    Attributes
    ----------
    basis : str
        The basis in which both are diagonal.
    transform : Transform
        That basis for this size.
    hessian, terms : Tensor
        Eigenvalues of H and of sum_i K_i^H K_i, laid out like coefficients.
    """

    basis: Basis
    transform: Transform
    hessian: Tensor
    terms: Tensor

    def solve(self, rhs: Tensor, weight: Tensor) -> Tensor:
        """Return x with H x + weight sum_i K_i^H K_i x = rhs; rhs (*batch, channel, height, width), weight (*batch,)."""
        wide = as_wide(weight, self.terms, RANK[self.basis])
        return self.transform.synthesise(self.transform.analyse(rhs) / torch.addcmul(self.hessian, wide, self.terms))


def common_basis(problem: Problem, terms: tuple[Term, ...]) -> Basis | None:
    """Return a basis in which the quadratic parts and all terms are diagonal, or None."""
    parts = [part.hessian_bases for part in problem.smooth] + [K.gram_bases for _, K in terms]
    shared = reduce(lambda a, b: tuple(basis for basis in a if basis in b), parts)
    return shared[0] if shared and problem.space.is_fixed else None


def diagonal_system(problem: Problem, terms: tuple[Term, ...], x: Tensor) -> DiagonalSystem | None:
    """Return the system for images like `x`, or None where there is no common basis or the sum is near singular."""
    basis = common_basis(problem, terms)
    if basis is None:
        return None
    shape = tuple(x.shape[x.ndim - problem.space.rank :])
    zero = torch.zeros((1,) * RANK[basis], dtype=torch.float64)
    hessian = reduce(torch.add, [part._hessian_eigenvalues(basis, shape) for part in problem.smooth], zero)
    squares = reduce(torch.add, [K._gram_eigenvalues(basis, shape) for _, K in terms], zero)
    size = hessian / hessian.amax().clamp(min=1e-300) + squares / squares.amax().clamp(min=1e-300)
    if not bool(size.amin() > _SINGULAR):
        return None
    return DiagonalSystem(basis, transform(basis, (shape[-2], shape[-1])), hessian.to(x), squares.to(x))
