"""What each family of functionals is, by hand and against independent programs."""

import math

import numpy
import pytest
import torch
from case_types import COMPLEX_IMAGE, randn, uniform
from torch import nn
from torch.testing import assert_close

from apheleia.core import VECTOR
from apheleia.functionals import (
    L1,
    Ball,
    Box,
    GroupL1,
    HuberLoss,
    KullbackLeibler,
    LeastAbsoluteDeviations,
    LeastSquares,
    NonNegativity,
    QuadraticSmoothness,
    Simplex,
    SmoothedVariation,
    TotalVariation,
    WaveletL1,
)
from apheleia.operators import Convolution, Diagonal, FiniteDifferences, Identity, Matrix, WaveletTransform

FLAT = Identity(VECTOR)


def column(*values):
    return torch.tensor(values, dtype=torch.float64)


# least squares


def test_least_squares_carries_the_half_and_the_noise_level():
    assert LeastSquares(FLAT, column(1, 2))(column(4, 6)) == 12.5
    assert LeastSquares(FLAT, column(1, 2), noise_std=5.0)(column(4, 6)) == 0.5


def test_least_squares_prox_of_a_dense_problem():
    A, y, x, step = Matrix(randn(4, 4)), randn(4, seed=1), randn(4, seed=2), 0.7
    ready = LeastSquares(Diagonal(A.matrix[0], VECTOR), y, 0.5)
    d = A.matrix[0]
    assert_close(ready.prox(x, step), (x + step * 4 * d * y) / (1 + step * 4 * d**2))


@pytest.mark.parametrize("A", [Matrix(randn(4, 4)), Convolution(torch.ones(2, 3), "reflect")], ids=lambda A: A.name)
def test_least_squares_has_no_exact_prox_without_a_closed_form(A):
    F = LeastSquares(A, randn(4) if isinstance(A, Matrix) else randn(1, 4, 4))
    assert F.is_proximable
    assert not F.has_exact_prox
    assert F.split is not None


def test_least_squares_is_strongly_convex_where_its_operator_is_injective():
    y = randn(4)
    assert LeastSquares(Matrix(randn(4, 3)), y).is_strongly_convex
    assert not LeastSquares(Matrix(randn(4, 5)), y).is_strongly_convex
    assert not LeastSquares(Diagonal(column(1, 0, 1, 1), VECTOR), y).is_strongly_convex


def test_noise_level_gets_gradients():
    std = nn.Parameter(torch.tensor(0.5, dtype=torch.float64))
    F, x = LeastSquares(Identity(), randn(1, 3, 3), std), randn(1, 3, 3, seed=1)
    for value in (F(x), F.prox(x, 0.3).abs().sum(), F.grad(x).abs().sum(), F.hessian()(x).abs().sum()):
        (gradient,) = torch.autograd.grad(value, std)
        assert gradient != 0
    assert F.smoothness().value == pytest.approx(4)


def test_learned_operator_inside_a_fidelity_gets_gradients():
    kernel = nn.Parameter(uniform(3, 3))
    F = LeastSquares(Convolution(kernel, "circular"), randn(1, 4, 4), 0.5)
    for value in (F(randn(1, 4, 4, seed=1)), F.prox(randn(1, 4, 4, seed=1), 0.3).sum()):
        (gradient,) = torch.autograd.grad(value, kernel)
        assert gradient.abs().sum() > 0


@pytest.mark.parametrize("std", [2, torch.tensor(2), numpy.float32(2), numpy.array([2.0, 2.0])])
def test_noise_levels_of_any_type(std):
    F = LeastSquares(Identity(), torch.ones(1, 2, 2), std)
    assert_close(F(torch.zeros(1, 2, 2)), torch.full(F.batch_shape, 0.5))
    assert_close(F.hessian()(torch.ones(1, 2, 2)), torch.full((*F.batch_shape, 1, 2, 2), 0.25))


def test_is_from_numpy():
    y = numpy.ones((1, 2, 2))
    assert LeastSquares(Identity(), y).is_from_numpy
    assert (2.0 * LeastSquares(Identity(), y) + L1()).is_from_numpy
    assert not LeastSquares(Identity(), torch.from_numpy(y)).is_from_numpy


def test_start_fits_the_data_best_along_the_back_projection():
    A, y = Matrix(randn(5, 3)), randn(5, seed=1)
    x = LeastSquares(A, y).start()
    assert x is not None
    assert_close(x / x.norm(), A.adjoint(y) / A.adjoint(y).norm())
    assert abs(A.codomain.inner(A(x), A(x) - y)) < 1e-12


# Huber and least absolute deviations


def test_huber_by_hand():
    F = HuberLoss(FLAT, column(0, 0, 0), delta=1.0)
    assert F(column(0.5, 1.0, 3.0)) == pytest.approx(0.125 + 0.5 + 2.5)
    assert_close(F.grad(column(0.5, 1.0, -3.0)), column(0.5, 1.0, -1.0))
    assert F.smoothness().value == 1


def test_huber_lies_between_its_limits():
    y, x = randn(6), 3 * randn(6, seed=1)
    wide, narrow = HuberLoss(FLAT, y, 1e6), HuberLoss(FLAT, y, 1e-6)
    assert_close(wide(x), LeastSquares(FLAT, y)(x))
    assert_close(narrow(x) / 1e-6, LeastAbsoluteDeviations(FLAT, y)(x), rtol=1e-5, atol=0)


def test_absolute_deviations_by_hand():
    F = LeastAbsoluteDeviations(FLAT, column(1, 1, 1))
    assert F(column(0, 1, 3)) == 3
    assert_close(F.loss.prox(column(0, 1.2, 3), 0.5), column(0.5, 1.0, 2.5))


# Kullback-Leibler


@pytest.mark.parametrize(("gain", "background"), [(1.0, 0.0), (2.5, 0.7)])
def test_kullback_leibler_is_the_poisson_likelihood(gain, background):
    """Up to a constant in x it is the negative log-likelihood of y / gain counts with mean w / gain."""
    y, z = gain * column(0, 1, 4, 9), [column(1, 2, 3, 4), column(5, 0.5, 2, 8)]
    F = KullbackLeibler(FLAT, y, gain, background)
    likelihood = [-torch.distributions.Poisson((x + background) / gain).log_prob(y / gain).sum() for x in z]
    assert_close(F(z[0]) - F(z[1]), likelihood[0] - likelihood[1])


def test_kullback_leibler_vanishes_at_the_data():
    y = column(0, 1, 5)
    assert KullbackLeibler(FLAT, y)(y) == 0
    assert KullbackLeibler(FLAT, y, gain=3.0, background=0.5)(y - 0.5) == pytest.approx(0, abs=1e-15)


def test_kullback_leibler_at_the_edge_of_its_domain():
    F = KullbackLeibler(FLAT, column(0, 2))
    assert F(column(0, 2)) == 0
    assert F(column(3, 2)) == 3
    assert F(column(0, 0)) == math.inf
    assert F(column(-1, 2)) == math.inf
    assert KullbackLeibler(FLAT, column(0, 2), background=1.0)(column(-1, 1)) == 0


def test_kullback_leibler_prox_without_counts():
    F = KullbackLeibler(FLAT, column(0, 0)).loss
    assert_close(F.prox(column(2, 0.5), 1.0), column(1, 0))


def test_kullback_leibler_prox_does_not_cancel():
    y = column(1e-3)
    p = KullbackLeibler(FLAT, y).loss.prox(column(-1e8), 1.0)
    assert_close(p, column(1e-11), rtol=1e-6, atol=0)


def test_kullback_leibler_keeps_its_digits_in_single_precision():
    counts = 1e4 + 100 * randn(1000)
    x = counts + 50 * randn(1000, seed=1)
    exact = KullbackLeibler(FLAT, counts)(x)
    single = KullbackLeibler(FLAT, counts.float())(x.float())
    assert abs(single / exact - 1) < 1e-3


def test_kullback_leibler_has_finite_gradients_where_it_is_finite():
    x = column(0, 2, 1).requires_grad_()
    KullbackLeibler(FLAT, column(0, 2, 0))(x).backward()
    assert_close(x.grad, column(1, 0, 1))


# l1 and its relatives


def test_l1_by_hand():
    assert L1(VECTOR)(column(3, -4)) == 7
    assert_close(L1(VECTOR).prox(column(3, -0.5, 0), 1.0), column(2, 0, 0))
    assert_close(L1(VECTOR).conj_prox(column(3, -0.5, 0), 1.0), column(1, -0.5, 0))


def test_l1_of_complex_numbers_shrinks_the_modulus():
    x = torch.tensor([3 + 4j], dtype=torch.complex128).reshape(1, 1, 1)
    assert L1(COMPLEX_IMAGE)(x) == 5
    assert_close(L1(COMPLEX_IMAGE).prox(x, 2.5), x / 2)


@pytest.mark.parametrize("axis", [-1, -2, -3])
def test_group_l1_against_torch(axis):
    x = randn(3, 4, 5)
    assert_close(GroupL1(axis)(x), torch.linalg.vector_norm(x, dim=axis).sum())


def test_group_l1_of_groups_of_one_is_l1():
    x = randn(1, 4, 5)
    assert_close(GroupL1().prox(x, 0.4), L1().prox(x, 0.4))


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_group_l1_has_a_zero_subgradient_at_zero(dtype):
    x = torch.zeros(2, 1, 2, dtype=dtype).requires_grad_()
    GroupL1(space=COMPLEX_IMAGE)(x).backward()
    assert x.grad is not None
    assert x.grad.abs().max() == 0


def test_wavelet_l1_leaves_the_mean_alone():
    F = WaveletL1("haar", 2)
    flat = torch.full((1, 4, 8), 3.0, dtype=torch.float64)
    assert F(flat) == pytest.approx(0, abs=1e-12)
    assert_close(F.prox(flat + randn(1, 4, 8), 1e6).mean(), (flat + randn(1, 4, 8)).mean())


@pytest.mark.parametrize("step", [0.1, 1.0])
def test_wavelet_l1_prox_thresholds_at_the_step(step):
    F, x = WaveletL1("db2", 1), randn(1, 8, 8)
    coefficients = F.transform(x)
    expected = coefficients.sign() * (coefficients.abs() - step).clamp(min=0)
    expected[..., :4, :4] = coefficients[..., :4, :4]
    assert_close(F.transform(F.prox(x, step)), expected)


def test_wavelet_l1_conjugate_is_finite_only_without_an_approximation():
    F = WaveletL1("haar", 1)
    assert F.conjugate(torch.ones(1, 2, 2)) == math.inf
    assert F._dual_scale(torch.ones(1, 2, 2)) == 0
    detail = torch.tensor([[[0.4, -0.4], [0.4, -0.4]]])
    assert F.conjugate(detail) == 0
    assert F._dual_scale(10 * detail) == pytest.approx(0.125)


# variations


def test_total_variation_by_hand():
    step_edge = torch.tensor([[[0.0, 0, 1, 1]] * 3])
    assert TotalVariation()(step_edge) == 3
    corner = torch.tensor([[[0.0, 1], [1, 1]]])
    assert TotalVariation()(corner) == pytest.approx(math.sqrt(2))
    assert TotalVariation()(torch.cat([step_edge, step_edge])) == 6


def test_total_variation_prox_of_two_pixels_moves_them_together():
    F, x = TotalVariation(), torch.tensor([[[0.0, 1.0]]], dtype=torch.float64)
    assert_close(F.prox(x, 0.2), torch.tensor([[[0.2, 0.8]]], dtype=torch.float64), rtol=0, atol=1e-6)
    assert_close(F.prox(x, 9.0), torch.tensor([[[0.5, 0.5]]], dtype=torch.float64), rtol=0, atol=1e-6)


@pytest.mark.parametrize("tol", [1e-1, 1e-3, 1e-6])
def test_total_variation_gap_is_a_true_bound_that_reaches_its_tolerance(tol):
    F, x, step = TotalVariation(), randn(3, 1, 8, 8), torch.tensor([0.1, 0.5, 3.0], dtype=torch.float64)
    u, gap = F.prox_and_gap(x, step, tol)
    best, _ = F.prox_and_gap(x, step, 1e-13)
    value = step * F(u) + 0.5 * F.space.inner(u - x, u - x)
    least = step * F(best) + 0.5 * F.space.inner(best - x, best - x)
    assert (value - least <= gap + 1e-12).all()
    assert (gap <= tol * value).all()
    # 1-strong convexity of the subproblem turns the gap into a distance
    assert (0.5 * F.space.norm(u - best) ** 2 <= gap + 1e-12).all()


def test_total_variation_prox_keeps_the_mean():
    x = randn(1, 6, 6)
    assert_close(TotalVariation().prox(x, 0.7).mean(), x.mean())


def test_gap_survives_the_calculus():
    x = randn(1, 6, 6)
    gap = TotalVariation().prox_and_gap(x, 0.5, 1e-2)[1]
    assert gap > 0
    assert (0.5 * TotalVariation()).prox_and_gap(x, 1.0, 1e-2)[1] == gap
    assert (TotalVariation() @ Identity()).prox_and_gap(x, 0.5, 1e-2)[1] == gap
    assert (TotalVariation() @ WaveletTransform("haar", 1)).prox_and_gap(x, 0.5, 1e-2)[1] > 0


@pytest.mark.parametrize("kind", ["charbonnier", "huber"])
def test_smoothed_variation_tends_to_total_variation(kind):
    x = randn(2, 5, 5)
    exact = TotalVariation()(x)
    for epsilon in (1e-1, 1e-3, 1e-5):
        smoothed = SmoothedVariation(epsilon, kind)(x)
        assert 0 <= exact - smoothed <= 50 * epsilon


@pytest.mark.parametrize("kind", ["charbonnier", "huber"])
def test_smoothed_variation_is_quadratic_at_its_tip(kind):
    x = 1e-6 * randn(1, 5, 5)
    assert_close(SmoothedVariation(0.1, kind)(x), QuadraticSmoothness()(x) / 0.1, rtol=1e-6, atol=0)


@pytest.mark.parametrize("kind", ["charbonnier", "huber"])
def test_smoothed_variation_smoothness_is_nearly_reached(kind):
    F = SmoothedVariation(0.1, kind)
    worst = FiniteDifferences().gram.dense((1, 4, 4))
    direction = torch.linalg.eigh(worst).eigenvectors[:, -1].reshape(1, 4, 4)
    slope = F.grad(1e-6 * direction).norm() / 1e-6
    assert slope == pytest.approx(float(F.smoothness((1, 4, 4)).value), rel=1e-6)


def test_quadratic_smoothness_by_hand():
    assert QuadraticSmoothness()(torch.tensor([[[0.0, 3.0], [0.0, 3.0]]])) == 9


# indicators


def test_indicators_are_zero_inside_and_infinite_outside():
    x = column(0.2, 0.3, 0.5).reshape(3, 1, 1)
    for F in (Box(), NonNegativity(), Ball(1.0), Simplex()):
        assert F(x) == 0
        assert F(x - 0.6) == math.inf or isinstance(F, Ball)
    assert Ball(0.1)(x) == math.inf


@pytest.mark.parametrize("F", [Box(-0.3, 0.4), NonNegativity(), Ball(0.7), Simplex()], ids=lambda F: F.name)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_projection_lies_in_the_set_and_stays(F, dtype):
    x = 100 * randn(20, 4, 2, 2, dtype=dtype)
    p = F.prox(x, 1.0)
    assert (F(p) == 0).all()
    assert_close(F.prox(p, 1.0), p, rtol=1e-5, atol=1e-5 if dtype == torch.float32 else 1e-12)


@pytest.mark.parametrize("total", [1.0, 2.5])
def test_simplex_projection_against_bisection(total):
    x = randn(6, 3, 2)
    low, high = x.amin(0) - total, x.amax(0)
    for _ in range(100):
        middle = 0.5 * (low + high)
        too_much = (x - middle).clamp(min=0).sum(0) > total
        low, high = torch.where(too_much, middle, low), torch.where(too_much, high, middle)
    assert_close(Simplex(total).prox(x, 1.0), (x - low).clamp(min=0), rtol=0, atol=1e-12)


@pytest.mark.parametrize("axis", [-1, -2, -3])
def test_simplex_sums_along_its_axis(axis):
    p = Simplex(2.0, axis).prox(randn(3, 4, 5), 1.0)
    assert (p >= 0).all()
    assert_close(p.sum(axis), torch.full_like(p.sum(axis), 2.0))


def test_simplex_of_one_component_is_a_point():
    assert_close(Simplex().prox(randn(1, 2, 2), 1.0), torch.ones(1, 2, 2, dtype=torch.float64))


def test_projections_are_closest():
    """<x - p, z - p> <= 0 for every z of the set characterises the projection."""
    x, z = randn(30, 4, 1, 1), randn(30, 4, 1, 1, seed=1)
    for F in (Box(-0.3, 0.4), NonNegativity(), Ball(0.7), Simplex()):
        p, other = F.prox(x, 1.0), F.prox(z, 1.0)
        assert (F.space.inner(x - p, other - p) <= 1e-12).all()


def test_support_functions_by_hand():
    u = column(2, -1).reshape(2, 1, 1)
    assert Box(-1, 3).conjugate(u) == 7
    assert Box(-1, math.inf).conjugate(u) == math.inf
    assert Box(-1, math.inf).conjugate(-u.abs()) == 3
    assert Box(-math.inf, 2).conjugate(u) == math.inf
    assert Ball(2.0).conjugate(u) == pytest.approx(2 * math.sqrt(5))
    assert Simplex(3.0).conjugate(u) == 6
    assert (NonNegativity().conjugate(u), NonNegativity().conjugate(-u.abs())) == (math.inf, 0)


def test_box_without_ends_on_either_side_reaches_the_domain_only_at_zero():
    F = Box(-math.inf, math.inf)
    assert F._dual_scale(torch.ones(1, 1, 1)) == 0
    assert F.conjugate(torch.zeros(1, 1, 1)) == 0


# calculus


def test_sums_are_flat_and_weights_reach_their_parts():
    F = 2.0 * (L1() + 3.0 * NonNegativity() + TotalVariation())
    assert [part.formula for part in F.parts] == ["2 |x|₁", "2 3 [x ≥ 0]", "2 TV(x)"]
    assert len((L1() + L1() + L1()).parts) == 3


def test_predicates_propagate():
    smooth, simple = LeastSquares(Identity(), torch.ones(1, 2, 2)), L1()
    total = smooth + simple
    assert total.is_convex
    assert total.is_strongly_convex
    assert not (total.is_smooth)
    assert not (total.is_proximable)
    assert not (total.has_conjugate)
    nothing = 0.0 * simple
    assert nothing.has_conjugate
    assert nothing.conjugate(torch.zeros(1, 2, 2)) == 0
    assert nothing.conjugate(torch.ones(1, 2, 2)) == torch.inf
    assert (0.0 * smooth).is_strongly_convex is False
    composed = simple @ WaveletTransform("haar", 1)
    assert composed.is_proximable
    assert composed.has_conjugate
    assert not (simple @ Convolution(torch.ones(3, 3))).is_proximable


def test_smoothness_of_a_sum_with_an_estimate_is_an_estimate():
    class Reluctant(QuadraticSmoothness):
        def _smoothness(self, shape):
            return type(super()._smoothness(shape))(8.0, "estimate", "a guess")

    F = QuadraticSmoothness() + Reluctant()
    assert F.smoothness((1, 3, 3)).kind == "estimate"
    assert (3.0 * F).smoothness((1, 3, 3)).kind == "estimate"


def test_names_and_formulas():
    y = torch.ones(1, 2, 2)
    names = {
        LeastSquares(Identity(), y).formula: "1/2 |x - y|²",
        LeastSquares(Convolution(torch.ones(3, 3)), y, 0.5).formula: "1/2 |A x - y|² / 0.5²",
        LeastSquares(Identity(), y, torch.ones(3)).formula: "1/2 |x - y|² / σ²",
        HuberLoss(Identity(), y, 0.5).formula: "huber(A x - y; 0.5)",
        (1e-3 * TotalVariation()).formula: "0.001 TV(x)",
        (torch.ones(3) * L1()).formula: "c |x|₁",
        (L1() @ FiniteDifferences().H).formula: "|FiniteDifferences.H x|₁",
        (L1() + Box()).formula: "|x|₁ + [0 ≤ x ≤ 1]",
        Simplex(2).formula: "[x ≥ 0, Σx = 2]",
        Ball(2).formula: "[|x| ≤ 2]",
    }
    assert all(formula == expected for formula, expected in names.items()), names
    assert (L1() + Box()).name == "(L1 + Box)"
    assert (2.0 * L1()).name == "L1"


def test_formulas_of_learned_numbers_do_not_warn():
    std = nn.Parameter(torch.tensor(0.5))
    assert LeastSquares(Identity(), torch.ones(1, 2, 2), std).formula == "1/2 |x - y|² / 0.5²"
    assert (nn.Parameter(torch.tensor(0.25)) * L1()).formula == "0.25 |x|₁"


@pytest.mark.parametrize("weights", [numpy.array([1.0, 2.0]), numpy.float64(2.0), torch.tensor([1, 2]), 2])
def test_weights_of_any_type(weights):
    F = weights * L1()
    assert_close(F(torch.ones(1, 1, 3)), torch.as_tensor(3.0 * weights, dtype=torch.float32))
