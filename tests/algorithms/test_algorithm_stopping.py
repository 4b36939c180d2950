"""When runs stop: converged, diverged, stagnated, at the limit; and whether scale and start matter."""

import math

import pytest
import torch
from algorithm_cases import ALGORITHMS, BLUR, BLURRED, CIRCULAR, IMAGE, NOISY, PAIRS, PROBLEMS, SALTED, WRAPPED, randn
from torch.testing import assert_close

import apheleia as ap
from apheleia.core import NotConverged, Status
from apheleia.functionals.fidelities.least_squares import SquaredDistance
from apheleia.operators import Diagonal, Identity


def largest_step(problem: ap.Problem, shape=IMAGE) -> float:
    return 1 / float(problem.smoothness(shape).value)


@pytest.mark.parametrize("algorithm", [ap.Gradient, ap.ProximalGradient])
@pytest.mark.parametrize("problem", ["tikhonov", "least_squares"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_too_long_a_step_is_divergence_within_ten_steps_of_showing(algorithm, problem, dtype):
    """PROBE: a step of 3/L that returns 7e25 without a word."""
    case = PROBLEMS[problem]
    made = case.make(dtype)
    # three times the inverse of the true constant, of which the library knows a safe bound
    curvature = torch.autograd.functional.jacobian(case.make(torch.float64).smooth_grad, torch.zeros(case.shape).double())
    size = math.isqrt(curvature.numel())
    step = 3 / float(torch.linalg.eigvalsh(curvature.reshape(size, size))[-1])
    shown = []

    def watch(state, residual):
        if not shown and float(state.x.norm()) > 1e3 * max(1.0, float(made.start().norm())):
            shown.append(state.k)

    with pytest.raises(NotConverged, match=rf"{algorithm.__name__}: DIVERGED.*step {step:.4g} >= 2/L = ") as caught:
        ap.solve(made, algorithm(step=step), callbacks=[watch])
    report = caught.value.report
    assert report.status is Status.DIVERGED
    assert shown[0] <= int(report.steps) <= shown[0] + 10
    assert int(report.steps) < 200
    assert torch.equal(caught.value.x, report.x)
    x, quiet = ap.solve(made, algorithm(step=step), throw=False)
    assert quiet.status is Status.DIVERGED
    assert torch.equal(x, caught.value.x)
    assert "hand-set step may be too large" in str(caught.value)


@pytest.mark.parametrize(("algorithm", "problem"), [(ap.FISTA, "lasso"), (ap.AcceleratedGradient, "tikhonov")])
def test_too_long_an_accelerated_step_is_divergence(algorithm, problem):
    case = PROBLEMS[problem]
    made = case.make(torch.float64)
    with pytest.raises(NotConverged, match=r"DIVERGED.*step .* > 1/L = "):
        ap.solve(made, algorithm(step=3 * largest_step(made, case.shape)))


def test_too_long_a_primal_dual_step_is_divergence():
    made = PROBLEMS["tv_deblurring"].make(torch.float64)
    with pytest.raises(NotConverged, match=r"CondatVu: DIVERGED.*the step is too long"):
        ap.solve(made, ap.CondatVu(step=6 * largest_step(made)))


@pytest.mark.parametrize("algorithm", ["FISTA", "ProximalGradient", "ADMM", "HalfQuadraticSplitting"])
def test_an_infeasible_start_is_no_divergence(algorithm):
    """The objective of the start is +inf, and so may be the gap."""
    problem = ap.Problem(ap.LeastSquares(BLUR, BLURRED), ap.Box(0.1, 0.6))
    assert float(problem(NOISY - 20)) == math.inf
    report = ap.solve(problem, ALGORITHMS[algorithm].make(), x0=NOISY - 20, throw=False, max_steps=300)[1]
    assert report.status is (Status.MAX_STEPS if algorithm == "HalfQuadraticSplitting" else Status.CONVERGED)
    assert bool(report.objective.isfinite())


@pytest.mark.parametrize("width", [10.0, 1e3, 1e6])
def test_a_wide_box_is_no_divergence(width):
    """It makes the first gaps enormous; the solution is that without a box."""
    f, g = ap.LeastSquares(BLUR, BLURRED), 0.02 * ap.TotalVariation()
    free, _ = ap.solve(ap.Problem(f, g), tol=1e-6)
    problem = ap.Problem(f, ap.Box(-width, width), terms=((g, Identity()),))
    for x0 in (None, torch.full(IMAGE, -3 * width, dtype=torch.float64)):
        report = ap.solve(problem, x0=x0, max_steps=100, throw=False)[1]
        assert report.status is not Status.DIVERGED
    x, _ = ap.solve(problem, max_steps=20_000)
    assert_close(x, free, rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize("factor", [1e-6, 1e6, 1e9])
def test_a_large_objective_is_no_divergence(factor):
    """Duals grow with the weights; the point does not."""
    problem = ap.Problem(factor * ap.LeastAbsoluteDeviations(BLUR, SALTED), factor * 0.15 * ap.TotalVariation())
    plain = ap.Problem(1.0 * ap.LeastAbsoluteDeviations(BLUR, SALTED), 0.15 * ap.TotalVariation())
    x, report = ap.solve(problem, throw=False, max_steps=1500)
    reference = ap.solve(plain)[1]
    assert report.status is Status.CONVERGED
    assert float(plain(x)) == pytest.approx(float(reference.objective), rel=1e-3)


def test_a_non_finite_iterate_is_divergence():
    x0 = NOISY.clone()
    x0[0, 2, 2] = torch.inf
    for algorithm in (ap.Gradient(), ap.AcceleratedGradient()):
        with pytest.raises(NotConverged, match="DIVERGED"):
            ap.solve(PROBLEMS["huber_smoothed"].make(torch.float64), algorithm, x0=x0)


def test_an_objective_without_a_minimum_is_divergence():
    """Two constraints that exclude one another: the duals grow without end."""
    problem = ap.Problem(ap.LeastSquares(Identity(), NOISY), terms=((ap.Box(0, 1), Identity()), (ap.Box(2, 3), Identity())))
    with pytest.raises(NotConverged):
        ap.solve(problem, max_steps=5000)


@pytest.mark.parametrize(
    ("algorithm", "problem"),
    [
        ("Gradient", "tikhonov"),
        ("AcceleratedGradient", "tikhonov"),
        ("ConjugateGradient", "tikhonov"),
        ("FISTA", "box_deblurring"),
        ("ProximalGradient", "box_deblurring"),
        ("ChambollePock", "tv_denoising"),
        ("CondatVu", "tv_deblurring"),
    ],
)
def test_float32_stagnates_far_above_a_tiny_tolerance(algorithm, problem):
    x, report = ap.solve(PROBLEMS[problem].make(torch.float32), ALGORITHMS[algorithm].make(), tol=1e-12, max_steps=20_000)
    assert report.status is Status.STAGNATED
    assert 1e-12 < float(report.residual) < 1e-3
    assert int(report.steps) < 10_000
    exact, _ = ap.solve(PROBLEMS[problem].make(torch.float64), tol=1e-7)
    assert_close(x.double(), exact, rtol=1e-3, atol=1e-3)


def test_float64_does_not_stagnate_where_it_still_converges():
    report = ap.solve(PROBLEMS["tv_deblurring"].make(torch.float64), tol=1e-11, max_steps=50_000)[1]
    assert report.status is Status.CONVERGED


def test_the_step_limit_raises_with_point_and_report():
    problem = PROBLEMS["tv_deblurring"].make(torch.float64)
    with pytest.raises(NotConverged, match=r"ADMM: MAX_STEPS, residual .* after 7 steps; convergence proved") as caught:
        ap.solve(problem, max_steps=7)
    assert caught.value.report.status is Status.MAX_STEPS
    assert int(caught.value.report.steps) == 7
    assert torch.equal(caught.value.x, caught.value.report.x)
    x, report = ap.solve(problem, max_steps=7, throw=False)
    assert torch.equal(x, caught.value.x)
    assert report.history.steps[-1] == 7


# --- scale ---------------------------------------------------------------------------------------------------------


def scaled(name: str, c: float) -> ap.Problem:
    """The problem whose solution is c times that for c = 1."""
    y = c * (WRAPPED if name == "tv" else BLURRED)
    return {
        "quadratic": lambda: ap.Problem(ap.LeastSquares(BLUR, y), 0.3 * ap.QuadraticSmoothness()),
        "smooth": lambda: ap.Problem(ap.LeastSquares(BLUR, y), 0.02 * c * ap.SmoothedVariation(0.05 * c)),
        "l1": lambda: ap.Problem(ap.LeastSquares(BLUR, y), 0.05 * c * ap.L1()),
        "box": lambda: ap.Problem(ap.LeastSquares(BLUR, y), ap.Box(0.1 * c, 0.6 * c)),
        "tv": lambda: ap.Problem(ap.LeastSquares(CIRCULAR, y), 0.02 * c * ap.TotalVariation()),
        "noise": lambda: ap.Problem(ap.LeastSquares(BLUR, y, noise_std=0.1 * c), 2 / c * ap.TotalVariation()),
        "lad": lambda: ap.Problem(ap.LeastAbsoluteDeviations(BLUR, c * SALTED), 0.15 * ap.TotalVariation()),
        "poisson": lambda: ap.Problem(ap.KullbackLeibler(BLUR, y.abs(), gain=0.1 * c), 0.5 / c * ap.TotalVariation()),
    }[name]()


@pytest.mark.parametrize("name", ["quadratic", "smooth", "l1", "box", "tv", "noise", "lad", "poisson"])
def test_units_do_not_matter(name):
    x, report = ap.solve(scaled(name, 1.0), tol=1e-6, max_steps=50_000)
    for c in (1e-3, 255.0, 1e4):
        other, scaled_report = ap.solve(scaled(name, c), tol=1e-6, max_steps=50_000)
        assert_close(other / c, x, rtol=2e-3, atol=2e-4)
        assert int(scaled_report.steps) <= 1.5 * int(report.steps) + 20
        assert int(report.steps) <= 1.5 * int(scaled_report.steps) + 20


# --- starts and degenerate images ---------------------------------------------------------------------------------


_PRIMAL = (
    "ConjugateGradient",
    "Gradient",
    "AcceleratedGradient",
    "FISTA",
    "ProximalGradient",
    "LevenbergMarquardt",
    "GaussNewton",
    "LBFGS",
)


@pytest.mark.parametrize(("algorithm", "problem"), [pair for pair in PAIRS if pair[0] in _PRIMAL])
def test_the_solution_as_start_converges_at_once(algorithm, problem):
    case = PROBLEMS[problem]
    x, report = ap.solve(case.make(torch.float64), ALGORITHMS[algorithm].make(), x0=case.start("solution"))
    # the gap of the first step of a proximal method is not yet small, though its point is
    assert int(report.steps) <= (50 if algorithm == "ProximalGradient" and problem in ("lasso", "wavelet_inpainting") else 2)
    assert_close(x, case.start("solution"), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("problem", ["tv_denoising", "tv_deblurring", "tv_deblurring_box"])
@pytest.mark.parametrize("algorithm", ["CondatVu", "ADMM"])
def test_no_start_ruins_the_step_sizes(algorithm, problem):
    """Steps are balanced by distances from x0: zero from the solution, absurd from afar."""
    case = PROBLEMS[problem]
    plain = int(ap.solve(case.make(torch.float64), ALGORITHMS[algorithm].make())[1].steps)
    for x0 in (case.start("solution"), case.start("absurd") / 1e4, case.start("zero")):
        report = ap.solve(case.make(torch.float64), ALGORITHMS[algorithm].make(), x0=x0, max_steps=20_000)[1]
        assert int(report.steps) <= 20 * plain


@pytest.mark.parametrize(
    ("value", "shape"), [(0.0, (1, 1, 1)), (0.7, (1, 1, 1)), (-3.0, (1, 1, 5)), (0.7, (2, 4, 4)), (0.0, (2, 4, 4))]
)
@pytest.mark.parametrize("start", ["default", pytest.param("zero", marks=pytest.mark.slow), "near"])
@pytest.mark.parametrize("fidelity", ["squares", "Huber", pytest.param("absolute", marks=pytest.mark.slow)])
def test_constant_and_single_pixel_images(fidelity, start, value, shape):
    y = torch.full(shape, value, dtype=torch.float64)
    fidelities = {
        "squares": (ap.LeastSquares(Identity(), y), ap.LeastSquares(BLUR, y)),
        "Huber": (ap.HuberLoss(BLUR, y, 0.1),),
        "absolute": (ap.LeastAbsoluteDeviations(BLUR, y),),
    }
    x0 = {"default": None, "zero": torch.zeros(shape, dtype=torch.float64), "near": y + 0.1 * randn(*shape, seed=1)}[start]
    for f in fidelities[fidelity]:
        for g in (0.1 * ap.TotalVariation(), 0.1 * ap.QuadraticSmoothness(), 0.1 * ap.SmoothedVariation()):
            x, report = ap.solve(ap.Problem(f, g), x0=x0)
            assert report.status is Status.CONVERGED
            assert_close(x, y, rtol=2e-2, atol=2e-2)
            assert float(report.objective) < 1e-2


def test_a_constant_image_under_absolute_deviations():
    y = torch.full((1, 1, 1), 0.7, dtype=torch.float64)
    x, report = ap.solve(ap.Problem(ap.LeastAbsoluteDeviations(BLUR, y), 0.1 * ap.TotalVariation()), x0=y - 0.1)
    assert report.status is Status.CONVERGED
    assert_close(x, y, rtol=2e-2, atol=2e-2)


# no image of zeros lies on a simplex
@pytest.mark.parametrize("algorithm", [name for name in ALGORITHMS if name not in ("MirrorDescent", "PALM")])
def test_data_of_zeros_give_zeros(algorithm):
    y = torch.zeros(IMAGE, dtype=torch.float64)
    f = ap.LeastSquares(CIRCULAR, y)
    priors = {
        "ConjugateGradient": ap.QuadraticSmoothness(),
        "Gradient": ap.SmoothedVariation(),
        "AcceleratedGradient": ap.SmoothedVariation(),
        "LBFGS": ap.SmoothedVariation(),
        "LevenbergMarquardt": ap.QuadraticSmoothness(),
        "GaussNewton": ap.QuadraticSmoothness(),
        "LSQR": SquaredDistance(y, ap.IMAGE),
        "FISTA": ap.L1(),
        "ProximalGradient": ap.L1(),
    }
    problem = {
        "RichardsonLucy": lambda: ap.Problem(ap.KullbackLeibler(CIRCULAR, y), ap.NonNegativity()),
        "OSEM": lambda: ap.Problem(ap.KullbackLeibler(CIRCULAR, y) + ap.KullbackLeibler(CIRCULAR, y), ap.NonNegativity()),
        "SIRT": lambda: ap.Problem(f, ap.NonNegativity()),
        "DouglasRachford": lambda: ap.Problem(f, 0.1 * ap.L1()),
    }.get(algorithm, lambda: ap.Problem(f, 0.1 * priors.get(algorithm, ap.TotalVariation())))()
    x, report = ap.solve(problem, ALGORITHMS[algorithm].make())
    assert torch.equal(x, y)
    assert report.status is Status.CONVERGED
    assert not bool(report.residual.isnan())


@pytest.mark.parametrize("weight", [0.0, 1e-12])
def test_a_weight_of_zero_is_no_prior(weight):
    y = WRAPPED
    exact = torch.from_numpy(ap.operators.Convolution.dense(CIRCULAR, IMAGE).numpy()).inverse() @ y.reshape(-1)
    for g in (weight * ap.TotalVariation(), weight * ap.L1(), weight * ap.QuadraticSmoothness()):
        x, _ = ap.solve(ap.Problem(ap.LeastSquares(CIRCULAR, y), g), tol=1e-9, max_steps=50_000)
        assert_close(x.reshape(-1), exact, rtol=1e-3, atol=1e-3)


def test_too_strong_a_prior_flattens_the_image():
    for weight in (1e2, 1e6):
        x, _ = ap.solve(ap.Problem(ap.LeastSquares(Identity(), NOISY), weight * ap.TotalVariation()), tol=1e-6)
        assert_close(x, torch.full_like(x, float(NOISY.mean())), rtol=1e-2, atol=1e-2)


def test_data_without_noise_and_without_prior_converge():
    """The least objective is zero: a tolerance relative to it would never be met."""
    y = CIRCULAR(NOISY)
    for dtype in (torch.float64, torch.float32):
        for g in (None, ap.Box(-1, 2), ap.NonNegativity()):
            report = ap.solve(ap.Problem(ap.LeastSquares(CIRCULAR, y.to(dtype)), g))[1]
            assert report.status is Status.CONVERGED
            assert float(report.objective) < 1e-4 * float((y**2).sum())


def test_a_mask_that_hides_everything():
    f = ap.LeastSquares(Diagonal(torch.zeros(IMAGE, dtype=torch.float64)), 0 * NOISY)
    for g in (0.1 * ap.TotalVariation(), 0.1 * ap.L1(), ap.Box(0, 1)):
        x, report = ap.solve(ap.Problem(f, g), x0=0 * NOISY)
        assert report.status is Status.CONVERGED
        assert bool(x.isfinite().all())
