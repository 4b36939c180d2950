"""The sorted l1 norm: what it contains, and its proximal map against a search over all orders."""

import itertools

import numpy
import pytest
import torch
from case_types import randn
from scipy import optimize
from torch.testing import assert_close

import apheleia as ap
from apheleia.core import VECTOR, ArgumentError, ShapeError


@pytest.mark.parametrize(
    ("weights", "other"), [(torch.ones(8).double(), ap.L1()), (torch.eye(8)[0].double(), ap.LInfinity())], ids=["L1", "LInfinity"]
)
def test_norms_that_it_contains(weights, other):
    F, x = ap.SortedL1(weights), 2 * randn(5, 2, 2, 2)
    assert_close(F(x), other(x))
    assert_close(F.prox(x, 0.7), other.prox(x, 0.7))
    assert_close(F._dual_scale(x), other._dual_scale(x))


def test_prox_against_a_quadratic_program():
    # the conjugate's ball is the hull of all signed orders of the weights: project on it by weights of its corners
    weights, x, step = torch.tensor([1.5, 0.8, 0.8, 0.1], dtype=torch.float64), randn(4, seed=3) * 2, 0.6
    corners = numpy.array(
        [
            [s * w for s, w in zip(signs, order, strict=True)]
            for order in set(itertools.permutations((step * weights).tolist()))
            for signs in itertools.product((-1, 1), repeat=4)
        ]
    )
    # non-negative least squares with a heavy row for the sum of one
    heavy = 1e4
    system = numpy.vstack([corners.T, heavy * numpy.ones(len(corners))])
    shares, _ = optimize.nnls(system, numpy.append(x.numpy(), heavy))
    assert_close(ap.SortedL1(weights, VECTOR).prox(x, step), x - torch.from_numpy(corners.T @ shares), rtol=0, atol=1e-5)


def test_entries_of_like_size_become_equal():
    x = torch.tensor([3.0, -2.9, 0.2, 3.1], dtype=torch.float64)
    p = ap.SortedL1(torch.tensor([1.0, 0.8, 0.6, 0.4]), VECTOR).prox(x, 1.0)
    assert_close(p.abs(), torch.tensor([2.2, 2.2, 0.0, 2.2], dtype=torch.float64))


@pytest.mark.parametrize("weights", [[1.0, 2.0], [1.0, -1.0], [0.0, 0.0]])
def test_weights_out_of_order_are_refused(weights):
    with pytest.raises(ArgumentError, match="must never increase, start above zero and end at zero or above"):
        ap.SortedL1(weights)


@pytest.mark.parametrize("weights", [torch.ones(2, 2), torch.ones(0), torch.tensor([float("inf"), 1.0]), torch.ones(2) * 1j])
def test_what_is_no_sequence_of_weights_is_refused(weights):
    with pytest.raises(ArgumentError, match=r"`weights` must be finite real numbers \(n,\)"):
        ap.SortedL1(weights)


def test_a_signal_of_another_length_is_refused():
    with pytest.raises(ShapeError, match="there are 3 weights; x has 4 entries a sample"):
        ap.SortedL1([3.0, 2.0, 1.0], VECTOR)(randn(4))
