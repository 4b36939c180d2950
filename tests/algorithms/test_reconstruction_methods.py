"""Richardson-Lucy, SIRT and LSQR: against their textbook formulas, SciPy, and what they refuse."""

import numpy as np
import pytest
import scipy.sparse.linalg
import torch
from algorithm_cases import BLUR, BLURRED, COUNTS, M_TALL, Y_TALL, dense, flat, randn
from torch.testing import assert_close

import apheleia as ap
from apheleia.core import CapabilityError
from apheleia.functionals.fidelities.least_squares import SquaredDistance
from apheleia.operators import Diagonal, Matrix

RAYS = randn(20, 12, seed=1).abs() * (randn(20, 12, seed=2) > 0)
SEEN = RAYS @ randn(12, seed=3).abs() + 0.1


def poisson(gain=0.05, background=0.1):
    return ap.Problem(ap.KullbackLeibler(BLUR, COUNTS, gain=gain, background=background), ap.NonNegativity())


def test_richardson_lucy_is_the_textbook_s_update_and_falls_at_every_step():
    problem, A, y = poisson(), dense(BLUR), flat(COUNTS)
    x = np.full(64, 0.3)
    start = torch.from_numpy(x.reshape(1, 8, 8))
    for _ in range(20):
        x = x / A.sum(0) * (A.T @ (y / (A @ x + 0.1)))
    seen = []
    found, report = ap.solve(
        problem, ap.RichardsonLucy(), x0=start, max_steps=20, throw=False, callbacks=[lambda s, r: seen.append(problem(s.x))]
    )
    assert_close(flat(found), x, rtol=1e-10, atol=1e-12)
    assert bool((torch.stack(seen).diff() < 0).all())
    assert report.certificate("convergence").status == "proved"


def test_richardson_lucy_does_not_depend_on_the_gain_and_keeps_counts():
    x, _ = ap.solve(poisson(0.05, 0.0), ap.RichardsonLucy(), max_steps=5, throw=False)
    y, _ = ap.solve(poisson(2.0, 0.0), ap.RichardsonLucy(), max_steps=5, throw=False)
    assert_close(x, y)
    # without a background the expected counts add up to the counts
    assert float(BLUR(x).sum()) == pytest.approx(float(COUNTS.sum()))


def test_pixels_that_no_data_see_stay():
    mask = torch.ones(1, 8, 8).double()
    mask[:, 2, 3] = 0
    problem = ap.Problem(ap.KullbackLeibler(Diagonal(mask), COUNTS, background=0.01), ap.NonNegativity())
    x0 = torch.full((1, 8, 8), 0.7).double()
    x, _ = ap.solve(problem, ap.RichardsonLucy(), x0=x0)
    assert float(x[0, 2, 3]) == pytest.approx(0.7)
    squares = ap.Problem(ap.LeastSquares(Diagonal(mask), BLURRED), ap.Box(0, 1))
    assert float(ap.solve(squares, ap.SIRT(), x0=x0)[0][0, 2, 3]) == pytest.approx(0.7)


def test_sirt_is_the_textbook_s_update_with_rows_scaled():
    A, y = RAYS.numpy(), SEEN.numpy()
    rows, columns = A.sum(1), A.sum(0)
    x = np.zeros(12)
    for _ in range(30):
        x = np.clip(x + (A.T @ ((y - A @ x) / rows)) / columns, 0, None)
    D = Diagonal(1 / RAYS.sum(1).sqrt(), ap.VECTOR)
    problem = ap.Problem(ap.LeastSquares(D @ Matrix(RAYS), D(SEEN)), ap.NonNegativity(ap.VECTOR))
    found, _ = ap.solve(problem, ap.SIRT(), x0=torch.zeros(12).double(), max_steps=30, throw=False, tol=1e-12)
    assert_close(found.numpy(), x, rtol=1e-10, atol=1e-12)


def test_sirt_is_proved_below_a_relaxation_of_two_and_not_past_it():
    problem = ap.Problem(ap.LeastSquares(Matrix(RAYS), SEEN), ap.NonNegativity(ap.VECTOR))
    exact, _ = ap.solve(problem, tol=1e-10)
    for relaxation in (0.5, 1.0, 1.9):
        x, report = ap.solve(problem, ap.SIRT(relaxation), tol=1e-8, max_steps=50_000)
        assert report.certificate("convergence").status == "proved"
        assert_close(x, exact, rtol=1e-4, atol=1e-4)
    for relaxation in (2.0, 2.5):
        report = ap.solve(problem, ap.SIRT(relaxation), max_steps=2, throw=False)[1]
        assert report.certificate("convergence").status == "none"
        assert "Lower `relaxation`" in report.certificate("convergence").why


@pytest.mark.parametrize("damping", [0.0, 0.3, 5.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_lsqr_equals_scipy_with_and_without_damping(damping, dtype):
    A, y = M_TALL.to(dtype), Y_TALL.to(dtype)
    prior = damping**2 * SquaredDistance(torch.zeros(12, dtype=dtype), ap.VECTOR) if damping else None
    x0 = randn(12, seed=5, dtype=dtype)
    # of a duality gap, where there is damping: the distance goes with its root
    tol = 1e-13 if dtype is torch.float64 else 1e-5
    x, report = ap.solve(ap.Problem(ap.LeastSquares(Matrix(A), y), prior), ap.LSQR(), x0=x0, tol=tol)
    exact = scipy.sparse.linalg.lsqr(M_TALL.numpy(), Y_TALL.numpy(), damp=damping, atol=1e-14, btol=1e-14)[0]
    tolerance = 1e-6 if dtype is torch.float64 else 1e-3
    assert_close(x.double(), torch.from_numpy(exact), rtol=tolerance, atol=tolerance)
    assert report.certificate("convergence").status == "proved"


def test_lsqr_keeps_more_digits_than_conjugate_gradients_where_a_is_ill_conditioned():
    U, _ = torch.linalg.qr(randn(30, 12, seed=6))
    V, _ = torch.linalg.qr(randn(12, 12, seed=7))
    A = (U * torch.logspace(0, -3.2, 12).double()) @ V
    truth = randn(12, seed=8)
    problem = ap.Problem(ap.LeastSquares(Matrix(A.float()), (A @ truth).float()))
    errors = [
        float((ap.solve(problem, algorithm, tol=1e-12, max_steps=200, throw=False)[0].double() - truth).norm())
        for algorithm in (ap.LSQR(), ap.ConjugateGradient())
    ]
    assert errors[0] < errors[1]


def test_lsqr_takes_complex_matrices_and_noise_levels():
    M = torch.complex(randn(9, 6, seed=1), randn(9, 6, seed=2))
    y = torch.complex(randn(9, seed=3), randn(9, seed=4))
    x, _ = ap.solve(ap.Problem(ap.LeastSquares(Matrix(M), y, noise_std=torch.tensor([0.1, 3.0]))), ap.LSQR(), tol=1e-11)
    exact = torch.linalg.lstsq(M, y[:, None]).solution[:, 0]
    assert_close(x, exact.expand(2, 6), rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize(
    ("algorithm", "problem", "sentence"),
    [
        (ap.RichardsonLucy(), lambda: ap.Problem(ap.KullbackLeibler(BLUR, COUNTS)), "needs NonNegativity as the prior. Try"),
        (
            ap.RichardsonLucy(),
            lambda: ap.Problem(ap.KullbackLeibler(Matrix(M_TALL), SEEN), ap.NonNegativity(ap.VECTOR)),
            "needs an A with non-negative entries; Matrix is not known to have them. Try ChambollePock",
        ),
        (
            ap.RichardsonLucy(),
            lambda: ap.Problem(ap.LeastSquares(BLUR, BLURRED), ap.NonNegativity()),
            "needs one KullbackLeibler and NonNegativity, and no other part; this problem has LeastSquares. Try FISTA",
        ),
        (
            ap.SIRT(),
            lambda: ap.Problem(ap.LeastSquares(Matrix(M_TALL), Y_TALL)),
            "needs an A with non-negative entries; Matrix is not known to have them. Try ConjugateGradient",
        ),
        (
            ap.SIRT(),
            lambda: ap.Problem(ap.LeastSquares(BLUR, BLURRED), ap.L1()),
            "takes Box, NonNegativity or no prior; this problem has L1. Try FISTA",
        ),
        (ap.SIRT(), lambda: ap.Problem(ap.LeastSquares(BLUR, BLURRED), ap.TotalVariation()), "takes no terms h"),
        (ap.SIRT(), lambda: ap.Problem(ap.HuberLoss(BLUR, BLURRED, 0.1)), "entries; HuberLoss is not. Try Gradient"),
        (ap.SIRT(), lambda: ap.Problem(ap.Box()), "needs least squares; this problem has none"),
        (
            ap.LSQR(),
            lambda: ap.Problem(ap.LeastSquares(BLUR, BLURRED), ap.QuadraticSmoothness()),
            "needs squared distances of linear maps; QuadraticSmoothness is none. Try ConjugateGradient",
        ),
        (ap.LSQR(), lambda: ap.Problem(ap.LeastSquares(BLUR, BLURRED), ap.L1()), "L1 is none. Try FISTA"),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_refusals(algorithm, problem, sentence):
    with pytest.raises(CapabilityError) as caught:
        ap.solve(problem(), algorithm, x0=None if problem().f.start() is not None else torch.zeros(1, 8, 8).double())
    assert str(caught.value).startswith(algorithm.name)
    assert sentence in str(caught.value)


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan")])
def test_the_relaxation_is_above_zero(value):
    with pytest.raises(ap.ArgumentError, match="SIRT: `relaxation` must be above zero"):
        ap.SIRT(value)
