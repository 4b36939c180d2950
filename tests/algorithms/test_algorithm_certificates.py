"""A certificate that says "proved" is true, and none is given just past the limit."""

import math

import pytest
import torch
from algorithm_cases import (
    ALGORITHMS,
    BLUR,
    BLURRED,
    CIRCULAR,
    IMAGE,
    M_TALL,
    NOISY,
    PAIRS,
    PROBLEMS,
    WRAPPED,
    Y_TALL,
    optimum,
    randn,
    rng,
)
from hypothesis import given
from hypothesis import strategies as st

import apheleia as ap
from apheleia.algorithms import duality_gap
from apheleia.algorithms.certify import certify_point, certify_uniqueness
from apheleia.core import Status
from apheleia.functionals import Functional
from apheleia.operators import Identity, LinearOperator, Matrix

every_pair = pytest.mark.parametrize(("algorithm", "problem"), PAIRS)


class UserBlur(LinearOperator):
    """An operator as a user writes one: a forward map, no norm, and entries of both signs."""

    def __init__(self):
        super().__init__(ap.IMAGE, ap.IMAGE)

    def _forward(self, x):
        return x - 0.5 * x.roll(1, -1)


class UserPrior(Functional):
    """Not smooth, and its proximal map is the result of iterations."""

    is_convex = True
    is_proximable = True

    def _value(self, x):
        return x.abs().sum(self.space.axes)

    def _prox(self, x, step):
        return x.sign() * (x.abs() - step).clamp(min=0)


def smoothness(problem: ap.Problem, shape: tuple[int, ...]) -> float:
    return float(problem.smoothness(shape).value)


def convergence(problem, algorithm, **options):
    report = ap.solve(problem, algorithm, throw=False, max_steps=1, **options)[1]
    return report.certificate("convergence")


@pytest.mark.parametrize("problem", ["least_squares", "tikhonov", "huber_smoothed"])
@pytest.mark.parametrize("algorithm", [ap.Gradient, ap.ProximalGradient])
def test_descent_is_proved_below_two_over_l_and_not_past_it(algorithm, problem):
    made = PROBLEMS[problem].make(torch.float64)
    limit = 2 / smoothness(made, PROBLEMS[problem].shape)
    assert convergence(made, algorithm(step=0.999 * limit)).status == "proved"
    past = convergence(made, algorithm(step=1.005 * limit))
    assert past.status == "none"
    assert f">= 2/L = {limit:.4g}" in past.why
    assert convergence(made, algorithm(step=limit)).status == "none"


@pytest.mark.parametrize(
    ("algorithm", "problem"),
    [(ap.FISTA, "lasso"), (ap.FISTA, "box_deblurring"), (ap.AcceleratedGradient, "tikhonov"), (ap.FISTA, "least_squares")],
)
def test_acceleration_is_proved_up_to_one_over_l_and_not_past_it(algorithm, problem):
    made = PROBLEMS[problem].make(torch.float64)
    limit = 1 / smoothness(made, PROBLEMS[problem].shape)
    for step in (0.99 * limit, limit):
        assert convergence(made, algorithm(step=step)).status == "proved"
    past = convergence(made, algorithm(step=1.01 * limit))
    assert past.status == "none"
    assert "> 1/L" in past.why


@pytest.mark.parametrize("problem", ["tv_denoising", "tv_deblurring", "tv_deblurring_box", "several_parts"])
def test_condat_vu_is_proved_below_its_limit_and_not_past_it(problem):
    made = PROBLEMS[problem].make(torch.float64)
    L = smoothness(made, PROBLEMS[problem].shape)
    for step in (1e-3 / L, 1 / L, 1.8 / L):
        assert convergence(made, ap.CondatVu(step=step)).status == "proved"
        if problem == "tv_denoising":
            assert ap.solve(made, ap.CondatVu(step=step), tol=1e-2, max_steps=5000)[1].status is Status.CONVERGED
    # the relaxation takes a part of the room: the theory's own limit is 2/L, this method's 1.84/L
    for step in (1.86 / L, 1.999 / L, 2.01 / L, 20 / L):
        past = convergence(made, ap.CondatVu(step=step))
        assert past.status == "none"
        assert "too long" in past.why


@pytest.mark.parametrize("step", [1e-3, 0.1, 1.0, 30.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_chambolle_pock_makes_every_step_legal(step, dtype):
    """The dual steps follow from the primal one, so that no step is too long."""
    problem = PROBLEMS["tv_denoising"].make(dtype)
    state = ap.ChambollePock(step).init(problem, NOISY.to(dtype))
    norm = math.sqrt(8) * math.cos(math.pi / 16)
    assert float(state.step.double()) * float(state.dual_steps[0].double()) * norm**2 <= 1
    assert convergence(problem, ap.ChambollePock(step)).status == "proved"


@pytest.mark.parametrize(("algorithm", "problem"), [pair for pair in PAIRS if pair[0] in ("ChambollePock", "CondatVu")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_balanced_steps_obey_the_certificate_that_was_made_before(algorithm, problem, dtype):
    """The claim is made at the first steps; every later pair of steps must obey the same condition."""
    made, case = PROBLEMS[problem].make(dtype), PROBLEMS[problem]
    norms = [float(K.norm(h_shape).value) for (_, K), h_shape in zip(made.split_terms, [case.shape] * 9, strict=False)]
    L = 0.0 if algorithm == "ChambollePock" else smoothness(made, case.shape)
    seen = []

    def check(state, residual):
        load = sum(float(s.double()) * n**2 for s, n in zip(state.dual_steps, norms, strict=True))
        room = 1 / float(state.step.double()) - load
        relaxation = 1.9 if L == 0 else 0.99 * (2 - 1 / 1.1)
        assert room >= 0 if L == 0 else (2 - relaxation) * room > L / 2
        seen.append(float(state.step))

    for start in ("default", "zero", "absurd"):
        ap.solve(made, ALGORITHMS[algorithm].make(), x0=case.start(start, dtype), max_steps=45, callbacks=[check], throw=False)
    assert len(set(seen)) > 2


@pytest.mark.parametrize(
    "algorithm",
    [ap.Gradient(), ap.Gradient(step=0.1), ap.AcceleratedGradient(), ap.FISTA(), ap.ProximalGradient(), ap.ProximalGradient(0.1)],
    ids=lambda a: a.name,
)
def test_an_estimated_norm_proves_nothing_for_smooth_problems(algorithm):
    A = UserBlur()
    assert A.norm(IMAGE).kind == "estimate"
    problem = ap.Problem(ap.LeastSquares(A, NOISY), 0.1 * ap.SmoothedVariation(0.1))
    report = ap.solve(problem, algorithm)[1]
    assert report.certificate("convergence").status == "estimated"
    assert all(c.status != "proved" for c in report.certificates if c.claim in ("convergence", "rate"))


@pytest.mark.parametrize("algorithm", [ap.ChambollePock(), ap.CondatVu(), ap.CondatVu(step=0.1)], ids=lambda a: a.name)
def test_an_estimated_norm_proves_nothing_for_terms(algorithm):
    problem = ap.Problem(ap.LeastSquares(Identity(), NOISY), terms=((0.1 * ap.L1(), UserBlur()),))
    assert ap.solve(problem, algorithm)[1].certificate("convergence").status == "estimated"


def test_conjugate_gradient_claims_no_rate_from_an_estimate():
    report = ap.solve(ap.Problem(ap.LeastSquares(UserBlur(), NOISY)), ap.ConjugateGradient())[1]
    assert report.certificate("rate") is None


@pytest.mark.parametrize("algorithm", [ap.FISTA(), ap.ProximalGradient(), ap.ProximalGradient(step=0.5)], ids=lambda a: a.name)
def test_a_proximal_map_by_iterations_proves_nothing(algorithm):
    problem = ap.Problem(ap.LeastSquares(BLUR, BLURRED), 0.05 * ap.TotalVariation())
    report = ap.solve(problem, algorithm, max_steps=3, throw=False)[1]
    assert report.certificate("convergence").status == "estimated"


@pytest.mark.parametrize("algorithm", [ap.ChambollePock(), ap.CondatVu(), ap.ADMM()], ids=lambda a: a.name)
def test_a_term_with_an_inexact_proximal_map_proves_nothing(algorithm):
    problem = ap.Problem(ap.LeastSquares(Identity(), NOISY), terms=((0.1 * UserPrior(), Identity()),))
    report = ap.solve(problem, algorithm)[1]
    assert report.certificate("convergence").status == "estimated"


def test_one_flat_image_in_a_batch_does_not_lift_the_limit_of_the_others():
    weights = torch.tensor([0.0, 4.0], dtype=torch.float64)
    problem = ap.Problem(weights * ap.LeastSquares(Identity(), NOISY))
    for algorithm in (ap.Gradient(step=0.51), ap.AcceleratedGradient(step=0.26)):
        assert convergence(problem, algorithm).status == "none"


@given(seed=st.integers(0, 10**6), share=st.sampled_from([1.0, 0.3]))
def test_fista_keeps_its_rate_at_every_step(seed, share):
    """F(x_j) - F* <= c |x0 - x*|^2 / (j + 1)^2 at j steps after a restart, with the certificate's own c."""
    M, y = randn(12, 9, seed=seed), randn(12, seed=seed + 1)
    problem = ap.Problem(ap.LeastSquares(Matrix(M), y), 0.4 * ap.L1(ap.VECTOR))
    best, _ = ap.solve(problem, tol=1e-14, max_steps=20_000, throw=False)
    least = float(problem(best))
    x0 = 3 * randn(9, seed=seed + 2)
    algorithm = ap.FISTA(step=share / smoothness(problem, (9,)))
    state = algorithm.init(problem, x0)
    rate = next(c for c in algorithm.certify(problem, state) if c.claim == "rate")
    assert rate.status == "proved"
    constant, distance, since = float(rate.value.value), float((x0 - best).norm()), 0
    # Beck and Teboulle 2009, theorem 4.4, is 2 L |x0 - x*|^2 / (j + 1)^2 for a step of 1 / L, and 2 / step for a shorter one
    assert constant == pytest.approx(2 * smoothness(problem, (9,)) / share)
    for _ in range(150):
        restarted = float(state.t) == 1.0
        state = algorithm.step(problem, state)
        since = 1 if restarted else since + 1
        assert float(problem(state.x)) - least <= constant * distance**2 / (since + 1) ** 2 + 1e-12


@given(seed=st.integers(0, 10**6))
def test_conjugate_gradient_keeps_its_rate(seed):
    M, y = randn(30, 20, seed=seed), randn(30, seed=seed + 1)
    problem = ap.Problem(ap.LeastSquares(Matrix(M), y))
    exact = torch.linalg.lstsq(M, y[:, None]).solution[:, 0]
    algorithm, x0 = ap.ConjugateGradient(), randn(20, seed=seed + 2)
    state = algorithm.init(problem, x0)
    rate = next(c for c in algorithm.certify(problem, state) if c.claim == "rate")
    assert rate.status == "proved"
    factor, first = float(rate.value.value), float((M @ (x0 - exact)).norm())
    for k in range(1, 15):
        state = algorithm.step(problem, state)
        assert float((M @ (state.x - exact)).norm()) <= 2 * factor**k * first + 1e-12


def test_tv_deblurring_without_a_box_has_no_gap_and_with_one_has():
    f, g = ap.LeastSquares(BLUR, BLURRED), 0.02 * ap.TotalVariation()
    _, report = ap.solve(ap.Problem(f, g))
    assert report.gap is None
    assert report.certificate("objective_gap").status == "none"
    assert "add Box(lower, upper)" in report.certificate("objective_gap").why
    _, report = ap.solve(ap.Problem(f, ap.Box(0.1, 0.7), terms=((g, Identity()),)))
    gap = report.certificate("objective_gap")
    assert gap.status == "proved"
    assert gap.value.kind == "upper"
    assert 0 <= float(report.gap) <= 1e-4 * float(report.objective)


_WITH_GAP = ["lasso", "box_deblurring", "simplex_projection", "tv_denoising", "tv_deblurring_box", "several_parts"]


@pytest.mark.parametrize("problem", _WITH_GAP)
@pytest.mark.parametrize("steps", [1, 3, 10, 40, 400])
def test_the_gap_of_a_run_bounds_what_is_left(problem, steps):
    """Also of unconverged pairs, and from a start outside the constraints."""
    case = PROBLEMS[problem]
    least = optimum(problem)[1]
    for start in ("default", "absurd"):
        x, report = ap.solve(case.make(torch.float64), x0=case.start(start), max_steps=steps, tol=1e-12, throw=False)
        certificate = report.certificate("objective_gap")
        excess = float(report.objective) - least
        if certificate.status == "proved":
            assert float(certificate.value.value) >= excess - 1e-12 * max(1, abs(least))
            assert float(report.gap) == float(certificate.value.value)
        if report.certificate("distance").status == "proved":
            true = float((x.reshape(-1) - torch.from_numpy(optimum(problem)[0])).norm())
            # the independent solver itself is exact to 1e-9
            assert float(report.certificate("distance").value.value) >= true - 1e-7
    if start == "default" and steps == 400:
        assert certificate.status == "proved"


@pytest.mark.parametrize("problem", _WITH_GAP)
@given(seed=st.integers(0, 10**6), size=st.sampled_from([1e-6, 0.1, 1.0, 30.0]))
def test_the_gap_of_random_pairs_bounds_what_is_left(problem, seed, size):
    case = PROBLEMS[problem]
    made = case.make(torch.float64)
    best, least = optimum(problem)
    generator = rng(seed)
    x = torch.from_numpy(best).reshape(case.shape) + size * torch.randn(case.shape, generator=generator, dtype=torch.float64)
    if made.simple is not None and seed % 2:
        x = made.simple.prox(x, 1.0)
    duals = tuple(
        size * torch.randn(K.output_shape(case.shape), generator=generator, dtype=torch.float64) for _, K in made.split_terms
    )
    gap = duality_gap(made, x, duals)
    assert float(gap) >= float(made(x)) - least - 1e-9 * max(1, abs(least))
    assert not math.isnan(float(gap))


def test_the_gap_vanishes_at_a_saddle_point():
    for problem in _WITH_GAP:
        _, report = ap.solve(PROBLEMS[problem].make(torch.float64), tol=1e-11, max_steps=50_000, throw=False)
        assert float(report.gap) <= 1e-9 * float(report.objective)


@given(seed=st.integers(0, 10**6), scale=st.sampled_from([0.0, 1e-8, 1.0, 1e4]))
def test_the_distance_certificate_of_smooth_problems(seed, scale):
    """|gradient| / modulus, at any point: no algorithm is involved."""
    ridge = 0.1 * ap.LeastSquares(Identity(ap.VECTOR), torch.zeros(12).double())
    problem = ap.Problem(ap.LeastSquares(Matrix(M_TALL), Y_TALL), ridge)
    exact, _ = ap.solve(problem, tol=1e-13)
    x = exact + scale * randn(12, seed=seed)
    distance = next(c for c in certify_point(problem, x, None, problem.strong_convexity(tuple(x.shape))) if c.claim == "distance")
    assert distance.status == "proved"
    assert float(distance.value.value) >= float((x - exact).norm()) * (1 - 1e-9) - 1e-13


def test_uniqueness_needs_strong_convexity():
    unique = ap.Problem(ap.LeastSquares(Matrix(M_TALL), Y_TALL))
    assert certify_uniqueness(unique, unique.strong_convexity((12,))).status == "proved"
    modulus = float(certify_uniqueness(unique, unique.strong_convexity((12,))).value.value)
    assert modulus <= float(torch.linalg.eigvalsh(M_TALL.T @ M_TALL)[0]) * (1 + 1e-9)
    for case in ("lasso", "tv_deblurring_box", "huber_smoothed", "wavelet_inpainting", "poisson_tv"):
        problem = PROBLEMS[case].make(torch.float64)
        assert certify_uniqueness(problem, problem.strong_convexity(PROBLEMS[case].shape)).status == "none"
    # a mask that hides a pixel, with total variation: unique in fact perhaps, but nothing proves it
    wrapped = ap.Problem(ap.LeastSquares(CIRCULAR, WRAPPED))
    assert certify_uniqueness(wrapped, wrapped.strong_convexity(IMAGE)).status == "proved"


def test_strong_convexity_adds_up_and_weights_count():
    f = ap.LeastSquares(Identity(), NOISY, noise_std=0.5)
    problem = ap.Problem(f, 3.0 * ap.LeastSquares(Identity(), NOISY))
    assert float(problem.strong_convexity(IMAGE).value) == pytest.approx(7)
    assert float(problem.smoothness(IMAGE).value) == pytest.approx(7)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_float32_run_has_certificates_in_float64(dtype):
    case = PROBLEMS["tv_deblurring_box"]
    x, report = ap.solve(case.make(dtype), tol=1e-3)
    assert x.dtype == dtype
    assert report.objective.dtype == report.gap.dtype == torch.float64
    least = optimum("tv_deblurring_box")[1]
    assert float(report.gap) >= float(report.objective) - least - (1e-10 if dtype is torch.float64 else 1e-5)


def test_a_problem_that_is_not_convex_proves_nothing():
    class Wells(Functional):
        is_smooth = True

        def _value(self, x):
            return (x**2 / (1 + x**2)).sum(self.space.axes)

        def _smoothness(self, shape):
            return ap.Bound(2.0, "upper", "calculus")

    problem = ap.Problem(ap.LeastSquares(Identity(), NOISY), 2.0 * Wells())
    report = ap.solve(problem)[1]
    assert report.algorithm == "Gradient"
    # its gradient tends to zero, which is all that the certificate claims
    assert "not convex" in report.certificate("convergence").why
    for claim in ("uniqueness", "objective_gap", "distance"):
        assert report.certificate(claim).status == "none"
    for algorithm in (ap.Gradient(step=0.01), ap.AcceleratedGradient(), ap.FISTA(), ap.ProximalGradient()):
        assert convergence(problem, algorithm).status == "none"
