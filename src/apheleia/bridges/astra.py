"""ASTRA's projectors in two dimensions as operators with their exact transposes."""

from __future__ import annotations

import importlib
import math
import weakref
from collections.abc import Sequence
from types import ModuleType
from typing import Any, Literal

import torch

from apheleia.bridges.array_operator import ArrayOperator, rowwise
from apheleia.core.bound import Bound
from apheleia.core.errors import ArgumentError, MissingExtraError
from apheleia.core.interop import ArrayLike
from apheleia.core.space import Space
from apheleia.operators.fan_beam_transform import checked_fan
from apheleia.operators.linear import LinearOperator
from apheleia.operators.norm import perron_bound
from apheleia.operators.ray_transform import NORM_STEPS
from apheleia.operators.xray_transform import checked_geometry

__all__ = ["FanKind", "ParallelKind", "astra_fan_beam", "astra_parallel_beam"]

ParallelKind = Literal["linear", "line", "strip"]
"""How rays meet pixels: interpolated (Joseph), by lengths (Siddon), or by areas under beams as wide as an element."""

FanKind = Literal["line", "strip"]
"""The same for fans."""

ROUNDING = 1e-3
"""Relative room for the sums of thousands of numbers in single precision."""


def astra_parallel_beam(
    angle_deg: ArrayLike | Sequence[float],
    size: tuple[int, int],
    detectors: int | None = None,
    *,
    detector_spacing: float | None = None,
    pixel_size: float = 1.0,
    kind: ParallelKind = "linear",
) -> LinearOperator:
    """Return ASTRA's projection along parallel rays, in the geometry of `XRayTransform`, on the CPU.

    Parameters
    ----------
    angle_deg : sequence of float, (view,)
        Angles of the views, in degrees, counter-clockwise.
    size : (int, int)
        Height and width of the image, in pixels.
    detectors : int, optional
        Number of detector elements; by default as many as see the whole image.
    detector_spacing : float, optional
        Distance of two detector elements, in the unit of `pixel_size`; a pixel by default.
    pixel_size : float, default 1
        Side of a pixel, in any unit of length; integrals are in that unit.
    kind : {"linear", "line", "strip"}
        How rays meet pixels. "linear" is the discretisation of `XRayTransform`.

    Returns
    -------
    LinearOperator
        Images (1, height, width) to sinograms (1, view, detector). ASTRA computes in single precision; answers come back in the
        signal's, so that <A x, y> = <x, A^H y> holds to some 1e-6.

    Raises
    ------
    ArgumentError
        If the geometry makes no sense, or `kind` is unknown.
    ShapeError
        If the angles are not a list.
    MissingExtraError
        If ASTRA is not installed.

    Notes
    -----
    Certificate: the adjoint is the transpose of the same matrix; norm: an upper bound by positive vectors, with room for single
    precision.
    Source: W. van Aarle et al., Optics Express 24 (2016), doi:10.1364/OE.24.025129.
    """
    who, spacing = "astra_parallel_beam", pixel_size if detector_spacing is None else detector_spacing
    _require_kind(who, kind, ("linear", "line", "strip"))
    angle = checked_geometry(who, angle_deg, size, detectors, spacing, pixel_size)
    count = math.ceil(math.hypot(*size) * pixel_size / spacing) if detectors is None else detectors
    library = _astra(who)
    return _operator(library, library.create_proj_geom("parallel", spacing, count, angle), kind, size, pixel_size)


def astra_fan_beam(
    angle_deg: ArrayLike | Sequence[float],
    size: tuple[int, int],
    source_distance: float,
    detector_distance: float,
    detectors: int,
    *,
    detector_spacing: float | None = None,
    pixel_size: float = 1.0,
    kind: FanKind = "line",
) -> LinearOperator:
    """Return ASTRA's projection along the rays from a point source to a flat detector, in the geometry of `FanBeamTransform`.

    Parameters
    ----------
    angle_deg, size, pixel_size
        As in `astra_parallel_beam`.
    source_distance : float
        From the source to the axis of rotation, in the unit of `pixel_size`; more than half the image's diagonal.
    detector_distance : float
        From the axis of rotation to the detector, at least zero.
    detectors : int
        Number of detector elements.
    detector_spacing : float, optional
        Distance of two elements on the detector; by default that of a pixel seen there.
    kind : {"line", "strip"}
        How rays meet pixels; `FanBeamTransform` interpolates instead, which ASTRA does not offer for fans on the CPU.

    Returns
    -------
    LinearOperator
        As that of `astra_parallel_beam`.

    Raises
    ------
    ArgumentError
        If the geometry makes no sense, or `kind` is unknown.
    ShapeError
        If the angles are not a list.
    MissingExtraError
        If ASTRA is not installed.

    Notes
    -----
    Certificate: as that of `astra_parallel_beam`.
    """
    who = "astra_fan_beam"
    _require_kind(who, kind, ("line", "strip"))
    angle, spacing = checked_fan(
        who, angle_deg, size, source_distance, detector_distance, detectors, detector_spacing, pixel_size
    )
    library = _astra(who)
    rays = library.create_proj_geom("fanflat", spacing, detectors, angle, source_distance, detector_distance)
    return _operator(library, rays, f"{kind}_fanflat", size, pixel_size)


def _operator(library: ModuleType, rays: Any, kind: str, size: tuple[int, int], pixel_size: float) -> LinearOperator:
    height, width = size[0] * pixel_size / 2, size[1] * pixel_size / 2
    volume = library.create_vol_geom(size[0], size[1], -width, width, -height, height)
    index = library.create_projector(kind, rays, volume)
    projector = library.OpTomo(index)
    domain = Space((1, int(size[0]), int(size[1])))
    codomain = Space((1, len(rays["ProjectionAngles"]), int(rays["DetectorCount"])))

    def operator(bound: Bound | None) -> ArrayOperator:
        return ArrayOperator(rowwise(projector.matvec), rowwise(projector.rmatvec), domain, codomain, f"astra {kind}", bound)

    bare = operator(None)
    tight = perron_bound(lambda v: bare._adjoint(bare._forward(v)), domain, torch.device("cpu"), NORM_STEPS)
    A = operator(Bound(tight.value * (1 + ROUNDING), "upper", f"{tight.how}, in single precision"))
    # ASTRA keeps projectors in a table of its own until they are deleted
    weakref.finalize(projector, library.projector.delete, index)
    return A


def _require_kind(who: str, kind: str, known: tuple[str, ...]) -> None:
    if kind not in known:
        raise ArgumentError(f"{who}: `kind` must be one of {', '.join(known)}; got {kind!r}.")


def _astra(who: str) -> ModuleType:
    try:
        return importlib.import_module("astra")
    except ImportError:
        raise MissingExtraError(who, "astra-toolbox", "astra") from None
