"""Solving with a self-adjoint positive semi-definite operator: batched conjugate gradients, one tolerance an image."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from apheleia.core.space import Space, per_sample

__all__ = ["ConjugateGradientState", "conjugate_gradient", "conjugate_gradient_start", "conjugate_gradient_step"]


@dataclass(frozen=True, eq=False)
class ConjugateGradientState:
    """The iterate x, its residual b - Q x, the search direction, and |residual|^2 per sample, (*batch,)."""

    x: Tensor
    residual: Tensor
    direction: Tensor
    squared: Tensor


def conjugate_gradient_start(apply: Callable[[Tensor], Tensor], rhs: Tensor, x0: Tensor, space: Space) -> ConjugateGradientState:
    """Return the state at `x0` for Q x = rhs, where `apply` is x -> Q x."""
    residual = rhs - apply(x0)
    return ConjugateGradientState(x0.expand_as(residual), residual, residual, space.inner(residual, residual))


def conjugate_gradient_step(
    apply: Callable[[Tensor], Tensor], state: ConjugateGradientState, space: Space
) -> ConjugateGradientState:
    """Return the next state; an image that is solved, or whose direction has no curvature, stays where it is."""
    curved = apply(state.direction)
    curvature = space.inner(state.direction, curved)
    moves = (curvature > 0) & (state.squared > 0)
    # safe operands: a solved image divides by one, not by zero, so that no NaN leaks through its gradient
    alpha = torch.where(moves, state.squared / torch.where(moves, curvature, 1.0), 0.0)
    x = state.x + per_sample(alpha, state.x, space.rank) * state.direction
    residual = state.residual - per_sample(alpha, curved, space.rank) * curved
    squared = space.inner(residual, residual)
    beta = torch.where(moves, squared / torch.where(moves, state.squared, 1.0), 0.0)
    direction = residual + per_sample(beta, residual, space.rank) * state.direction
    return ConjugateGradientState(x, residual, direction, squared)


def conjugate_gradient(
    apply: Callable[[Tensor], Tensor],
    rhs: Tensor,
    space: Space,
    *,
    x0: Tensor | None = None,
    tol: float | Tensor = 1e-6,
    max_steps: int = 200,
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
        Applications of Q at most.

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
    state = conjugate_gradient_start(apply, rhs, torch.zeros_like(rhs) if x0 is None else x0, space)
    size = space.norm(rhs)
    for _ in range(max_steps):
        active = state.squared.sqrt() > tol * size
        if not bool(active.any()):
            break
        new = conjugate_gradient_step(apply, state, space)
        if bool(active.all()):
            state = new
        else:
            mask = active[(...,) + (None,) * space.rank]
            state = ConjugateGradientState(
                torch.where(mask, new.x, state.x),
                torch.where(mask, new.residual, state.residual),
                torch.where(mask, new.direction, state.direction),
                torch.where(active, new.squared, state.squared),
            )
    return state.x, state.squared.sqrt() / torch.where(size > 0, size, 1.0)
