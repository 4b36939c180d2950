"""Gradient descent with Barzilai-Borwein steps and a non-monotone line search."""

from __future__ import annotations

from typing import final

from torch import Tensor

from apheleia.algorithms.algorithm import Algorithm
from apheleia.algorithms.optimality import optimality_residual
from apheleia.algorithms.spectral import SpectralState, search_smoothness, spectral_init, spectral_step
from apheleia.core.bound import Bound
from apheleia.core.certificate import Certificate
from apheleia.core.errors import ArgumentError
from apheleia.core.interop import is_number
from apheleia.problem import Problem

__all__ = ["Gradient", "bounded_obstacle", "descent_certificate", "search_certificate", "smooth_obstacle"]

_SOURCE = "Zhang and Hager 2004, doi:10.1137/S1052623403428208; Raydan 1997, doi:10.1137/S1052623494266365"


@final
class Gradient(Algorithm):
    """x+ = x - step * grad f(x), the step by Barzilai-Borwein, accepted by a non-monotone line search.

    Parameters
    ----------
    step : float, optional
        A fixed step without a line search; convergence is then proved only below 2 / L.

    Raises
    ------
    ArgumentError
        If the step is not above zero.

    Notes
    -----
    Certificate: with the line search, the gradient tends to zero, and a convex objective to its minimum where it has one: proved
    with a safe bound of L, estimated with an estimate. With a fixed step: the same, for step < 2 / L and a convex objective.
    Source: M. Raydan, SIAM Journal on Optimization 7 (1997), doi:10.1137/S1052623494266365.
    """

    requires = "differentiable parts only"

    def __init__(self, step: float | None = None) -> None:
        super().__init__()
        if step is not None and not (is_number(step) and step > 0):
            raise ArgumentError(f"Gradient: `step` must be above zero; got {step!r}. Leave it out and it is chosen.")
        self.fixed_step = step

    def obstacle(self, problem: Problem) -> str | None:
        """Return why this algorithm cannot solve the problem, or None where it can."""
        return smooth_obstacle(problem)

    def init(self, problem: Problem, x0: Tensor) -> SpectralState:
        return spectral_init(problem, x0, None, self.fixed_step)

    def step(self, problem: Problem, state: SpectralState) -> SpectralState:
        return spectral_step(problem, state, None, self.fixed_step is not None)

    def residual(self, problem: Problem, state: SpectralState) -> Tensor:
        return optimality_residual(problem, state.x, (), state.scale)

    def certify(self, problem: Problem, state: SpectralState) -> tuple[Certificate, ...]:
        smoothness = search_smoothness(problem, state.x)
        if self.fixed_step is not None:
            return (descent_certificate(problem, self.fixed_step, smoothness),)
        goal = "the objective tends to its minimum" if problem.is_convex else "the gradient tends to zero, no more: not convex"
        return (search_certificate(smoothness, goal, _SOURCE),)


def smooth_obstacle(problem: Problem) -> str | None:
    """Return why the objective has no gradient, or None."""
    names = problem.non_smooth_names
    return f"needs a smooth objective; {', '.join(names)} is not" if names else None


def bounded_obstacle(problem: Problem) -> str | None:
    """Return why no Lipschitz constant of the gradient is known, or None."""
    names = ", ".join(part.name for part in problem.unbounded)
    return f"needs a Lipschitz constant of the gradient; that of {names} is not known" if names else None


def search_certificate(smoothness: Bound, goal: str, source: str) -> Certificate:
    """Return what the non-monotone line search proves: its `goal`, where its bounded halvings start from a safe bound of L."""
    if smoothness.is_upper:
        return Certificate("convergence", "proved", None, f"non-monotone line search: {goal}", source)
    why = f"non-monotone line search: {goal}, if L is not far above its estimate ({smoothness.how})"
    return Certificate("convergence", "estimated", None, why, source)


def descent_certificate(problem: Problem, step: float, smoothness: Bound, exact_prox: bool = True) -> Certificate:
    """Return what a fixed step of (proximal) gradient descent proves: convergence below 2 / L for a convex objective."""
    source = "Bauschke and Combettes 2011, doi:10.1007/978-1-4419-9467-7, forward-backward"
    steepest = smoothness.value.max().item()
    limit = 2 / steepest if steepest > 0 else float("inf")
    if not problem.is_convex:
        return Certificate("convergence", "none", None, "the objective is not convex and no line search is made", source)
    if step >= limit:
        why = f"step {step:.4g} >= 2/L = {limit:.4g}. Lower `step` or leave it out"
        return Certificate("convergence", "none", None, why, source)
    words = f"step {step:.4g} < 2/L = {limit:.4g}"
    if not smoothness.is_upper:
        return Certificate("convergence", "estimated", None, f"{words}, but L is only estimated ({smoothness.how})", source)
    if not exact_prox:
        return Certificate("convergence", "estimated", None, f"{words}, but the proximal map is computed by iterations", source)
    return Certificate("convergence", "proved", None, f"{words}, L from {smoothness.how}", source)
