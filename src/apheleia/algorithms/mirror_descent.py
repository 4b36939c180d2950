"""Mirror descent on the simplex: multiplicative updates that stay inside."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import final

import torch
from torch import Tensor

from apheleia.algorithms.algorithm import Algorithm, State
from apheleia.algorithms.gradient import bounded_obstacle
from apheleia.algorithms.optimality import Reference, optimality_residual, reference
from apheleia.algorithms.step_sizes import safe_value
from apheleia.core.bound import Bound
from apheleia.core.certificate import Certificate
from apheleia.core.errors import ArgumentError
from apheleia.core.interop import is_number
from apheleia.core.space import as_wide
from apheleia.functionals.calculus import Scaled
from apheleia.functionals.priors.indicators import Simplex
from apheleia.problem import Problem

__all__ = ["MirrorDescent"]

FLOOR = 1e-3
"""Least first value, as a share of the mean: what begins at zero stays there."""

_SOURCE = "Beck and Teboulle 2003, doi:10.1016/S0167-6377(02)00231-6; Lu, Freund, Nesterov 2018, doi:10.1137/16M1099546"


@dataclass(frozen=True, eq=False)
class _State(State):
    """The point, its logarithm, and the step, (*batch,)."""

    logarithm: Tensor
    step: Tensor
    scale: Reference


@final
class MirrorDescent(Algorithm):
    """x+ proportional to x * exp(-step * grad f(x)) in every pixel, which keeps x on the simplex: entropic mirror descent.

    Parameters
    ----------
    step : float, optional
        A step other than 1 / L; convergence is proved only up to 1 / L.

    Raises
    ------
    ArgumentError
        If the step is not above zero.

    Notes
    -----
    Certificate: the objective falls at every step and is at most KL(x*, x0) / (step k) above its minimum, proved for convex
    parts, a safe L and a step of at most 1 / L: by Pinsker's inequality f is smooth relative to the entropy. For a simplex of
    another total, L is that times L.
    Complexity: one gradient a step.
    Source: A. Beck, M. Teboulle, Operations Research Letters 31 (2003), doi:10.1016/S0167-6377(02)00231-6.
    """

    requires = "smooth parts and Simplex"

    def __init__(self, step: float | None = None) -> None:
        super().__init__()
        if step is not None and not (is_number(step) and step > 0):
            raise ArgumentError(f"MirrorDescent: `step` must be above zero; got {step!r}. Leave it out and it is chosen.")
        self.fixed_step = step

    def obstacle(self, problem: Problem) -> str | None:
        """Return why this algorithm cannot solve the problem, or None where it can."""
        if problem.split_terms:
            return f"takes no terms h(K x); this problem has {', '.join(h.name for h, _ in problem.split_terms)}"
        if problem.simple is None:
            return "needs Simplex as the constraint; this problem has none"
        if _simplex(problem) is None:
            return f"needs Simplex as the constraint; this problem has {problem.simple.name}"
        return bounded_obstacle(problem)

    def init(self, problem: Problem, x0: Tensor) -> _State:
        simplex, batch = _known(problem), problem.space.batch_shape(x0)
        smoothness = safe_value(_relative_smoothness(problem, x0), x0, batch)
        step = 1 / torch.where(smoothness > 0, smoothness, 1.0)
        step = step if self.fixed_step is None else torch.full_like(step, self.fixed_step)
        inside = simplex._project(x0).clamp(min=FLOOR * simplex.total / x0.shape[simplex.axis])
        logarithm = inside.log().log_softmax(simplex.axis)
        return _State(0, simplex.total * logarithm.exp(), (), logarithm, step, reference(problem, x0))

    def step(self, problem: Problem, state: _State) -> _State:
        simplex = _known(problem)
        moved = state.logarithm - as_wide(state.step, state.x, problem.space.rank) * problem.smooth_grad(state.x)
        logarithm = moved.log_softmax(simplex.axis)
        return replace(state, k=state.k + 1, x=simplex.total * logarithm.exp(), logarithm=logarithm)

    def residual(self, problem: Problem, state: _State) -> Tensor:
        return optimality_residual(problem, state.x, (), state.scale)

    def certify(self, problem: Problem, state: _State) -> tuple[Certificate, ...]:
        if not problem.is_convex:
            return (Certificate("convergence", "none", None, "the objective is not convex", _SOURCE),)
        smoothness = _relative_smoothness(problem, state.x)
        steepest = smoothness.value.max().item()
        limit = 1 / steepest if steepest > 0 else float("inf")
        if self.fixed_step is not None and self.fixed_step > limit * (1 + 1e-12):
            why = f"step {self.fixed_step:.4g} > 1/L = {limit:.4g}. Lower `step` or leave it out"
            return (Certificate("convergence", "none", None, why, _SOURCE),)
        status = "proved" if smoothness.is_upper else "estimated"
        why = f"step at most 1/L, L = {smoothness}" if smoothness.is_upper else f"L is only estimated ({smoothness.how})"
        constant = Bound(1 / state.step, "exact" if status == "proved" else "estimate", "c = 1 / step")
        return (
            Certificate("convergence", status, None, f"the objective tends to its minimum; {why}", _SOURCE),
            Certificate("rate", status, constant, f"objective - minimum <= c KL(x*, x0) / k after k steps; {why}", _SOURCE),
        )


def _simplex(problem: Problem) -> Simplex | None:
    """Return the constraint without its weight, or None; a weight of zero would take it away."""
    part = problem.simple
    if isinstance(part, Scaled):
        part = part.functional if bool((part.weight > 0).all()) else None
    return part if isinstance(part, Simplex) else None


def _known(problem: Problem) -> Simplex:
    simplex = _simplex(problem)
    assert simplex is not None, "checked by `obstacle`"
    return simplex


def _relative_smoothness(problem: Problem, x: Tensor) -> Bound:
    """Return the constant of f relative to the entropy: L times the total, since |v|_2 <= |v|_1 and by Pinsker's inequality."""
    bound = problem.smoothness(tuple(x.shape[x.ndim - problem.space.rank :]))
    return bound.scaled(_known(problem).total, "times the total")
