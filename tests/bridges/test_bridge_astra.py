"""ASTRA's projectors: exact transposes, our geometry, and wrong use. What needs ASTRA skips where it is not installed."""

import gc
import importlib.util
import sys

import numpy
import pytest
import torch
from case_types import uniform

import apheleia as ap
from apheleia.bridges import astra_fan_beam, astra_parallel_beam
from apheleia.core import ArgumentError, MissingExtraError, ShapeError
from apheleia.operators import FanBeamTransform, XRayTransform, check_adjoint, check_linear, check_norm

ANGLES = [0.0, 20.0, 90.0, 135.0, 200.0]
SIZE = (8, 10)
MAKE = {
    "linear": lambda: astra_parallel_beam(ANGLES, SIZE, 17),
    "line": lambda: astra_parallel_beam(ANGLES, SIZE, kind="line"),
    "strip": lambda: astra_parallel_beam(numpy.array(ANGLES), SIZE, 9, detector_spacing=2.0, pixel_size=1.5, kind="strip"),
    "fan, line": lambda: astra_fan_beam(ANGLES, SIZE, 30.0, 20.0, 17),
    "fan, strip": lambda: astra_fan_beam(ANGLES, SIZE, 30.0, 20.0, 17, detector_spacing=1.2, kind="strip"),
}
needs_astra = pytest.mark.skipif(importlib.util.find_spec("astra") is None, reason="ASTRA is not installed")


@needs_astra
@pytest.mark.parametrize("make", MAKE.values(), ids=MAKE)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_adjoint_linearity_and_norm(make, dtype):
    A = make()
    assert check_adjoint(A, dtype=dtype, tol=1e-6) < 1e-6
    check_linear(A, dtype=dtype, tol=1e-5)
    bound = A.norm()
    assert bound.kind == "upper"
    assert check_norm(A, dtype=dtype, tol=0.0) > 0.8
    assert (bound.value >= torch.linalg.matrix_norm(A.dense().reshape(-1, 80), 2) * (1 - 1e-6)).all()


@needs_astra
def test_parallel_rays_are_those_of_ours():
    x = uniform(3, 1, *SIZE)
    for options in ({"detectors": 17}, {"detector_spacing": 2.0, "pixel_size": 1.5}, {}):
        ours, theirs = XRayTransform(ANGLES, SIZE, **options)(x), astra_parallel_beam(ANGLES, SIZE, **options)(x)
        torch.testing.assert_close(theirs, ours, rtol=1e-5, atol=1e-5)


@needs_astra
def test_fans_are_those_of_ours_for_smooth_images():
    rows, columns = torch.meshgrid(torch.arange(64.0) - 25, torch.arange(64.0) - 36, indexing="ij")
    x = torch.exp(-(rows**2 + 2 * columns**2) / 200)[None]
    ours = FanBeamTransform(ANGLES, (64, 64), 150.0, 80.0, 120)(x)
    for kind in ("line", "strip"):
        theirs = astra_fan_beam(ANGLES, (64, 64), 150.0, 80.0, 120, kind=kind)(x)
        assert (theirs - ours).abs().max() < 0.01 * ours.max()


@needs_astra
def test_a_reconstruction_is_that_of_ours():
    x, angles = torch.zeros(1, 16, 16, dtype=torch.float64), numpy.linspace(0, 180, 30, endpoint=False)
    x[..., 4:11, 5:12] = 1
    y = XRayTransform(angles, (16, 16))(x)
    answers = []
    for A in (astra_parallel_beam(angles, (16, 16)), XRayTransform(angles, (16, 16))):
        answer, report = ap.solve(ap.Problem(ap.LeastSquares(A, y), 0.1 * ap.TotalVariation()), tol=1e-5)
        assert report.certificate("convergence").status == "proved"
        answers.append(answer)
    torch.testing.assert_close(*answers, rtol=0, atol=0.01)
    assert ap.metrics.psnr(answers[0], x) > 25


@needs_astra
def test_projectors_are_given_back(monkeypatch):
    astra, deleted = importlib.import_module("astra"), []
    monkeypatch.setattr(astra.projector, "delete", deleted.append)
    A = MAKE["linear"]()
    assert deleted == []
    del A
    gc.collect()
    assert len(deleted) == 1


@pytest.mark.parametrize(
    ("make", "error", "sentence"),
    [
        (
            lambda: astra_parallel_beam(ANGLES, SIZE, kind="cuda"),
            ArgumentError,
            "`kind` must be one of linear, line, strip; got 'cuda'",
        ),
        (
            lambda: astra_parallel_beam([], SIZE),
            ShapeError,
            "astra_parallel_beam: `angle_deg` must be a list of at least one angle",
        ),
        (lambda: astra_parallel_beam(ANGLES, SIZE, 0), ArgumentError, "`detectors` must be a whole number >= 1"),
        (
            lambda: astra_parallel_beam(ANGLES, SIZE, pixel_size=0.0),
            ArgumentError,
            "`pixel_size` must be a finite number above zero",
        ),
        (lambda: astra_fan_beam(ANGLES, SIZE, 30.0, 20.0, 9, kind="linear"), ArgumentError, "one of line, strip; got 'linear'"),
        (
            lambda: astra_fan_beam(ANGLES, SIZE, 3.0, 20.0, 9),
            ArgumentError,
            "`source_distance` must exceed half the image's diagonal, 6.403",
        ),
        (lambda: astra_fan_beam(ANGLES, SIZE, float("inf"), 1.0, 9), ArgumentError, "and be finite; got inf"),
        (lambda: astra_fan_beam(ANGLES, SIZE, 30.0, -1.0, 9), ArgumentError, "`detector_distance` must be at least zero"),
    ],
)
def test_wrong_geometries(make, error, sentence):
    with pytest.raises(error, match=sentence):
        make()


def test_astra_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "astra", None)
    with pytest.raises(MissingExtraError, match=r"astra_parallel_beam needs astra-toolbox.*apheleia\[astra\]"):
        astra_parallel_beam(ANGLES, SIZE)
    with pytest.raises(MissingExtraError, match="astra_fan_beam needs astra-toolbox"):
        astra_fan_beam(ANGLES, SIZE, 30.0, 20.0, 9)
