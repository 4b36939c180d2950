"""Douglas-Rachford, the stochastic primal-dual method and mirror descent: what they prove, keep and refuse."""

import pytest
import torch
from algorithm_cases import BLUR, BLURRED, CIRCULAR, MASK, MIXED, NOISY, WRAPPED, randn
from torch.testing import assert_close

import apheleia as ap
from apheleia.core import CapabilityError
from apheleia.operators import Diagonal, Identity, LinearOperator, Matrix

ROWS = randn(18, 6, seed=1)
DATA = ROWS @ randn(6, seed=2).clamp(min=0) + 0.05 * randn(18, seed=3)


class Difference(LinearOperator):
    """A map of which only an estimate of the norm is known."""

    def __init__(self):
        super().__init__(ap.IMAGE, ap.IMAGE)

    def _forward(self, x):
        return x - 0.5 * x.roll(1, -1)


def subsets(count=3):
    parts = [ap.LeastSquares(Matrix(rows), data) for rows, data in zip(ROWS.chunk(count), DATA.chunk(count), strict=True)]
    f = parts[0]
    for part in parts[1:]:
        f = f + part
    return ap.Problem(f, ap.NonNegativity(ap.VECTOR))


@pytest.mark.parametrize("seed", [0, 1, 7])
def test_subsets_of_rows_give_the_solution_of_all(seed):
    whole = ap.Problem(ap.LeastSquares(Matrix(ROWS), DATA), ap.NonNegativity(ap.VECTOR))
    exact, _ = ap.solve(whole, tol=1e-10)
    x, report = ap.solve(subsets(), ap.StochasticPrimalDual(seed), tol=1e-7, max_steps=20_000)
    assert_close(x, exact, rtol=1e-3, atol=1e-4)
    certificate = report.certificate("convergence")
    assert certificate.status == "proved"
    assert "almost surely over the draws: largest t s_i |K_i|^2" in certificate.why


def test_a_seed_fixes_the_draws_and_a_step_is_a_function_of_its_state():
    options = {"max_steps": 12, "throw": False, "tol": 1e-12}
    first, again, other = (ap.solve(subsets(), ap.StochasticPrimalDual(seed), **options)[0] for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    algorithm, problem = ap.StochasticPrimalDual(), subsets()
    state = algorithm.init(problem, torch.zeros(6).double())
    before = torch.get_rng_state()
    assert torch.equal(algorithm.step(problem, state).pull, algorithm.step(problem, state).pull)
    assert torch.equal(before, torch.get_rng_state())


def test_an_estimated_norm_proves_nothing_of_random_steps():
    problem = ap.Problem(ap.LeastSquares(Identity(), NOISY), terms=((0.1 * ap.L1(), Difference()),))
    assert ap.solve(problem, ap.StochasticPrimalDual())[1].certificate("convergence").status == "estimated"


@pytest.mark.parametrize("step", [pytest.param(0.05, marks=pytest.mark.slow), 1.0, 20.0])
def test_douglas_rachford_converges_for_every_step(step):
    for problem in (
        ap.Problem(ap.LeastSquares(Diagonal(MASK), MASK * NOISY), 0.1 * ap.WaveletL1("haar", 2)),
        ap.Problem(ap.LeastSquares(CIRCULAR, WRAPPED), ap.Box(0.1, 0.5)),
    ):
        x, report = ap.solve(problem, ap.DouglasRachford(step), tol=1e-7, max_steps=20_000)
        exact, best = ap.solve(problem, ap.FISTA(), tol=1e-10)
        assert float(report.objective) == pytest.approx(float(best.objective), rel=1e-5)
        assert_close(x, exact, rtol=2e-2, atol=1e-3)
        assert report.certificate("convergence").status == "proved"


def test_douglas_rachford_of_two_priors_has_a_dual():
    problem = ap.Problem(0.3 * ap.L1(), terms=((ap.Box(0.2, 1.0), Identity()),))
    x, report = ap.solve(problem, ap.DouglasRachford(), x0=NOISY, tol=1e-6)
    assert_close(x, torch.full_like(x, 0.2), rtol=1e-4, atol=1e-4)
    assert_close(report.duals[0], torch.full_like(x, -0.3), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("total", [1.0, 2.5])
def test_mirror_descent_falls_keeps_its_rate_and_stays_inside(total):
    A = Matrix(randn(9, 5, seed=4))
    problem = ap.Problem(ap.LeastSquares(A, randn(9, seed=5)), ap.Simplex(total, -1, ap.VECTOR))
    exact, _ = ap.solve(problem, ap.FISTA(), tol=1e-13, max_steps=50_000)
    algorithm = ap.MirrorDescent()
    state = algorithm.init(problem, torch.full((5,), total / 5).double())
    rate = next(c for c in algorithm.certify(problem, state) if c.claim == "rate")
    assert rate.status == "proved"
    kept = exact > 0
    distance = float((exact[kept] * (exact[kept] / state.x[kept]).log()).sum())
    least, before = float(problem(exact)), float(problem(state.x))
    for k in range(1, 200):
        state = algorithm.step(problem, state)
        value = float(problem(state.x))
        assert value <= before + 1e-12
        assert value - least <= float(rate.value.value) * distance / k + 1e-12
        assert float(state.x.sum()) == pytest.approx(total)
        assert bool((state.x >= 0).all())
        before = value


def test_mirror_descent_is_proved_up_to_one_over_l_and_not_past_it():
    problem = ap.Problem(ap.LeastSquares(Identity(), MIXED), 0.5 * ap.Simplex())
    for step, status in ((0.9, "proved"), (1.0, "proved"), (1.01, "none")):
        report = ap.solve(problem, ap.MirrorDescent(step), max_steps=2, throw=False)[1]
        assert report.certificate("convergence").status == status
    weak = ap.Problem(ap.LeastSquares(Difference(), NOISY), ap.Simplex(axis=-1))
    assert ap.solve(weak, ap.MirrorDescent(), max_steps=2, throw=False)[1].certificate("rate").status == "estimated"


@pytest.mark.parametrize(
    ("algorithm", "problem", "sentence"),
    [
        (
            ap.DouglasRachford(),
            lambda: ap.Problem(ap.LeastSquares(BLUR, BLURRED), ap.L1()),
            "exact proximal maps; LeastSquares has",
        ),
        (ap.DouglasRachford(), lambda: ap.Problem(ap.LeastSquares(BLUR, BLURRED), ap.TotalVariation()), "takes no terms h"),
        (ap.DouglasRachford(), lambda: ap.Problem(ap.LeastSquares(CIRCULAR, WRAPPED)), "exactly two parts; this problem has 1"),
        (ap.StochasticPrimalDual(), lambda: ap.Problem(ap.LeastSquares(BLUR, BLURRED)), "at least two parts h(K x) to draw from"),
        (
            ap.StochasticPrimalDual(),
            lambda: ap.Problem(ap.LeastSquares(BLUR, BLURRED), ap.SmoothedVariation()),
            "with an exact proximal map of h; SmoothedVariation is none",
        ),
        (
            ap.MirrorDescent(),
            lambda: ap.Problem(ap.LeastSquares(BLUR, BLURRED)),
            "Simplex as the constraint; this problem has none",
        ),
        (ap.MirrorDescent(), lambda: ap.Problem(ap.LeastSquares(BLUR, BLURRED), ap.Box()), "constraint; this problem has Box"),
        (ap.MirrorDescent(), lambda: ap.Problem(ap.LeastSquares(BLUR, BLURRED), 0 * ap.Simplex()), "this problem has Simplex"),
        (ap.MirrorDescent(), lambda: ap.Problem(ap.LeastSquares(BLUR, BLURRED), ap.TotalVariation()), "takes no terms"),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_refusals(algorithm, problem, sentence):
    with pytest.raises(CapabilityError) as caught:
        ap.solve(problem(), algorithm)
    assert str(caught.value).startswith(algorithm.name)
    assert sentence in str(caught.value)
    assert " Try " in str(caught.value)


@pytest.mark.parametrize("seed", [-1, 0.5, None])
def test_the_seed_is_a_whole_number(seed):
    with pytest.raises(ap.ArgumentError, match="StochasticPrimalDual: `seed` must be a whole number >= 0"):
        ap.StochasticPrimalDual(seed)
