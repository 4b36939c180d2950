"""Chambolle-Pock: a proximal map on x's side and duals for the terms h(K x); no gradient, no smoothness constant."""

from __future__ import annotations

from dataclasses import replace
from functools import reduce
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
from apheleia.core.bound import Bound, format_values
from apheleia.core.certificate import Certificate
from apheleia.core.errors import ArgumentError
from apheleia.core.interop import is_number
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
    accelerated : bool, default False
        Whether tau falls and the dual steps rise at every step, as the modulus of strong convexity gamma of F allows, without
        over-relaxation: a rate for x is then proved, which the balanced steps often outdo all the same.

    Raises
    ------
    ArgumentError
        If the step is not above zero.

    Notes
    -----
    Certificate: convergence is proved where tau sum_i sigma_i |K_i|^2 <= 1 holds with safe bounds of |K_i| and exact proximal
    maps; the dual steps follow from tau, so that every tau is legal. The steps change finitely often. Accelerated, with a safe
    gamma, |x_k - x*| = O(1 / k) as well.
    Complexity: one proximal map, one application of each K and K^H a step.
    Source: A. Chambolle, T. Pock, Journal of Mathematical Imaging and Vision 40 (2011), doi:10.1007/s10851-010-0251-1.
    """

    requires = "one part with an exact proximal map on x, terms (h, K) with proximable h"

    def __init__(self, step: float | None = None, accelerated: bool = False) -> None:
        super().__init__()
        if step is not None and not (is_number(step) and step > 0):
            raise ArgumentError(f"ChambollePock: `step` must be above zero; got {step!r}. Leave it out and it is chosen.")
        self.primal_step = step
        self.accelerated = accelerated

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
        if self.accelerated and not (own and own[0].is_strongly_convex):
            what = f"{own[0].name} is not" if own else "nothing acts on x itself"
            return f"accelerated needs a strongly convex part on x; {what}: leave out `accelerated`"
        return None

    def init(self, problem: Problem, x0: Tensor) -> PrimalDualState:
        state = primal_dual_init(problem, x0, Bound(0.0, "exact", "no gradient is taken"), self.primal_step)
        if not self.accelerated:
            return state
        return replace(state, modulus=_modulus(problem, x0).value.to(state.step).expand(state.step.shape))

    def step(self, problem: Problem, state: PrimalDualState) -> PrimalDualState:
        own = _own(problem)
        if self.accelerated:
            return _accelerated_step(problem, state, own)
        wide = as_wide(state.step, state.x, problem.space.rank)

        def primal(x: Tensor, pull: Tensor) -> Tensor:
            forward = torch.addcmul(x, wide, pull, value=-1)
            return forward if own is None else own._prox(forward, state.step)

        return primal_dual_step(problem, state, primal, torch.full_like(state.step, RELAXATION), self.primal_step is None)

    def residual(self, problem: Problem, state: PrimalDualState) -> Tensor:
        return primal_dual_residual(problem, state)

    def certify(self, problem: Problem, state: PrimalDualState) -> tuple[Certificate, ...]:
        free = Bound(0.0, "exact", "no gradient is taken")
        relaxation = torch.full_like(state.step, 1.0 if self.accelerated else RELAXATION)
        convergence = primal_dual_certificate(problem, state, free, relaxation, _own(problem), _SOURCE)
        return (convergence, _rate(problem, state, convergence)) if self.accelerated else (convergence,)


def _modulus(problem: Problem, x: Tensor) -> Bound:
    """Return the modulus of strong convexity of the part on x, zero where only an estimate is known."""
    own = _own(problem)
    bound = Bound(0.0, "lower", "convex")
    if own is not None and own.is_strongly_convex:
        bound = own.strong_convexity(tuple(x.shape[x.ndim - problem.space.rank :]))
    return bound if bound.is_lower else Bound(0.0, "lower", f"only an estimate: {bound.how}")


def _accelerated_step(problem: Problem, state: PrimalDualState, own: Functional | None) -> PrimalDualState:
    """Return the next state: duals at the extrapolated point, then x, then tau theta and sigma / theta.

    With theta_n = (1 + 2 gamma tau_n)^(-1/2), A_n = |x_n - x*|^2 / (2 tau_n) + sum |p_n - p*|^2 / (2 sigma_n),
    C_n = sum <K (x_n - x_{n-1}), p_n - p*> and D_n = |x_n - x_{n-1}|^2 / (2 tau_{n-1}), the two proximal steps and
    tau sum sigma |K|^2 <= 1 give A_n + theta_{n-1} (C_n + D_n) >= A_{n+1} / theta_n + C_{n+1} + D_{n+1}. Times tau_0 / tau_n this
    telescopes, and by the same inequality C_n + D_n is no less than minus the duals' share of A_n / theta_{n-1}. So
    |x_n - x*|^2 <= (tau_n^2 / tau_0) 2 A_0.
    """
    rank = problem.space.rank
    duals = tuple(
        h._conj_prox(torch.addcmul(p, as_wide(s, p, h.space.rank), K._forward(state.relaxed)), s, 1.0)
        for (h, K), p, s in zip(problem.split_terms, state.duals, state.dual_steps, strict=True)
    )
    pull = reduce(torch.add, [K._adjoint(p) for (_, K), p in zip(problem.split_terms, duals, strict=True)])
    forward = torch.addcmul(state.x, as_wide(state.step, state.x, rank), pull, value=-1)
    x = forward if own is None else own._prox(forward, state.step)
    step = state.step / (1 + 2 * state.modulus * state.step).sqrt()
    # the dual steps follow from tau as it was rounded, so that the product of the two stays
    factor = step / state.step
    return replace(
        state,
        k=state.k + 1,
        x=x,
        duals=duals,
        relaxed=torch.addcmul(x, as_wide(factor, x, rank), x - state.x),
        relaxed_duals=duals,
        pull=pull,
        step=step,
        dual_steps=tuple(s / factor for s in state.dual_steps),
    )


def _rate(problem: Problem, state: PrimalDualState, convergence: Certificate) -> Certificate:
    """Return the rate of x; 1 / tau_n grows by at least gamma 2 / (1 + sqrt(1 + 2 gamma tau_0)) a step."""
    modulus = _modulus(problem, state.x)
    if convergence.status == "none" or not modulus.is_positive:
        return Certificate("rate", "none", None, "no modulus of strong convexity is proved, or the steps are too long", _SOURCE)
    tau = state.step.double()
    slope = 2 * modulus.value / (1 + (1 + 2 * modulus.value * tau).sqrt())
    kind = "lower" if convergence.status == "proved" else "estimate"
    why = (
        "|x_k - x*|^2 <= (|x0 - x*|^2 / tau + sum |p*|^2 / sigma) / (tau (1/tau + c k)^2) with the first steps tau = "
        f"{format_values(tau)}, sigma = {', '.join(format_values(s) for s in state.dual_steps)}; {convergence.why}"
    )
    return Certificate("rate", convergence.status, Bound(slope, kind, "c, from the modulus of strong convexity"), why, _SOURCE)


def _own(problem: Problem) -> Functional | None:
    """Return the one part that acts on x itself."""
    return problem.smooth[0] if problem.smooth else problem.simple
