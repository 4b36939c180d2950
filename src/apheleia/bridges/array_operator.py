"""A linear map of flat numpy vectors, computed outside of torch, as an operator of signals with batches and derivatives."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import final

import numpy
import torch
from torch import Tensor

from apheleia.core.bound import Bound
from apheleia.core.errors import ArgumentError, ShapeError
from apheleia.core.space import Space, check_space
from apheleia.operators.foreign import linear_map
from apheleia.operators.linear import LinearOperator

__all__ = ["ArrayMap", "ArrayOperator", "fixed_space", "rowwise"]

ArrayMap = Callable[[numpy.ndarray], numpy.ndarray]
"""A map of the rows of a matrix, (signals, n) -> (signals, m)."""


@final
class ArrayOperator(LinearOperator):
    """x -> reshape(M vec(x)), where M is known by its products with numpy vectors and vec reads row by row (C order).

    Where one of the spaces is real and M is complex, the real part is taken: that is the adjoint of regarding real signals as
    complex ones.

    Parameters
    ----------
    forward, adjoint : callable
        v -> M v and w -> M^H w for the rows of matrices, (signals, n) -> (signals, m) and back; see `rowwise`.
    domain, codomain : Space
        With sizes that are all known; their products are n and m.
    label : str
        What messages call it.
    bound : Bound, optional
        |M|, exact or from above, where it is known.

    Notes
    -----
    Certificate: the norm is `bound`; without one a power iteration estimates it, which proves nothing.
    Complexity: that of the foreign code, on the CPU; signals on other devices travel there and back.
    """

    def __init__(
        self, forward: ArrayMap, adjoint: ArrayMap, domain: Space, codomain: Space, label: str, bound: Bound | None = None
    ) -> None:
        super().__init__(domain, codomain)
        self.maps = (forward, adjoint)
        self.label = label
        self.bound = bound

    @property
    def name(self) -> str:
        """The name that messages and formulas use."""
        return self.label

    def _forward(self, x: Tensor) -> Tensor:
        return linear_map(x, self._direct, self._transposed)

    def _adjoint(self, y: Tensor) -> Tensor:
        return linear_map(y, self._transposed, self._direct)

    def _norm(self, shape: tuple[int, ...] | None) -> Bound | None:
        return self.bound

    def _direct(self, x: Tensor) -> Tensor:
        return _apply(self.maps[0], x, self.domain, self.codomain, self.label)

    def _transposed(self, y: Tensor) -> Tensor:
        return _apply(self.maps[1], y, self.codomain, self.domain, f"{self.label}.adjoint")


def _apply(rows: ArrayMap, x: Tensor, source: Space, target: Space, who: str) -> Tensor:
    """Return rows(x) for a tensor (*batch, *source) as one (*batch, *target) in the precision and on the device of `x`."""
    batch = source.batch_shape(x)
    sizes = tuple(size or 0 for size in target.shape)
    real = x.real.dtype
    if 0 in batch:
        return x.new_zeros((*batch, *sizes), dtype=real.to_complex() if target.is_complex else real)
    flat = x.resolve_conj().resolve_neg().reshape(math.prod(batch), -1).cpu().numpy()
    out = torch.from_numpy(numpy.ascontiguousarray(rows(flat)))
    if out.numel() != math.prod(batch) * math.prod(sizes):
        got = out.numel() // math.prod(batch)
        raise ShapeError(f"{who}: the foreign code must return {math.prod(sizes)} numbers a signal; got {got}.")
    if out.is_complex() and not target.is_complex:
        out = out.real
    return out.reshape(*batch, *sizes).to(device=x.device, dtype=real.to_complex() if target.is_complex else real)


def rowwise(apply: ArrayMap) -> ArrayMap:
    """Return the map of matrices that applies a map of vectors, (n,) -> (m,), to each row.

    One vector at a time: code that is written for vectors may treat columns of shape (n, 1) wrongly without an error.
    """

    def rows(matrix: numpy.ndarray) -> numpy.ndarray:
        return numpy.stack([numpy.asarray(apply(row)).reshape(-1) for row in matrix])

    return rows


def fixed_space(space: Space, size: int, who: str, arg: str) -> Space:
    """Return `space` if it holds exactly `size` numbers.

    Raises
    ------
    ArgumentError
        If it is no Space.
    ShapeError
        If its sizes are not all known, or their product is not `size`.
    """
    check_space(space, who, arg)
    held = math.prod(n or 0 for n in space.shape)
    if held != size:
        known = f"holds {held}" if space.is_fixed else "leaves sizes open"
        raise ShapeError(f"{who}: `{arg}` must be a Space of {size} numbers, such as Space(({size},)); ({space}) {known}.")
    return space


def check_ours(A: object, who: str) -> None:
    """Refuse what is no linear operator of ours.

    Raises
    ------
    ArgumentError
        If A is something else.
    """
    if not isinstance(A, LinearOperator):
        raise ArgumentError(f"{who}: `A` must be a linear operator of Apheleia; got {type(A).__name__}.")
