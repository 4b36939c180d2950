"""A large image is solved in windows that all run one and the same iteration, found on a few representative crops.

Windows that chose their own step sizes and stopped on their own would differ where they meet, because an iterate that is good
enough in its objective may still be far from another such iterate, pixel by pixel. With one step size and one number of
steps, what is left at the seams is the influence of a cut `OVERLAP` pixels away: about 0.01 of 1/255 (benchmarks/large_image.py).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from apheleia.algorithms import Algorithm, ChambollePock, CondatVu, State, Unrolled, choose, solve
from apheleia.algorithms.primal_dual import PrimalDualState
from apheleia.core.report import Report
from apheleia.imaging.model import ImagingModel
from apheleia.imaging.weight import choose_crops
from apheleia.problem import Problem

__all__ = ["Schedule", "find_schedule"]

TIGHTER = 1e-2
"""Factor on the tolerance of windows whose algorithm has no fixed step: they then agree because each is near its optimum."""


@dataclass(frozen=True)
class Schedule:
    """What every window runs.

    Attributes
    ----------
    algorithm : Algorithm
        With its step fixed.
    steps : int or None
        Exactly so many steps; None for as many as the tolerance takes.
    tol : float
        Relative tolerance where `steps` is None.
    max_steps : int
        Limit where `steps` is None.
    """

    algorithm: Algorithm
    steps: int | None
    tol: float
    max_steps: int

    def run(self, problem: Problem, x0: Tensor) -> tuple[Tensor, Report]:
        """Solve one window from `x0`."""
        if self.steps is None:
            x, report = solve(problem, self.algorithm, x0, tol=self.tol, max_steps=self.max_steps, throw=False)
        else:
            with torch.no_grad():
                x, report = solve(problem, self.algorithm, x0, diff=Unrolled(self.steps), throw=False)
        return torch.as_tensor(x), report


def find_schedule(
    model: ImagingModel, y: Tensor, mask: Tensor | None, noise_std: float, weight: float, tol: float, max_steps: int
) -> Schedule:
    """Solve a few crops as one batch and return the schedule that brings all of them to the tolerance.

    Parameters
    ----------
    model : ImagingModel
        The model.
    y : Tensor, (channel, height, width)
        The data.
    mask : Tensor, optional
        Non-zero where pixels were measured.
    noise_std, weight : float
        Noise and weight of the prior.
    tol : float
        Relative tolerance.
    max_steps : int
        Steps at most.
    """
    windows = choose_crops(*y.shape[-2:], size=256)
    crops = torch.stack([y[..., rows, columns] for rows, columns in windows])
    masks = None if mask is None else torch.stack([mask[..., rows, columns] for rows, columns in windows])
    problem = model.problem(crops, masks, noise_std, weight)
    algorithm, _ = choose(problem)
    if not isinstance(algorithm, CondatVu | ChambollePock):
        return Schedule(algorithm, None, TIGHTER * tol, max_steps)
    taus: list[Tensor] = []

    def watch(state: State, residual: Tensor) -> None:
        if isinstance(state, PrimalDualState):
            taus[:] = [state.step]

    _, report = solve(problem, algorithm, model.start(crops), tol=tol, max_steps=max_steps, throw=False, callbacks=[watch])
    # a tenth more than the slowest crop, for windows that are a little harder
    steps = math.ceil(1.1 * int(report.steps.max()))
    return Schedule(type(algorithm)(step=float(taus[0].median())), min(steps, max_steps), tol, max_steps)
