"""Problem: parts sorted by what algorithms can do with them, and the numbers of the whole."""

import pytest
import torch
from algorithm_cases import BLUR, BLURRED, CIRCULAR, IMAGE, KERNEL, M_TALL, NOISY, PROBLEMS, SALTED, Y_TALL, optimum, randn
from torch.testing import assert_close

import apheleia as ap
from apheleia.functionals import GroupL1
from apheleia.functionals.fidelities.least_absolute_deviations import AbsoluteDistance
from apheleia.operators import Convolution, FiniteDifferences, Identity, Matrix

F = ap.LeastSquares(BLUR, BLURRED)


@pytest.mark.parametrize("name", list(PROBLEMS))
def test_the_objective_is_the_sum_of_its_parts_however_they_are_sorted(name):
    case = PROBLEMS[name]
    problem = case.make(torch.float64)
    x = randn(4, *case.shape, seed=1).abs().clamp(0.15, 0.5)
    whole = problem(x)
    parts = [part(x) for part in problem.smooth]
    parts += [] if problem.simple is None else [problem.simple(x)]
    parts += [h(K(x)) for h, K in problem.split_terms]
    assert whole.shape == (4,)
    assert_close(sum(parts), whole, rtol=1e-12, atol=0)


@pytest.mark.parametrize("name", list(PROBLEMS))
def test_the_objective_is_that_of_the_independent_model(name):
    point, least = optimum(name)
    case = PROBLEMS[name]
    value = float(case.make(torch.float64)(torch.from_numpy(point).reshape(case.shape)))
    assert value == pytest.approx(least, rel=1e-9)


@pytest.mark.parametrize("name", list(PROBLEMS))
def test_a_prepared_problem_is_the_same_problem(name):
    case = PROBLEMS[name]
    problem = case.make(torch.float64)
    ready = problem.prepared(case.shape, torch.float64)
    x = randn(2, *case.shape, seed=2).abs().clamp(0.15, 0.5)
    assert_close(ready(x), problem(x), rtol=1e-10, atol=1e-12)
    assert_close(ready.smooth_grad(x), problem.smooth_grad(x), rtol=1e-9, atol=1e-11)
    assert ready.is_convex == problem.is_convex
    assert [part.name for part in ready.unbounded] == [part.name for part in problem.unbounded]
    if not problem.unbounded:
        assert_close(ready.smoothness(case.shape).value, problem.smoothness(case.shape).value)
        assert ready.smoothness(case.shape).kind == problem.smoothness(case.shape).kind
    for (_, K), (_, original) in zip(ready.split_terms, problem.split_terms, strict=True):
        assert K.output_shape(case.shape) == original.output_shape(case.shape)


@pytest.mark.parametrize("name", [n for n in PROBLEMS if PROBLEMS[n].make(torch.float64).smooth])
def test_gradient_smoothness_and_modulus(name):
    case = PROBLEMS[name]
    problem = case.make(torch.float64)
    x, v = randn(*case.shape, seed=3), randn(*case.shape, seed=4)
    slope = (problem.smooth_value(x + 1e-6 * v) - problem.smooth_value(x - 1e-6 * v)) / 2e-6
    assert float((problem.smooth_grad(x) * v).sum()) == pytest.approx(float(slope), rel=1e-6, abs=1e-7)
    if problem.unbounded:
        return
    L, mu = problem.smoothness(case.shape), problem.strong_convexity(case.shape)
    assert L.is_upper
    assert mu.is_lower
    for seed in range(20):
        a, b = randn(*case.shape, seed=seed), randn(*case.shape, seed=seed + 50)
        change = problem.smooth_grad(a) - problem.smooth_grad(b)
        assert float(change.norm()) <= float(L.value) * float((a - b).norm()) * (1 + 1e-12)
        assert float((change * (a - b)).sum()) >= float(mu.value) * float((a - b).norm()) ** 2 * (1 - 1e-9)


def test_parts_are_sorted():
    problem = ap.Problem(F + 0.1 * ap.L1(), ap.Box() + 0.2 * ap.TotalVariation() + 0.3 * ap.SmoothedVariation())
    assert [part.name for part in problem.smooth] == ["LeastSquares", "SmoothedVariation"]
    assert problem.simple is not None
    assert problem.simple.name == "L1"
    assert [(h.name, K.name) for h, K in problem.split_terms] == [("Box", "Identity"), ("GroupL1", "FiniteDifferences")]
    assert [part.name for part in problem.non_smooth] == ["L1", "Box", "TotalVariation"]


def test_a_non_smooth_fidelity_goes_by_its_split():
    problem = ap.Problem(2.0 * ap.LeastAbsoluteDeviations(BLUR, SALTED))
    ((h, K),) = problem.split_terms
    assert isinstance(h.functional, AbsoluteDistance)
    assert K is BLUR
    assert float(h.weight) == 2


def test_a_term_whose_proximal_map_iterates_is_split_further():
    """TV(K x) is |D K x|_{2,1}, whose proximal map is exact."""
    for problem in (
        ap.Problem(F, terms=((0.2 * ap.TotalVariation(), BLUR),)),
        ap.Problem(F, 0.2 * (ap.TotalVariation() @ BLUR)),
    ):
        ((h, K),) = problem.split_terms
        assert h.has_exact_prox
        assert isinstance(h.functional, GroupL1)
        x = randn(2, *IMAGE, seed=1)
        assert_close(h(K(x)), 0.2 * ap.TotalVariation()(BLUR(x)), rtol=1e-12, atol=0)
    ((h, K),) = ap.Problem(F, terms=((0.2 * ap.TotalVariation(), Identity()),)).split_terms
    assert isinstance(K, FiniteDifferences)
    ((h, K),) = ap.Problem(F, terms=((ap.LeastAbsoluteDeviations(CIRCULAR, SALTED), BLUR),)).split_terms
    assert isinstance(h, AbsoluteDistance)
    assert_close(K(NOISY), CIRCULAR(BLUR(NOISY)))


def test_a_term_that_is_a_sum_is_taken_part_by_part():
    term = (0.2 * ap.TotalVariation() + 0.1 * ap.QuadraticSmoothness() + 0.3 * ap.L1(), BLUR)
    problem = ap.Problem(F, terms=(term,))
    assert len(problem.smooth) == 2
    assert len(problem.split_terms) == 2
    x = randn(*IMAGE, seed=1)
    assert float(problem(x)) == pytest.approx(float(F(x) + term[0](BLUR(x))))
    assert ap.solve(problem)[1].status is ap.Status.CONVERGED


@pytest.mark.parametrize(
    ("problem", "formula"),
    [
        (lambda: ap.Problem(F), "1/2 |A x - y|²"),
        (lambda: ap.Problem(ap.LeastSquares(Identity(), NOISY), 0.1 * ap.TotalVariation()), "1/2 |x - y|² + 0.1 TV(x)"),
        (lambda: ap.Problem(F, ap.NonNegativity()), "1/2 |A x - y|² + [x ≥ 0]"),
        (lambda: ap.Problem(F, terms=((0.5 * ap.L1(), BLUR),)), "1/2 |A x - y|² + 0.5 |Convolution x|₁"),
    ],
)
def test_formula(problem, formula):
    assert problem().formula == "minimise over x:  " + formula


def test_refusals():
    with pytest.raises(ap.ArgumentError, match="Problem: `f` must be a functional; got Tensor"):
        ap.Problem(NOISY)
    with pytest.raises(ap.ArgumentError, match="Problem: `g` must be a functional; got float"):
        ap.Problem(F, 0.1)
    with pytest.raises(ap.ShapeError, match=r"the term \(L1, Convolution\) does not fit: L1 takes .*, Convolution gives"):
        ap.Problem(F, terms=((ap.L1(ap.VECTOR), BLUR),))
    with pytest.raises(ap.ShapeError, match=r"Give the prior its space"):
        ap.Problem(ap.LeastSquares(Matrix(M_TALL), Y_TALL), ap.L1())
    with pytest.raises(ap.ShapeError, match="Problem: `x` must have shape"):
        ap.Problem(F)(torch.zeros(1, 3, 3))
    with pytest.raises(ap.ShapeError, match="do not broadcast"):
        _ = ap.Problem(ap.LeastSquares(BLUR, BLURRED.expand(2, *IMAGE)), torch.ones(3) * ap.L1()).batch_shape


def test_batch_shapes_broadcast():
    y = BLURRED.expand(4, 1, *IMAGE)
    problem = ap.Problem(ap.LeastSquares(BLUR, y, noise_std=torch.ones(4, 1)), torch.ones(3) * ap.L1())
    assert problem.batch_shape == (4, 3)
    assert problem.start().shape == (4, 3, *IMAGE)
    assert problem(problem.start()).shape == (4, 3)
    assert ap.Problem(F, terms=((torch.ones(5) * ap.L1(), BLUR),)).batch_shape == (5,)


def test_start_is_the_fidelitys_suggestion_or_x0():
    problem = ap.Problem(F)
    back = BLUR.adjoint(BLURRED)
    image = BLUR(back)
    assert_close(problem.start(), back * ((image * BLURRED).sum() / (image * image).sum()))
    x0 = randn(2, *IMAGE, seed=1)
    assert torch.equal(problem.start(x0), x0)


def test_it_is_a_module_that_moves_and_learns():
    kernel = torch.nn.Parameter(KERNEL.clone())
    weight = torch.nn.Parameter(torch.tensor(0.1))
    problem = ap.Problem(ap.LeastSquares(Convolution(kernel), NOISY), weight * ap.L1(), terms=((ap.L1(), Convolution(kernel)),))
    assert {id(p) for p in problem.parameters()} == {id(kernel), id(weight)}
    assert problem.to(torch.float32)(NOISY.float()).dtype == torch.float32


def test_convexity_and_numpy_are_known():
    assert ap.Problem(F, ap.L1()).is_convex
    assert not ap.Problem(F).is_from_numpy
    assert ap.Problem(ap.LeastSquares(BLUR, BLURRED.numpy()), ap.L1()).is_from_numpy
    value = ap.Problem(F)(NOISY.numpy())
    assert value == pytest.approx(float(F(NOISY)))
