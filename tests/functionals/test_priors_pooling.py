"""The fused lasso and its proximal map, against dense solvers of scipy."""

import numpy
import pytest
import torch
from case_types import randn
from scipy import optimize
from torch.testing import assert_close

import apheleia as ap
from apheleia.core import VECTOR, ArgumentError, Space
from apheleia.functionals.priors.pooling import pool_decreasing, shrink_variation


def dense(x, amount):
    """Return argmin 1/2 |p - x|^2 + amount |D p|_1 by bounded least squares on the dual."""
    D = numpy.diff(numpy.eye(len(x)), axis=0)
    dual = optimize.lsq_linear(D.T, x.numpy(), (-amount, amount), method="bvls", tol=1e-14).x
    return x - torch.from_numpy(D.T @ dual)


@pytest.mark.parametrize("n", [2, 3, 8, 25])
@pytest.mark.parametrize("amount", [1e-3, 0.2, 1.0, 30.0])
def test_variation_against_a_dense_solver(n, amount):
    x = randn(4, n, seed=n)
    p = shrink_variation(x, torch.full((4,), amount, dtype=torch.float64))
    assert_close(p, torch.stack([dense(row, amount) for row in x]), rtol=0, atol=1e-10)


@pytest.mark.parametrize("amount", [0.0, 0.3, 1e9])
def test_variation_of_signals_with_ties(amount):
    x = torch.tensor([[1.0, 1, 1, 1, 1], [0, 0, 3, 3, 0], [2, 2, 2, 1, 1], [0, 1, 0, 1, 0]], dtype=torch.float64)
    p = shrink_variation(x, torch.full((4,), amount, dtype=torch.float64))
    if amount == 0:
        assert_close(p, x)
    elif amount == 1e9:
        assert_close(p, x.mean(-1, keepdim=True).expand_as(x))
    else:
        assert_close(p, torch.stack([dense(row, amount) for row in x]), rtol=0, atol=1e-10)


def test_variation_of_one_entry():
    assert torch.equal(shrink_variation(torch.ones(2, 1), torch.ones(2)), torch.ones(2, 1))


def test_long_signals_satisfy_the_optimality_condition():
    x = randn(3, 2000, seed=2).cumsum(-1)
    p = shrink_variation(x, torch.full((3,), 5.0, dtype=torch.float64))
    dual = (p - x).cumsum(-1)
    jumps = p.diff(dim=-1)
    assert_close(dual[:, -1], torch.zeros(3, dtype=torch.float64), rtol=0, atol=1e-8)
    assert dual.abs().max() <= 5 + 1e-8
    assert_close(dual[:, :-1][jumps != 0], 5 * jumps.sign()[jumps != 0], rtol=0, atol=1e-8)
    assert (jumps != 0).any()


def test_derivative_averages_over_constant_pieces():
    x = torch.tensor([0.0, 0.1, 0.0, 5.0, 5.2], dtype=torch.float64)
    jacobian = torch.func.jacrev(lambda z: shrink_variation(z, torch.tensor(0.5, dtype=torch.float64)))(x)
    expected = torch.block_diag(torch.full((3, 3), 1 / 3), torch.full((2, 2), 1 / 2)).double()
    assert_close(jacobian, expected)


def test_pooling_against_scipy():
    x = randn(6, 80, seed=3) - 0.01 * torch.arange(80)
    expected = [optimize.isotonic_regression(row.numpy(), increasing=False).x for row in x]
    assert_close(pool_decreasing(x), torch.from_numpy(numpy.stack(expected)))


def test_fused_lasso_against_a_dense_solver():
    F, x, step = ap.FusedLasso(0.7, 0.4, VECTOR), randn(9, seed=4), 0.8
    # p = x - [D; I]^T w, with w in a box, for the pair of terms
    K = numpy.vstack([numpy.diff(numpy.eye(9), axis=0), numpy.eye(9)])
    limit = step * numpy.array([0.7] * 8 + [0.4] * 9)
    dual = optimize.lsq_linear(K.T, x.numpy(), (-limit, limit), method="bvls", tol=1e-14).x
    assert_close(F.prox(x, step), x - torch.from_numpy(K.T @ dual), rtol=0, atol=1e-8)


def test_without_sparsity_it_is_the_total_variation_of_rows():
    F, x = ap.FusedLasso(1.0, 0.0), randn(1, 1, 12)
    assert_close(F(x), ap.TotalVariation()(x))
    assert_close(F.prox(x, 0.6)[0, 0], dense(x[0, 0], 0.6), rtol=0, atol=1e-10)
    assert not F.has_conjugate


def test_conjugate_against_linear_programming():
    F, u = ap.FusedLasso(0.6, 0.3, VECTOR), randn(7, seed=5)
    # the largest s with s u = [D; I]^T w, w in the box
    K = numpy.vstack([numpy.diff(numpy.eye(7), axis=0), numpy.eye(7)])
    bounds = [(-0.6, 0.6)] * 6 + [(-0.3, 0.3)] * 7 + [(0, None)]
    cost = numpy.zeros(14)
    cost[-1] = -1
    found = optimize.linprog(cost, A_eq=numpy.hstack([K.T, -u.numpy()[:, None]]), b_eq=numpy.zeros(7), bounds=bounds)
    assert_close(float(F._dual_scale(u)), float(found.x[-1]), rtol=1e-8, atol=0)


def test_it_regularises_a_problem():
    truth = torch.zeros(60, dtype=torch.float64)
    truth[12:25], truth[40:52] = 2.0, -1.5
    y = truth + 0.3 * randn(60, seed=6)
    F = ap.FusedLasso(1.0, 0.2, VECTOR)
    f = ap.LeastSquares(ap.operators.Identity(VECTOR), y)
    x, _ = ap.solve(ap.Problem(f, F), tol=1e-8)
    assert_close(x, F.prox(y, 1.0), rtol=0, atol=1e-6)
    assert (x - truth).norm() < 0.7 * (y - truth).norm()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((-1.0,), "`variation` must be a finite number of at least zero; got -1.0"),
        ((1.0, float("nan")), "`sparsity` must be a finite number of at least zero; got nan"),
        ((0.0, 0.0), "both zero; give one of them a weight"),
        ((1.0, 1.0, Space((None,), True)), "the space must be real, with one axis or more"),
    ],
)
def test_wrong_fused_lasso_is_refused(arguments, sentence):
    with pytest.raises(ArgumentError, match=sentence):
        ap.FusedLasso(*arguments)
