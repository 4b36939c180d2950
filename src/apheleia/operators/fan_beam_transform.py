"""The X-ray transform of images for a fan of rays from a point source onto a flat detector."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import final

import numpy

from apheleia.core.errors import ArgumentError
from apheleia.core.interop import ArrayLike, is_number
from apheleia.operators.joseph import Rays
from apheleia.operators.ray_transform import RayTransform
from apheleia.operators.xray_transform import checked_centre, checked_geometry

__all__ = ["FanBeamTransform", "checked_fan"]


@final
class FanBeamTransform(RayTransform):
    """x -> its integrals along the rays from a point source to each element of a flat detector, which turn around the image.

    Images (channel, height, width) give sinograms (channel, view, detector). At angle 0 the source lies below the middle of
    the image and the central ray runs upwards; both turn counter-clockwise. With a distant source and the detector on the axis
    it is `XRayTransform` of the same angles. Discretised by Joseph's method, zero beyond the image.

    Parameters
    ----------
    angle_deg : sequence of float, (view,)
        Angles of the views, in degrees (radians: numpy.rad2deg); any values in any order.
    size : (int, int)
        Height and width of the image, in pixels.
    source_distance : float
        From the source to the axis of rotation, in the unit of `pixel_size`; more than half the image's diagonal.
    detector_distance : float
        From the axis of rotation to the detector, at least zero.
    detectors : int, optional
        Number of detector elements; by default as many as see the whole image.
    detector_spacing : float, optional
        Distance of two detector elements on the detector; by default that of a pixel seen there.
    centre : float, optional
        Where the axis of rotation is seen on the detector, in elements; by default in its middle, (detectors - 1) / 2.
    pixel_size : float, default 1
        Side of a pixel, above zero, in any unit of length; integrals are in that unit.

    Raises
    ------
    ArgumentError
        If there is no angle, a number is not finite, a size or distance is not above zero, the source lies in the image, or the
        detector lies so far out or has elements so small that the places of its rays would be rounding.

    Notes
    -----
    Certificate: the adjoint is the exact transpose; norm: an upper bound by positive vectors, usually a few per cent above.
    Complexity: as for `XRayTransform`, at about twice the time.
    Source: P. Joseph, IEEE Transactions on Medical Imaging 1 (1982), doi:10.1109/TMI.1982.4307572.

    Examples
    --------
    >>> import torch
    >>> A = FanBeamTransform([0.0, 90.0], (8, 8), source_distance=20.0, detector_distance=10.0, detectors=5)
    >>> A(torch.ones(1, 8, 8)).shape
    torch.Size([1, 2, 5])
    """

    def __init__(
        self,
        angle_deg: ArrayLike | Sequence[float],
        size: tuple[int, int],
        source_distance: float,
        detector_distance: float,
        detectors: int | None = None,
        *,
        detector_spacing: float | None = None,
        centre: float | None = None,
        pixel_size: float = 1.0,
    ) -> None:
        who = "FanBeamTransform"
        angle, spacing = checked_fan(
            who, angle_deg, size, source_distance, detector_distance, detectors, detector_spacing, pixel_size
        )
        radius, whole = math.hypot(*size) / 2 * pixel_size, source_distance + detector_distance
        # the outermost rays touch the circle around the image
        span = 2 * whole * radius / numpy.sqrt(source_distance**2 - radius**2)
        count = int(numpy.ceil(span / spacing)) if detectors is None else int(detectors)
        middle = checked_centre(who, centre, count, spacing / pixel_size)
        along, across = (
            numpy.stack(pair, -1)[:, None]
            for pair in ((-numpy.sin(angle), numpy.cos(angle)), (numpy.cos(angle), numpy.sin(angle)))
        )
        offset = ((numpy.arange(count) - middle) * spacing / pixel_size)[:, None]
        direction = along * (whole / pixel_size) + across * offset
        source = numpy.broadcast_to(-along * (source_distance / pixel_size), direction.shape)
        image = (int(size[0]), int(size[1]))
        super().__init__(image, Rays.through(source, direction, image), pixel_size)
        self.angle_deg = numpy.rad2deg(angle)
        self.source_distance = source_distance
        self.detector_distance = detector_distance
        self.detector_spacing = spacing
        self.centre = middle

    def at(self, angle_deg: ArrayLike | Sequence[float]) -> FanBeamTransform:
        """Return the transform of the same geometry for other views, at angles in degrees, (view,)."""
        return FanBeamTransform(
            angle_deg,
            self.size,
            self.source_distance,
            self.detector_distance,
            self.rays.shape[1],
            detector_spacing=self.detector_spacing,
            centre=self.centre,
            pixel_size=self.pixel_size,
        )


def checked_fan(
    who: str,
    angle_deg: ArrayLike | Sequence[float],
    size: tuple[int, int],
    source_distance: float,
    detector_distance: float,
    detectors: int | None,
    detector_spacing: float | None,
    pixel_size: float,
) -> tuple[numpy.ndarray, float]:
    """Return the angles in radians, (view,), and the spacing of the detector, by default that of a pixel seen there.

    Raises
    ------
    ArgumentError
        If the geometry makes no sense.
    ShapeError
        If the angles are not a list.
    """
    # the spacing is checked once it is known
    checked_geometry(who, angle_deg, size, detectors, pixel_size, pixel_size)
    radius = math.hypot(*size) / 2 * pixel_size
    if not (is_number(source_distance) and source_distance > radius and math.isfinite(source_distance)):
        raise ArgumentError(
            f"{who}: `source_distance` must exceed half the image's diagonal, {radius:.4g}, and be finite; "
            f"got {source_distance!r}."
        )
    if not (is_number(detector_distance) and detector_distance >= 0 and math.isfinite(detector_distance)):
        raise ArgumentError(f"{who}: `detector_distance` must be at least zero and finite; got {detector_distance!r}.")
    seen = pixel_size * (source_distance + detector_distance) / source_distance
    spacing = seen if detector_spacing is None else detector_spacing
    return checked_geometry(who, angle_deg, size, detectors, spacing, pixel_size), spacing
