"""Levenberg-Marquardt: damped Gauss-Newton steps, trusted as far as they hold what they promise."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import final

import torch
from torch import Tensor

from apheleia.algorithms.algorithm import Algorithm, State
from apheleia.algorithms.linearised import (
    forcing,
    linearised_certificate,
    linearised_direction,
    linearised_hessian,
    linearised_obstacle,
)
from apheleia.algorithms.optimality import Reference, optimality_residual, reference
from apheleia.core.certificate import Certificate
from apheleia.core.errors import ArgumentError
from apheleia.core.interop import is_number
from apheleia.problem import Problem

__all__ = ["LevenbergMarquardt"]

ACCEPT = 1e-4
"""Share of the promised decrease that a step must hold."""

SHRINK = 1 / 3
"""Least factor of the damping after a step that held its promise."""

_SOURCE = "Moré 1978, doi:10.1007/BFb0067700; damping: Nielsen 1999, IMM-REP-1999-05"


@dataclass(frozen=True, eq=False)
class _State(State):
    """The point with its energy and gradient, the damping, and its factor after the next refusal."""

    value: Tensor
    gradient: Tensor
    damping: Tensor
    growth: Tensor
    scale: Reference


@final
class LevenbergMarquardt(Algorithm):
    """x+ = x + d where (J^H Q J + damping I) d = -grad f(x), if f falls as promised; the damping follows the share that is held.

    For least squares of a non-linear data formation A with derivative J, with quadratic priors or none. The linear systems are
    solved by conjugate gradients that see J and J^H alone.

    Parameters
    ----------
    damping : float, default 1e-2
        The first damping, as a share of the model's curvature along the first gradient; above zero.

    Raises
    ------
    ArgumentError
        If the damping is not above zero.

    Notes
    -----
    Certificate: convergence is proved where A is linear; else none: the objective falls at every step that is taken, and the
    residual says how stationary the answer is.
    Complexity: one application of J and J^H a conjugate gradient step.
    Source: J. Moré, Numerical Analysis (1978), doi:10.1007/BFb0067700.
    """

    requires = "convex quadratics of differentiable maps, which need not be linear"
    look_every = 1

    def __init__(self, damping: float = 1e-2) -> None:
        super().__init__()
        if not (is_number(damping) and damping > 0):
            raise ArgumentError(f"LevenbergMarquardt: `damping` must be above zero; got {damping!r}.")
        self.damping = damping

    def obstacle(self, problem: Problem) -> str | None:
        """Return why this algorithm cannot solve the problem, or None where it can."""
        return linearised_obstacle(problem)

    def init(self, problem: Problem, x0: Tensor) -> _State:
        space, gradient = problem.space, problem.smooth_grad(x0)
        square = space.inner(gradient, gradient)
        curvature = space.inner(gradient, linearised_hessian(problem, x0)._forward(gradient))
        known = (square > 0) & (curvature > 0)
        damping = self.damping * torch.where(known, curvature, 1.0) / torch.where(known, square, 1.0)
        value = problem.smooth_value(x0)
        return _State(0, x0, (), value, gradient, damping, torch.full_like(value, 2.0), reference(problem, x0))

    def step(self, problem: Problem, state: _State) -> _State:
        space = problem.space
        tol = forcing(problem, state.gradient, state.scale.gradient)
        d, curved = linearised_direction(problem, state.x, state.gradient, state.damping, tol)
        trial = state.x + d
        value = problem.smooth_value(trial)
        # rounding in the objective must not read as a broken promise
        slack = 10 * torch.finfo(value.dtype).eps * state.value.abs()
        promised = -space.inner(state.gradient, d) - 0.5 * space.inner(d, curved) + slack
        finite = value.isfinite()
        held = state.value - torch.where(finite, value, state.value) + slack
        share = torch.where(promised > 0, held / torch.where(promised > 0, promised, 1.0), 1.0)
        accepted = finite & (share > ACCEPT)
        wide = accepted[(...,) + (None,) * space.rank]
        # a share of 1 shrinks the damping the most, one of a half keeps it (Nielsen 1999)
        factor = (1 - (2 * share.clamp(0, 1.5) - 1) ** 3).clamp(min=SHRINK)
        damping = state.damping * torch.where(accepted, factor, state.growth)
        x = torch.where(wide, trial, state.x)
        return replace(
            state,
            k=state.k + 1,
            x=x,
            value=torch.where(accepted, value, state.value),
            gradient=problem.smooth_grad(x),
            damping=damping,
            growth=torch.where(accepted, 2.0, 2 * state.growth),
        )

    def residual(self, problem: Problem, state: _State) -> Tensor:
        return optimality_residual(problem, state.x, (), state.scale)

    def certify(self, problem: Problem, state: _State) -> tuple[Certificate, ...]:
        return linearised_certificate(problem, _SOURCE)
