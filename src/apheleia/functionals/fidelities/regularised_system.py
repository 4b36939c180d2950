"""The linear system of a proximal map of least squares without a closed form, by preconditioned conjugate gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import final

import torch
from torch import Tensor

from apheleia.core.space import as_wide
from apheleia.operators.inverse import conjugate_gradient, differentiable_solve
from apheleia.operators.linear import LinearOperator

__all__ = ["MAX_STEPS", "RegularisedSystem"]

MAX_STEPS = 1000
"""Steps of the conjugate gradients at most."""

_ROUNDS = 6


@final
class RegularisedSystem:
    """(A^H A + s I) z = rhs for signals of one shape and precision.

    Parameters
    ----------
    A : LinearOperator
        Prepared; its `_gram_preconditioner` is used where it has one.
    gram : LinearOperator
        A^H A.
    shift : Tensor, (*batch,)
        s, above zero.
    shape : tuple of int
        Shape of a signal.
    """

    def __init__(self, A: LinearOperator, gram: LinearOperator, shift: Tensor, shape: tuple[int, ...]) -> None:
        self.space = A.domain
        self.gram = gram
        self.shift = shift
        self.preconditioner = A._gram_preconditioner(shape, shift.detach())

    def apply(self, z: Tensor) -> Tensor:
        """Return (A^H A + s I) z."""
        return torch.addcmul(self.gram._forward(z), as_wide(self.shift, z, self.space.rank), z)

    def solve(self, rhs: Tensor) -> Tensor:
        """Return z with |rhs - (A^H A + s I) z| <= 1e-10 |rhs| (1e-5 in float32), differentiable, (*batch, *space)."""
        tol = 1e-10 if rhs.real.dtype == torch.float64 else 1e-5
        return differentiable_solve(self.apply, self._expanded(rhs), lambda b: self._iterate(b, None, tol))

    def solve_to_gap(self, rhs: Tensor, accuracy: Callable[[Tensor], tuple[Tensor, Tensor]], tol: float) -> tuple[Tensor, Tensor]:
        """Return z and its gap, at most `tol` times the value as far as rounding allows; not differentiable.

        Parameters
        ----------
        rhs : Tensor, (*batch, *space)
            Right-hand side.
        accuracy : callable
            z -> (gap, value), (*batch,) each, the gap growing with the square of the residual.
        tol : float
            Relative tolerance.
        """
        with torch.no_grad():
            rhs = self._expanded(rhs)
            z = torch.zeros_like(rhs)
            gap, value = accuracy(z)
            # the residual where z = 0 is rhs: relative to it, the goal is the root of what the gap may still be
            first = torch.where(gap > 0, gap, 1.0)
            for _ in range(_ROUNDS):
                goal = torch.where(gap > tol * value, 0.5 * (tol * value / first).sqrt(), torch.inf)
                if not bool(goal.isfinite().any()):
                    break
                z = self._iterate(rhs, z, goal)
                gap, value = accuracy(z)
        return z, gap

    def _expanded(self, rhs: Tensor) -> Tensor:
        batch = torch.broadcast_shapes(self.space.batch_shape(rhs), self.shift.shape)
        return rhs.expand(*batch, *rhs.shape[rhs.ndim - self.space.rank :])

    def _iterate(self, rhs: Tensor, z: Tensor | None, tol: float | Tensor) -> Tensor:
        return conjugate_gradient(
            self.apply, rhs, self.space, x0=z, tol=tol, max_steps=MAX_STEPS, preconditioner=self.preconditioner
        )[0]
