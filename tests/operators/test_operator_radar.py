"""Near-field radar: by its definition, its bound, bounded blocks, three reflectors found, and wrong use."""

import math

import pytest
import torch
from case_types import randn, uniform

import apheleia as ap
from apheleia.core import ArgumentError, ShapeError
from apheleia.operators import NearFieldMIMO, radar

C = 299_792_458.0


def line(n, width, y=0.0):
    """Return n antennas on a line of a width in metres."""
    positions = torch.zeros(n, 3, dtype=torch.float64)
    positions[:, 0] = torch.linspace(-width / 2, width / 2, n, dtype=torch.float64)
    positions[:, 1] = y
    return positions


def plane(height, width, spacing, distance):
    """Return the voxels of one plane in front of the antennas, (1, height, width, 3)."""
    y, x = (spacing * (torch.arange(n, dtype=torch.float64) - n // 2) for n in (height, width))
    grid = torch.stack(torch.meshgrid(torch.tensor([distance], dtype=torch.float64), y, x, indexing="ij")[::-1], -1)
    return grid


@pytest.mark.parametrize("has_spreading", [False, True])
def test_it_is_its_definition(has_spreading):
    sent, received, voxels = uniform(2, 3), uniform(3, 3, seed=1), uniform(4, 3, seed=2) + torch.tensor([0, 0, 2.0])
    frequencies = [1e9, 2.5e9]
    A = NearFieldMIMO(sent, received, torch.tensor(frequencies), voxels, has_spreading)
    x = randn(4, dtype=torch.complex128)
    expected = torch.zeros(2, 3, 2, dtype=torch.complex128)
    for t in range(2):
        for r in range(3):
            for k, f in enumerate(frequencies):
                for v in range(4):
                    there, back = (
                        math.dist(sent[t].tolist(), voxels[v].tolist()),
                        math.dist(received[r].tolist(), voxels[v].tolist()),
                    )
                    angle = -2 * math.pi * f * (there + back) / C
                    size = 1 / (there * back) if has_spreading else 1.0
                    expected[t, r, k] += x[v] * size * complex(math.cos(angle), math.sin(angle))
    torch.testing.assert_close(A(x), expected)


def test_blocks_do_not_change_the_answer(monkeypatch):
    A = NearFieldMIMO(uniform(2, 3), uniform(3, 3, seed=1), torch.tensor([1e9, 2e9]), uniform(2, 3, 4, 3, seed=2) + 1)
    x, y = randn(3, 2, 3, 4, dtype=torch.complex128), randn(3, 2, 3, 2, dtype=torch.complex128)
    whole = A(x), A.adjoint(y), A.norm().value
    monkeypatch.setattr(radar, "_BLOCK", 37)
    assert sum(1 for _ in A._factors(torch.complex128)) == 2 * math.ceil(24 / 7)
    torch.testing.assert_close((A(x), A.adjoint(y), A.norm().value), whole)


def test_single_precision_keeps_phases_of_many_turns():
    A = NearFieldMIMO(uniform(2, 3), uniform(2, 3, seed=1), torch.tensor([77e9, 81e9]), uniform(5, 3, seed=2) + 10)
    x = randn(5, dtype=torch.complex128)
    torch.testing.assert_close(A(x.to(torch.complex64)), A(x).to(torch.complex64), rtol=1e-5, atol=1e-5)


def test_the_bound_is_far_below_that_of_frobenius():
    A = NearFieldMIMO(line(6, 0.5), line(6, 0.5, 0.1), torch.linspace(8e9, 12e9, 4), plane(8, 8, 0.02, 0.6))
    true = torch.linalg.matrix_norm(A.dense(), 2)
    bound = A.norm().value
    assert true <= bound <= 0.7 * math.sqrt(6 * 6 * 4 * 64)


@pytest.mark.parametrize("prior", [ap.L1(ap.Space((None, None, None), True)), ap.Magnitude(ap.L1())], ids=["L1", "magnitude"])
def test_three_reflectors_are_found(prior):
    sent, received = line(5, 0.4), line(5, 0.4, 0.08)
    received = torch.cat((received, received[:, [1, 0, 2]]))
    A = NearFieldMIMO(sent, received, torch.linspace(8e9, 12e9, 5), plane(9, 11, 0.03, 0.5))
    truth = torch.zeros(1, 9, 11, dtype=torch.complex128)
    truth[0, 2, 3], truth[0, 6, 7], truth[0, 4, 9] = 1.0, 0.8j, -0.6
    y = A(truth)
    y = y + 0.01 * y.abs().mean() * randn(*y.shape, seed=3, dtype=torch.complex128)
    largest = A.adjoint(y).abs().amax()
    x, report = ap.solve(ap.Problem(ap.LeastSquares(A, y), 0.02 * largest * prior), tol=1e-4)
    assert report.status.name == "CONVERGED"
    found = x.abs().flatten().topk(3).indices.sort().values
    assert found.tolist() == [2 * 11 + 3, 4 * 11 + 9, 6 * 11 + 7]
    assert torch.linalg.vector_norm(x - truth) < 0.1 * torch.linalg.vector_norm(truth)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"transmitters": torch.zeros(3)}, ShapeError, r"`transmitters` must be real, \(antenna, 3\), in metres"),
        ({"receivers": torch.zeros(1, 2, 3)}, ShapeError, r"`receivers` must be real, \(antenna, 3\), in metres"),
        (
            {"voxels": torch.zeros(4, 2)},
            ShapeError,
            r"`voxels` must be real, \(\*grid, 3\), in metres; got .* \(4, 2\)",
        ),
        ({"frequencies_hz": torch.ones(1, 1)}, ShapeError, "`frequencies_hz` must be a real vector"),
        ({"frequencies_hz": torch.tensor([1.0, 0.0])}, ArgumentError, "`frequencies_hz` must be finite and above zero; got 0.0"),
        ({"frequencies_hz": torch.tensor([1.0, torch.inf])}, ArgumentError, "must be finite and above zero; got inf"),
        ({"receivers": torch.full((1, 3), torch.nan)}, ArgumentError, "`receivers` must be finite"),
        ({"voxels": torch.zeros(4, 3, requires_grad=True)}, ArgumentError, "positions and frequencies get no gradient here"),
        ({"voxels": torch.zeros(4, 3), "has_spreading": True}, ArgumentError, "a voxel lies on an antenna"),
    ],
)
def test_wrong_use(change, error, message):
    arguments = {
        "transmitters": torch.zeros(2, 3),
        "receivers": torch.zeros(2, 3),
        "frequencies_hz": torch.ones(2),
        "voxels": torch.ones(4, 3),
    }
    with pytest.raises(error, match=message):
        NearFieldMIMO(**{**arguments, **change})


def test_a_voxel_on_an_antenna_is_found_among_many():
    for seed in range(10):
        scene = torch.rand(40, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) + 5
        with pytest.raises(ArgumentError, match="a voxel lies on an antenna"):
            NearFieldMIMO(scene[3:4], torch.zeros(1, 3), torch.tensor([1e9]), scene, has_spreading=True)
