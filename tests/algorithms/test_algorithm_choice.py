"""Which algorithm for which structure, and refusals that name what would work."""

import re

import pytest
import torch
from algorithm_cases import ALGORITHMS, BLUR, BLURRED, CIRCULAR, COUNTS, IMAGE, MASK, NOISY, PROBLEMS, SYMMETRIC, WRAPPED

import apheleia as ap
from apheleia.algorithms import choose
from apheleia.core import CapabilityError, Status
from apheleia.functionals import Functional
from apheleia.functionals.fidelities.huber_loss import HuberDistance
from apheleia.operators import Diagonal, FiniteDifferences, Identity


class Rank(Functional):
    """A non-smooth functional that only its split knows how to treat."""

    is_convex = True

    def _value(self, x):
        return x.abs().sum(self.space.axes)

    @property
    def split(self):
        return ap.L1(), BLUR


class Nothing(Functional):
    """Neither smooth, nor proximable, nor split."""

    is_convex = True

    def _value(self, x):
        return x.abs().sum(self.space.axes)


class Wells(Functional):
    """Smooth and not convex."""

    is_smooth = True

    def _value(self, x):
        return (x**2 / (1 + x**2)).sum(self.space.axes)

    def _smoothness(self, shape):
        return ap.Bound(2.0, "upper", "calculus")


class Count(Functional):
    """Proximable and not convex."""

    is_proximable = True
    has_exact_prox = True

    def _value(self, x):
        return (x != 0).to(x.dtype).sum(self.space.axes)

    def _prox(self, x, step):
        return torch.where(x**2 > 2 * step, x, 0.0)


F, CLOSED, EVEN = ap.LeastSquares(BLUR, BLURRED), ap.LeastSquares(CIRCULAR, WRAPPED), ap.LeastSquares(SYMMETRIC, BLURRED)
TV, ROUND = 0.05 * ap.TotalVariation(), 0.05 * ap.SmoothedVariation()


@pytest.mark.parametrize(
    ("problem", "name", "why"),
    [
        (lambda: ap.Problem(F), "ConjugateGradient", "quadratic"),
        (lambda: ap.Problem(F, ap.QuadraticSmoothness()), "ConjugateGradient", "quadratic"),
        (lambda: ap.Problem(F, terms=((ap.QuadraticSmoothness(), BLUR),)), "ConjugateGradient", "quadratic"),
        (lambda: ap.Problem(F, ROUND), "Gradient", "smooth"),
        (lambda: ap.Problem(ap.HuberLoss(BLUR, BLURRED, 0.1)), "Gradient", "smooth"),
        (lambda: ap.Problem(F, ap.L1()), "FISTA", "exact proximal map"),
        (lambda: ap.Problem(F + ROUND, ap.Box()), "FISTA", "exact proximal map"),
        (lambda: ap.Problem(F, ap.L1() @ ap.operators.WaveletTransform("haar", 1)), "FISTA", "exact proximal map"),
        (lambda: ap.Problem(CLOSED, TV), "ADMM", "closed form in the fourier basis"),
        (lambda: ap.Problem(EVEN, TV + ap.Box()), "ADMM", "closed form in the cosine basis"),
        (lambda: ap.Problem(ap.LeastSquares(Identity(), NOISY), TV), "ChambollePock", "LeastSquares has a closed-form"),
        (lambda: ap.Problem(ap.LeastSquares(Diagonal(MASK), NOISY), TV), "ADMM", "closed form in the cosine basis"),
        (lambda: ap.Problem(ap.LeastAbsoluteDeviations(BLUR, BLURRED), TV), "ChambollePock", "no part acts on x itself"),
        (lambda: ap.Problem(ap.KullbackLeibler(BLUR, COUNTS), ap.NonNegativity()), "ChambollePock", "NonNegativity has"),
        (lambda: ap.Problem(F, TV), "CondatVu", "terms h(K x)"),
        (lambda: ap.Problem(F, TV + ap.Box()), "CondatVu", "terms h(K x)"),
        (lambda: ap.Problem(CLOSED, TV + ap.Box()), "ADMM", "closed form in the fourier basis"),
        (lambda: ap.Problem(ap.Box(0.2, 1)), "ProximalGradient", "one proximable part"),
        (lambda: ap.Problem(F, Wells()), "Gradient", "not convex"),
        (lambda: ap.Problem(F, 0.1 * Count()), "ProximalGradient", "not convex"),
        (lambda: ap.Problem(F + Wells(), TV), "ProximalGradient", "not convex"),
        (lambda: ap.Problem(F + 0.01 * Count(), TV), "HalfQuadraticSplitting", "not convex"),
    ],
)
def test_the_choice(problem, name, why):
    problem = problem()
    algorithm, reason = choose(problem)
    assert algorithm.name == name
    assert why in reason
    x0 = 0 * NOISY
    x, report = ap.solve(problem, x0=x0, max_steps=2, throw=False)
    assert (report.algorithm, report.why) == (name, reason)
    assert x.shape == IMAGE
    assert ap.solve(problem, algorithm, x0=x0, max_steps=2, throw=False)[1].why == "asked for"


@pytest.mark.parametrize("problem", list(PROBLEMS))
def test_the_choice_is_one_that_can(problem):
    made = PROBLEMS[problem].make(torch.float64)
    algorithm, _ = choose(made)
    assert algorithm.obstacle(made) is None
    for case in ALGORITHMS.values():
        if problem in case.problems:
            assert case.make().obstacle(made) is None


@pytest.mark.parametrize("problem", list(PROBLEMS))
@pytest.mark.parametrize("name", list(ALGORITHMS))
def test_a_refusal_names_algorithms_that_work(problem, name):
    made = PROBLEMS[problem].make(torch.float64)
    algorithm = ALGORITHMS[name].make()
    if algorithm.obstacle(made) is None:
        x0 = PROBLEMS[problem].start("default")
        assert ap.solve(made, algorithm, x0=x0, max_steps=2, throw=False)[1].algorithm == name
        return
    with pytest.raises(CapabilityError) as caught:
        ap.solve(made, algorithm)
    sentence = str(caught.value)
    assert sentence.startswith(f"{name} ")
    named = re.search(r" Try ([\w ]+)\.$", sentence)
    assert named, sentence
    for other in named.group(1).split(" or "):
        assert getattr(ap, other)().obstacle(made) is None
    assert named.group(1).split(" or ")[0] == choose(made)[0].name


def test_the_sentence_of_the_design():
    problem = ap.Problem(F, Rank())
    for algorithm in (ap.ProximalGradient(), ap.FISTA()):
        with pytest.raises(CapabilityError) as caught:
            ap.solve(problem, algorithm)
        sentence = f"{algorithm.name} needs `g` to be proximable; Rank is not. Try CondatVu or ADMM or HalfQuadraticSplitting."
        assert str(caught.value) == sentence


@pytest.mark.parametrize(
    ("algorithm", "problem", "sentence"),
    [
        (
            ap.ConjugateGradient(),
            lambda: ap.Problem(F, ROUND),
            "ConjugateGradient needs a quadratic objective; SmoothedVariation is not.",
        ),
        (ap.ConjugateGradient(), lambda: ap.Problem(F, ap.L1()), "ConjugateGradient needs a quadratic objective; L1 is not."),
        (ap.Gradient(), lambda: ap.Problem(F, TV), "Gradient needs a smooth objective; TotalVariation is not."),
        (ap.AcceleratedGradient(), lambda: ap.Problem(F, ap.L1()), "AcceleratedGradient needs a smooth objective; L1 is not."),
        (
            ap.FISTA(),
            lambda: ap.Problem(F, terms=((ap.L1(), BLUR),)),
            "FISTA takes no terms h(K x); this problem has L1.",
        ),
        (
            ap.ProximalGradient(),
            lambda: ap.Problem(F, ap.L1() + ap.Box()),
            "ProximalGradient takes one non-smooth part; this problem has L1, Box.",
        ),
        (
            ap.ChambollePock(),
            lambda: ap.Problem(F, TV),
            "ChambollePock needs LeastSquares to have an exact proximal map; its operator has no closed-form inverse.",
        ),
        (
            ap.ChambollePock(),
            lambda: ap.Problem(CLOSED, TV + ap.Box()),
            "ChambollePock takes one part on x by its proximal map; this problem has 2: LeastSquares, Box.",
        ),
        (ap.ChambollePock(), lambda: ap.Problem(F), "ChambollePock needs at least one term (h, K); this problem has none."),
        (ap.CondatVu(), lambda: ap.Problem(F, ap.L1()), "CondatVu needs at least one term (h, K); this problem has none."),
        (
            ap.ADMM(),
            lambda: ap.Problem(ap.HuberLoss(BLUR, BLURRED, 0.1), TV),
            "ADMM needs quadratic smooth parts; HuberLoss is not.",
        ),
        (ap.ADMM(), lambda: ap.Problem(F), "ADMM needs a proximable part or a term (h, K); this problem has none."),
        (
            ap.HalfQuadraticSplitting(),
            lambda: ap.Problem(F, ROUND),
            "HalfQuadraticSplitting needs quadratic smooth parts; SmoothedVariation is not.",
        ),
        (ap.CondatVu(), lambda: ap.Problem(F + Wells(), TV), "CondatVu needs a convex objective."),
        (ap.ChambollePock(), lambda: ap.Problem(CLOSED, 0.1 * Count() + ap.Box()), "ChambollePock needs a convex objective."),
        (ap.ADMM(), lambda: ap.Problem(F, 0.1 * Count()), "ADMM needs a convex objective."),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_refusals(algorithm, problem, sentence):
    with pytest.raises(CapabilityError, match=re.escape(sentence)):
        ap.solve(problem(), algorithm)


def test_a_problem_that_nobody_can_solve_says_so():
    problem = ap.Problem(F + Wells() + 0.1 * Count(), TV)
    with pytest.raises(CapabilityError, match=r"non-convex objective with several such parts\. Smooth all but one\."):
        ap.solve(problem)
    with pytest.raises(CapabilityError, match=r"^CondatVu needs a convex objective\.$"):
        ap.solve(problem, ap.CondatVu())


def test_a_part_that_fits_nowhere_is_refused_at_once():
    with pytest.raises(CapabilityError, match=r"Nothing is neither smooth nor proximable, and has no split"):
        ap.Problem(F, Nothing())
    with pytest.raises(CapabilityError, match=r"\(Nothing, Convolution\) needs a proximable or smooth h; Nothing is neither"):
        ap.Problem(F, terms=((Nothing(), BLUR),))


@pytest.mark.parametrize(
    "make",
    [
        ap.Gradient,
        ap.AcceleratedGradient,
        ap.ProximalGradient,
        ap.FISTA,
        ap.ChambollePock,
        ap.CondatVu,
        ap.LBFGS,
        ap.DouglasRachford,
        ap.MirrorDescent,
    ],
    ids=lambda kind: kind.__name__,
)
@pytest.mark.parametrize("step", [0.0, -1.0, float("nan")])
def test_steps_are_above_zero(make, step):
    with pytest.raises(ap.ArgumentError, match=rf"{make.__name__}: `step` must be above zero; got {step}"):
        make(step=step)


@pytest.mark.parametrize("value", [0.0, -2.0, float("nan")])
def test_penalty_and_growth_are_in_range(value):
    with pytest.raises(ap.ArgumentError, match="ADMM: `penalty` must be above zero"):
        ap.ADMM(penalty=value)
    with pytest.raises(ap.ArgumentError, match="HalfQuadraticSplitting: `growth` must be above 1"):
        ap.HalfQuadraticSplitting(growth=1 + min(value, 0.0))


def test_every_algorithm_says_what_it_needs():
    for case in ALGORITHMS.values():
        algorithm = case.make()
        assert algorithm.requires
        assert algorithm.name == case.name
    assert {kind.__name__ for kind in ap.algorithms.ALGORITHMS} == set(ALGORITHMS)


def test_a_prior_that_is_smooth_goes_to_the_smooth_part_whatever_the_method():
    problem = ap.Problem(F, ROUND)
    for algorithm in (ap.ProximalGradient(), ap.FISTA(), ap.Gradient()):
        assert ap.solve(problem, algorithm)[1].status is Status.CONVERGED


def test_terms_that_are_smooth_join_the_smooth_part():
    huber = HuberDistance(NOISY, ap.IMAGE, 0.1)
    problem = ap.Problem(F, terms=((0.5 * huber, Identity()), (0.1 * ap.QuadraticSmoothness(), BLUR)))
    assert not problem.split_terms
    assert len(problem.smooth) == 3
    assert choose(problem)[0].name == "Gradient"
    assert ap.Problem(F, terms=((ap.GroupL1(-4, FiniteDifferences().codomain), FiniteDifferences()),)).split_terms
