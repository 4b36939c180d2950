"""ADMM: a linear system in x, a proximal map a term, and multipliers that bind them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import final

import torch
from torch import Tensor

from apheleia.algorithms.algorithm import Algorithm, State
from apheleia.algorithms.optimality import Reference, optimality_residual, reference
from apheleia.algorithms.quadratic_update import (
    QuadraticSystem,
    all_terms,
    balanced_penalty,
    quadratic_obstacle,
    quadratic_system,
    quadratic_update,
)
from apheleia.algorithms.step_sizes import REBALANCE_AT, travelled
from apheleia.core.certificate import Certificate
from apheleia.core.errors import ArgumentError
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
    moved, scaled : tuple of Tensor
        v_i and u_i = p_i / c of all terms, the proximable part's first; the split variable is z_i = v_i - u_i.
    penalty : Tensor
        c, (*batch,).
    system : QuadraticSystem
        What stays the same in all x-updates.
    origin : Tensor
        x0.
    scale : Reference
        Sizes set by the data.
    """

    solution: Tensor
    moved: tuple[Tensor, ...]
    scaled: tuple[Tensor, ...]
    penalty: Tensor
    system: QuadraticSystem
    origin: Tensor
    scale: Reference


@final
class ADMM(Algorithm):
    """x = argmin f + c/2 sum |K_i x - z_i + u_i|^2; v_i = K_i x + u_i; z_i = prox_{h_i/c}(v_i); u_i = v_i - z_i; duals c u_i.

    c is the penalty; K_i x is over-relaxed in v_i. The linear system in x has a closed form where all parts are
    diagonal in one basis: a symmetric blur that reflects at the edge, the image gradient and a constraint, in the cosine basis. A
    circular blur and the gradient, which are not, get a proximal term that makes them so in the Fourier basis.

    Parameters
    ----------
    penalty : float, optional
        The augmented Lagrangian's weight, above zero; balanced against the course of the run by default.

    Raises
    ------
    ArgumentError
        If the penalty is not above zero.

    Notes
    -----
    Certificate: convergence is proved where the x-update has a closed form; where it is a linear system solved by conjugate
    gradients, to a tolerance that falls as k^-1.5, the sum of the errors is not bounded by numbers that are known: estimated.
    Source: S. Boyd et al., Foundations and Trends in Machine Learning 3 (2011), doi:10.1561/2200000016.
    """

    requires = "quadratic smooth parts, and proximable parts or terms (h, K)"

    def __init__(self, penalty: float | None = None) -> None:
        super().__init__()
        if penalty is not None and not penalty > 0:
            raise ArgumentError(f"ADMM: `penalty` must be above zero; got {penalty!r}. Leave it out and it is chosen.")
        self.penalty = penalty

    def obstacle(self, problem: Problem) -> str | None:
        """Return why this algorithm cannot solve the problem, or None where it can."""
        return quadratic_obstacle(problem) if problem.is_convex else "needs a convex objective"

    def init(self, problem: Problem, x0: Tensor) -> ADMMState:
        terms = all_terms(problem)
        splits = tuple(K._forward(x0) for _, K in terms)
        zeros = tuple(torch.zeros_like(z) for z in splits)
        # a tenth of the penalty that gives both halves of the linear system one size, until the run says better
        penalty = balanced_penalty(problem, x0, 0.1)
        penalty = penalty if self.penalty is None else torch.full_like(penalty, self.penalty)
        own = len(terms) - len(problem.split_terms)
        system = quadratic_system(problem, x0, majorants=True)
        return ADMMState(0, x0, zeros[own:], x0, splits, zeros, penalty, system, x0, reference(problem, x0, system.force))

    def step(self, problem: Problem, state: ADMMState) -> ADMMState:
        terms = all_terms(problem)
        # z - u
        targets = tuple(torch.sub(v, u, alpha=2) for v, u in zip(state.moved, state.scaled, strict=True))
        x = quadratic_update(problem, state.system, state.solution, targets, state.penalty, tol=0.1 / (state.k + 1) ** 1.5)
        # r K x + (1 - r) z + u, with z = v - u
        moved = tuple(
            torch.lerp(v, K._forward(x) + u, RELAXATION) for (_, K), v, u in zip(terms, state.moved, state.scaled, strict=True)
        )
        splits = tuple(h._prox(v, 1 / state.penalty) for (h, _), v in zip(terms, moved, strict=True))
        scaled = tuple(v - z for v, z in zip(moved, splits, strict=True))
        own = len(terms) - len(problem.split_terms)
        # a proximal term makes x a part of the fixed-point iteration, which is relaxed as a whole
        centre = torch.lerp(state.solution, x, RELAXATION) if state.system.has_centre else x
        # the split variable of a constraint on x itself is the point that satisfies it
        point = splits[0] if own else x
        duals = tuple(as_wide(state.penalty, u, h.space.rank) * u for (h, _), u in zip(terms[own:], scaled[own:], strict=True))
        new = replace(state, k=state.k + 1, x=point, duals=duals, solution=centre, moved=moved, scaled=scaled)
        return _balanced(problem, new, splits) if self.penalty is None and new.k in REBALANCE_AT else new

    def residual(self, problem: Problem, state: ADMMState) -> Tensor:
        return optimality_residual(problem, state.x, state.duals, state.scale)

    def certify(self, problem: Problem, state: ADMMState) -> tuple[Certificate, ...]:
        if state.system.diagonal is not None and not state.system.diagonal.is_proved:
            why = "convex objective; that the x-update's proximal term is not negative was measured, not proved"
            return (Certificate("convergence", "estimated", None, why, _SOURCE),)
        if state.system.is_closed and all(h.has_exact_prox for h, _ in all_terms(problem)):
            why = "convex objective, closed-form updates; the penalty changes finitely often"
            return (Certificate("convergence", "proved", None, why, _SOURCE),)
        why = "convex objective; the linear system or a proximal map is solved by iterations to a falling tolerance"
        return (Certificate("convergence", "estimated", None, why, _SOURCE),)


def _balanced(problem: Problem, state: ADMMState, splits: tuple[Tensor, ...]) -> ADMMState:
    """Set the penalty to the ratio of the duals' size to the distance that the splits have travelled; duals and splits stay."""
    terms, scale = all_terms(problem), state.scale
    own = len(terms) - len(problem.split_terms)
    travel = _joint([h.space.norm(z - K._forward(state.origin)) for (h, K), z in zip(terms, splits, strict=True)])
    travel = travelled(travel, _joint([*([scale.point] if own else []), *scale.images]))
    dual = state.penalty * _joint([h.space.norm(u) for (h, _), u in zip(terms, state.scaled, strict=True)])
    known = (travel > 0) & (dual > 0) & travel.isfinite() & dual.isfinite()
    penalty = torch.where(known, torch.where(known, dual, 1.0) / torch.where(known, travel, 1.0), state.penalty)
    ratio = state.penalty / penalty
    scaled = tuple(as_wide(ratio, u, h.space.rank) * u for (h, _), u in zip(terms, state.scaled, strict=True))
    moved = tuple(z + u for z, u in zip(splits, scaled, strict=True))
    return replace(state, moved=moved, scaled=scaled, penalty=penalty)


def _joint(sizes: list[Tensor]) -> Tensor:
    """Return the norm of several parts from theirs, (*batch,)."""
    return torch.linalg.vector_norm(torch.stack(sizes), dim=0)
