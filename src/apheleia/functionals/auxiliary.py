"""Auxiliary variables: priors that are a minimum over a second variable."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

from torch import Tensor

from apheleia.core.space import as_wide
from apheleia.functionals.calculus import Scaled
from apheleia.functionals.functional import Functional
from apheleia.operators.linear import LinearOperator

__all__ = ["Auxiliary", "AuxiliaryPrior", "auxiliary"]


@dataclass(frozen=True, eq=False)
class Auxiliary:
    """F(x) = min over w of h_1(K_1 (x, w)) + h_2(K_2 (x, w)), x and w stacked along the channels.

    Attributes
    ----------
    blocks : int
        Size of w in copies of x: the stack has (1 + blocks) times the channels of x, those of x first.
    terms : pair of (Functional, LinearOperator)
        Pairs (h_i, K_i) with norms h_i, acting on the stack.
    tie : LinearOperator
        The L with K_1^H L q + K_2^H q = 0 on w: a minimum over w is bounded below by duals (L q, q) only.
    """

    blocks: int
    terms: tuple[tuple[Functional, LinearOperator], tuple[Functional, LinearOperator]]
    tie: LinearOperator

    def feasible(self, duals: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Return duals (L q, q) in the domain of both conjugates, from the second dual alone."""
        (first, _), (second, _) = self.terms
        q = duals[1]
        scale = second._dual_scale(q)
        q = as_wide(scale, q, second.space.rank) * q
        p = self.tie._forward(q)
        scale = first._dual_scale(p)
        return as_wide(scale, p, first.space.rank) * p, as_wide(scale, q, second.space.rank) * q


class AuxiliaryPrior(Functional):
    """A prior on images that is a minimum over an auxiliary variable; `solve` minimises over both at once."""

    @property
    @abstractmethod
    def auxiliary(self) -> Auxiliary:
        """The functional of the stacked pair."""


def auxiliary(part: Functional) -> Auxiliary | None:
    """Return what a summand minimises over its auxiliary variable, with its weight; None where it has no such variable."""
    if isinstance(part, AuxiliaryPrior):
        return part.auxiliary
    inner = auxiliary(part.functional) if isinstance(part, Scaled) else None
    if inner is None or not isinstance(part, Scaled):
        return None
    (h, K), (other, L) = inner.terms
    return Auxiliary(inner.blocks, ((Scaled(part.weight, h), K), (Scaled(part.weight, other), L)), inner.tie)
