"""One of several signals that stand one behind the other in a long vector."""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor

from apheleia.core.bound import Bound
from apheleia.core.errors import ArgumentError
from apheleia.core.space import Space
from apheleia.operators.linear import LinearOperator

__all__ = ["Segment"]


@final
class Segment(LinearOperator):
    """x -> (x_start, ..., x_{start + n - 1}) as a signal of n numbers, of any shape.

    It lets a prior act on one of several unknowns, an image or a kernel, that are solved for as one vector: prior @ segment.

    Parameters
    ----------
    length : int
        Length of the vector x.
    start : int
        Where the signal begins, from 0.
    space : Space
        The signal's space, with fixed sizes; x is complex where it is.

    Raises
    ------
    ArgumentError
        If the sizes are not fixed or the signal does not lie within the vector.

    Notes
    -----
    Certificate: norm 1, exact; K K^H = I.

    Examples
    --------
    >>> Segment(5, 1, Space((2, 2)))(torch.arange(5.0))
    tensor([[1., 2.],
            [3., 4.]])
    """

    has_orthonormal_rows = True
    is_non_negative = True

    def __init__(self, length: int, start: int, space: Space) -> None:
        if not space.is_fixed:
            raise ArgumentError(f"Segment: `space` must have fixed sizes; got ({space}).")
        size = math.prod(own for own in space.shape if own is not None)
        if not 0 <= start <= length - size:
            raise ArgumentError(f"Segment: {size} numbers from {start} on do not lie within a vector of {length}.")
        super().__init__(Space((length,), space.is_complex), space)
        self.start = start
        self.stop = start + size
        self.is_orthonormal = size == length

    @property
    def place(self) -> tuple[int, int]:
        """Where it begins and where it ends."""
        return self.start, self.stop

    @property
    def shaping(self) -> Segment:
        """The n numbers as a vector -> the same as a signal."""
        return Segment(self.stop - self.start, 0, self.codomain)

    def replaced(self, x: Tensor, u: Tensor) -> Tensor:
        """Return the vector `x` with the numbers `u` in this place, (*batch, length); `x` stays as it is."""
        return torch.cat([x[..., : self.start], u, x[..., self.stop :]], dim=-1)

    def _forward(self, x: Tensor) -> Tensor:
        return x[..., self.start : self.stop].unflatten(-1, self.codomain.shape)  # type: ignore[arg-type]

    def _adjoint(self, y: Tensor) -> Tensor:
        batch = self.codomain.batch_shape(y)
        flat, length = y.reshape(*batch, self.stop - self.start), int(self.domain.shape[0] or 0)
        return flat if self.is_orthonormal else self.replaced(y.new_zeros(*batch, length), flat)

    def _norm(self, shape: tuple[int, ...] | None) -> Bound | None:
        return Bound(1.0, "exact", "a selection")

    def _smallest_singular_value(self, shape: tuple[int, ...]) -> Bound | None:
        return Bound(float(self.is_orthonormal), "exact", "a selection")
