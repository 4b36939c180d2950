"""Warping of images by affine maps, homographies or dense flows, linear in the image and differentiable in the map."""

from __future__ import annotations

from typing import Literal, final

import torch
from torch import Tensor

from apheleia.core.bound import Bound
from apheleia.core.errors import ShapeError
from apheleia.core.interop import ArrayLike, as_tensor, is_floating
from apheleia.core.space import IMAGE, Space
from apheleia.operators.linear import LinearOperator
from apheleia.operators.norm import schur_bound
from apheleia.operators.operator import register

__all__ = ["Warp"]


@final
class Warp(LinearOperator):
    """x -> (x at the place that each pixel looks at), by bilinear interpolation; nothing, zero, lies beyond the edge.

    Parameters
    ----------
    motion : Tensor or ndarray, (*batch, 2, 3), (*batch, 3, 3) or (*batch, 2, height, width)
        Where pixel (column u, row v) of the result looks, in pixels with (0, 0) the middle of the upper left one: an affine map
        [u', v'] = M [u, v, 1], a homography up to its third coordinate, or a flow of displacements, [u', v'] = [u, v] + flow.
        A Parameter is learned; the result is differentiable in it but where a place crosses a pixel's middle.
    kind : {"affine", "homography", "flow"}, default "affine"
        Which of the three.

    Raises
    ------
    ShapeError
        If the motion has not the shape of its kind, or holds numbers that are not finite.

    Notes
    -----
    Certificate: norm at most sqrt(|A|_1 |A|_inf), upper; the weights are non-negative.
    Complexity: O(N), four reads a pixel; the adjoint scatters with the same weights, and is exact.

    Examples
    --------
    >>> shift = torch.tensor([[1.0, 0.0, 0.5], [0.0, 1.0, 0.0]])
    >>> Warp(shift)(torch.tensor([[[0.0, 2.0, 4.0]]]))
    tensor([[[1., 3., 2.]]])
    """

    motion: Tensor
    is_non_negative = True

    def __init__(self, motion: ArrayLike, kind: Literal["affine", "homography", "flow"] = "affine") -> None:
        m = as_tensor(motion, "Warp", "motion")
        ends = {"affine": (2, 3), "homography": (3, 3), "flow": (2, None, None)}
        if kind not in ends:
            raise ShapeError(f"Warp: `kind` must be one of {', '.join(ends)}; got {kind!r}.")
        expected = ends[kind]
        own = tuple(m.shape[max(m.ndim - len(expected), 0) :])
        if len(own) != len(expected) or any(b not in (None, a) for a, b in zip(own, expected, strict=True)) or m.is_complex():
            raise ShapeError(f"Warp: a motion of kind {kind} must be real and end in {expected}; got {m.dtype} {tuple(m.shape)}.")
        if not bool(m.detach().isfinite().all()):
            raise ShapeError("Warp: `motion` must be finite; it holds NaN or infinite values.")
        space = Space((None, *own[1:])) if kind == "flow" else IMAGE
        super().__init__(space, space)
        register(self, "motion", m if is_floating(m) else m.double())
        self.kind = kind

    def _places(self, height: int, width: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Return the rows and the columns that the pixels look at, (*batch, height, width) each."""
        motion = self.motion.to(dtype)
        v, u = torch.meshgrid(
            torch.arange(height, dtype=dtype, device=motion.device),
            torch.arange(width, dtype=dtype, device=motion.device),
            indexing="ij",
        )
        if self.kind == "flow":
            return v + motion[..., 1, :, :], u + motion[..., 0, :, :]
        rows = [m[..., 0, None, None] * u + m[..., 1, None, None] * v + m[..., 2, None, None] for m in motion.unbind(-2)]
        if self.kind == "affine":
            return rows[1], rows[0]
        # a place at infinity, or behind, sees nothing: it is put far outside
        ahead = rows[2] > torch.finfo(dtype).eps
        depth = torch.where(ahead, rows[2], 1.0)
        return torch.where(ahead, rows[1] / depth, -2.0), torch.where(ahead, rows[0] / depth, -2.0)

    def _corners(self, height: int, width: int, dtype: torch.dtype) -> list[tuple[Tensor, Tensor]]:
        """Return (index, weight) of the four pixels that each place lies between, (*batch, 1, height * width) each."""
        # far places are brought near, where their weights are still zero, so that indices stay small
        v, u = (place.clamp(-2, n + 1) for place, n in zip(self._places(height, width, dtype), (height, width), strict=True))
        top, left = v.detach().floor(), u.detach().floor()
        corners = []
        for down in (0, 1):
            for right in (0, 1):
                row, column = top + down, left + right
                weight = (1 - (v - row).abs()) * (1 - (u - column).abs())
                inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
                index = row.clamp(0, height - 1) * width + column.clamp(0, width - 1)
                corners.append(
                    (index.long().flatten(-2)[..., None, :], torch.where(inside, weight, 0.0).flatten(-2)[..., None, :])
                )
        return corners

    def _forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        flat, total = x.flatten(-2), 0
        for index, weight in self._corners(height, width, x.dtype):
            shape = torch.broadcast_shapes(index.shape, flat.shape)
            total = total + weight * flat.expand(shape).gather(-1, index.expand(shape))
        return torch.as_tensor(total).unflatten(-1, (height, width))

    def _adjoint(self, y: Tensor) -> Tensor:
        height, width = y.shape[-2:]
        flat = y.flatten(-2)
        corners = self._corners(height, width, y.dtype)
        shape = torch.broadcast_shapes(corners[0][0].shape, flat.shape)
        out = torch.zeros(shape, dtype=y.dtype, device=y.device)
        for index, weight in corners:
            out = out.scatter_add(-1, index.expand(shape), weight * flat)
        return out.unflatten(-1, (height, width))

    def _norm(self, shape: tuple[int, ...] | None) -> Bound | None:
        if shape is None:
            return None
        with torch.no_grad():
            ones = torch.ones(shape, dtype=torch.float64, device=self.motion.device)
            return schur_bound(self._forward(ones), self._adjoint(ones), Space(shape), Space(shape))
