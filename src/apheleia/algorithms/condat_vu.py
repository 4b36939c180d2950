"""Condat-Vu: a gradient on the smooth part, a proximal map on g, and duals for the terms h(K x)."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from apheleia.algorithms.algorithm import Algorithm
from apheleia.algorithms.gradient import bounded_obstacle
from apheleia.algorithms.primal_dual import (
    PrimalDualState,
    primal_dual_certificate,
    primal_dual_init,
    primal_dual_residual,
    primal_dual_step,
)
from apheleia.core.certificate import Certificate
from apheleia.core.errors import ArgumentError
from apheleia.core.interop import is_number
from apheleia.core.space import as_wide
from apheleia.problem import Problem

__all__ = ["CondatVu"]

MARGIN = 1.1
"""How far 1 / tau - sum sigma |K|^2 stays above L / 2: strictly, as the theory asks, with room for a little over-relaxation."""

_SOURCE = "Condat 2013, doi:10.1007/s10957-012-0245-9; Vu 2013, doi:10.1007/s10444-011-9254-8"


@final
class CondatVu(Algorithm):
    """x+ = prox_g(x - tau (grad f + sum K^H p)); p_i+ = prox_{h_i^*}(p_i + sigma_i K_i (2 x+ - x)); both relaxed.

    Parameters
    ----------
    step : float, optional
        The primal step tau; chosen and balanced against the dual steps by default.

    Raises
    ------
    ArgumentError
        If the step is not above zero.

    Notes
    -----
    Certificate: convergence is proved where 1 / tau - sum_i sigma_i |K_i|^2 exceeds L / 2, by enough for the over-relaxation,
    with safe bounds of L and |K_i| and exact proximal maps: for every step up to 1.8 / L. The steps change finitely often.
    Complexity: one gradient, one application of each K and K^H a step.
    Source: L. Condat, Journal of Optimization Theory and Applications 158 (2013), doi:10.1007/s10957-012-0245-9.
    """

    requires = "smooth parts with a gradient, at most one exact proximal map, terms (h, K) with proximable h"

    def __init__(self, step: float | None = None) -> None:
        super().__init__()
        if step is not None and not (is_number(step) and step > 0):
            raise ArgumentError(f"CondatVu: `step` must be above zero; got {step!r}. Leave it out and it is chosen.")
        self.primal_step = step

    def obstacle(self, problem: Problem) -> str | None:
        """Return why this algorithm cannot solve the problem, or None where it can."""
        if not problem.is_convex:
            return "needs a convex objective"
        if problem.unbounded:
            return bounded_obstacle(problem)
        return None if problem.split_terms else "needs at least one term (h, K); this problem has none"

    def init(self, problem: Problem, x0: Tensor) -> PrimalDualState:
        shape = tuple(x0.shape[x0.ndim - problem.space.rank :])
        return primal_dual_init(problem, x0, problem.smoothness(shape).scaled(MARGIN), self.primal_step)

    def step(self, problem: Problem, state: PrimalDualState) -> PrimalDualState:
        wide = as_wide(state.step, state.x, problem.space.rank)

        def primal(x: Tensor, pull: Tensor) -> Tensor:
            force = problem.smooth_grad(x) + pull if problem.smooth else pull
            forward = torch.addcmul(x, wide, force, value=-1)
            return forward if problem.simple is None else problem.simple._prox(forward, state.step)

        return primal_dual_step(problem, state, primal, _relaxation(state), self.primal_step is None)

    def residual(self, problem: Problem, state: PrimalDualState) -> Tensor:
        return primal_dual_residual(problem, state)

    def certify(self, problem: Problem, state: PrimalDualState) -> tuple[Certificate, ...]:
        smoothness = problem.smoothness(tuple(state.x.shape[state.x.ndim - problem.space.rank :]))
        return (primal_dual_certificate(problem, state, smoothness, _relaxation(state), problem.simple, _SOURCE),)


def _relaxation(state: PrimalDualState) -> Tensor:
    """Return the over-relaxation, (*batch,): legal below 2 - 1 / MARGIN, and below 2 without a smooth part."""
    return torch.where(state.smoothness > 0, 0.99 * (2 - 1 / MARGIN), 1.9)
