"""The engine of AcceleratedGradient and FISTA: Nesterov's momentum with restart, image by image.

Why any restart keeps the proof of convergence. One epoch from z with step s <= 1/L obeys, for every solution x*,
2 s t_k^2 (F(x_k) - F*) + |u_k|^2 <= |z - x*|^2 with t_k (x_k - x*) = (t_k - 1)(x_{k-1} - x*) + u_k (Beck and Teboulle 2009).
By convexity of the square, |x_k - x*|^2 <= |z - x*|^2 - 2 s t_k (F(x_k) - F*). So a restart at any x_k never moves away from
any solution, and the sum over epochs of F(z_j) - F* is at most |x0 - x*|^2 / (2 s): the starts z_j of infinitely many epochs
cluster at a solution, hence converge to it, and inside an epoch F(x_k) - F* <= |z_j - x*|^2 / (2 s t_k^2), which tends to zero.
There t_k >= (k + 1) / 2.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from apheleia.algorithms.algorithm import State
from apheleia.algorithms.optimality import Reference, reference
from apheleia.algorithms.step_sizes import safe_value
from apheleia.core.bound import Bound
from apheleia.core.certificate import Certificate
from apheleia.core.space import per_sample
from apheleia.functionals.functional import Functional
from apheleia.problem import Problem

__all__ = ["AcceleratedState", "accelerated_certificates", "accelerated_init", "accelerated_step"]

_SOURCE = "Beck and Teboulle 2009, doi:10.1137/080716542; restart: O'Donoghue and Candes 2015, doi:10.1007/s10208-013-9150-3"


@dataclass(frozen=True, eq=False)
class AcceleratedState(State):
    """The point, the extrapolated point, the momentum counter t and the step.

    Attributes
    ----------
    ahead : Tensor
        The extrapolated point, (*batch, *space).
    t : Tensor
        Nesterov's counter since the last restart, (*batch,).
    step : Tensor
        1 / L, or the user's step, (*batch,).
    scale : Reference
        Sizes at x0.
    """

    ahead: Tensor
    t: Tensor
    step: Tensor
    scale: Reference


def accelerated_init(problem: Problem, x0: Tensor, step: float | None) -> AcceleratedState:
    """Return the state at `x0` with the step 1 / L."""
    space, batch = problem.space, problem.space.batch_shape(x0)
    smoothness = safe_value(problem.smoothness(tuple(x0.shape[x0.ndim - space.rank :])), x0, batch)
    size = 1 / torch.where(smoothness > 0, smoothness, 1.0)
    size = size if step is None else torch.full_like(size, step)
    return AcceleratedState(0, x0, (), x0, torch.ones_like(size), size, reference(problem, x0))


def accelerated_step(
    problem: Problem, state: AcceleratedState, simple: Functional | None, restart: bool = True
) -> AcceleratedState:
    """Return the next state; the momentum restarts where the step points against it, unless it never does."""
    space = problem.space
    moved = state.ahead - per_sample(state.step, state.x, space.rank) * problem.smooth_grad(state.ahead)
    x = moved if simple is None else simple._prox(moved, state.step)
    change = x - state.x
    against = (space.inner(state.ahead - x, change) > 0) & restart
    t = torch.where(against, 1.0, 0.5 * (1 + (1 + 4 * state.t**2).sqrt()))
    momentum = torch.where(against, 0.0, (state.t - 1) / t)
    return replace(state, k=state.k + 1, x=x, ahead=x + per_sample(momentum, x, space.rank) * change, t=t)


def accelerated_certificates(
    problem: Problem, state: AcceleratedState, simple: Functional | None, step: float | None, restart: bool = True
) -> tuple[Certificate, ...]:
    """Return convergence and rate: the step at most 1 / L with a safe bound, convex parts, an exact proximal map.

    Of the points themselves with restart, by the argument above; of the objective without.
    """
    smoothness = problem.smoothness(tuple(state.x.shape[state.x.ndim - problem.space.rank :]))
    steepest = smoothness.value.max().item()
    limit = 1 / steepest if steepest > 0 else float("inf")
    if not problem.is_convex:
        return (Certificate("convergence", "none", None, "the objective is not convex", _SOURCE),)
    if step is not None and step > limit * (1 + 1e-12):
        why = f"step {step:.4g} > 1/L = {limit:.4g}. Lower `step` or leave it out"
        return (Certificate("convergence", "none", None, why, _SOURCE),)
    if not smoothness.is_upper:
        status, why = "estimated", f"L is only estimated ({smoothness.how})"
    elif simple is not None and not simple.has_exact_prox:
        status, why = "estimated", "the proximal map is computed by iterations"
    else:
        status, why = "proved", f"step at most 1/L, L = {smoothness}"
    constant = Bound(2 / state.step, "exact" if status == "proved" else "estimate", "c = 2 / step")
    rate = f"objective - minimum <= c |x0 - x*|^2 / (j + 1)^2 at j steps after {'a restart' if restart else 'x0'}; {why}"
    what = "convex objective" if restart else "of the objective, which is convex"
    return (
        Certificate("convergence", status, None, f"{what}, {why}", _SOURCE),
        Certificate("rate", status, constant, rate, _SOURCE),
    )
