"""Some of several signals that are stacked along the channels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor

from apheleia.core.bound import Bound
from apheleia.core.errors import ArgumentError, ShapeError
from apheleia.core.space import IMAGE, Space, as_shape
from apheleia.operators.linear import LinearOperator

__all__ = ["ChannelBlocks"]


@final
class ChannelBlocks(LinearOperator):
    """(x_0, ..., x_{n-1}) -> (x_i for i in indices), equal blocks of channels of one image.

    Parameters
    ----------
    blocks : int
        n, the number of blocks that the channels of the domain come in.
    indices : sequence of int
        Blocks to keep, in this order, each once.
    space : Space, default images of any size
        Domain; its channels are a multiple of `blocks`.

    Raises
    ------
    ArgumentError
        If an index is not one of the blocks, or comes twice.
    ShapeError
        If the number of channels is not a multiple of `blocks`.

    Notes
    -----
    Certificate: norm 1, exact; K K^H = I.

    Examples
    --------
    >>> ChannelBlocks(2, [1])(torch.arange(4.0).reshape(4, 1, 1)).flatten()
    tensor([2., 3.])
    """

    has_orthonormal_rows = True
    is_non_negative = True

    def __init__(self, blocks: int, indices: Sequence[int], space: Space = IMAGE) -> None:
        if not isinstance(blocks, int) or blocks < 1:
            raise ArgumentError(f"ChannelBlocks: `blocks` must be a whole number >= 1; got {blocks!r}.")
        kept = as_shape(indices, "ChannelBlocks", "indices")
        if not kept or len(set(kept)) < len(kept) or not all(0 <= index < blocks for index in kept):
            raise ArgumentError(f"ChannelBlocks: `indices` must name some of {blocks} blocks, from 0, each once; got {kept}.")
        channels, *rest = space.shape
        super().__init__(space, Space((None if channels is None else channels // blocks * len(kept), *rest), space.is_complex))
        self.blocks = blocks
        self.indices = kept
        if channels is not None:
            self._channels(channels)

    def _channels(self, total: int) -> int:
        if total % self.blocks:
            raise ShapeError(f"ChannelBlocks: the channels must come in {self.blocks} equal blocks; got {total} channels.")
        return total // self.blocks

    def _forward(self, x: Tensor) -> Tensor:
        size = self._channels(x.shape[-3])
        parts = [x[..., index * size : (index + 1) * size, :, :] for index in self.indices]
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=-3)

    def _adjoint(self, y: Tensor) -> Tensor:
        kept = y.unflatten(-3, (len(self.indices), -1)).unbind(-4)
        zero = torch.zeros_like(kept[0])
        return torch.cat([kept[self.indices.index(i)] if i in self.indices else zero for i in range(self.blocks)], dim=-3)

    def _norm(self, shape: tuple[int, ...] | None) -> Bound | None:
        return Bound(1.0, "exact", "a selection")

    def _smallest_singular_value(self, shape: tuple[int, ...]) -> Bound | None:
        return Bound(float(len(self.indices) == self.blocks), "exact", "a selection")

    def _output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (self._channels(shape[0]) * len(self.indices), *shape[1:])

    def _input_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (shape[0] // len(self.indices) * self.blocks, *shape[1:])
