"""ADMM: a linear system in x, a proximal map a term, and multipliers that bind them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import final

import torch
from torch import Tensor

from apheleia.algorithms.algorithm import Algorithm, State
from apheleia.algorithms.optimality import Reference, optimality_residual, reference
from apheleia.algorithms.quadratic_update import (
    QuadraticSystem,
    balanced_penalty,
    partition,
    quadratic_obstacle,
    quadratic_system,
    quadratic_update,
)
from apheleia.algorithms.step_sizes import REBALANCE_AT, travelled
from apheleia.core.certificate import Certificate
from apheleia.core.errors import ArgumentError
from apheleia.core.interop import is_number
from apheleia.core.space import as_wide
from apheleia.problem import Problem

__all__ = ["ADMM", "ADMMState"]

RELAXATION = 1.8
"""Over-relaxation of K x, below 2."""

_SOURCE = "Eckstein and Bertsekas 1992, doi:10.1007/BF01581204; with semi-proximal terms: see arXiv:2206.03649"


@dataclass(frozen=True, eq=False)
class ADMMState(State):
    """The point and its duals, the x-update's own solution, and what binds each term to it.

    Attributes
    ----------
    solution : Tensor
        The last solution of the linear system, (*batch, *space); x itself where no constraint acts on it. Over-relaxed where
        it is the centre of a proximal term.
    moved, multipliers : tuple of Tensor
        v_i and p_i of all terms, the proximable part's first; the split variable is z_i = (v_i - p_i) / c.
    penalties : tuple of Tensor
        One c_i a term, (*batch,).
    system : QuadraticSystem
        What stays the same in all x-updates.
    origin : Tensor
        x0.
    scale : Reference
        Sizes set by the data.
    """

    solution: Tensor
    moved: tuple[Tensor, ...]
    multipliers: tuple[Tensor, ...]
    penalties: tuple[Tensor, ...]
    system: QuadraticSystem
    origin: Tensor
    scale: Reference


@final
class ADMM(Algorithm):
    """x = argmin f + sum c/2 |K_i x - z_i + p_i/c|^2; v_i = c K_i x + p_i; p_i = prox_{c h_i^*}(v_i); z_i = (v_i - p_i)/c.

    c is the penalty of the term; c K_i x is over-relaxed in v_i. The linear system in x has a closed form where all parts are
    diagonal in one basis: a symmetric blur that reflects at the edge, the image gradient and a constraint, in the cosine basis. A
    circular blur and the gradient, which are not, get a proximal term that makes them so in the Fourier basis. Data behind a
    mask, diagonal in neither, become a term of their own with K = identity.

    Parameters
    ----------
    penalty : float or sequence of float, optional
        The augmented Lagrangian's weight c, above zero: one for all, or one a term, those on x itself first. Balanced against
        the course of the run by default.

    Raises
    ------
    ArgumentError
        If a penalty is not above zero, or if their number is not that of the terms.

    Notes
    -----
    Certificate: convergence is proved where the x-update has a closed form; where it is a linear system solved by conjugate
    gradients, to a tolerance that falls as k^-1.5, the sum of the errors is not bounded by numbers that are known: estimated.
    Source: S. Boyd et al., Foundations and Trends in Machine Learning 3 (2011), doi:10.1561/2200000016.
    """

    requires = "quadratic smooth parts, and proximable parts or terms (h, K)"

    def __init__(self, penalty: float | Sequence[float] | None = None) -> None:
        super().__init__()
        given = () if penalty is None else tuple(penalty) if isinstance(penalty, Sequence) else (penalty,)
        if not all(is_number(one) and one > 0 for one in given) or (penalty is not None and not given):
            raise ArgumentError(f"ADMM: `penalty` must be above zero; got {penalty!r}. Leave it out and it is chosen.")
        self.penalties = given

    def obstacle(self, problem: Problem) -> str | None:
        """Return why this algorithm cannot solve the problem, or None where it can."""
        return quadratic_obstacle(problem) if problem.is_convex else "needs a convex objective"

    def init(self, problem: Problem, x0: Tensor) -> ADMMState:
        parts, terms = partition(problem)
        if len(self.penalties) > 1 and len(self.penalties) != len(terms):
            names = ", ".join(h.name for h, _ in terms)
            raise ArgumentError(f"ADMM: give one penalty for all terms, or {len(terms)}, of {names}; got {len(self.penalties)}.")
        # a tenth of the penalty that gives both halves of the linear system one size, until the run says better
        first = balanced_penalty(problem, x0, 0.1)
        given = tuple(torch.full_like(first, one) for one in self.penalties) or (first,)
        penalties = given * len(terms) if len(given) == 1 else given
        splits = tuple(K._forward(x0) for _, K in terms)
        moved = tuple(as_wide(c, z, h.space.rank) * z for (h, _), z, c in zip(terms, splits, penalties, strict=True))
        zeros = tuple(torch.zeros_like(v) for v in moved)
        system = quadratic_system(parts, terms, x0, problem.space, majorants=True)
        scale = reference(problem, x0, system.force if parts == problem.smooth else None)
        duals = zeros[len(terms) - len(problem.split_terms) :]
        return ADMMState(0, x0, duals, x0, moved, zeros, penalties, system, x0, scale)

    def step(self, problem: Problem, state: ADMMState) -> ADMMState:
        terms, own = state.system.terms, len(state.moved) - len(state.duals)
        # c z - p
        forces = tuple(torch.sub(v, p, alpha=2) for v, p in zip(state.moved, state.multipliers, strict=True))
        tol = 0.1 / (state.k + 1) ** 1.5
        x = quadratic_update(state.system, state.solution, forces, state.penalties, problem.space, tol)
        # r c K x + (1 - r) c z + p, with c z = v - p
        moved = tuple(
            torch.lerp(v, torch.addcmul(p, as_wide(c, p, h.space.rank), K._forward(x)), RELAXATION)
            for (h, K), v, p, c in zip(terms, state.moved, state.multipliers, state.penalties, strict=True)
        )
        point, multipliers = x, ()
        if problem.simple is not None:
            # the split variable of a constraint on x itself is the point that satisfies it
            wide = as_wide(state.penalties[0], x, problem.space.rank)
            point = problem.simple._prox(moved[0] / wide, 1 / state.penalties[0])
            multipliers = (moved[0] - wide * point,)
        rest = list(zip(terms, moved, state.penalties, strict=True))[len(multipliers) :]
        multipliers += tuple(h._conj_prox(v, c, 1.0) for (h, _), v, c in rest)
        # a proximal term makes x a part of the fixed-point iteration, which is relaxed as a whole
        centre = torch.lerp(state.solution, x, RELAXATION) if state.system.has_centre else x
        new = replace(
            state, k=state.k + 1, x=point, duals=multipliers[own:], solution=centre, moved=moved, multipliers=multipliers
        )
        return new if self.penalties or new.k not in REBALANCE_AT else _balanced(new)

    def residual(self, problem: Problem, state: ADMMState) -> Tensor:
        return optimality_residual(problem, state.x, state.duals, state.scale)

    def certify(self, problem: Problem, state: ADMMState) -> tuple[Certificate, ...]:
        if state.system.diagonal is not None and not state.system.diagonal.is_proved:
            why = "convex objective; that the x-update's proximal term is not negative was measured, not proved"
            return (Certificate("convergence", "estimated", None, why, _SOURCE),)
        if state.system.is_closed and all(h.has_exact_prox for h, _ in state.system.terms):
            why = "convex objective, closed-form updates; the penalty changes finitely often"
            return (Certificate("convergence", "proved", None, why, _SOURCE),)
        why = "convex objective; the linear system or a proximal map is solved by iterations to a falling tolerance"
        return (Certificate("convergence", "estimated", None, why, _SOURCE),)


def _balanced(state: ADMMState) -> ADMMState:
    """Set each penalty to the ratio of the dual's size to the distance that the split has travelled; duals and splits stay.

    The distance is from x0 or from zero, whichever is less: an x0 with holes lies far from everything. No penalty is below the
    ratio of all terms together, since the dual of a constraint that is hardly active is tiny.
    """
    terms, scale = state.system.terms, state.scale
    sizes = (*[scale.point] * (len(terms) - len(state.duals)), *scale.images)
    splits, travels, duals = [], [], []
    for (h, K), v, p, c, size in zip(terms, state.moved, state.multipliers, state.penalties, sizes, strict=True):
        split = (v - p) / as_wide(c, p, h.space.rank)
        distance = torch.minimum(h.space.norm(split - K._forward(state.origin)), h.space.norm(split))
        splits.append(split)
        travels.append(travelled(distance, size))
        duals.append(h.space.norm(p))
    joint = _ratio(torch.linalg.vector_norm(torch.stack(duals), dim=0), torch.linalg.vector_norm(torch.stack(travels), dim=0))
    ratios = [torch.maximum(_ratio(dual, travel), joint) for dual, travel in zip(duals, travels, strict=True)]
    penalties = tuple(torch.where(new > 0, new, old) for new, old in zip(ratios, state.penalties, strict=True))
    moved = tuple(
        torch.addcmul(p, as_wide(c, p, h.space.rank), z)
        for (h, _), p, c, z in zip(terms, state.multipliers, penalties, splits, strict=True)
    )
    return replace(state, moved=moved, penalties=penalties)


def _ratio(size: Tensor, distance: Tensor) -> Tensor:
    """Return size / distance, or zero where they say nothing, (*batch,)."""
    known = (size > 0) & (distance > 0) & size.isfinite() & distance.isfinite()
    return torch.where(known, size, 0.0) / torch.where(known, distance, 1.0)
