"""Strong convexity makes accelerated methods linear, at the rate that their certificates state."""

import math

import pytest
import torch
from algorithm_cases import NOISY, PROBLEMS, optimum, randn
from hypothesis import given, settings
from hypothesis import strategies as st

import apheleia as ap
from apheleia.core import ArgumentError, Bound, CapabilityError
from apheleia.functionals import Functional
from apheleia.operators import Identity, LinearOperator, Matrix


class ElasticNet(Functional):
    """sum |x_i| + ridge / 2 |x|^2, a proximable part that is strongly convex."""

    is_convex = is_proximable = has_exact_prox = is_strongly_convex = True

    def __init__(self, ridge):
        super().__init__(ap.VECTOR)
        self.ridge = ridge

    def _value(self, x):
        return (x.abs() + 0.5 * self.ridge * x**2).sum(-1)

    def _prox(self, x, step):
        step = torch.as_tensor(step)[..., None]
        return x.sign() * (x.abs() - step).clamp(min=0) / (1 + step * self.ridge)

    def _strong_convexity(self, shape):
        return Bound(self.ridge, "exact", "ridge")


class Shifted(LinearOperator):
    """x - x rolled / 2: no norm of its own, so that |A| is estimated."""

    def __init__(self):
        super().__init__(ap.IMAGE, ap.IMAGE)

    def _forward(self, x):
        return x - 0.5 * x.roll(1, -1)


def ill_conditioned(seed, least=0.03, rows=14, columns=9):
    """A matrix with singular values from 1 down to `least`."""
    U, V = torch.linalg.qr(randn(rows, columns, seed=seed))[0], torch.linalg.qr(randn(columns, columns, seed=seed + 1))[0]
    return U @ torch.diag(torch.logspace(0, math.log10(least), columns, dtype=torch.float64)) @ V


def regression(seed, prior=None, **options):
    return ap.Problem(ap.LeastSquares(Matrix(ill_conditioned(seed, **options)), randn(14, seed=seed + 2)), prior)


def linear_rate(algorithm, problem, state):
    rates = [c for c in algorithm.certify(problem, state) if c.claim == "rate" and "strongly convex" in c.why]
    return rates[0] if rates else None


def excesses(problem, algorithm, x0, steps):
    """Objective minus minimum at each step, steps since the last restart, and the claimed factor a step."""
    best, _ = ap.solve(problem, tol=1e-13, max_steps=1000, throw=False)
    least, state = float(problem(best)), algorithm.init(problem, x0)
    rate, start, since, curve = linear_rate(algorithm, problem, state), state, 0, []
    for _ in range(steps):
        since = 1 if float(state.t) == 1 else since + 1
        state = algorithm.step(problem, state)
        curve.append((since, float(problem(state.x)) - least))
    size = (1 + float(start.simple)) / (2 * float(start.step)) * float((x0 - best).norm()) ** 2
    return curve, rate, size


PRIORS = {"none": None, "l1": 0.05 * ap.L1(ap.VECTOR), "elastic net": ElasticNet(0.02)}


@pytest.mark.parametrize("restart", [True, False])
@pytest.mark.parametrize("prior", PRIORS)
@settings(max_examples=5)
@given(seed=st.integers(0, 10**6), share=st.sampled_from([1.0, 0.3]), least=st.sampled_from([0.03, 0.5, 1.0]))
def test_the_claimed_linear_rate_holds_at_every_step(prior, restart, seed, share, least):
    problem = regression(seed, PRIORS[prior], least=least)
    step = share / float(problem.smoothness((9,)).value)
    kind = ap.AcceleratedGradient if prior == "none" else ap.FISTA
    curve, rate, size = excesses(problem, kind(step=step, restart=restart), 3 * randn(9, seed=seed + 3), 60)
    assert rate.status == "proved"
    assert rate.value.kind == "upper"
    factor = float(rate.value.value)
    modulus = least**2 + (0.02 if prior == "elastic net" else 0)
    q = step * modulus / (1 + step * (0.02 if prior == "elastic net" else 0))
    assert factor == pytest.approx(1 - math.sqrt(q), abs=1e-6)
    for since, excess in curve:
        assert excess <= size * (2 - factor) * factor**since + 1e-12
        assert excess <= 4 * size / (since + 1) ** 2 + 1e-12


def test_the_rate_is_not_that_of_the_momentum_of_a_convex_objective():
    """Without the modulus the same claim is false: the check above can fail."""
    problem, x0 = regression(5, least=0.2), 3 * randn(9, seed=8)
    _, rate, size = excesses(problem, ap.FISTA(restart=False), x0, 1)
    curve, none, _ = excesses(problem, ap.FISTA(restart=False, strong_convexity=0.0), x0, 120)
    assert none is None
    factor = float(rate.value.value)
    assert any(excess > size * (2 - factor) * factor**since + 1e-12 for since, excess in curve)


def test_the_momentum_tends_to_nesterovs():
    """(1 - sqrt q) / (1 + sqrt q) with q = mu / L, read off the extrapolated points."""
    problem = regression(1, least=0.2)
    algorithm = ap.AcceleratedGradient(restart=False)
    state = algorithm.init(problem, randn(9, seed=3))
    for _ in range(60):
        old, state = state, algorithm.step(problem, state)
    momentum = (state.ahead - state.x).norm() / (state.x - old.x).norm()
    assert float(momentum) == pytest.approx((1 - 0.2) / (1 + 0.2), rel=1e-6)


def test_a_modulus_saves_steps():
    problem = regression(2, least=0.05)

    def steps(modulus):
        algorithm = ap.AcceleratedGradient(restart=False, strong_convexity=modulus)
        return int(ap.solve(problem, algorithm, tol=1e-6, max_steps=5000, throw=False)[1].steps)

    assert steps(None) < 0.5 * steps(0.0)


def test_data_with_all_curvatures_equal_are_solved_in_one_step():
    """mu = L, where the formula of the momentum is 0 / 0."""
    for dtype in (torch.float32, torch.float64):
        problem = ap.Problem(ap.LeastSquares(Identity(), NOISY.to(dtype)), ap.Box(0.1, 0.6))
        x, report = ap.solve(problem, ap.FISTA(), x0=torch.zeros_like(NOISY, dtype=dtype))
        assert int(report.steps) == 1
        torch.testing.assert_close(x, NOISY.to(dtype).clamp(0.1, 0.6))


def test_no_linear_rate_without_a_modulus():
    for name in ("lasso", "huber_smoothed"):
        problem, shape = PROBLEMS[name].make(torch.float64), PROBLEMS[name].shape
        assert linear_rate(ap.FISTA(), problem, ap.FISTA().init(problem, randn(*shape, seed=1))) is None


def test_an_estimated_constant_proves_no_linear_rate():
    problem = ap.Problem(ap.LeastSquares(Shifted(), NOISY), ap.LeastSquares(Identity(), NOISY))
    rate = linear_rate(ap.FISTA(), problem, ap.FISTA().init(problem, NOISY))
    assert rate.status == "estimated"
    assert rate.value.kind == "estimate"


@pytest.mark.parametrize("kind", [ap.FISTA, ap.AcceleratedGradient])
def test_a_stated_modulus_is_proved_up_to_the_known_one(kind):
    problem, x0 = regression(4, least=0.1), randn(9, seed=1)
    known = float(problem.strong_convexity((9,)).value)
    for modulus, status in ((0.5 * known, "proved"), (known, "proved"), (1.01 * known, "estimated"), (0.5, "estimated")):
        algorithm = kind(strong_convexity=modulus)
        state = algorithm.init(problem, x0)
        assert {c.status for c in algorithm.certify(problem, state)} == {status}
        assert float(linear_rate(algorithm, problem, state).value.value) == pytest.approx(1 - math.sqrt(modulus), abs=1e-4)
    with pytest.raises(ArgumentError, match="`strong_convexity` must be at least zero; got -1"):
        kind(strong_convexity=-1)


def test_each_image_of_a_batch_has_its_own_momentum():
    weights = torch.tensor([1.0, 30.0], dtype=torch.float64)
    ridge = weights * ap.LeastSquares(Identity(ap.VECTOR), torch.zeros(9).double())
    problem = regression(6, ridge)
    x, report = ap.solve(problem, ap.FISTA(), tol=1e-10)
    factors = report.certificates[2].value.value
    assert factors.shape == (2,)
    assert float(factors[0]) > float(factors[1])
    for i in range(2):
        alone = regression(6, float(weights[i]) * ap.LeastSquares(Identity(ap.VECTOR), torch.zeros(9).double()))
        torch.testing.assert_close(x[i], ap.solve(alone, ap.FISTA(), tol=1e-10)[0], rtol=1e-6, atol=1e-9)


@given(seed=st.integers(0, 10**6), step=st.sampled_from([0.01, 0.3, 10.0]))
def test_accelerated_chambolle_pock_keeps_its_rate(seed, step):
    """|x_k - x*|^2 <= (|x0 - x*|^2 / tau + |p*|^2 / sigma) / (tau (1 / tau + c k)^2), with a dual solution p*."""
    y = randn(1, 4, 4, seed=seed)
    problem = ap.Problem(ap.LeastSquares(Identity(), y, noise_std=0.8), 0.4 * ap.TotalVariation())
    pair = []
    ap.solve(problem, ap.CondatVu(), tol=1e-13, max_steps=4000, throw=False, callbacks=[lambda s, r: pair.append(s)])
    best, dual = pair[-1].x, pair[-1].duals[0]
    algorithm = ap.ChambollePock(step=step, accelerated=True)
    x0 = 3 * randn(1, 4, 4, seed=seed + 1)
    state = algorithm.init(problem, x0)
    rate = next(c for c in algorithm.certify(problem, state) if c.claim == "rate")
    assert (rate.status, rate.value.kind) == ("proved", "lower")
    tau, sigma, slope = float(state.step), float(state.dual_steps[0]), float(rate.value.value)
    gamma = 0.8**-2
    assert slope == pytest.approx(2 * gamma / (1 + math.sqrt(1 + 2 * gamma * tau)))
    size = float((x0 - best).norm()) ** 2 / tau + float(dual.norm()) ** 2 / sigma
    for k in range(1, 80):
        state = algorithm.step(problem, state)
        excess = float((state.x - best).norm()) ** 2
        assert excess <= size / (tau * (1 / tau + slope * k) ** 2) + 1e-12
        # the sharper form, with the step itself
        assert excess <= size * float(state.step) ** 2 / tau + 1e-12
        assert float(state.step * state.dual_steps[0]) == pytest.approx(tau * sigma)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_accelerated_chambolle_pock_solves(dtype):
    for name in ("tv_denoising", "tv_deblurring"):
        x, report = ap.solve(PROBLEMS[name].make(dtype), ap.ChambollePock(accelerated=True), tol=1e-4)
        torch.testing.assert_close(x.double().reshape(-1), torch.from_numpy(optimum(name)[0]), rtol=0, atol=2e-2)
        assert [c.status for c in report.certificates if c.claim in ("convergence", "rate")] == ["proved", "proved"]


def test_an_estimated_norm_proves_no_rate_of_chambolle_pock():
    problem = ap.Problem(ap.LeastSquares(Identity(), NOISY), terms=((0.1 * ap.L1(), Shifted()),))
    algorithm = ap.ChambollePock(accelerated=True)
    certificates = algorithm.certify(problem, algorithm.init(problem, NOISY))
    assert [c.status for c in certificates] == ["estimated", "estimated"]


def test_acceleration_needs_a_strongly_convex_part():
    masked = ap.Problem(ap.LeastSquares(ap.operators.Diagonal((NOISY > 0.5).double()), NOISY), ap.TotalVariation())
    with pytest.raises(
        CapabilityError, match=r"ChambollePock accelerated needs a strongly convex part on x; LeastSquares is not"
    ):
        ap.solve(masked, ap.ChambollePock(accelerated=True))
    lad = ap.Problem(ap.LeastAbsoluteDeviations(Identity(), NOISY), terms=((ap.L1(), Shifted()),))
    with pytest.raises(CapabilityError, match="ChambollePock accelerated needs a strongly convex part on x"):
        ap.solve(lad, ap.ChambollePock(accelerated=True))


def test_accelerated_chambolle_pock_takes_each_image_by_its_own_modulus():
    y, stds = torch.stack([NOISY, NOISY.flip(-1)]), torch.tensor([0.5, 2.0], dtype=torch.float64)
    algorithm, options = ap.ChambollePock(accelerated=True), {"tol": 1e-4, "max_steps": 3000}

    def problem(data, std):
        return ap.Problem(ap.LeastSquares(Identity(), data, noise_std=std), 0.1 * ap.TotalVariation())

    x, report = ap.solve(problem(y, stds), algorithm, **options)
    for i in range(2):
        alone, single = ap.solve(problem(y[i], stds[i]), algorithm, **options)
        assert int(report.steps[i]) == int(single.steps)
        torch.testing.assert_close(x[i], alone, rtol=1e-9, atol=1e-12)
    unrolled, _ = ap.solve(problem(y, stds), algorithm, diff=ap.Unrolled(int(report.steps[0])))
    torch.testing.assert_close(unrolled[0], x[0], rtol=1e-9, atol=1e-12)
