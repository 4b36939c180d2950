"""A quadratic and the terms' |K_i x|^2 that are diagonal in one basis: their sum is inverted in closed form."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor

from apheleia.core.space import Space, as_wide
from apheleia.functionals.functional import Functional
from apheleia.operators.linear import LinearOperator
from apheleia.operators.transforms import RANK, Basis, Transform, transform
from apheleia.problem import Term

__all__ = ["DiagonalSystem", "common_basis", "diagonal_system"]

_SINGULAR = 1e-12
"""Smallest eigenvalue over the largest below which a sum counts as singular in any precision."""


@dataclass(frozen=True, eq=False)
class DiagonalSystem:
    """x -> M_0 x + sum_i c_i M_i x, for images of one size.

    M_i is K_i^H K_i where that is diagonal, else a diagonal majorant of it: the update then has the proximal term
    c_i/2 |x - x_k|^2 in the metric M_i - K_i^H K_i, and stays in closed form. M_0 is to the Hessians of the quadratic parts
    what M_i is to K_i^H K_i.

    Attributes
    ----------
    basis : str
        The basis in which both are diagonal.
    transform : Transform
        That basis for this size.
    hessian : Tensor
        Eigenvalues of M_0, laid out like coefficients.
    terms : tuple of Tensor
        Eigenvalues of the M_i.
    majorised : tuple of (int, LinearOperator)
        The i and K_i for which M_i is a majorant.
    curved : tuple of (LinearOperator, Tensor)
        Hessians of parts that are majorised, and the eigenvalues of their majorants.
    is_proved : bool
        Whether the majorants are proved to be such.
    """

    basis: Basis
    transform: Transform
    hessian: Tensor
    terms: tuple[Tensor, ...]
    majorised: tuple[tuple[int, LinearOperator], ...]
    curved: tuple[tuple[LinearOperator, Tensor], ...]
    is_proved: bool

    def solve(self, rhs: Tensor, weights: tuple[Tensor, ...], near: Tensor) -> Tensor:
        """Return x with M_0 x + sum_i c_i M_i x = rhs + (M_0 - H) near + sum_i c_i (M_i - K_i^H K_i) near.

        rhs and near, the point before, are (*batch, channel, height, width), the weights c_i (*batch,); rhs is used up.
        """
        for i, K in self.majorised:
            K._add_gram_excess(self.basis, near, as_wide(weights[i], rhs, near.ndim - weights[i].ndim), rhs)
        for hessian, _ in self.curved:
            rhs = rhs - hessian._forward(near)
        coefficients = self.transform.analyse(rhs)
        if self.curved:
            above = reduce(torch.add, [eigenvalues for _, eigenvalues in self.curved])
            coefficients = torch.addcmul(coefficients, above, self.transform.analyse(near))
        total = self.hessian
        for weight, eigenvalues in zip(weights, self.terms, strict=True):
            total = torch.addcmul(total, as_wide(weight, eigenvalues, RANK[self.basis]), eigenvalues)
        # complex coefficients are multiplied several times faster than divided
        return self.transform.synthesise(coefficients * total.reciprocal())


def common_basis(parts: tuple[Functional, ...], terms: tuple[Term, ...], space: Space, *, majorants: bool) -> Basis | None:
    """Return a basis in which the quadratic parts and all terms are diagonal, perhaps by majorants, terms first; or None."""
    if None in space.shape[-2:]:
        return None
    for of_terms, of_parts in ((False, False), (True, False), (False, True), (True, True)) if majorants else ((False, False),):
        found = [part.hessian_bases + (part.hessian_majorants if of_parts else ()) for part in parts]
        found += [K.gram_bases + (K.gram_majorants if of_terms else ()) for _, K in terms]
        shared = reduce(lambda a, b: tuple(basis for basis in a if basis in b), found)
        if shared:
            return shared[0]
    return None


def diagonal_system(
    parts: tuple[Functional, ...], terms: tuple[Term, ...], x: Tensor, space: Space, *, majorants: bool
) -> DiagonalSystem | None:
    """Return the system for images like `x`, or None where there is no common basis or the sum is near singular."""
    basis = common_basis(parts, terms, space, majorants=majorants)
    if basis is None:
        return None
    shape = tuple(x.shape[x.ndim - space.rank :])
    zero = torch.zeros((1,) * RANK[basis], dtype=torch.float64)
    eigenvalues = [part._hessian_eigenvalues(basis, shape) for part in parts]
    hessian = reduce(torch.add, eigenvalues, zero)
    own = [K._gram_eigenvalues(basis, shape) for _, K in terms]
    squares = reduce(torch.add, own, zero)
    size = hessian / hessian.amax().clamp(min=1e-300) + squares / squares.amax().clamp(min=1e-300)
    # below the precision of x, too, the closed form would amplify rounding
    if not bool(size.amin() > max(_SINGULAR, 8 * torch.finfo(x.dtype).eps)):
        return None
    majorised = tuple((i, K) for i, (_, K) in enumerate(terms) if basis not in K.gram_bases)
    above = [(part, values) for part, values in zip(parts, eigenvalues, strict=True) if basis not in part.hessian_bases]
    curved = tuple((part._hessian(shape), values.to(x)) for part, values in above)
    is_proved = all(part.has_proved_majorants for part, _ in above) and all(K.has_proved_majorants for _, K in majorised)
    change = transform(basis, (shape[-2], shape[-1]))
    return DiagonalSystem(basis, change, hessian.to(x), tuple(one.to(x) for one in own), majorised, curved, is_proved)
