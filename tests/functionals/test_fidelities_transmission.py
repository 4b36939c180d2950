"""Transmission counts against scipy, at extreme attenuations, and in problems."""

import numpy
import pytest
import torch
from case_types import randn, uniform
from scipy import optimize, special, stats
from torch.testing import assert_close

import apheleia as ap
from apheleia.core import VECTOR, ArgumentError, ShapeError, Space
from apheleia.functionals.lambert import wright_omega
from apheleia.operators import Identity, Matrix

ONE = Identity(VECTOR)
Y = torch.tensor([0.0, 3.0, 40.0, 90.0], dtype=torch.float64)


def test_wright_omega_against_scipy():
    t = torch.tensor([-800.0, -50.0, -36.1, -35.9, -3.0, 0.0, 1.0, 1.5, 30.0, 800.0, 1e8], dtype=torch.float64)
    assert_close(wright_omega(t), torch.from_numpy(special.wrightomega(t.numpy())), rtol=4e-15, atol=0)
    # near Lambert's W itself
    assert_close(wright_omega(t[3:8]), torch.from_numpy(special.lambertw(numpy.exp(t[3:8].numpy())).real), rtol=1e-12, atol=0)
    t = torch.tensor([-3.0, 0.2, 5.0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(wright_omega, (t,))
    assert torch.autograd.gradgradcheck(wright_omega, (t,))


@pytest.mark.parametrize("background", [0.0, 4.0])
def test_it_is_the_poisson_likelihood(background):
    F = ap.TransmissionPoisson(ONE, Y, 100.0, background)
    z = uniform(4, low=0.1, high=3)

    def negative(z):
        return -stats.poisson.logpmf(Y.numpy(), 100 * numpy.exp(-z.numpy()) + background).sum()

    other = z + 0.3
    assert_close(F(z) - F(other), torch.tensor(negative(z) - negative(other)), rtol=1e-9, atol=0)


def test_it_vanishes_where_counts_are_expected():
    F = ap.TransmissionPoisson(ONE, Y[1:], 100.0)
    z = (100 / Y[1:]).log()
    assert_close(F(z), torch.tensor(0.0, dtype=torch.float64), rtol=0, atol=1e-12)
    assert_close(F.grad(z), torch.zeros(3, dtype=torch.float64), rtol=0, atol=1e-12)
    assert_close(F.start(), z)


@pytest.mark.parametrize("step", [1e-6, 0.02, 3.0, 1e6])
@pytest.mark.parametrize("shift", [-300.0, 0.0, 300.0])
def test_prox_solves_its_condition_at_any_attenuation(step, shift):
    F = ap.TransmissionPoisson(ONE, Y, 1e4).loss
    x = shift + randn(4)
    p = F.prox(x, step)
    moved = p - x + step * F.grad(p)
    assert (moved.abs() <= 1e-12 * (x.abs() + step * Y + (step * (Y - F.grad(p))).abs() + 1)).all()


def test_estimate_against_scipy():
    M, truth = uniform(12, 4, seed=3), torch.tensor([0.2, 0.0, 0.5, 1.0], dtype=torch.float64)
    y = torch.poisson(500 * (-(M @ truth)).exp(), generator=torch.Generator().manual_seed(0))

    def energy(x, background):
        m = 500 * numpy.exp(-M.numpy() @ x) + background
        return (m - y.numpy() * numpy.log(m)).sum()

    sharp = {"xatol": 1e-9, "fatol": 1e-11}
    for background in (0.0, 5.0):
        f = ap.TransmissionPoisson(Matrix(M), y, 500.0, background)
        x, report = ap.solve(ap.Problem(f), tol=1e-7)
        found = optimize.minimize(energy, x.numpy(), args=(background,), method="Nelder-Mead", options=sharp)
        assert energy(x.numpy(), background) <= found.fun + 1e-5
        assert (report.certificate("convergence").status == "proved") == (background == 0)


def test_low_counts_are_better_than_logarithms():
    # few photons: the logarithm of counts is noisy and biased, the likelihood is not
    truth = torch.zeros(1, 12, 12, dtype=torch.float64)
    truth[:, 3:9, 3:9] = 2.0
    y = torch.poisson(20 * (-truth).exp(), generator=torch.Generator().manual_seed(0))
    weights = torch.linspace(0.2, 4, 8, dtype=torch.float64)

    def error(f, scale):
        x, _ = ap.solve(ap.Problem(f, scale * weights * ap.TotalVariation(), terms=((ap.NonNegativity(), Identity()),)))
        return float(((x - truth) ** 2).mean((-3, -2, -1)).min())

    logarithms = (20 / y.clamp(min=0.5)).log()
    assert error(ap.TransmissionPoisson(Identity(), y, 20.0), 1.0) < error(ap.LeastSquares(Identity(), logarithms), 0.2)


def test_predicates_are_honest():
    plain, scattered = ap.TransmissionPoisson(ONE, Y, 100.0), ap.TransmissionPoisson(ONE, Y, 100.0, 4.0)
    assert (plain.is_convex, plain.is_smooth, plain.is_differentiable, plain.split is not None) == (True, False, True, True)
    assert (scattered.is_convex, scattered.is_smooth, scattered.split) == (False, False, None)
    # its curvature changes sign: the chord lies below the function somewhere
    a, b = torch.tensor([2.0, 2.0, 5.0, 9.0]).double(), torch.tensor([2.0, 2.0, 9.0, 13.0]).double()
    assert scattered(0.5 * (a + b)) > 0.5 * (scattered(a) + scattered(b))
    assert scattered.formula == "KL(y, blank exp(-A x) + background)"
    assert plain.formula == "KL(y, blank exp(-A x))"


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: ap.TransmissionPoisson(ONE, Y, 0.0), ArgumentError, "`blank_scan` must be above zero and finite. Mask dead"),
        (lambda: ap.TransmissionPoisson(ONE, Y, 1.0, -1.0), ArgumentError, "`background` must be at least zero; got -1.0"),
        (lambda: ap.TransmissionPoisson(ONE, -Y, 1.0), ArgumentError, "`y` must hold counts of at least zero, not their log"),
        (lambda: ap.TransmissionPoisson(ONE, Y, torch.ones(3)), ShapeError, r"must broadcast with `y`, \(4,\); got \(3,\)"),
        (
            lambda: ap.TransmissionPoisson(Identity(Space((None,), True)), Y + 0j, 1.0),
            ArgumentError,
            "TransmissionPoisson: counts are real; this data formation gives complex data",
        ),
    ],
)
def test_wrong_use(make, error, message):
    with pytest.raises(error, match=message):
        make()
