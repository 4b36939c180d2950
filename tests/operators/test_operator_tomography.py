"""Line integrals against closed forms, the two implementations against one another, and what a wrong geometry is told."""

import numpy as np
import pytest
import torch
from case_types import randn

from apheleia.core import ArgumentError, ShapeError
from apheleia.operators import FanBeamTransform, XRayTransform, joseph, line_integrals

ANGLES = np.arange(0.0, 180.0, 7.5)


def disc(size, centre, radius):
    """A disc of height one, its edge softened over a pixel."""
    rows, columns = np.indices(size)
    right, up = columns - (size[1] - 1) / 2 - centre[0], (size[0] - 1) / 2 - rows - centre[1]
    return torch.from_numpy(np.clip(radius + 0.5 - np.hypot(right, up), 0, 1))[None]


def chord(radius, offset):
    return 2 * np.sqrt(np.clip(radius**2 - offset**2, 0, None))


def test_integrals_of_a_disc():
    A = XRayTransform(ANGLES, (64, 70), pixel_size=0.5)
    y = A(disc((64, 70), (9.0, 14.0), 12.0))[0].numpy()
    angle = np.deg2rad(ANGLES)[:, None]
    seen_at = 9.0 * np.cos(angle) + 14.0 * np.sin(angle)
    expected = 0.5 * chord(12.0, np.arange(y.shape[1]) - (y.shape[1] - 1) / 2 - seen_at)
    assert np.abs(y - expected).mean() < 0.02 * expected.max()
    assert np.abs(y - expected).max() < 0.15 * expected.max()


def test_integrals_of_a_disc_by_a_fan():
    A = FanBeamTransform(2 * ANGLES, (64, 64), source_distance=150.0, detector_distance=70.0)
    y = A(disc((64, 64), (9.0, 14.0), 12.0))[0].numpy()
    angle = np.deg2rad(2 * ANGLES)[:, None]
    along, across = np.stack((-np.sin(angle), np.cos(angle))), np.stack((np.cos(angle), np.sin(angle)))
    offset = (np.arange(y.shape[1]) - A.centre) * A.detector_spacing
    source, direction = -150.0 * along, 220.0 * along + offset * across
    direction = direction / np.linalg.norm(direction, axis=0)
    x, z = 9.0 - source[0], 14.0 - source[1]
    expected = chord(12.0, x * direction[1] - z * direction[0])
    assert np.abs(y - expected).mean() < 0.02 * expected.max()
    assert np.abs(y - expected).max() < 0.15 * expected.max()


def test_it_turns_as_scikit_image_does():
    radon = pytest.importorskip("skimage.transform").radon
    x = disc((63, 63), (10.0, 6.0), 8.0)
    ours = XRayTransform(ANGLES, (63, 63), 63)(x)[0].numpy()
    theirs = radon(x[0].numpy(), ANGLES, circle=True).T
    assert np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] > 0.999


def test_a_far_source_makes_parallel_rays():
    x = randn(1, 9, 8).abs()
    parallel = XRayTransform(ANGLES, (9, 8), 11)(x)
    fan = FanBeamTransform(ANGLES, (9, 8), 1e7, 0.0, 11)(x)
    torch.testing.assert_close(fan, parallel, rtol=1e-4, atol=1e-4)


def test_the_axis_of_rotation_is_seen_where_it_is_said():
    x = torch.zeros(1, 9, 9, dtype=torch.float64)
    x[0, 4, 4] = 1
    y = XRayTransform(ANGLES, (9, 9), 15, centre=3.0)(x)[0]
    assert (y.argmax(-1) == 3).all()


@pytest.mark.parametrize(
    "A",
    [
        XRayTransform(ANGLES, (13, 10)),
        XRayTransform(ANGLES, (13, 10), 40, detector_spacing=0.3),
        XRayTransform(ANGLES, (13, 10), 5, detector_spacing=2.7, centre=1.0),
        FanBeamTransform(2 * ANGLES, (13, 10), 20.0, 9.0),
    ],
    ids=["parallel", "fine", "coarse", "fan"],
)
@pytest.mark.parametrize("batch", [1, 5])
def test_compiled_equals_torch(A, batch):
    pytest.importorskip("numba")
    x, y = randn(batch, 13, 10), randn(batch, *A.codomain.shape[1:])
    torch.testing.assert_close(line_integrals.line_integrals(x, A.rays, A.size), joseph.project(x, A.rays.listed()))
    torch.testing.assert_close(
        line_integrals.spread_along_lines(y, A.rays, A.size), joseph.backproject(y, A.rays.listed(), A.size)
    )


@pytest.mark.parametrize(
    "A", [XRayTransform(ANGLES, (13, 10)), FanBeamTransform(ANGLES, (13, 10), 20.0, 9.0)], ids=["parallel", "fan"]
)
def test_without_numba_torch_takes_over(A, monkeypatch):
    x = randn(2, 1, 13, 10)
    compiled = A(x)
    monkeypatch.setattr(line_integrals.importlib.util, "find_spec", lambda name: None)
    torch.testing.assert_close(A(x), compiled)
    torch.testing.assert_close(A.adjoint(compiled), A.H(compiled))


def test_threads_change_rounding_only():
    pytest.importorskip("numba")
    from apheleia.operators import joseph_compiled

    fan, parallel = FanBeamTransform(ANGLES, (13, 10), 20.0, 9.0), XRayTransform(ANGLES, (13, 10))
    x = randn(2, 13, 10).numpy()
    for A, project, back in (
        (fan, joseph_compiled.project, joseph_compiled.backproject),
        (parallel, joseph_compiled.project_parallel, joseph_compiled.backproject_parallel),
    ):
        alone, shared = project(x, A.rays, 1), project(x, A.rays, 3)
        np.testing.assert_allclose(shared, alone, rtol=1e-12)
        np.testing.assert_allclose(back(alone, A.rays, A.size, 3), back(alone, A.rays, A.size, 1), rtol=1e-12)


def test_the_norm_is_tight():
    A = XRayTransform(ANGLES, (24, 24))
    true = torch.linalg.svdvals(A.dense((1, 24, 24)))[0]
    assert true <= A.norm().value <= 1.02 * true


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (dict(angle_deg=[]), r"`angle_deg` must be a list of at least one angle; got shape \(0,\)"),
        (dict(angle_deg=[0.0, float("nan")]), "`angle_deg` must be finite; got nan"),
        (dict(size=(0, 4)), r"`size` must be \(height, width\), whole numbers of at least 1; got \(0, 4\)"),
        (dict(size=(4.0, 4.5)), r"whole numbers of at least 1; got \(4.0, 4.5\)"),
        (dict(detectors=2.0), "`detectors` must be a whole number >= 1; got 2.0"),
        (dict(centre=float("nan")), "`centre` must be a finite number; got nan"),
        (dict(detector_spacing=1e10), r"must lie between 2\^-31 and 2\^31 times `pixel_size`, 1.0; got 10000000000.0"),
        (dict(centre=-1e12), r"the detector reaches 1e\+12 pixels away from the axis, above 2\^31. Compare the units"),
        (dict(detectors=0), "`detectors` must be a whole number >= 1; got 0"),
        (dict(detector_spacing=-1.0), "`detector_spacing` must be a finite number above zero; got -1.0"),
        (dict(pixel_size=float("inf")), "`pixel_size` must be a finite number above zero; got inf"),
    ],
)
def test_wrong_geometries(arguments, sentence):
    with pytest.raises((ArgumentError, ShapeError), match=sentence):
        XRayTransform(**(dict(angle_deg=[0.0], size=(4, 4)) | arguments))


def test_wrong_fans():
    with pytest.raises(
        ArgumentError, match=r"`source_distance` must exceed half the image's diagonal, 2.828, and be finite; got 2.0"
    ):
        FanBeamTransform([0.0], (4, 4), 2.0, 1.0)
    with pytest.raises(ArgumentError, match=r"`source_distance` must .* be finite; got inf"):
        FanBeamTransform([0.0], (4, 4), float("inf"), 1.0, 3, detector_spacing=1.0)
    with pytest.raises(ArgumentError, match=r"`detector_distance` must be at least zero and finite; got -1.0"):
        FanBeamTransform([0.0], (4, 4), 5.0, -1.0)
    with pytest.raises(ArgumentError, match=r"FanBeamTransform: `size` must be \(height, width\).* got \(4,\)"):
        FanBeamTransform([0.0], (4,), 5.0, 1.0)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match=r"FanBeamTransform: `pixel_size` must be a finite number above zero; got nan"):
        FanBeamTransform([0.0], (4, 4), 5.0, 1.0, pixel_size=float("nan"))
    with pytest.raises(ArgumentError, match="FanBeamTransform: `centre` must be a finite number; got inf"):
        FanBeamTransform([0.0], (4, 4), 5.0, 1.0, centre=float("inf"))


def test_a_wrong_sinogram():
    with pytest.raises(ShapeError, match=r"`y` must have shape \(\*batch, channel, 24, 6\); got"):
        XRayTransform(ANGLES, (4, 4)).adjoint(torch.ones(1, 24, 7))


def test_sizes_and_detectors_of_numpy():
    A = XRayTransform([0.0], tuple(np.array([4, 5])), np.int64(3))
    assert A(torch.ones(1, 4, 5)).shape == (1, 1, 3)


@pytest.mark.parametrize("spacing", [1e-9, 1.0, 1e6, 2e9])
def test_the_compiled_transpose_of_any_spacing(spacing):
    A = XRayTransform([0.0, 30.0, 45.0, 90.0, 135.0], (4, 5), 3, detector_spacing=spacing, centre=1.0)
    x, y = randn(1, 4, 5), randn(1, 5, 3)
    # two thousand million pixels away, a place is known to a millionth of a pixel
    torch.testing.assert_close(A(x), joseph.project(x, A.rays.listed()), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(A.adjoint(y), joseph.backproject(y, A.rays.listed(), (4, 5)), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("seed", range(40))
def test_compiled_and_plain_agree_on_borders_and_diagonals(seed):
    rng = np.random.default_rng(seed)
    size, views, count = tuple(int(n) for n in rng.integers(1, 6, 2)), int(rng.integers(1, 4)), int(rng.integers(1, 7))
    angle = rng.choice([0.0, 30.0, 45.0, 90.0, 135.0, 180.0, 225.0, 315.0, 360.0, 89.99999999999999], views)
    spacing, centre = float(rng.choice([1.0, 0.5, 1 / 3, 2.0, 0.5**0.5, 1e-3])), float(rng.choice([0.0, -1.5, (count - 1) / 2]))
    kinds = {"detectors": count, "detector_spacing": spacing, "centre": centre}
    far = np.hypot(*size) / 2 + float(rng.choice([1e-6, 0.1, 10.0]))
    for A in (XRayTransform(angle, size, **kinds), FanBeamTransform(angle, size, far, 1.0, **kinds)):
        for batch in (1, 3):
            x, y = randn(batch, 1, *size), randn(batch, 1, views, count)
            torch.testing.assert_close(A(x), joseph.project(x, A.rays.listed()))
            torch.testing.assert_close(A.adjoint(y), joseph.backproject(y, A.rays.listed(), size))
