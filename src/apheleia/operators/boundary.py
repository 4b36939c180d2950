"""What lies beyond the edge of an image: extension by reflection or replication, its exact transpose, and cropping."""

from __future__ import annotations

from typing import Literal, final

import torch
from torch import Tensor
from torch.nn.functional import pad

from apheleia.core.bound import Bound
from apheleia.core.errors import ShapeError
from apheleia.core.space import Space, as_shape
from apheleia.operators.linear import LinearOperator
from apheleia.operators.transforms import RANK, Basis

__all__ = ["Boundary", "Crop", "extend", "fold"]

Boundary = Literal["circular", "zero", "reflect", "replicate"]


def extend(x: Tensor, before: tuple[int, int], after: tuple[int, int], boundary: Boundary) -> Tensor:
    """Extend the last two axes of `x` beyond their ends.

    Parameters
    ----------
    x : Tensor, (..., height, width)
        Images.
    before, after : (int, int)
        Rows and columns to add at the start and at the end; any number, also more than the image has.
    boundary : {"circular", "zero", "reflect", "replicate"}
        "reflect" is half-sample symmetric, (d c b a | a b c d | d c b a).
    """
    if boundary == "zero":
        return pad(x, (before[1], after[1], before[0], after[0]))
    for dim, left, right in zip((-2, -1), before, after, strict=True):
        size = x.shape[dim]
        if boundary == "reflect" and max(left, right) <= size:
            # strips cost less than a gather
            ends = x.narrow(dim, 0, left).flip(dim), x, x.narrow(dim, size - right, right).flip(dim)
            x = torch.cat(ends, dim) if left or right else x
        elif left or right:
            x = x.index_select(dim, _sources(size, left, right, boundary, x.device))
    return x


def fold(y: Tensor, before: tuple[int, int], after: tuple[int, int], boundary: Boundary) -> Tensor:
    """Return the exact transpose of `extend`: what lies beyond the ends is added to the pixels it came from."""
    for dim, left, right in zip((-2, -1), before, after, strict=True):
        size = y.shape[dim] - left - right
        inner = y.narrow(dim, left, size)
        if boundary == "reflect" and max(left, right) <= size and (left or right):
            inner = inner.clone()
            inner.narrow(dim, 0, left).add_(y.narrow(dim, 0, left).flip(dim))
            inner.narrow(dim, size - right, right).add_(y.narrow(dim, left + size, right).flip(dim))
        elif boundary != "zero" and (left or right):
            sources = _sources(size, left, right, boundary, y.device)
            ends = torch.cat((y.narrow(dim, 0, left), y.narrow(dim, left + size, right)), dim)
            inner = inner.index_add(dim, torch.cat((sources[:left], sources[left + size :])), ends)
        y = inner
    return y


def _sources(size: int, left: int, right: int, boundary: Boundary, device: torch.device) -> Tensor:
    """Return, for each extended position, the index of the pixel that it repeats."""
    position = torch.arange(-left, size + right, device=device)
    if boundary == "replicate":
        return position.clamp(0, size - 1)
    if boundary == "circular":
        return position % size
    position = position % (2 * size)
    return torch.where(position < size, position, 2 * size - 1 - position)


@final
class Crop(LinearOperator):
    """x -> its upper left part: the observed window of a larger unknown image.

    Parameters
    ----------
    shape : (int, int, int)
        Shape of the whole image, (channel, height, width).
    window : (int, int)
        Height and width of the part, at most those of the whole.

    Raises
    ------
    ShapeError
        If the window is larger than the image.

    Notes
    -----
    Certificate: norm 1, exact.
    """

    has_orthonormal_rows = True
    is_non_negative = True

    def __init__(self, shape: tuple[int, int, int], window: tuple[int, int]) -> None:
        if (len(as_shape(shape, "Crop", "shape")), len(as_shape(window, "Crop", "window"))) != (3, 2):
            raise ShapeError(f"Crop: expected (channel, height, width) and (height, width); got {shape} and {window}.")
        if window[0] > shape[1] or window[1] > shape[2] or min(window) < 1:
            raise ShapeError(f"Crop: `window` must lie inside {shape[1:]}; got {window}.")
        super().__init__(Space(shape), Space((shape[0], *window)))
        self.margin = (shape[1] - window[0], shape[2] - window[1])
        self.window = window
        # the identity
        self.gram_majorants = ("cosine", "fourier")

    def _forward(self, x: Tensor) -> Tensor:
        return x[..., : self.window[0], : self.window[1]]

    def _adjoint(self, y: Tensor) -> Tensor:
        return pad(y, (0, self.margin[1], 0, self.margin[0]))

    def _norm(self, shape: tuple[int, ...] | None) -> Bound | None:
        return Bound(1.0, "exact", "selection of pixels")

    def _gram_eigenvalues(self, basis: Basis, shape: tuple[int, ...]) -> Tensor:
        return torch.ones((1,) * RANK[basis], dtype=torch.float64)

    def _add_gram_excess(self, basis: Basis, x: Tensor, weight: Tensor, out: Tensor) -> None:
        out.add_(weight * (x - self._adjoint(self._forward(x))))

    def _smallest_singular_value(self, shape: tuple[int, ...]) -> Bound | None:
        return Bound(1.0 if self.margin == (0, 0) else 0.0, "exact", "selection of pixels")
