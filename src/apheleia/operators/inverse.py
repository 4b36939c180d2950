"""Solving with a self-adjoint positive semi-definite operator: batched conjugate gradients, and their exact derivatives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor

from apheleia.core.space import Space, per_sample
from apheleia.operators.foreign import linear_map

__all__ = [
    "ConjugateGradientState",
    "conjugate_gradient",
    "conjugate_gradient_start",
    "conjugate_gradient_step",
    "differentiable_solve",
]

Map = Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class ConjugateGradientState:
    """The iterate x, its residual r = b - Q x, the search direction, and |r|^2 and <r, P r> per sample, (*batch,)."""

    x: Tensor
    residual: Tensor
    direction: Tensor
    squared: Tensor
    weighted: Tensor


def conjugate_gradient_start(
    apply: Map, rhs: Tensor, x0: Tensor | None, space: Space, preconditioner: Map | None = None
) -> ConjugateGradientState:
    """Return the state at `x0`, or at zero, for Q x = rhs, where `apply` is x -> Q x and `preconditioner` nearly its inverse."""
    residual = rhs if x0 is None else rhs - apply(x0)
    x = torch.zeros_like(rhs) if x0 is None else x0.expand_as(residual)
    direction = residual if preconditioner is None else preconditioner(residual)
    squared = space.inner(residual, residual)
    weighted = squared if preconditioner is None else space.inner(residual, direction)
    return ConjugateGradientState(x, residual, direction, squared, weighted)


def conjugate_gradient_step(
    apply: Map, state: ConjugateGradientState, space: Space, preconditioner: Map | None = None
) -> ConjugateGradientState:
    """Return the next state; an image that is solved, or whose direction has no curvature, stays where it is."""
    curved = apply(state.direction)
    curvature = space.inner(state.direction, curved)
    moves = (curvature > 0) & (state.weighted > 0)
    # safe operands: a solved image divides by one, not by zero, so that no NaN leaks through its gradient
    alpha = torch.where(moves, state.weighted / torch.where(moves, curvature, 1.0), 0.0)
    x = state.x + per_sample(alpha, state.x, space.rank) * state.direction
    residual = state.residual - per_sample(alpha, curved, space.rank) * curved
    squared = space.inner(residual, residual)
    near = residual if preconditioner is None else preconditioner(residual)
    weighted = squared if preconditioner is None else space.inner(residual, near)
    beta = torch.where(moves, weighted / torch.where(moves, state.weighted, 1.0), 0.0)
    direction = near + per_sample(beta, near, space.rank) * state.direction
    return ConjugateGradientState(x, residual, direction, squared, weighted)


def conjugate_gradient(
    apply: Map,
    rhs: Tensor,
    space: Space,
    *,
    x0: Tensor | None = None,
    tol: float | Tensor = 1e-6,
    max_steps: int = 200,
    preconditioner: Map | None = None,
) -> tuple[Tensor, Tensor]:
    """Solve Q x = rhs for self-adjoint positive semi-definite Q until |rhs - Q x| <= tol |rhs|, image by image.

    Parameters
    ----------
    apply : callable
        x -> Q x on tensors (*batch, *space).
    rhs : Tensor, (*batch, *space)
        Right-hand side, in the range of Q.
    space : Space
        Where x lives.
    x0 : Tensor, optional
        Start; zero by default.
    tol : float or Tensor, (*batch,)
        Relative tolerance, >= 0.
    max_steps : int
        Steps at most, of one application of Q each.
    preconditioner : callable, optional
        r -> P r with a self-adjoint positive definite P near the inverse of Q; the tolerance stays one on |rhs - Q x|.

    Returns
    -------
    x : Tensor, (*batch, *space)
        The solution; each image stops at its own tolerance.
    residual : Tensor, (*batch,)
        |rhs - Q x| / |rhs| as the recursion has it.

    Notes
    -----
    Source: M. Hestenes, E. Stiefel, Journal of Research of the National Bureau of Standards 49 (1952),
    doi:10.6028/jres.049.044.
    """
    state = conjugate_gradient_start(apply, rhs, x0, space, preconditioner)
    size = space.norm(rhs)
    for _ in range(max_steps):
        active = state.squared.sqrt() > tol * size
        if not bool(active.any()):
            break
        new = conjugate_gradient_step(apply, state, space, preconditioner)
        if bool(active.all()):
            state = new
        else:
            mask = active[(...,) + (None,) * space.rank]
            state = ConjugateGradientState(
                torch.where(mask, new.x, state.x),
                torch.where(mask, new.residual, state.residual),
                torch.where(mask, new.direction, state.direction),
                torch.where(active, new.squared, state.squared),
                torch.where(active, new.weighted, state.weighted),
            )
    return state.x, state.squared.sqrt() / torch.where(size > 0, size, 1.0)


def differentiable_solve(apply: Map, rhs: Tensor, solve: Map) -> Tensor:
    """Return solve(rhs), which solves Q x = rhs, with the first and second derivatives of the exact solution.

    They come from the equation and not from the iterations: one more solve a backward pass, and no memory of the steps.

    Parameters
    ----------
    apply : callable
        x -> Q x, self-adjoint, differentiable in x and in whatever Q is made of.
    rhs : Tensor, (*batch, *space)
        Right-hand side.
    solve : callable
        rhs -> x by iterations; it runs without gradients.
    """
    with torch.no_grad():
        x = solve(rhs)
    residual = rhs - apply(x) if torch.is_grad_enabled() else rhs
    if not (torch.is_grad_enabled() and residual.requires_grad):
        return x
    # Newton's correction x + Q^{-1} (rhs - Q x) of a constant x has the first derivative of the solution, and correcting that
    # again has the second: each time the error I - Q^{-1} Q, zero at the point, is of one order more in the parameters
    first = x + _correction(residual, solve, True)
    return first + _correction(rhs - apply(first), solve, False)


def _correction(residual: Tensor, solve: Map, only_for_second: bool) -> Tensor:
    return _Correction.apply(residual, solve, only_for_second)  # type: ignore[return-value]


@final
class _Correction(torch.autograd.Function):
    """residual -> Q^{-1} residual where the residual is zero up to the tolerance of the solver, and so is this."""

    @staticmethod
    def forward(residual: Tensor, solve: Map, only_for_second: bool) -> Tensor:
        return torch.zeros_like(residual)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Map, bool], output: Tensor) -> None:
        _, ctx.solve, ctx.only_for_second = inputs
        ctx.is_recorded = False

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, None, None]:
        # a pass that is itself recorded, create_graph=True, has second derivatives come through here later
        ctx.is_recorded |= torch.is_grad_enabled()
        if ctx.only_for_second and not ctx.is_recorded:
            # in a first pass the gradient is what the other correction left of it: zero up to the tolerance
            return None, None, None
        return linear_map(gradient, ctx.solve, ctx.solve), None, None
