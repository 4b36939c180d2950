"""The register's entries for tomography."""

from __future__ import annotations

from case_types import OperatorCase

from apheleia.operators import FanBeamTransform, XRayTransform

ANGLES = [0.0, 30.0, 45.0, 90.0, 100.0, 217.0]

TOMOGRAPHY_OPERATORS = [
    OperatorCase("X-ray transform", lambda: XRayTransform(ANGLES, (4, 5)), (1, 4, 5), "upper"),
    OperatorCase(
        "X-ray transform of channels, off centre", lambda: XRayTransform(ANGLES, (4, 3), 4, centre=0.7), (2, 4, 3), "upper"
    ),
    OperatorCase(
        "X-ray transform on a fine detector",
        lambda: XRayTransform(ANGLES, (3, 4), 11, detector_spacing=0.8, pixel_size=2.0),
        (1, 3, 4),
        "upper",
    ),
    OperatorCase("X-ray transform on one element", lambda: XRayTransform([10.0], (3, 3), 1), (1, 3, 3), "upper"),
    OperatorCase("fan beam", lambda: FanBeamTransform(ANGLES, (4, 5), 9.0, 4.0, 5), (1, 4, 5), "upper"),
    OperatorCase(
        "fan beam of channels", lambda: FanBeamTransform(ANGLES[:3], (3, 4), 6.0, 0.0, pixel_size=0.5), (2, 3, 4), "upper"
    ),
]
