"""Half-quadratic splitting: alternate a linear system and proximal maps under a penalty that grows."""

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
from apheleia.core.certificate import Certificate
from apheleia.core.errors import ArgumentError
from apheleia.core.interop import is_number
from apheleia.core.space import as_wide, per_sample
from apheleia.problem import Problem

__all__ = ["HalfQuadraticSplitting"]

LIMIT = 1e5
"""How far the penalty grows beyond the one that balances both halves of the linear system: there nothing moves any more."""

_SOURCE = "Geman and Yang 1995, doi:10.1109/83.392335; Wang, Yang, Yin, Zhang 2008, doi:10.1137/080724265"


@dataclass(frozen=True, eq=False)
class _State(State):
    """The point, its duals penalty * (K x - z), the solution of the linear system, the growing penalty, and its limit.

    The two points are one, but for a constraint on x itself, which the returned one satisfies.
    """

    smooth: Tensor
    penalty: Tensor
    limit: Tensor
    scale: Reference
    system: QuadraticSystem


@final
class HalfQuadraticSplitting(Algorithm):
    """z_i = prox_{h_i}(K_i x); x = argmin f + penalty/2 sum |K_i x - z_i|^2; the penalty grows.

    Parameters
    ----------
    growth : float, default 1.15
        Factor of the penalty a step, above 1.

    Raises
    ------
    ArgumentError
        If the growth is not above 1.

    Notes
    -----
    Certificate: none beforehand: each penalty has its own minimiser, and the schedule decides how near the last one is. The
    residual at the returned point says how near it came.
    Source: Y. Wang, J. Yang, W. Yin, Y. Zhang, SIAM Journal on Imaging Sciences 1 (2008), doi:10.1137/080724265.
    """

    requires = "quadratic smooth parts, and proximable parts or terms (h, K)"

    def __init__(self, growth: float = 1.15) -> None:
        super().__init__()
        if not (is_number(growth) and growth > 1):
            raise ArgumentError(f"HalfQuadraticSplitting: `growth` must be above 1; got {growth!r}.")
        self.growth = growth

    def obstacle(self, problem: Problem) -> str | None:
        """Return why this algorithm cannot solve the problem, or None where it can."""
        return quadratic_obstacle(problem)

    def init(self, problem: Problem, x0: Tensor) -> _State:
        balanced = balanced_penalty(problem, x0, 1.0)
        duals = tuple(torch.zeros_like(K._forward(x0)) for _, K in problem.split_terms)
        return _State(
            0,
            x0,
            duals,
            x0,
            1e-3 * balanced,
            LIMIT * balanced,
            reference(problem, x0),
            quadratic_system(problem.smooth, all_terms(problem), x0, problem.space, majorants=False),
        )

    def step(self, problem: Problem, state: _State) -> _State:
        terms = all_terms(problem)
        images = tuple(K._forward(state.smooth) for _, K in terms)
        splits = tuple(h._prox(image, 1 / state.penalty) for (h, _), image in zip(terms, images, strict=True))
        forces = tuple(as_wide(state.penalty, z, h.space.rank) * z for (h, _), z in zip(terms, splits, strict=True))
        x = quadratic_update(state.system, state.smooth, forces, (state.penalty,) * len(terms), problem.space, tol=1e-6)
        own = len(terms) - len(problem.split_terms)
        duals = tuple(
            per_sample(state.penalty, z, h.space.rank) * (image - z)
            for (h, _), image, z in list(zip(terms, images, splits, strict=True))[own:]
        )
        point = x if problem.simple is None else problem.simple._prox(x, 1 / state.penalty)
        penalty = torch.minimum(self.growth * state.penalty, state.limit)
        return replace(state, k=state.k + 1, x=point, smooth=x, duals=duals, penalty=penalty)

    def residual(self, problem: Problem, state: _State) -> Tensor:
        return optimality_residual(problem, state.x, state.duals, state.scale)

    def certify(self, problem: Problem, state: _State) -> tuple[Certificate, ...]:
        why = "a growing penalty: the answer is near the minimiser as far as the residual says, and no further"
        return (Certificate("convergence", "none", None, why, _SOURCE),)
