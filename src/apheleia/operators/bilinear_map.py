"""Maps that are linear in each of two unknowns: matrix products, blind convolutions."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import final

import torch
from torch import Tensor

from apheleia.core.bound import Bound
from apheleia.core.errors import ArgumentError
from apheleia.core.interop import accepts_numpy
from apheleia.core.space import Space, batch_shape, expand_batch
from apheleia.operators.linear import LinearOperator
from apheleia.operators.operator import Operator
from apheleia.operators.segment import Segment

__all__ = ["BilinearMap"]


class BilinearMap(Operator):
    """(u, v) -> B(u, v), linear in u and linear in v; both unknowns stand one behind the other in one vector x.

    A subclass writes `_product(u, v)`. Hooks that it may add: `_partial_adjoint(index, other, w)`, where the derived one can be
    made faster, and `_partial_norm(index, other)`, without which the norms are estimates that prove nothing. Priors act on one
    unknown by `prior @ B.blocks[0]`.

    Parameters
    ----------
    first, second : Space
        Where u and v live, both real or both complex, with fixed sizes.
    codomain : Space
        Where B(u, v) lives, with fixed sizes.

    Raises
    ------
    ArgumentError
        If a size is not fixed, or only one of the two is complex.
    """

    def __init__(self, first: Space, second: Space, codomain: Space) -> None:
        if not (first.is_fixed and second.is_fixed and codomain.is_fixed) or first.is_complex != second.is_complex:
            raise ArgumentError(
                f"{type(self).__name__}: a bilinear map needs fixed sizes and two factors that are both real or both complex; "
                f"got ({first}), ({second}) and ({codomain})."
            )
        sizes = [math.prod(size for size in space.shape if size is not None) for space in (first, second)]
        super().__init__(Space((sum(sizes),), first.is_complex), codomain)
        self.blocks = (Segment(sum(sizes), 0, first), Segment(sum(sizes), sizes[0], second))

    @abstractmethod
    def _product(self, u: Tensor, v: Tensor) -> Tensor:
        """Return B(u, v) for checked tensors, (*batch, *codomain)."""

    def _partial_adjoint(self, index: int, other: Tensor, w: Tensor) -> Tensor:
        """Return the adjoint of B in factor `index`, with the `other` factor fixed, applied to w."""
        space = self.blocks[index].codomain
        batch = batch_shape(self.codomain.batch_shape(w), self._other(index).codomain.batch_shape(other), who=self.name)
        zero = torch.zeros(*batch, *space.shape, dtype=other.dtype, device=w.device)  # type: ignore[arg-type]
        return torch.func.vjp(lambda u: self._ordered(index, u, other), zero)[1](expand_batch(w, batch, self.codomain.rank))[0]

    def _partial_norm(self, index: int, other: Tensor) -> Bound | None:
        """Return an exact norm of B in factor `index`, or a safe bound, (*batch,), or None where none is known."""
        return None

    @accepts_numpy
    def join(self, u: Tensor, v: Tensor) -> Tensor:
        """Return the vector x of two factors, (*batch, n_u + n_v).

        Raises
        ------
        ShapeError
            If a factor does not live in its space.
        """
        spaces = [block.codomain for block in self.blocks]
        u, v = spaces[0].check(u, f"{self.name}.join", "u"), spaces[1].check(v, f"{self.name}.join", "v")
        batch = batch_shape(spaces[0].batch_shape(u), spaces[1].batch_shape(v), who=self.name)
        pair = [expand_batch(part, batch, space.rank) for part, space in zip((u, v), spaces, strict=True)]
        return torch.cat([part.reshape(*batch, -1) for part in pair], dim=-1)

    @accepts_numpy
    def factors(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the two factors u and v of a vector x, (*batch, *first) and (*batch, *second)."""
        x = self.domain.check(x, f"{self.name}.factors", "x")
        return self.blocks[0]._forward(x), self.blocks[1]._forward(x)

    def partial(self, index: int, x: Tensor) -> LinearOperator:
        """Return the linear map of factor `index` while the other one stands as it is in `x`.

        Parameters
        ----------
        index : int
            0 for u -> B(u, v), 1 for v -> B(u, v).
        x : Tensor, (*batch, n_u + n_v)
            Where the other factor is taken from.

        Raises
        ------
        ArgumentError
            If the index is neither 0 nor 1.
        """
        if index not in (0, 1):
            raise ArgumentError(f"{self.name}.partial: `index` must be 0 or 1; got {index!r}.")
        return self._partial(index, self.domain.check(x, f"{self.name}.partial", "x"))

    def _partial(self, index: int, x: Tensor) -> LinearOperator:
        return _Partial(self, index, self._other(index)._forward(x))

    def _other(self, index: int) -> Segment:
        return self.blocks[1 - index]

    def _ordered(self, index: int, own: Tensor, other: Tensor) -> Tensor:
        return self._product(own, other) if index == 0 else self._product(other, own)

    def _forward(self, x: Tensor) -> Tensor:
        return self._product(self.blocks[0]._forward(x), self.blocks[1]._forward(x))

    def _jvp(self, x: Tensor, v: Tensor) -> Tensor:
        # the rule of the product
        (a, b), (da, db) = ([block._forward(point) for block in self.blocks] for point in (x, v))
        return self._product(da, b) + self._product(a, db)

    def _vjp(self, x: Tensor, w: Tensor) -> Tensor:
        u, v = (block._forward(x) for block in self.blocks)
        parts = (self._partial_adjoint(0, v, w), self._partial_adjoint(1, u, w))
        return torch.cat([part.reshape(*x.shape[:-1], -1) for part in parts], dim=-1)


@final
class _Partial(LinearOperator):
    """B in one factor, the other one fixed."""

    def __init__(self, bilinear: BilinearMap, index: int, other: Tensor) -> None:
        super().__init__(bilinear.blocks[index].codomain, bilinear.codomain)
        self.bilinear = bilinear
        self.index = index
        self.other = other

    @property
    def name(self) -> str:
        return f"{self.bilinear.name} in factor {self.index}"

    def _forward(self, x: Tensor) -> Tensor:
        return self.bilinear._ordered(self.index, x, self.other.to(x.dtype))

    def _adjoint(self, y: Tensor) -> Tensor:
        return self.bilinear._partial_adjoint(self.index, self.other.to(y.dtype), y)

    def _norm(self, shape: tuple[int, ...] | None) -> Bound | None:
        return self.bilinear._partial_norm(self.index, self.other)
