"""Joseph's method: line integrals through an image by linear interpolation on each row, or each column, that a ray crosses."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import final

import numpy
import torch
from torch import Tensor
from torch.nn.functional import pad

__all__ = ["ParallelRays", "Rays", "backproject", "project"]

CHUNK = 1 << 21
"""Interpolations at a time: a few tens of megabytes of indices."""


@final
@dataclass(frozen=True, eq=False)
class Rays:
    """Rays through a grid of pixels: on line i a ray passes at the place start + slope * i, in pixels.

    Attributes
    ----------
    start, slope : ndarray, (view, detector)
        In float64. Lines are rows and places columns; the other way round where `transposed`.
    length : ndarray, (view, detector)
        Length of the ray between two lines, in pixels.
    transposed : ndarray of bool, (view, detector)
        Whether the ray crosses more columns than rows.

    Notes
    -----
    Source: P. Joseph, IEEE Transactions on Medical Imaging 1 (1982), doi:10.1109/TMI.1982.4307572.
    """

    start: numpy.ndarray
    slope: numpy.ndarray
    length: numpy.ndarray
    transposed: numpy.ndarray

    @property
    def shape(self) -> tuple[int, int]:
        """Views, and rays in a view."""
        return self.start.shape[0], self.start.shape[1]

    @classmethod
    def through(cls, point: numpy.ndarray, direction: numpy.ndarray, size: tuple[int, int]) -> Rays:
        """Return rays by points and directions, (view, detector, 2): pixels to the right of and above the image's middle."""
        (x, y), (dx, dy) = numpy.moveaxis(point, -1, 0), numpy.moveaxis(direction, -1, 0)
        row, column = (size[0] - 1) / 2, (size[1] - 1) / 2
        transposed = numpy.abs(dx) > numpy.abs(dy)
        # row i lies at the height row - i, column j at j - column to the right
        ratio = numpy.where(transposed, dy, dx) / numpy.where(transposed, dx, dy)
        start = numpy.where(transposed, row - y + (column + x) * ratio, column + x + (row - y) * ratio)
        return cls(start, -ratio, numpy.hypot(1.0, ratio), transposed)

    def listed(self) -> Rays:
        """Return the rays one by one, as they are."""
        return self


@final
@dataclass(frozen=True, eq=False)
class ParallelRays:
    """Parallel rays: on line i, ray d of a view passes at the place start + step * d + slope * i, in pixels.

    Attributes
    ----------
    start, step, slope, length : ndarray, (view,)
        In float64; see `Rays`.
    transposed : ndarray of bool, (view,)
        Whether the rays cross more columns than rows.
    count : int
        Rays in a view.
    """

    start: numpy.ndarray
    step: numpy.ndarray
    slope: numpy.ndarray
    length: numpy.ndarray
    transposed: numpy.ndarray
    count: int

    @property
    def shape(self) -> tuple[int, int]:
        """Views, and rays in a view."""
        return self.start.size, self.count

    @classmethod
    def at(cls, angle: numpy.ndarray, size: tuple[int, int], count: int, spacing: float, centre: float) -> ParallelRays:
        """Return the rays x cos(angle) + y sin(angle) = (d - centre) spacing, with x to the right and y up from the middle."""
        cos, sin = numpy.cos(angle)[:, None], numpy.sin(angle)[:, None]
        offset = (numpy.arange(2) - centre) * spacing
        point = numpy.stack((offset * cos, offset * sin), -1)
        rays = Rays.through(point, numpy.broadcast_to(numpy.stack((-sin, cos), -1), point.shape), size)
        step = rays.start[:, 1] - rays.start[:, 0]
        return cls(rays.start[:, 0], step, rays.slope[:, 0], rays.length[:, 0], rays.transposed[:, 0], count)

    def every(self, stride: int, first: int) -> ParallelRays:
        """Return every `stride`-th ray of each view, from the ray `first` on."""
        left = -(-(self.count - first) // stride)
        return ParallelRays(self.start + first * self.step, stride * self.step, self.slope, self.length, self.transposed, left)

    def listed(self) -> Rays:
        """Return the rays one by one."""
        shape = (self.start.size, self.count)
        start = self.start[:, None] + self.step[:, None] * numpy.arange(self.count)
        return Rays(start, *(numpy.broadcast_to(v[:, None], shape) for v in (self.slope, self.length, self.transposed)))


def project(x: Tensor, rays: Rays) -> Tensor:
    """Return the line integrals of images, (*batch, view, detector) from (*batch, height, width), in pixels."""
    out = torch.zeros(*x.shape[:-2], rays.start.size, dtype=x.dtype, device=x.device)
    for transposed, image in ((False, x), (True, x.mT)):
        flat = pad(image, (1, 1)).flatten(-2)
        for part in _parts(rays, transposed, image.shape[-2]):
            index, right, length = _places(rays, part, (image.shape[-2], image.shape[-1]), x)
            sums = torch.lerp(flat[..., index], flat[..., index + 1], right).sum(-1)
            out = out.index_copy(-1, torch.from_numpy(part).to(x.device), length * sums)
    return out.unflatten(-1, rays.start.shape)


def backproject(y: Tensor, rays: Rays, size: tuple[int, int]) -> Tensor:
    """Return the exact transpose of `project`, (*batch, height, width) from (*batch, view, detector)."""
    values, sides = y.flatten(-2), []
    for transposed, (height, width) in ((False, size), (True, size[::-1])):
        flat = torch.zeros(*y.shape[:-2], height * (width + 2), dtype=y.dtype, device=y.device)
        for part in _parts(rays, transposed, height):
            index, right, length = _places(rays, part, (height, width), y)
            whole = (length * values[..., torch.from_numpy(part).to(y.device)])[..., None]
            flat = flat.index_add(-1, index.flatten(), (whole * (1 - right)).flatten(-2))
            flat = flat.index_add(-1, index.flatten() + 1, (whole * right).flatten(-2))
        sides.append(flat.unflatten(-1, (height, width + 2))[..., 1:-1])
    return sides[0] + sides[1].mT


def _parts(rays: Rays, transposed: bool, lines: int) -> Iterator[numpy.ndarray]:
    """Yield the flat numbers of the rays of one orientation, few enough at a time."""
    chosen = numpy.flatnonzero(rays.transposed == transposed)
    yield from (part for part in numpy.array_split(chosen, -(-chosen.size * lines // CHUNK) or 1) if part.size)


def _places(rays: Rays, part: numpy.ndarray, size: tuple[int, int], like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return where rays meet the lines of an image padded by one pixel at either end: index, share of the next pixel, length."""
    start, slope, length = (
        torch.from_numpy(values.reshape(-1)[part]).to(like.device) for values in (rays.start, rays.slope, rays.length)
    )
    lines = torch.arange(size[0], device=like.device)
    # beyond the padding all is zero: a clamped place reads it
    place = (start[:, None] + slope[:, None] * lines + 1).clamp(0, size[1] + 1)
    index = place.long().clamp(max=size[1])
    return index + lines * (size[1] + 2), (place - index).to(like.dtype), length.to(like.dtype)
