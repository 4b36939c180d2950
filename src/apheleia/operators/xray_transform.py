"""The X-ray transform of images for parallel rays: tomography in two dimensions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Integral
from typing import final

import numpy
from torch import Tensor

from apheleia.core.errors import ArgumentError, ShapeError
from apheleia.core.interop import ArrayLike, is_number
from apheleia.core.space import as_size
from apheleia.operators.joseph import ParallelRays
from apheleia.operators.ray_transform import RayTransform

__all__ = ["XRayTransform", "checked_centre", "checked_geometry"]

_REACH = 2.0**31
"""Pixels within which the place of a ray is known to a millionth of a pixel, so that it never rounds to one beyond the image."""


@final
class XRayTransform(RayTransform):
    """x -> its integrals along parallel lines, (A x)[v, d] = integral of x over {(r, u): r cos a_v + u sin a_v = t_d}.

    Images (channel, height, width) give sinograms (channel, view, detector). r points to the right and u upwards from the
    middle of the image, at angle 0 the rays run vertically, and t_d = (d - centre) detector_spacing. Discretised by Joseph's
    method: linear interpolation where a ray crosses a row (a column, for flat rays), zero beyond the image.

    Parameters
    ----------
    angle_deg : sequence of float, (view,)
        Angles of the views, in degrees (radians: numpy.rad2deg), counter-clockwise; any values in any order.
    size : (int, int)
        Height and width of the image, in pixels.
    detectors : int, optional
        Number of detector elements; by default as many as see the whole image, ceil(diagonal / detector_spacing).
    detector_spacing : float, optional
        Distance of two detector elements, above zero, in the unit of `pixel_size`; a pixel by default.
    centre : float, optional
        Where the axis of rotation is seen on the detector, in elements; by default in its middle, (detectors - 1) / 2.
    pixel_size : float, default 1
        Side of a pixel, above zero, in any unit of length; integrals are in that unit.

    Raises
    ------
    ArgumentError
        If there is no angle, a number is not finite, a size or distance is not above zero, or the detector lies so far out or has
        elements so small that the places of its rays would be rounding.

    Notes
    -----
    Certificate: the adjoint is the exact transpose; norm: an upper bound by positive vectors, usually a few per cent above.
    Complexity: O(views * height * width) interpolations and no memory beyond the data, with numba (extra "fast") on the CPU;
    without numba, and on other devices, some ten times slower by torch in blocks. Angles get no gradient.
    Source: P. Joseph, IEEE Transactions on Medical Imaging 1 (1982), doi:10.1109/TMI.1982.4307572.

    Examples
    --------
    >>> import torch
    >>> A = XRayTransform([0.0, 90.0], (2, 3), detectors=3)
    >>> A(torch.tensor([[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]]))[0, 0]
    tensor([5., 7., 9.])
    """

    def __init__(
        self,
        angle_deg: ArrayLike | Sequence[float],
        size: tuple[int, int],
        detectors: int | None = None,
        *,
        detector_spacing: float | None = None,
        centre: float | None = None,
        pixel_size: float = 1.0,
    ) -> None:
        spacing = pixel_size if detector_spacing is None else detector_spacing
        angle = checked_geometry("XRayTransform", angle_deg, size, detectors, spacing, pixel_size)
        count = int(numpy.ceil(numpy.hypot(*size) * pixel_size / spacing)) if detectors is None else int(detectors)
        middle = checked_centre("XRayTransform", centre, count, spacing / pixel_size)
        whole = (int(size[0]), int(size[1]))
        super().__init__(whole, ParallelRays.at(angle, whole, count, spacing / pixel_size, middle), pixel_size)
        self.angle_deg = numpy.rad2deg(angle)
        self.detector_spacing = spacing
        self.centre = middle

    def at(self, angle_deg: ArrayLike | Sequence[float]) -> XRayTransform:
        """Return the transform of the same geometry for other views, at angles in degrees, (view,)."""
        return XRayTransform(
            angle_deg,
            self.size,
            self.rays.shape[1],
            detector_spacing=self.detector_spacing,
            centre=self.centre,
            pixel_size=self.pixel_size,
        )


def checked_geometry(
    who: str,
    angle_deg: ArrayLike | Sequence[float],
    size: tuple[int, int],
    detectors: int | None,
    spacing: float,
    pixel_size: float,
) -> numpy.ndarray:
    """Return the angles in radians, (view,), of a geometry that makes sense.

    Raises
    ------
    ArgumentError
        If it does not.
    ShapeError
        If the angles are not a list.
    """
    values = angle_deg.detach().cpu() if isinstance(angle_deg, Tensor) else angle_deg
    try:
        angle = numpy.asarray(values, dtype=numpy.float64)
    except (TypeError, ValueError):
        raise ArgumentError(f"{who}: `angle_deg` must be a list of numbers; got {angle_deg!r}.") from None
    as_size(size, who, "size")
    if angle.ndim != 1 or angle.size == 0:
        raise ShapeError(f"{who}: `angle_deg` must be a list of at least one angle; got shape {angle.shape}.")
    if not numpy.isfinite(angle).all():
        raise ArgumentError(f"{who}: `angle_deg` must be finite; got {angle[~numpy.isfinite(angle)][0]}.")
    if detectors is not None and (not isinstance(detectors, Integral) or detectors < 1):
        raise ArgumentError(f"{who}: `detectors` must be a whole number >= 1; got {detectors!r}.")
    for name, value in (("pixel_size", pixel_size), ("detector_spacing", spacing)):
        if not (is_number(value) and value > 0 and math.isfinite(value)):
            raise ArgumentError(f"{who}: `{name}` must be a finite number above zero; got {value!r}.")
    if not 1 / _REACH <= spacing / pixel_size <= _REACH:
        raise ArgumentError(
            f"{who}: `detector_spacing` must lie between 2^-31 and 2^31 times `pixel_size`, {pixel_size!r}; got {spacing!r}."
        )
    return numpy.deg2rad(angle)


def checked_centre(who: str, centre: float | None, count: int, spacing: float) -> float:
    """Return where the axis is seen, in elements; by default in the middle of `count` elements that are `spacing` pixels apart.

    Raises
    ------
    ArgumentError
        If it is not finite, or an element lies too far from it.
    """
    middle = (count - 1) / 2 if centre is None else centre
    if not (is_number(middle) and math.isfinite(middle)):
        raise ArgumentError(f"{who}: `centre` must be a finite number; got {centre!r}.")
    reach = max(abs(middle), abs(count - 1 - middle)) * spacing
    if reach > _REACH:
        raise ArgumentError(
            f"{who}: the detector reaches {reach:.3g} pixels away from the axis, above 2^31. "
            "Compare the units of `detector_spacing`, `centre` and `pixel_size`."
        )
    return middle
