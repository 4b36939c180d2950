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

_SOURCE = "Eckstein and Bertsekas 1992, doi:10.1007/BF01581204; Boyd et al. 2011, doi:10.1561/2200000016"


@dataclass(frozen=True, eq=False)
class ADMMState(State):
    """The point and its duals, the split variables z_i, all the multipliers, and the penalty.

    `duals` holds the multipliers of the terms alone; `multipliers` also that of the proximable part.
    """

    splits: tuple[Tensor, ...]
    multipliers: tuple[Tensor, ...]
    penalty: Tensor
    system: QuadraticSystem
    origin: Tensor
    scale: Reference


@final
class ADMM(Algorithm):
    """x = argmin f + c/2 sum |K_i x - z_i + p_i/c|^2; z_i = prox_{h_i}(v_i); p_i = c (v_i - z_i).

    c is the penalty, v_i = K_i x + p_i/c with an over-relaxed K_i x. The linear system in x has a closed form where all parts are
    diagonal in one basis: a symmetric blur that reflects at the edge, the image gradient and a constraint, in the cosine basis.

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
        system = quadratic_system(problem, x0)
        return ADMMState(0, x0, zeros[own:], splits, zeros, penalty, system, x0, reference(problem, x0))

    def step(self, problem: Problem, state: ADMMState) -> ADMMState:
        terms = all_terms(problem)
        wide = tuple(as_wide(state.penalty, p, h.space.rank) for (h, _), p in zip(terms, state.multipliers, strict=True))
        scaled = tuple(p / c for p, c in zip(state.multipliers, wide, strict=True))
        targets = tuple(z - u for z, u in zip(state.splits, scaled, strict=True))
        x = quadratic_update(problem, state.system, state.x, targets, state.penalty, tol=0.1 / (state.k + 1) ** 1.5)
        moved = tuple(
            torch.lerp(z, K._forward(x), RELAXATION) + u for (_, K), z, u in zip(terms, state.splits, scaled, strict=True)
        )
        splits = tuple(h._prox(v, 1 / state.penalty) for (h, _), v in zip(terms, moved, strict=True))
        multipliers = tuple(c * (v - z) for c, v, z in zip(wide, moved, splits, strict=True))
        own = len(terms) - len(problem.split_terms)
        # the split variable of a constraint on x itself is the point that satisfies it
        point = splits[0] if own else x
        new = replace(state, k=state.k + 1, x=point, duals=multipliers[own:], splits=splits, multipliers=multipliers)
        if self.penalty is not None or new.k not in REBALANCE_AT:
            return new
        travel = _joint([h.space.norm(z - K._forward(state.origin)) for (h, K), z in zip(terms, splits, strict=True)])
        travel = travelled(travel, _joint([*([state.scale.point] if own else []), *state.scale.images]))
        dual = _joint([h.space.norm(p) for (h, _), p in zip(terms, multipliers, strict=True)])
        known = (travel > 0) & (dual > 0) & travel.isfinite() & dual.isfinite()
        balanced = torch.where(known, dual, 1.0) / torch.where(known, travel, 1.0)
        return replace(new, penalty=torch.where(known, balanced, state.penalty))

    def residual(self, problem: Problem, state: ADMMState) -> Tensor:
        return optimality_residual(problem, state.x, state.duals, state.scale)

    def certify(self, problem: Problem, state: ADMMState) -> tuple[Certificate, ...]:
        if state.system.is_closed and all(h.has_exact_prox for h, _ in all_terms(problem)):
            why = "convex objective, closed-form updates; the penalty changes finitely often"
            return (Certificate("convergence", "proved", None, why, _SOURCE),)
        why = "convex objective; the linear system or a proximal map is solved by iterations to a falling tolerance"
        return (Certificate("convergence", "estimated", None, why, _SOURCE),)


def _joint(sizes: list[Tensor]) -> Tensor:
    """Return the norm of several parts from theirs, (*batch,)."""
    return torch.linalg.vector_norm(torch.stack(sizes), dim=0)
