"""Random projections: orthonormal rows, seeds, a sparse signal from few measurements, and wrong use."""

import pytest
import torch
from case_types import randn

import apheleia as ap
from apheleia.core import ArgumentError, ShapeError, Space
from apheleia.operators import RandomProjection


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("shape", [(7,), (8,), (1, 3, 4)])
def test_rows_are_orthonormal_and_flat(shape):
    A = RandomProjection(5, Space(shape), generator=seeded())
    matrix = A.dense()
    torch.testing.assert_close(matrix @ matrix.T, torch.eye(5, dtype=torch.float64))
    # |cos + sin| <= sqrt(2): no entry has more than twice the energy of the mean
    assert matrix.abs().max() <= (2 / matrix.shape[1]) ** 0.5 * (1 + 1e-12)


def test_it_follows_its_generator():
    first, again, other = (RandomProjection(6, Space((16,)), generator=seeded(seed)).dense() for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_all_measurements_are_orthonormal():
    A = RandomProjection(12, Space((1, 3, 4)), generator=seeded())
    assert A.is_orthonormal
    assert not RandomProjection(11, Space((1, 3, 4))).is_orthonormal


def test_least_squares_has_an_exact_proximal_map():
    A = RandomProjection(5, Space((9,)), generator=seeded())
    f = ap.LeastSquares(A, randn(5), noise_std=0.7)
    x = randn(9, seed=1)
    p = f.prox(x, 0.4)
    assert f.has_exact_prox
    torch.testing.assert_close(p + 0.4 * f.grad(p), x)


def test_a_sparse_signal_from_few_measurements():
    truth = torch.zeros(128, dtype=torch.float64)
    truth[torch.tensor([3, 40, 77, 90, 121])] = torch.tensor([1.0, -2.0, 1.5, 0.8, -1.2], dtype=torch.float64)
    A = RandomProjection(48, Space((128,)), generator=seeded())
    x, report = ap.solve(ap.Problem(ap.LeastSquares(A, A(truth)), 1e-3 * ap.L1(ap.VECTOR)), tol=1e-6)
    assert report.status.name == "CONVERGED"
    torch.testing.assert_close(x, truth, rtol=0, atol=0.02)


@pytest.mark.parametrize("count", [0, 13])
def test_wrong_count(count):
    with pytest.raises(ArgumentError, match=f"`count` must lie between 1 and 12, the size of a signal; got {count}"):
        RandomProjection(count, Space((1, 3, 4)))


@pytest.mark.parametrize("space", [Space((1, None, 4)), Space((4,), is_complex=True)])
def test_wrong_space(space):
    with pytest.raises(ShapeError, match="give a real space with fixed sizes"):
        RandomProjection(2, space)


def test_a_full_projection_is_inverted_without_a_shift():
    A = RandomProjection(4, Space((1, 2, 2)))
    torch.testing.assert_close(A.gram.shifted_solve(torch.ones(1, 2, 2), 0.0), torch.ones(1, 2, 2))
