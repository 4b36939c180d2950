"""Conjugate gradients for quadratic objectives."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import reduce
from typing import final

from torch import Tensor

from apheleia.algorithms.algorithm import Algorithm, State
from apheleia.algorithms.optimality import Reference, optimality_residual, reference
from apheleia.core.bound import Bound
from apheleia.core.certificate import Certificate
from apheleia.operators.inverse import ConjugateGradientState, conjugate_gradient_start, conjugate_gradient_step
from apheleia.operators.linear import LinearOperator
from apheleia.problem import Problem

__all__ = ["ConjugateGradient", "quadratic_hessian"]

_SOURCE = "Hestenes and Stiefel 1952, doi:10.6028/jres.049.044"


@dataclass(frozen=True, eq=False)
class _State(State):
    """The point, and the recursion's residual, direction and |residual|^2."""

    remainder: Tensor
    direction: Tensor
    squared: Tensor
    scale: Reference


def quadratic_hessian(problem: Problem, shape: tuple[int, ...]) -> LinearOperator:
    """Return the constant Hessian of the smooth parts, which must be quadratic."""
    return reduce(lambda a, b: a + b, [part.hessian(shape) for part in problem.smooth])


@final
class ConjugateGradient(Algorithm):
    """Solve Q x = b, the optimality condition of a quadratic objective, by conjugate gradients.

    Notes
    -----
    Certificate: convergence is proved for any convex quadratic (in exact arithmetic, in at most as many steps as Q has
    distinct eigenvalues); with a modulus of strong convexity also the linear rate.
    Complexity: one application of Q a step.
    Source: M. Hestenes, E. Stiefel, Journal of Research of the National Bureau of Standards 49 (1952),
    doi:10.6028/jres.049.044.
    """

    requires = "quadratic parts only"

    def obstacle(self, problem: Problem) -> str | None:
        """Return why this algorithm cannot solve the problem, or None where it can."""
        if not problem.is_convex:
            return "needs a convex objective"
        if problem.non_smooth or problem.split_terms:
            return "needs a quadratic objective; " + ", ".join(p.name for p in problem._parts() if not p.is_quadratic) + " is not"
        rest = [part.name for part in problem.smooth if not part.is_quadratic]
        return f"needs a quadratic objective; {', '.join(rest)} is not" if rest else None

    def init(self, problem: Problem, x0: Tensor) -> _State:
        hessian = quadratic_hessian(problem, tuple(x0.shape[x0.ndim - problem.space.rank :]))
        rhs = hessian._forward(x0) - problem.smooth_grad(x0)
        inner = conjugate_gradient_start(hessian._forward, rhs, x0, problem.space)
        return _State(0, x0, (), inner.residual, inner.direction, inner.squared, reference(problem, x0))

    def step(self, problem: Problem, state: _State) -> _State:
        hessian = quadratic_hessian(problem, tuple(state.x.shape[state.x.ndim - problem.space.rank :]))
        inner = ConjugateGradientState(state.x, state.remainder, state.direction, state.squared, state.squared)
        inner = conjugate_gradient_step(hessian._forward, inner, problem.space)
        return replace(
            state, k=state.k + 1, x=inner.x, remainder=inner.residual, direction=inner.direction, squared=inner.squared
        )

    def residual(self, problem: Problem, state: _State) -> Tensor:
        # the true gradient, not the recursion's, which drifts
        return optimality_residual(problem, state.x, (), state.scale)

    def certify(self, problem: Problem, state: _State) -> tuple[Certificate, ...]:
        shape = tuple(state.x.shape[state.x.ndim - problem.space.rank :])
        found = [Certificate("convergence", "proved", None, "convex quadratic objective", _SOURCE)]
        modulus, smoothness = problem.strong_convexity(shape), problem.smoothness(shape)
        if modulus.is_positive and modulus.is_lower and smoothness.is_upper:
            root = (smoothness.value / modulus.value).sqrt()
            rate = Bound((root - 1) / (root + 1), "upper", "(sqrt(L/mu) - 1) / (sqrt(L/mu) + 1)")
            found.append(Certificate("rate", "proved", rate, "error in the energy norm <= 2 c^k times that of x0", _SOURCE))
        return tuple(found)
