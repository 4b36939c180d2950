"""Entries gathered into groups, with repetition: the map under overlapping groups."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor

from apheleia.core.bound import Bound
from apheleia.core.errors import ArgumentError
from apheleia.core.space import Space, as_shape, check_space
from apheleia.operators.linear import LinearOperator

__all__ = ["Duplication"]


@final
class Duplication(LinearOperator):
    """x -> (x[groups[j][i]])_{j, i}, (group, longest group); an entry stands in every group that names it.

    Parameters
    ----------
    groups : sequence of sequences of int
        Places in the flattened signal, counted from 0; shorter groups are filled up with zeros.
    space : Space
        Domain, with all sizes fixed.

    Raises
    ------
    ArgumentError
        If a size is open, a group is empty, names a place twice, or names one outside.

    Notes
    -----
    Certificate: K^H K is diagonal and counts the groups of an entry: the norm is the root of the largest count, exact.
    """

    index: Tensor
    filled: Tensor
    is_non_negative = True

    def __init__(self, groups: Sequence[Sequence[int]], space: Space) -> None:
        check_space(space, "Duplication", "space")
        if not space.is_fixed:
            raise ArgumentError(f"Duplication: `space` must fix all sizes; got ({space}).")
        size = math.prod(n for n in space.shape if n is not None)
        if not isinstance(groups, Sequence):
            raise ArgumentError(f"Duplication: `groups` must be lists of places in a list; got {type(groups).__name__}.")
        lists = [list(as_shape(group, "Duplication", "groups")) for group in groups]
        if not lists or not all(group and len(set(group)) == len(group) for group in lists):
            raise ArgumentError("Duplication: give at least one group, none of them empty and none with a place twice.")
        if not all(0 <= place < size for group in lists for place in group):
            raise ArgumentError(f"Duplication: groups must name places from 0 to {size - 1}, in the flattened signal.")
        longest = max(map(len, lists))
        super().__init__(space, Space((len(lists), longest), space.is_complex))
        padded = torch.tensor([group + [0] * (longest - len(group)) for group in lists])
        self.register_buffer("index", padded.flatten())
        self.register_buffer("filled", torch.tensor([[i < len(group) for i in range(longest)] for group in lists]))

    def _forward(self, x: Tensor) -> Tensor:
        flat = x.flatten(x.ndim - self.domain.rank) if self.domain.rank > 1 else x
        return flat.index_select(-1, self.index).unflatten(-1, self.filled.shape) * self.filled

    def _adjoint(self, y: Tensor) -> Tensor:
        shape = self._input_shape(tuple(y.shape[-2:]))
        out = torch.zeros(*y.shape[:-2], math.prod(shape), dtype=y.dtype, device=y.device)
        return out.index_add(-1, self.index, (y * self.filled).flatten(-2)).unflatten(-1, shape)

    def _counts(self) -> Tensor:
        size = math.prod(n for n in self.domain.shape if n is not None)
        return torch.zeros(size, dtype=torch.float64, device=self.index.device).index_add(
            0, self.index, self.filled.flatten().to(torch.float64)
        )

    def _norm(self, shape: tuple[int, ...] | None) -> Bound | None:
        return Bound(self._counts().amax().sqrt(), "exact", "root of the largest number of groups of an entry")

    def _smallest_singular_value(self, shape: tuple[int, ...]) -> Bound | None:
        return Bound(self._counts().amin().sqrt(), "exact", "root of the smallest number of groups of an entry")
