"""The engine of AcceleratedGradient and FISTA: Nesterov's momentum with restart and strong convexity, image by image.

Let f and g be strongly convex with moduli mu_f, mu_g >= 0, mu their sum, s <= 1/L the step and q = s mu / (1 + s mu_g). With
t_1 = 1 and t_{k+1} (t_{k+1} - 1) = (1 - q t_{k+1}) t_k^2, the momentum is
(t_k - 1) / t_{k+1} * (1 + s mu_g - t_{k+1} s mu) / (1 - s mu_f): that of FISTA for mu = 0, and in the limit of large k, where
t_k rises to 1 / sqrt q, Nesterov's (1 - sqrt q) / (1 + sqrt q) for mu_g = 0 (Chambolle and Pock 2016).

Why any restart keeps the proofs. Let c = (1 + s mu_g) / (2 s). One epoch from z obeys, for every solution x* and with
t_k (x_k - x*) = (t_k - 1)(x_{k-1} - x*) + u_k,
t_k^2 (F(x_k) - F*) + c |u_k|^2 <= c prod_{i <= k} (1 - q t_i) |z - x*|^2,
so that F(x_k) - F* <= c |z - x*|^2 min(4 / (k + 1)^2, (1 + sqrt q)(1 - sqrt q)^k). By convexity of the square,
|x_k - x*|^2 <= |z - x*|^2 - t_k (F(x_k) - F*) / c. So a restart at any x_k never moves away from any solution, and the sum over
epochs of F(z_j) - F* is at most c |x0 - x*|^2: the starts z_j of infinitely many epochs cluster at a solution, hence converge
to it, and inside an epoch the objective tends to its minimum by the bound above, with |z_j - x*| <= |x0 - x*|.
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
_LINEAR = "Chambolle and Pock 2016, doi:10.1017/S096249291600009X"


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
    own, simple : Tensor
        s mu_f and s mu_g, moduli of strong convexity of the smooth and of the proximable part times the step, (*batch,).
    scale : Reference
        Sizes at x0.
    """

    ahead: Tensor
    t: Tensor
    step: Tensor
    own: Tensor
    simple: Tensor
    scale: Reference


def accelerated_init(
    problem: Problem, x0: Tensor, simple: Functional | None, step: float | None, modulus: float | None
) -> AcceleratedState:
    """Return the state at `x0` with the step 1 / L; a `modulus` that is given stands for that of the smooth part."""
    space, batch = problem.space, problem.space.batch_shape(x0)
    shape = tuple(x0.shape[x0.ndim - space.rank :])
    smoothness = safe_value(problem.smoothness(shape), x0, batch)
    size = 1 / torch.where(smoothness > 0, smoothness, 1.0)
    size = size if step is None else torch.full_like(size, step)
    if modulus is None:
        moduli = _moduli(problem, simple, shape)
    else:
        moduli = (torch.tensor(modulus, dtype=torch.float64), torch.tensor(0.0, dtype=torch.float64))
    # a modulus that is too small is a safe one: s mu_f stays at a distance from 1 that every precision can tell
    below = 1 - 16 * torch.finfo(size.dtype).eps
    own, other = ((below * size.double() * mu.to(x0.device)).to(size.dtype).expand(batch) for mu in moduli)
    return AcceleratedState(0, x0, (), x0, torch.ones_like(size), size, own.clamp(max=below), other, reference(problem, x0))


def accelerated_step(problem: Problem, state: AcceleratedState, simple: Functional | None, restart: bool) -> AcceleratedState:
    """Return the next state; the momentum restarts where the step points against it, unless it never does."""
    space = problem.space
    moved = state.ahead - per_sample(state.step, state.x, space.rank) * problem.smooth_grad(state.ahead)
    x = moved if simple is None else simple._prox(moved, state.step)
    change = x - state.x
    against = (space.inner(state.ahead - x, change) > 0) & restart
    both = state.own + state.simple
    less = 1 - both / (1 + state.simple) * state.t**2
    t = torch.where(against, 1.0, 0.5 * (less + (less**2 + 4 * state.t**2).sqrt()))
    damping = (1 + state.simple - t * both).clamp(min=0) / (1 - state.own)
    momentum = torch.where(against, 0.0, (state.t - 1) / t * damping)
    return replace(state, k=state.k + 1, x=x, ahead=x + per_sample(momentum, x, space.rank) * change, t=t)


def accelerated_certificates(
    problem: Problem, state: AcceleratedState, simple: Functional | None, step: float | None, modulus: float | None, restart: bool
) -> tuple[Certificate, ...]:
    """Return convergence and rates: the step at most 1 / L with a safe bound, convex parts, an exact proximal map.

    Of the points themselves with restart, by the argument above; of the objective without. The linear rate needs a modulus of
    strong convexity that is exact or a lower bound.
    """
    shape = tuple(state.x.shape[state.x.ndim - problem.space.rank :])
    smoothness = problem.smoothness(shape)
    steepest = smoothness.value.max().item()
    limit = 1 / steepest if steepest > 0 else float("inf")
    if not problem.is_convex:
        return (Certificate("convergence", "none", None, "the objective is not convex", _SOURCE),)
    if step is not None and step > limit * (1 + 1e-12):
        why = f"step {step:.4g} > 1/L = {limit:.4g}. Lower `step` or leave it out"
        return (Certificate("convergence", "none", None, why, _SOURCE),)
    known, _ = _moduli(problem, simple, shape)
    if not smoothness.is_upper:
        status, why = "estimated", f"L is only estimated ({smoothness.how})"
    elif simple is not None and not simple.has_exact_prox:
        status, why = "estimated", "the proximal map is computed by iterations"
    elif modulus is not None and bool((modulus > known * (1 + 1e-12)).any()):
        status, why = "estimated", f"`strong_convexity` {modulus:.4g} is above what is known, {known.min().item():.4g}"
    else:
        status, why = "proved", f"step at most 1/L, L = {smoothness}"
    kind = "exact" if status == "proved" else "estimate"
    factor = 1 + state.simple.double()
    constant = Bound(2 * factor / state.step, kind, "c = 2 (1 + step mu_g) / step")
    since = "a restart" if restart else "x0"
    rate = f"objective - minimum <= c |x0 - x*|^2 / (j + 1)^2 at j steps after {since}; {why}"
    what = "convex objective" if restart else "of the objective, which is convex"
    certificates = (
        Certificate("convergence", status, None, f"{what}, {why}", _SOURCE),
        Certificate("rate", status, constant, rate, _SOURCE),
    )
    both = (state.own + state.simple).double()
    if not bool((both > 0).all()):
        return certificates
    contraction = Bound(1 - (both / factor).sqrt(), "upper" if status == "proved" else "estimate", "1 - sqrt q, q from mu / L")
    linear = (
        f"strongly convex: objective - minimum <= (1 - sqrt q)^j (1 + sqrt q) (1 + step mu_g) |x0 - x*|^2 / (2 step) at j steps "
        f"after {since}; {why}"
    )
    return (*certificates, Certificate("rate", status, contraction, linear, _LINEAR))


def _moduli(problem: Problem, simple: Functional | None, shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Return safe moduli of strong convexity of the smooth parts together and of the proximable one, zero where none is known."""
    zero = Bound(0.0, "lower", "no modulus is known")
    own = problem.smooth_convexity(shape) if problem.is_convex else zero
    other = simple.strong_convexity(shape) if problem.is_convex and simple is not None and simple.is_strongly_convex else zero
    return (own if own.is_lower else zero).value, (other if other.is_lower else zero).value
