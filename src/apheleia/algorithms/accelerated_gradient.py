"""Nesterov's accelerated gradient with restart."""

from __future__ import annotations

from typing import final

from torch import Tensor

from apheleia.algorithms.accelerated import AcceleratedState, accelerated_certificates, accelerated_init, accelerated_step
from apheleia.algorithms.algorithm import Algorithm
from apheleia.algorithms.gradient import bounded_obstacle, smooth_obstacle
from apheleia.algorithms.optimality import optimality_residual
from apheleia.core.certificate import Certificate
from apheleia.core.errors import ArgumentError
from apheleia.problem import Problem

__all__ = ["AcceleratedGradient"]


@final
class AcceleratedGradient(Algorithm):
    """x+ = z - grad f(z) / L at the extrapolated point z, with momentum that restarts where it points uphill.

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
    Certificate: convergence and the rate O(1 / j^2) since the last restart, proved for a convex objective with a safe L.
    Source: Y. Nesterov, Soviet Mathematics Doklady 27 (1983); restart: B. O'Donoghue, E. Candès, Foundations of Computational
    Mathematics 15 (2015), doi:10.1007/s10208-013-9150-3.
    """

    requires = "smooth parts only"

    def __init__(self, step: float | None = None) -> None:
        super().__init__()
        if step is not None and not step > 0:
            raise ArgumentError(f"AcceleratedGradient: `step` must be above zero; got {step!r}. Leave it out and it is chosen.")
        self.fixed_step = step

    def obstacle(self, problem: Problem) -> str | None:
        """Return why this algorithm cannot solve the problem, or None where it can."""
        return smooth_obstacle(problem) or bounded_obstacle(problem)

    def init(self, problem: Problem, x0: Tensor) -> AcceleratedState:
        return accelerated_init(problem, x0, self.fixed_step)

    def step(self, problem: Problem, state: AcceleratedState) -> AcceleratedState:
        return accelerated_step(problem, state, None)

    def residual(self, problem: Problem, state: AcceleratedState) -> Tensor:
        return optimality_residual(problem, state.x, (), state.scale)

    def certify(self, problem: Problem, state: AcceleratedState) -> tuple[Certificate, ...]:
        return accelerated_certificates(problem, state, None, self.fixed_step)
