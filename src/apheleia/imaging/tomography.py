"""Filtered back-projection, the closed-form answer of tomography: fast, linear, and noisy where views are few."""

from __future__ import annotations

import math
from typing import Literal, get_args

import numpy
import torch
from torch import Tensor

from apheleia.core.errors import ArgumentError
from apheleia.core.interop import ArrayLike, as_tensor, to_numpy
from apheleia.operators.fan_beam_transform import FanBeamTransform
from apheleia.operators.xray_transform import XRayTransform

__all__ = ["Window", "filtered_back_projection"]

Window = Literal["ramp", "hann", "cosine"]
"""Weights of the ramp's frequencies: none, or one that falls to zero (hann) or nearly (cosine) at the highest frequency."""

WEDGE = 4
"""A gap between views this many times the usual one is a missing wedge, and counts as a usual one."""


def filtered_back_projection(y: ArrayLike, A: XRayTransform | FanBeamTransform, window: Window = "ramp") -> ArrayLike:
    """Return the image whose line integrals are y, by ramp filter and back-projection, x = sum_v w_v (ramp * y_v)(t_v).

    Parameters
    ----------
    y : Tensor or ndarray, (*batch, channel, view, detector)
        Line integrals: minus the logarithm of transmission.
    A : XRayTransform or FanBeamTransform
        The geometry. A fan must turn all the way round, or by half a turn and the angle of the fan at least.
    window : {"ramp", "hann", "cosine"}, default "ramp"
        What the ramp's high frequencies are multiplied by.

    Returns
    -------
    Tensor or ndarray, (*batch, channel, height, width)
        In the unit of 1 / `A.pixel_size`'s. Each view counts by its share of the turn; a missing wedge stays missing.

    Raises
    ------
    ArgumentError
        If A is no such transform, the window is unknown, or a fan's turn leaves lines through the image unseen.
    ShapeError
        If `y` is no sinogram of A.

    Notes
    -----
    The ramp is band-limited and sampled in space, so that the mean is kept. Where a fan's turn is not whole, lines that are seen
    twice share their weight smoothly (D. Parker, Medical Physics 9 (1982), doi:10.1118/1.595078).
    Certificate: none; it approaches the image as views and detectors become dense, and noise passes.
    Complexity: O(views * height * width).
    Source: A. Kak, M. Slaney, Principles of Computerized Tomographic Imaging (1988), doi:10.1137/1.9780898719277, chapter 3.
    """
    if window not in get_args(Window):
        raise ArgumentError(f"filtered_back_projection: `window` must be one of {', '.join(get_args(Window))}; got {window!r}.")
    if not isinstance(A, XRayTransform | FanBeamTransform):
        kind = type(A).__name__
        raise ArgumentError(
            f"filtered_back_projection: `A` must be an XRayTransform or a FanBeamTransform; got {kind}. "
            "The data come first: filtered_back_projection(y, A)."
        )
    sinogram = A.codomain.check(as_tensor(y, "filtered_back_projection", "y"), "filtered_back_projection", "y")
    angle = numpy.deg2rad(A.angle_deg)
    if isinstance(A, FanBeamTransform):
        filtered, share = _fan_views(sinogram, A, angle, window), _shares(angle, 2 * math.pi)
    else:
        filtered, share = _filtered(sinogram, A.detector_spacing, window), _shares(angle, math.pi)
    image = torch.zeros(*sinogram.shape[:-2], *A.size, dtype=sinogram.dtype, device=sinogram.device)
    for view in range(len(angle)):
        place, weight = _seen_at(A, angle[view])
        weight = torch.from_numpy(numpy.broadcast_to(weight * share[view], A.size).copy()).to(image)
        image = image + weight * _interpolated(filtered[..., view, :], torch.from_numpy(place).to(image.device))
    return to_numpy(image) if isinstance(y, numpy.ndarray) else image


def _seen_at(A: XRayTransform | FanBeamTransform, angle: float) -> tuple[numpy.ndarray, numpy.ndarray | float]:
    """Return where on the detector each pixel is seen, in elements, and its weight."""
    rows, columns = numpy.indices(A.size)
    right = (columns - (A.size[1] - 1) / 2) * A.pixel_size
    up = ((A.size[0] - 1) / 2 - rows) * A.pixel_size
    across = right * math.cos(angle) + up * math.sin(angle)
    if isinstance(A, XRayTransform):
        return across / A.detector_spacing + A.centre, 1.0
    depth = A.source_distance - right * math.sin(angle) + up * math.cos(angle)
    magnified = (A.source_distance + A.detector_distance) * across / depth
    return magnified / A.detector_spacing + A.centre, (A.source_distance / depth) ** 2


def _fan_views(y: Tensor, A: FanBeamTransform, angle: numpy.ndarray, window: Window) -> Tensor:
    """Return views filtered on a detector at the axis, rays weighted by how often they are seen and how oblique they are."""
    spacing = A.detector_spacing * A.source_distance / (A.source_distance + A.detector_distance)
    offset = (numpy.arange(y.shape[-1]) - A.centre) * spacing
    oblique = A.source_distance / numpy.hypot(A.source_distance, offset)
    weight = oblique * _redundancy(angle, numpy.arctan(offset / A.source_distance))
    return _filtered(y * torch.from_numpy(weight).to(y), spacing, window)


def _redundancy(angle: numpy.ndarray, fan: numpy.ndarray) -> numpy.ndarray:
    """Return the weight of each ray, (view, detector), so that those of a line and of its reverse add up to one."""
    sorted_angle = numpy.sort(angle % (2 * math.pi))
    gaps = numpy.diff(sorted_angle, append=sorted_angle[0] + 2 * math.pi)
    usual, widest = numpy.median(gaps[gaps > 1e-9]), numpy.argmax(gaps)
    if gaps[widest] <= WEDGE * usual:
        return numpy.full((len(angle), len(fan)), 0.5)
    # the ray (b, g) runs along the line of (b + pi - 2 g, -g)
    turned = (angle - sorted_angle[(widest + 1) % len(angle)])[:, None] % (2 * math.pi)
    span = 2 * math.pi - gaps[widest]
    spare, wide = (span - math.pi) / 2, numpy.abs(fan).max()
    if spare + usual < wide:
        raise ArgumentError(
            f"filtered_back_projection: a fan of {math.degrees(2 * wide):.0f} degrees must turn by "
            f"{math.degrees(math.pi + 2 * wide):.0f} at least; this one turns by {math.degrees(span):.0f}. "
            "Solve a problem with a prior instead."
        )
    spare = max(spare, wide)
    # at the very edge of the fan a region may have no width
    rise = turned / numpy.maximum(2 * (spare + fan), 1e-9)
    fall = (math.pi + 2 * spare - turned) / numpy.maximum(2 * (spare - fan), 1e-9)
    return numpy.sin(math.pi / 2 * numpy.minimum(rise, fall).clip(0, 1)) ** 2


def _filtered(y: Tensor, spacing: float, window: Window) -> Tensor:
    """Return the views convolved with the band-limited ramp."""
    count = y.shape[-1]
    size = 2 ** math.ceil(math.log2(2 * count))
    n = torch.arange(size, dtype=torch.float64)
    n = torch.minimum(n, size - n)
    odd = -1 / (math.pi * torch.where(n > 0, n, 1.0) * spacing) ** 2
    kernel = torch.where(n == 0, 1 / (4 * spacing**2), torch.where(n % 2 == 1, odd, 0.0))
    response = torch.fft.rfft(kernel).real * spacing * _windowed(window, size // 2 + 1)
    return torch.fft.irfft(torch.fft.rfft(y, n=size) * response.to(y), n=size)[..., :count]


def _windowed(window: Window, count: int) -> Tensor:
    frequency = torch.linspace(0, 1, count, dtype=torch.float64)
    if window == "hann":
        return 0.5 + 0.5 * torch.cos(math.pi * frequency)
    return torch.cos(0.5 * math.pi * frequency) if window == "cosine" else torch.ones_like(frequency)


def _shares(angle: numpy.ndarray, period: float) -> numpy.ndarray:
    """Return each view's share of the turn, half of the gaps to its two neighbours, in radians."""
    order = numpy.argsort(angle % period)
    sorted_angle = (angle % period)[order]
    gaps = numpy.diff(sorted_angle, append=sorted_angle[0] + period)
    # views that were taken twice have no gap between them, and say nothing of the usual one
    usual = numpy.median(gaps[gaps > 1e-9 * period])
    gaps = numpy.where(gaps > WEDGE * usual, usual, gaps)
    share = numpy.empty_like(gaps)
    share[order] = (gaps + numpy.roll(gaps, 1)) / 2
    return share


def _interpolated(views: Tensor, place: Tensor) -> Tensor:
    """Return views (*batch, detector) at places (height, width), linearly, zero beyond the detector."""
    count = views.shape[-1]
    inside = (place >= 0) & (place <= count - 1)
    left = place.floor().clamp(0, max(count - 2, 0)).long()
    share = (place - left).to(views.dtype)
    value = torch.lerp(views[..., left], views[..., (left + 1).clamp(max=count - 1)], share)
    return torch.where(inside, value, 0.0)
