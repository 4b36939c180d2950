"""Simulated coil maps, sampling patterns, and an image from an eighth of k-space."""

import math

import pytest
import torch

import apheleia as ap
from apheleia.core import ArgumentError, ShapeError
from apheleia.imaging import birdcage_sensitivities, root_sum_of_squares, variable_density_mask


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_maps_have_unit_power_and_the_coils_symmetry():
    maps = birdcage_sensitivities((6, 6), 4)
    torch.testing.assert_close(maps.abs().square().sum(0), torch.ones(6, 6, dtype=torch.float64))
    # coil 1 is coil 0 turned by a quarter: from the right to below
    torch.testing.assert_close(maps[1], maps[0].rot90(-1))
    assert maps[0].abs().argmax() % 6 == 5


def test_maps_are_smooth_and_differ():
    maps = birdcage_sensitivities((64, 48), 8)
    # no jump of the phase, though a coil stands a tenth of the field of view from a corner
    assert maps.diff(dim=-1).abs().max() < 0.25
    gram = torch.einsum("ahw,bhw->ab", maps, maps.conj()).abs()
    assert gram.fill_diagonal_(0).max() < 0.9 * 64 * 48 / 8


@pytest.mark.parametrize("pattern", ["lines", "points"])
@pytest.mark.parametrize(("acceleration", "centre"), [(1, 0.0), (2.5, 0.1), (8, 0.05), (4, 0.25)])
def test_masks_have_their_count_and_their_centre(pattern, acceleration, centre):
    mask = variable_density_mask((30, 40), acceleration, centre, pattern=pattern, generator=seeded())
    total = 40 if pattern == "lines" else 1200
    count = mask[0].sum() if pattern == "lines" else mask.sum()
    assert count == round(total / acceleration)
    assert set(mask.unique().tolist()) <= {0.0, 1.0}
    assert mask[15, 20] == 1
    if pattern == "lines":
        assert (mask == mask[0]).all()
        half = round(40 * centre) // 2
        assert (mask[0, 20 - half : 20 + half] == 1).all()


def test_masks_are_denser_inside():
    mask = variable_density_mask((100, 100), 5, 0.01, pattern="points", generator=seeded())
    inner = mask[25:75, 25:75].mean()
    assert inner > 2 * mask.mean()


def test_masks_follow_their_generator():
    draws = [variable_density_mask((4, 64), 4, generator=seeded(seed)) for seed in (1, 1, 2)]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


def test_root_sum_of_squares():
    images = torch.tensor([3.0, 4.0j]).reshape(2, 1, 1)
    assert root_sum_of_squares(images) == 5
    assert root_sum_of_squares(images.numpy()).shape == (1, 1, 1)
    with pytest.raises(ShapeError, match=r"`images` must be \(\*batch, coil, height, width\); got \(2, 2\)"):
        root_sum_of_squares(torch.ones(2, 2))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: birdcage_sensitivities((0, 4), 2), r"`size` must be \(height, width\)"),
        (lambda: birdcage_sensitivities((4, 4), 0), "`coils` must be at least 1"),
        (lambda: birdcage_sensitivities((4, 4), 2, radius=1.2), r"`radius` finite and above sqrt\(2\); got 2 and 1.2"),
        (lambda: birdcage_sensitivities((4, 4), 2, radius=float("inf")), "`radius` finite and above"),
        (lambda: variable_density_mask((4,), 2), r"`size` must be \(height, width\)"),
        (lambda: variable_density_mask((4, 4), 0.5), "`acceleration` must be at least 1; got 0.5"),
        (lambda: variable_density_mask((4, 4), 4, 0.3), r"`center_fraction` must lie between 0 and 1 / acceleration = 0.25"),
        (lambda: variable_density_mask((4, 4), 4, power=-1), "`power` must be at least 0; got -1"),
        (lambda: variable_density_mask((4, 4), 4, pattern="spiral"), "`pattern` must be one of lines, points; got 'spiral'"),
    ],
)
def test_wrong_use(call, message):
    with pytest.raises(ArgumentError, match=message):
        call()


def test_total_variation_fills_in_what_was_not_sampled():
    truth = torch.zeros(1, 24, 32, dtype=torch.complex128)
    truth[0, 6:18, 8:25] = 1
    truth[0, 10:14, 12:20] = 0.4j
    mask = variable_density_mask((24, 32), 4, 0.1, generator=seeded())
    A = ap.operators.MultiCoilMRI(mask, birdcage_sensitivities((24, 32), 6))
    noise = ap.Space((6, 24, 32), True).randn(generator=seeded(1), dtype=torch.complex128)
    y = A(truth) + 0.002 * mask * noise
    x, report = ap.solve(ap.Problem(ap.LeastSquares(A, y), 1e-3 * ap.TotalVariation(is_complex=True)), tol=1e-4)
    assert report.status.name == "CONVERGED"
    error, zero_filled = (torch.linalg.vector_norm(image - truth) for image in (x, A.adjoint(y)))
    assert error < 0.1 * zero_filled
    assert math.isfinite(float(report.residual))
