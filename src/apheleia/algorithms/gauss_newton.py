"""Gauss-Newton: the minimiser of the linearised model, under a line search."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import final

import torch
from torch import Tensor

from apheleia.algorithms.algorithm import Algorithm, State
from apheleia.algorithms.linearised import forcing, linearised_certificate, linearised_direction, linearised_obstacle
from apheleia.algorithms.optimality import Reference, optimality_residual, reference
from apheleia.core.certificate import Certificate
from apheleia.core.space import as_wide
from apheleia.problem import Problem

__all__ = ["GaussNewton"]

DECREASE = 1e-4
"""Share of the slope's promise by which the objective must fall (Armijo)."""

HALVINGS = 30
"""Bound on the halvings of one line search."""

_SOURCE = "Nocedal and Wright 2006, doi:10.1007/978-0-387-40065-5, non-linear least squares"


@dataclass(frozen=True, eq=False)
class _State(State):
    """The point with its energy and gradient."""

    value: Tensor
    gradient: Tensor
    scale: Reference


@final
class GaussNewton(Algorithm):
    """x+ = x + t d where J^H Q J d = -grad f(x), t = 1, 1/2, 1/4, ... the first for which f falls enough.

    For least squares of a mildly non-linear data formation A with derivative J; where J is nearly singular, LevenbergMarquardt
    is safer. Conjugate gradients solve the linear systems, ever more exactly.

    Notes
    -----
    Certificate: convergence is proved where A is linear; else none: the objective falls at every step, and the residual says
    how stationary the answer is.
    Complexity: one application of J and J^H a conjugate gradient step.
    Source: J. Nocedal, S. Wright, Numerical Optimization (2006), doi:10.1007/978-0-387-40065-5.
    """

    requires = "convex quadratics of differentiable maps, which need not be linear"
    look_every = 1

    def obstacle(self, problem: Problem) -> str | None:
        """Return why this algorithm cannot solve the problem, or None where it can."""
        return linearised_obstacle(problem)

    def init(self, problem: Problem, x0: Tensor) -> _State:
        return _State(0, x0, (), problem.smooth_value(x0), problem.smooth_grad(x0), reference(problem, x0))

    def step(self, problem: Problem, state: _State) -> _State:
        space = problem.space
        tol = forcing(problem, state.gradient, state.scale.gradient)
        d, _ = linearised_direction(problem, state.x, state.gradient, None, tol)
        slope = space.inner(state.gradient, d)
        # rounding in the objective must not read as an increase
        slack = 10 * torch.finfo(slope.dtype).eps * state.value.abs()
        size = torch.ones_like(slope)
        x = state.x + d
        value = problem.smooth_value(x)
        for _ in range(HALVINGS):
            short = ~(value <= state.value + DECREASE * size * slope + slack)
            if not bool(short.any()):
                break
            size = torch.where(short, 0.5 * size, size)
            x = state.x + as_wide(size, d, space.rank) * d
            value = problem.smooth_value(x)
        return replace(state, k=state.k + 1, x=x, value=value, gradient=problem.smooth_grad(x))

    def residual(self, problem: Problem, state: _State) -> Tensor:
        return optimality_residual(problem, state.x, (), state.scale)

    def certify(self, problem: Problem, state: _State) -> tuple[Certificate, ...]:
        return linearised_certificate(problem, _SOURCE)
