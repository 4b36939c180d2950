"""When to stop: converged, diverged, stagnated; decided image by image."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import reduce

import torch
from torch import Tensor

from apheleia.algorithms.algorithm import State
from apheleia.algorithms.optimality import slope
from apheleia.core.report import Status
from apheleia.core.space import Space
from apheleia.problem import Problem

__all__ = ["Scales", "Watch", "has_grown"]

GROWTH = 1e3
"""An iterate, a dual or a residual this many times its scale at x0 has diverged."""

PATIENCE = 50
"""Looks without a new smallest residual, at the level of rounding, after which a run has stagnated."""


@dataclass(frozen=True, eq=False)
class Scales:
    """Sizes of the primal point, the duals and the residual at x0, (*batch,), against which growth is measured."""

    x: Tensor
    duals: Tensor
    residual: Tensor

    @staticmethod
    def at(problem: Problem, x0: Tensor, hint: Tensor | None, residual: Tensor) -> Scales:
        """Measure the scales at `x0` and at the fidelity's own suggestion, where it makes one.

        The duals' scale is that of what they answer to: the gradient, K x, and the slope of h at K x / 2, off the kinks of h.
        """
        sizes, slopes = [], [problem.space.norm(problem.smooth_grad(x0))]
        for x in [x0] if hint is None else [x0, hint.to(x0)]:
            sizes.append(problem.space.norm(x))
            for h, K in problem.split_terms:
                image = K._forward(x)
                slopes += [h.space.norm(image), h.space.norm(slope(h, image))]
        size, duals = (reduce(torch.maximum, torch.broadcast_tensors(*found)) for found in (sizes, slopes))
        return Scales(size.clamp(min=1), duals.clamp(min=1), residual.nan_to_num(1.0).clamp(min=1))


def has_grown(state: State, scales: Scales, space: Space) -> Tensor:
    """Return whether the point or a dual is not finite or far beyond its scale, (*batch,) of booleans."""
    size = space.norm(state.x)
    grown = ~torch.isfinite(size) | (size > GROWTH * scales.x)
    for dual in state.duals:
        dual_size = dual.abs().square().sum(tuple(range(size.ndim, dual.ndim))).sqrt()
        grown = grown | ~torch.isfinite(dual_size) | (dual_size > GROWTH * scales.duals)
    return grown


@dataclass(frozen=True, eq=False)
class Watch:
    """The running verdicts on a batch: which images are active, how the others ended, and the smallest residual so far."""

    active: Tensor
    codes: Tensor
    steps: Tensor
    residual: Tensor
    best: Tensor
    best_look: Tensor
    looks: int

    @staticmethod
    def begin(residual: Tensor) -> Watch:
        """Start watching a batch whose residuals at x0 are given, (*batch,)."""
        zeros = torch.zeros(residual.shape, dtype=torch.int64, device=residual.device)
        codes = zeros + Status.MAX_STEPS.severity
        return Watch(torch.ones_like(residual, dtype=torch.bool), codes, zeros, residual, residual, zeros, 0)

    def look(self, state: State, residual: Tensor, tol: float, scales: Scales, space: Space) -> Watch:
        """Return the verdicts after looking at `state`, whose residual is given, (*batch,)."""
        diverged = has_grown(state, scales, space)
        # +inf is what an indicator says of an infeasible point and no sign of divergence; NaN is
        diverged = diverged | residual.isnan() | (residual.isfinite() & (residual > GROWTH * scales.residual))
        # an answer that meets the tolerance is no divergence, however far from x0 it lies
        converged = torch.isfinite(space.norm(state.x)) & (residual <= tol)
        diverged = diverged & ~converged
        improved = residual < 0.999 * self.best
        best_look = torch.where(improved, self.looks + 1, self.best_look)
        rounding = 1e3 * torch.finfo(residual.dtype).eps
        stagnated = ~diverged & ~converged & (self.looks + 1 - best_look >= PATIENCE) & (residual <= rounding)
        codes = self.codes
        for mask, status in ((converged, Status.CONVERGED), (diverged, Status.DIVERGED), (stagnated, Status.STAGNATED)):
            codes = torch.where(self.active & mask, status.severity, codes)
        steps = torch.where(self.active, state.k, self.steps)
        seen = torch.where(self.active, residual, self.residual)
        best = torch.where(improved, residual, self.best)
        active = self.active & ~(converged | diverged | stagnated)
        return replace(
            self, active=active, codes=codes, steps=steps, residual=seen, best=best, best_look=best_look, looks=self.looks + 1
        )
