"""A large image is solved in windows that all run one and the same iteration, found on a few representative crops.

Windows that chose their own step sizes and stopped on their own would differ where they meet, because an iterate that is good
enough in its objective may still be far from another such iterate, pixel by pixel. With one step size and one number of
steps, what is left at the seams is the influence of a cut `OVERLAP` pixels away: about 0.01 of 1/255 (benchmarks/large_image.py).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from apheleia.algorithms import ADMM, FISTA, Algorithm, ChambollePock, CondatVu, Gradient, State, choose, solve
from apheleia.algorithms.admm import ADMMState
from apheleia.algorithms.primal_dual import PrimalDualState
from apheleia.core.report import Report
from apheleia.imaging.model import ImagingModel
from apheleia.imaging.weight import choose_crops
from apheleia.problem import Problem

__all__ = ["Schedule", "find_schedule", "whole_schedule"]

TIGHTER = 1e-2
"""Factor on the tolerance of windows whose algorithm has no fixed step: they then agree because each is near its optimum."""


@dataclass(frozen=True)
class Schedule:
    """What every window runs.

    Attributes
    ----------
    algorithm : Algorithm
        With its step fixed, where windows are several.
    why : str
        Why this algorithm, and why so.
    tol : float
        Relative tolerance.
    steps : int
        Steps at most, or exactly so many.
    exactly : bool
        Whether the steps are run out, whatever the tolerance; the status then says whether it was met.
    """

    algorithm: Algorithm
    why: str
    tol: float
    steps: int
    exactly: bool

    def run(self, problem: Problem, x0: Tensor) -> tuple[Tensor, Report]:
        """Solve one window from `x0`."""
        stopping = not self.exactly
        x, report = solve(problem, self.algorithm, x0, tol=self.tol, max_steps=self.steps, early_stopping=stopping, throw=False)
        return torch.as_tensor(x), replace(report, why=self.why)


def whole_schedule(problem: Problem, tol: float, max_steps: int) -> Schedule:
    """Return the schedule of an image that is solved whole: the algorithm that its structure asks for, to the tolerance."""
    algorithm, why = choose(problem)
    return Schedule(algorithm, why, tol, max_steps, exactly=False)


def find_schedule(
    model: ImagingModel, y: Tensor, mask: Tensor | None, noise_std: float, weight: float, tol: float, max_steps: int
) -> Schedule:
    """Solve a few crops as one batch and return the schedule that brings all of them well below the tolerance.

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
    algorithm, why = choose(problem)
    start = model.start(crops)
    if isinstance(algorithm, Gradient):
        smoothness = problem.smoothness(tuple(start.shape[-3:])).value
        algorithm = Gradient(step=1.9 / float(smoothness.max()))
    elif isinstance(algorithm, FISTA):
        smoothness = problem.smoothness(tuple(start.shape[-3:])).value
        algorithm = FISTA(step=1 / float(smoothness.max()), restart=False, strong_convexity=0.0)
    elif not isinstance(algorithm, ADMM | CondatVu | ChambollePock):
        return Schedule(algorithm, f"{why}; windows go to a hundredth of the tolerance", TIGHTER * tol, max_steps, False)
    balanced: list[Tensor] = []

    def watch(state: State, residual: Tensor) -> None:
        if isinstance(state, PrimalDualState):
            balanced[:] = [state.step]
        elif isinstance(state, ADMMState):
            balanced[:] = state.penalties

    # half the tolerance, and a quarter more steps, for windows that are harder than these crops
    _, report = solve(problem, algorithm, start, tol=0.5 * tol, max_steps=max_steps, throw=False, callbacks=[watch])
    steps = min(math.ceil(1.25 * int(report.steps.max())), max_steps)
    if balanced:
        sizes = [float(one.median()) for one in balanced]
        algorithm = ADMM(penalty=sizes) if isinstance(algorithm, ADMM) else type(algorithm)(step=sizes[0])
    return Schedule(algorithm, f"{why}; one step size and {steps} steps in all windows", tol, steps, exactly=True)
