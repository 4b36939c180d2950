"""What Gauss-Newton and Levenberg-Marquardt share: the linearised model of the objective and its minimiser."""

from __future__ import annotations

from functools import reduce

import torch
from torch import Tensor

from apheleia.core.certificate import Certificate
from apheleia.core.space import as_wide
from apheleia.operators.inverse import conjugate_gradient
from apheleia.operators.linear import LinearOperator
from apheleia.problem import Problem

__all__ = ["forcing", "linearised_certificate", "linearised_direction", "linearised_hessian", "linearised_obstacle"]

INNER = 100
"""Conjugate gradient steps on one linear system at most."""

FORCING = 0.1
"""Largest relative tolerance of a linear system."""


def linearised_obstacle(problem: Problem) -> str | None:
    """Return why the objective is no sum of quadratics of differentiable maps, or None."""
    names = problem.non_smooth_names
    if names:
        return f"needs quadratics of differentiable maps; {', '.join(names)} is not differentiable"
    rest = [part.name for part in problem.smooth if not part.has_linearised_hessian]
    return f"needs convex quadratics of differentiable maps, such as LeastSquares; {', '.join(rest)} is none" if rest else None


def linearised_hessian(problem: Problem, x: Tensor) -> LinearOperator:
    """Return the Hessian of the model at `x`, in which every non-linear map is replaced by its derivative."""
    return reduce(lambda a, b: a + b, [part._linearised_hessian(x) for part in problem.smooth])


def linearised_direction(
    problem: Problem, x: Tensor, gradient: Tensor, damping: Tensor | None, tol: Tensor
) -> tuple[Tensor, Tensor]:
    """Return d with (H + damping I) d = -gradient to the relative tolerance `tol`, (*batch,), and H d.

    Conjugate gradients from zero: whatever the tolerance, d is a descent direction and lowers the model at least as much as the
    best step along the gradient.
    """
    hessian, space = linearised_hessian(problem, x), problem.space

    def apply(v: Tensor) -> Tensor:
        curved = hessian._forward(v)
        return curved if damping is None else curved + as_wide(damping, v, space.rank) * v

    direction, _ = conjugate_gradient(apply, -gradient, space, tol=tol, max_steps=INNER)
    return direction, hessian._forward(direction)


def forcing(problem: Problem, gradient: Tensor, scale: Tensor) -> Tensor:
    """Return the tolerance of a linear system: the root of the relative gradient, for superlinear convergence, (*batch,)."""
    size = problem.space.norm(gradient.detach()) / torch.where(scale > 0, scale, 1.0)
    return size.sqrt().clamp(min=30 * torch.finfo(size.dtype).eps, max=FORCING)


def linearised_certificate(problem: Problem, source: str) -> tuple[Certificate, ...]:
    """Return what descent on linearised models proves: the minimum where all maps are linear, else only that it descends."""
    if all(part.is_quadratic for part in problem.smooth):
        why = "convex quadratic objective, which is its own model: the objective tends to its minimum"
        return (Certificate("convergence", "proved", None, why, source),)
    why = (
        "the objective falls at every step that is taken; a map that is not linear may have other stationary points than the "
        "minimiser, and another x0 may find a better one"
    )
    return (Certificate("convergence", "none", None, why, source),)
