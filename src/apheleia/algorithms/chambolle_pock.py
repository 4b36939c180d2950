"""Chambolle-Pock: a proximal map on x's side and duals for the terms h(K x); no gradient, no smoothness constant."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from apheleia.algorithms.algorithm import Algorithm
from apheleia.algorithms.primal_dual import (
    PrimalDualState,
    primal_dual_certificate,
    primal_dual_init,
    primal_dual_residual,
    primal_dual_step,
)
from apheleia.core.bound import Bound
from apheleia.core.certificate import Certificate
from apheleia.core.errors import ArgumentError
from apheleia.core.space import as_wide
from apheleia.functionals.functional import Functional
from apheleia.problem import Problem

__all__ = ["ChambollePock"]

RELAXATION = 1.9
"""Over-relaxation of both points, below 2."""

_SOURCE = "Chambolle and Pock 2011, doi:10.1007/s10851-010-0251-1; relaxed: Condat 2013, doi:10.1007/s10957-012-0245-9"


@final
class ChambollePock(Algorithm):
    """x+ = prox_F(x - tau sum K^H p); p_i+ = prox_{h_i^*}(p_i + sigma_i K_i (2 x+ - x)); both over-relaxed by 1.9.

    F is the one part that acts on x itself: a fidelity with a closed-form proximal map (circular blur, mask, identity), a
    constraint, or nothing.

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
    Certificate: convergence is proved where tau sum_i sigma_i |K_i|^2 <= 1 holds with safe bounds of |K_i| and exact proximal
    maps; the dual steps follow from tau, so that every tau is legal. The steps change finitely often.
    Complexity: one proximal map, one application of each K and K^H a step.
    Source: A. Chambolle, T. Pock, Journal of Mathematical Imaging and Vision 40 (2011), doi:10.1007/s10851-010-0251-1.
    """

    requires = "one part with an exact proximal map on x, terms (h, K) with proximable h"

    def __init__(self, step: float | None = None) -> None:
        super().__init__()
        if step is not None and not step > 0:
            raise ArgumentError(f"ChambollePock: `step` must be above zero; got {step!r}. Leave it out and it is chosen.")
        self.primal_step = step

    def obstacle(self, problem: Problem) -> str | None:
        """Return why this algorithm cannot solve the problem, or None where it can."""
        if not problem.is_convex:
            return "needs a convex objective"
        if not problem.split_terms:
            return "needs at least one term (h, K); this problem has none"
        own = [*problem.smooth, *([] if problem.simple is None else [problem.simple])]
        if len(own) > 1:
            return f"takes one part on x by its proximal map; this problem has {len(own)}: " + ", ".join(p.name for p in own)
        if own and not own[0].has_exact_prox:
            return f"needs {own[0].name} to have an exact proximal map; its operator has no closed-form inverse"
        return None

    def init(self, problem: Problem, x0: Tensor) -> PrimalDualState:
        return primal_dual_init(problem, x0, Bound(0.0, "exact", "no gradient is taken"), self.primal_step)

    def step(self, problem: Problem, state: PrimalDualState) -> PrimalDualState:
        own = _own(problem)
        wide = as_wide(state.step, state.x, problem.space.rank)

        def primal(x: Tensor, pull: Tensor) -> Tensor:
            forward = torch.addcmul(x, wide, pull, value=-1)
            return forward if own is None else own._prox(forward, state.step)

        return primal_dual_step(problem, state, primal, torch.full_like(state.step, RELAXATION), self.primal_step is None)

    def residual(self, problem: Problem, state: PrimalDualState) -> Tensor:
        return primal_dual_residual(problem, state)

    def certify(self, problem: Problem, state: PrimalDualState) -> tuple[Certificate, ...]:
        free = Bound(0.0, "exact", "no gradient is taken")
        return (primal_dual_certificate(problem, state, free, torch.full_like(state.step, RELAXATION), _own(problem), _SOURCE),)


def _own(problem: Problem) -> Functional | None:
    """Return the one part that acts on x itself."""
    return problem.smooth[0] if problem.smooth else problem.simple
