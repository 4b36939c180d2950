"""FISTA: accelerated proximal gradient with restart."""

from __future__ import annotations

from typing import final

from torch import Tensor

from apheleia.algorithms.accelerated import AcceleratedState, accelerated_certificates, accelerated_init, accelerated_step
from apheleia.algorithms.algorithm import Algorithm
from apheleia.algorithms.gradient import bounded_obstacle
from apheleia.algorithms.optimality import optimality_residual
from apheleia.algorithms.proximal_gradient import proximal_obstacle, proximal_part
from apheleia.core.certificate import Certificate
from apheleia.core.errors import ArgumentError
from apheleia.core.interop import is_number
from apheleia.problem import Problem

__all__ = ["FISTA"]


@final
class FISTA(Algorithm):
    """x+ = prox_g(z - grad f(z) / L, 1 / L) at the extrapolated point z, with momentum that restarts where it points uphill.

    Parameters
    ----------
    step : float, optional
        A step other than 1 / L; convergence is proved only up to 1 / L.
    restart : bool, default True
        Whether the momentum restarts where it points uphill, judged by the whole image. Without, a pixel's course depends on its
        surroundings alone, which the windows of a large image need.
    strong_convexity : float, optional
        A modulus mu >= 0 of the smooth parts, other than the one that is known of them; 0 for the momentum of a convex objective.

    Raises
    ------
    ArgumentError
        If the step is not above zero, or the modulus below it.

    Notes
    -----
    Certificate: convergence and the rate O(1 / j^2) since the last restart, proved for convex parts with a safe L and an
    exact proximal map. Where a modulus mu of strong convexity is known, the linear rate (1 - sqrt(mu / L))^j as well, which the
    momentum exploits.
    Source: A. Beck, M. Teboulle, SIAM Journal on Imaging Sciences 2 (2009), doi:10.1137/080716542; strongly convex: A. Chambolle,
    T. Pock, Acta Numerica 25 (2016), doi:10.1017/S096249291600009X.
    """

    requires = "smooth parts and one proximable part"

    def __init__(self, step: float | None = None, restart: bool = True, strong_convexity: float | None = None) -> None:
        super().__init__()
        if step is not None and not (is_number(step) and step > 0):
            raise ArgumentError(f"FISTA: `step` must be above zero; got {step!r}. Leave it out and it is chosen.")
        if strong_convexity is not None and not (is_number(strong_convexity) and strong_convexity >= 0):
            raise ArgumentError(f"FISTA: `strong_convexity` must be at least zero; got {strong_convexity!r}. Or leave it out.")
        self.fixed_step = step
        self.restart = restart
        self.strong_convexity = strong_convexity

    def obstacle(self, problem: Problem) -> str | None:
        """Return why this algorithm cannot solve the problem, or None where it can."""
        return proximal_obstacle(problem) or bounded_obstacle(problem)

    def init(self, problem: Problem, x0: Tensor) -> AcceleratedState:
        return accelerated_init(problem, x0, proximal_part(problem), self.fixed_step, self.strong_convexity)

    def step(self, problem: Problem, state: AcceleratedState) -> AcceleratedState:
        return accelerated_step(problem, state, proximal_part(problem), self.restart)

    def residual(self, problem: Problem, state: AcceleratedState) -> Tensor:
        return optimality_residual(problem, state.x, (), state.scale, proximal_part(problem))

    def certify(self, problem: Problem, state: AcceleratedState) -> tuple[Certificate, ...]:
        return accelerated_certificates(
            problem, state, proximal_part(problem), self.fixed_step, self.strong_convexity, self.restart
        )
