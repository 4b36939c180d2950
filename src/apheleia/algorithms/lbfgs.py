"""L-BFGS: quasi-Newton steps from the last few changes of the gradient."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import final

import torch
from torch import Tensor

from apheleia.algorithms.algorithm import Algorithm, State
from apheleia.algorithms.gradient import smooth_obstacle
from apheleia.algorithms.optimality import Reference, optimality_residual, reference
from apheleia.algorithms.spectral import search_smoothness
from apheleia.algorithms.step_sizes import safe_value
from apheleia.core.certificate import Certificate
from apheleia.core.errors import ArgumentError
from apheleia.core.interop import is_number
from apheleia.core.space import Space, as_wide
from apheleia.problem import Problem

__all__ = ["LBFGS"]

DECREASE, CURVATURE = 1e-4, 0.9
"""The two constants of Wolfe's conditions: how much the objective must fall, how much of the slope may be left."""

TRIALS = 25
"""Bound on the trials of one line search."""

CAUTION = 1e-10
"""Least curvature <s, y> / |s|^2 of a remembered pair, as a share of the first step's."""

_SOURCE = "Liu and Nocedal 1989, doi:10.1007/BF01589116; cautious updates: Li and Fukushima 2001, doi:10.1137/S1052623499354242"


@dataclass(frozen=True, eq=False)
class _State(State):
    """The point with its energy and gradient, and the remembered pairs.

    Attributes
    ----------
    value : Tensor
        The objective, (*batch,).
    gradient : Tensor
        Its gradient, (*batch, *space).
    changes, slopes : Tensor
        The last changes of x and of the gradient, the newest last, (*batch, memory, *space); zero where there is none yet.
    curvatures : Tensor
        Their inner products, (*batch, memory).
    first : Tensor
        The step to try where nothing is remembered, (*batch,).
    safe : Tensor
        1 / L, or an estimate of it, (*batch,).
    scale : Reference
        Sizes set by the data.
    """

    value: Tensor
    gradient: Tensor
    changes: Tensor
    slopes: Tensor
    curvatures: Tensor
    first: Tensor
    safe: Tensor
    scale: Reference


@final
class LBFGS(Algorithm):
    """x+ = x - t H grad f(x), H an inverse Hessian that agrees with the last changes of the gradient, t by Wolfe's conditions.

    For any differentiable objective, also where no Lipschitz constant of its gradient is known.

    Parameters
    ----------
    memory : int, default 10
        Number of remembered pairs, at least 1.
    step : float, optional
        Length of the first trial along the gradient, above zero; 1 / L, or an estimate of it, by default.

    Raises
    ------
    ArgumentError
        If the memory is not a whole number of at least 1, or the step not above zero.

    Notes
    -----
    Certificate: that the gradient tends to zero is proved with a safe bound of L, and estimated with an estimate: a pair is
    remembered only where its curvature is above zero by a margin, so that all H lie between two positive numbers; where the
    bounded search finds no step, 1 / L along the gradient is one. Where no L is known: none.
    Complexity: one energy and one gradient a trial, nearly always one trial a step; memory for 2 `memory` images.
    Source: D. Liu, J. Nocedal, Mathematical Programming 45 (1989), doi:10.1007/BF01589116.
    """

    requires = "differentiable parts only, with or without a known Lipschitz constant"

    def __init__(self, memory: int = 10, step: float | None = None) -> None:
        super().__init__()
        if not isinstance(memory, int) or memory < 1:
            raise ArgumentError(f"LBFGS: `memory` must be a whole number >= 1; got {memory!r}.")
        if step is not None and not (is_number(step) and step > 0):
            raise ArgumentError(f"LBFGS: `step` must be above zero; got {step!r}. Leave it out and it is chosen.")
        self.memory = memory
        self.first_step = step

    def obstacle(self, problem: Problem) -> str | None:
        """Return why this algorithm cannot solve the problem, or None where it can."""
        return smooth_obstacle(problem)

    def init(self, problem: Problem, x0: Tensor) -> _State:
        space, batch = problem.space, problem.space.batch_shape(x0)
        smoothness = safe_value(search_smoothness(problem, x0), x0, batch)
        safe = 1 / torch.where(smoothness > 0, smoothness, 1.0)
        value = problem.smooth_value(x0)
        pairs = x0.new_zeros(*batch, self.memory, *x0.shape[x0.ndim - space.rank :])
        return _State(
            k=0,
            x=x0,
            duals=(),
            value=value,
            gradient=problem.smooth_grad(x0),
            changes=pairs,
            slopes=pairs,
            curvatures=value.new_zeros(*batch, self.memory),
            first=safe if self.first_step is None else torch.full_like(safe, self.first_step),
            safe=safe,
            scale=reference(problem, x0),
        )

    def step(self, problem: Problem, state: _State) -> _State:
        space = problem.space
        direction = -_inverse_hessian(state, space)
        slope = space.inner(state.gradient, direction)
        # rounding may spoil the direction; the gradient's own is always one of descent
        spoiled = ~(slope < 0)
        steepest = -as_wide(state.safe, state.x, space.rank) * state.gradient
        direction = torch.where(_wide(spoiled, space), steepest, direction)
        slope = torch.where(spoiled, space.inner(state.gradient, steepest), slope)
        x, value, gradient = _search(problem, state, direction, slope, steepest)
        change, bend = x - state.x, gradient - state.gradient
        curvature, square = space.inner(change, bend), space.inner(change, change)
        kept = (curvature > CAUTION / state.safe * square) & curvature.isfinite()
        return replace(
            state,
            k=state.k + 1,
            x=x,
            value=value,
            gradient=gradient,
            changes=_remembered(state.changes, change, kept, space.rank),
            slopes=_remembered(state.slopes, bend, kept, space.rank),
            curvatures=_remembered(state.curvatures, curvature, kept, 0),
        )

    def residual(self, problem: Problem, state: _State) -> Tensor:
        return optimality_residual(problem, state.x, (), state.scale)

    def certify(self, problem: Problem, state: _State) -> tuple[Certificate, ...]:
        if problem.unbounded:
            why = (
                f"the gradient of {problem.unbounded[0].name} is not known to be Lipschitz: the objective falls at every step, "
                "and the residual says how stationary the answer is"
            )
            return (Certificate("convergence", "none", None, why, _SOURCE),)
        smoothness = search_smoothness(problem, state.x)
        rest = "" if problem.is_convex else ", no more: not convex"
        if smoothness.is_upper:
            why = f"Wolfe's conditions and cautious updates: the gradient tends to zero{rest}"
            return (Certificate("convergence", "proved", None, why, _SOURCE),)
        why = f"the gradient tends to zero{rest}, if L is not above its estimate ({smoothness.how})"
        return (Certificate("convergence", "estimated", None, why, _SOURCE),)


def _inverse_hessian(state: _State, space: Space) -> Tensor:
    """Return H grad f(x) by the two-loop recursion; pairs that are not there yet change nothing."""
    pairs = [
        (s, y, c)
        for s, y, c in zip(
            state.changes.unbind(-space.rank - 1), state.slopes.unbind(-space.rank - 1), state.curvatures.unbind(-1), strict=True
        )
    ]
    point, weights = state.gradient, []
    for s, y, c in reversed(pairs):
        weight = torch.where(c > 0, space.inner(s, point) / torch.where(c > 0, c, 1.0), 0.0)
        point = point - as_wide(weight, y, space.rank) * y
        weights.append(weight)
    # the newest pair gives the size of the rest: <s, y> / |y|^2
    _, y, c = pairs[-1]
    size = torch.where(c > 0, c / torch.where(c > 0, space.inner(y, y), 1.0), state.first)
    point = as_wide(size, point, space.rank) * point
    for (s, y, c), weight in zip(pairs, reversed(weights), strict=True):
        back = torch.where(c > 0, space.inner(y, point) / torch.where(c > 0, c, 1.0), 0.0)
        point = point + as_wide(weight - back, s, space.rank) * s
    return point


def _search(problem: Problem, state: _State, direction: Tensor, slope: Tensor, steepest: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return point, energy and gradient where Wolfe's weak conditions hold, by doubling and bisection, image by image.

    Where the trials run out, the last one that lowered the objective enough counts, else the step along the gradient.
    """
    space = problem.space
    slack = 10 * torch.finfo(slope.dtype).eps * state.value.abs()
    low, high, size = torch.zeros_like(slope), torch.full_like(slope, torch.inf), torch.ones_like(slope)
    best = torch.zeros_like(slope)
    x, value, gradient = state.x, state.value, state.gradient
    for _ in range(TRIALS):
        x = state.x + as_wide(size, direction, space.rank) * direction
        value, gradient = problem.smooth_value(x), problem.smooth_grad(x)
        far = ~(value <= state.value + DECREASE * size * slope + slack)
        # where the change is lost in rounding, a longer step is no better
        near = ~far & (space.inner(gradient, direction) < CURVATURE * slope) & (value < state.value - slack)
        best = torch.where(far, best, size)
        if not bool((far | near).any()):
            return x, value, gradient
        high, low = torch.where(far, size, high), torch.where(near, size, low)
        middle = torch.where(high.isfinite(), 0.5 * (low + torch.where(high.isfinite(), high, 0.0)), 2 * size)
        size = torch.where(far | near, middle, size)
    found = best > 0
    x = state.x + torch.where(_wide(found, space), as_wide(best, direction, space.rank) * direction, steepest)
    return x, problem.smooth_value(x), problem.smooth_grad(x)


def _remembered(pairs: Tensor, newest: Tensor, kept: Tensor, rank: int) -> Tensor:
    """Return the pairs with the newest in place of the oldest, for the images whose pair is kept."""
    shifted = torch.cat([pairs.narrow(-rank - 1, 1, pairs.shape[-rank - 1] - 1), newest.unsqueeze(-rank - 1)], -rank - 1)
    return torch.where(kept[(...,) + (None,) * (rank + 1)], shifted, pairs)


def _wide(mask: Tensor, space: Space) -> Tensor:
    return mask[(...,) + (None,) * space.rank]
