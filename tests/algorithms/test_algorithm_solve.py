"""What goes into `solve` and what comes out."""

import numpy as np
import pytest
import torch
from algorithm_cases import ALGORITHMS, BLUR, CIRCULAR, IMAGE, KERNEL, NOISY, PAIRS, PROBLEMS, SYMMETRIC
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

import apheleia as ap
from apheleia.algorithms.algorithm import State, merge
from apheleia.algorithms.optimality import optimality_residual, reference
from apheleia.algorithms.palm import block_residual
from apheleia.core import Status
from apheleia.operators import Convolution, Identity

TV = ap.Problem(ap.LeastSquares(BLUR, NOISY), 0.02 * ap.TotalVariation())


def test_numpy_in_numpy_out():
    y = NOISY.numpy()
    x, report = ap.solve(ap.Problem(ap.LeastSquares(Convolution(KERNEL.numpy()), y), 0.02 * ap.TotalVariation()))
    expected, _ = ap.solve(TV)
    assert isinstance(x, np.ndarray)
    assert x.dtype == np.float64
    np.testing.assert_allclose(x, expected.numpy(), rtol=1e-9, atol=1e-12)
    assert isinstance(report.x, torch.Tensor)
    x, _ = ap.solve(TV, x0=np.zeros(IMAGE))
    assert isinstance(x, np.ndarray)
    with pytest.raises(ap.NotConverged) as caught:
        ap.solve(TV, x0=np.zeros(IMAGE), max_steps=1)
    assert isinstance(caught.value.x, np.ndarray)
    x, _ = ap.solve(TV, x0=torch.zeros(IMAGE).double())
    assert isinstance(x, torch.Tensor)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_precision_comes_from_the_data(dtype):
    x, report = ap.solve(ap.Problem(ap.LeastSquares(BLUR, NOISY.to(dtype)), 0.02 * ap.TotalVariation()))
    assert x.dtype == report.residual.dtype == dtype
    assert all(dual.dtype == dtype for dual in report.duals)
    assert report.history.objective.dtype == report.history.residual.dtype == dtype


@pytest.mark.parametrize("tol", [0.0, -1e-3, float("nan")])
def test_tolerance_is_above_zero(tol):
    with pytest.raises(ap.ArgumentError, match="solve: `tol` must be above zero"):
        ap.solve(TV, tol=tol)


@pytest.mark.parametrize("max_steps", [0, -4, 2.5, float("inf")])
def test_step_limit_is_a_whole_number(max_steps):
    with pytest.raises(ap.ArgumentError, match="solve: `max_steps` must be a whole number >= 1"):
        ap.solve(TV, max_steps=max_steps)


@pytest.mark.parametrize("algorithm", list(ALGORITHMS))
def test_callbacks_see_every_step(algorithm):
    case = PROBLEMS[ALGORITHMS[algorithm].problems[-1]]
    first, second = [], []
    x, report = ap.solve(
        case.make(torch.float64),
        ALGORITHMS[algorithm].make(),
        case.start("default"),
        max_steps=23,
        tol=1e-13,
        throw=False,
        callbacks=[lambda s, r: first.append((s.k, s.x)), lambda s, r: second.append(r)],
    )
    steps = int(report.steps)
    assert [k for k, _ in first] == list(range(1, steps + 1))
    assert torch.equal(first[-1][1], x)
    assert all(r.shape == () for r in second)
    assert torch.equal(second[-1], report.residual)


@pytest.mark.parametrize("batch", [(), (3,), (2, 2)])
def test_history(batch):
    y = NOISY.expand(*batch, *IMAGE)
    _, report = ap.solve(ap.Problem(ap.LeastSquares(BLUR, y), 0.02 * ap.TotalVariation()), tol=1e-6)
    history = report.history
    assert history.steps[0] == 0
    assert list(history.steps) == sorted(set(history.steps))
    assert history.steps[-1] == int(report.steps.max())
    assert history.objective.shape == history.residual.shape == (len(history.steps), *batch)
    assert len(history.steps) < 60
    assert_close(history.residual[-1], report.residual, rtol=0, atol=0)
    assert_close(history.objective[-1], report.objective, rtol=1e-9, atol=0)
    if batch:
        assert report[(0,) * len(batch)].history.objective.shape == (len(history.steps),)


@pytest.mark.parametrize(("algorithm", "problem"), PAIRS)
@pytest.mark.parametrize("steps", [7, 25])
def test_the_numbers_of_the_report_are_those_of_the_returned_point(algorithm, problem, steps):
    """Recompute them from (x, duals) alone, with the problem as the user stated it."""
    case = PROBLEMS[problem]
    made = case.make(torch.float64)
    x, report = ap.solve(made, ALGORITHMS[algorithm].make(), case.start("default"), max_steps=steps, throw=False, tol=1e-9)
    assert torch.equal(x, report.x)
    assert_close(report.objective, made(x), rtol=1e-13, atol=0)
    gap = ap.duality_gap(made, x, report.duals)
    if gap is None or not bool(gap.isfinite()):
        assert report.gap is None
    else:
        assert_close(report.gap, gap, rtol=1e-9, atol=1e-15)
    if algorithm == "PALM":
        plain = block_residual(made, x)
    else:
        plain = optimality_residual(made, x, report.duals, reference(made, made.start()))
    empty = 0 * x
    values = [made.smooth_value(empty), *(h(K(empty)) for h, K in made.split_terms)]
    share = float(sum(v for v in values if bool(v.isfinite()))) / float(report.objective)
    foretold = (plain**2 * share).clamp(max=1) if bool(report.objective.isfinite()) else torch.ones(())
    residual = torch.maximum(plain, foretold) if float(plain) <= 1e-9 else plain
    expected = gap / report.objective if gap is not None and bool(gap.isfinite()) else residual
    if share < 1e3:
        # that of conjugate gradients at its own exact solution is rounding
        assert_close(report.residual, expected, rtol=1e-4, atol=1e-12)


def test_the_residual_of_a_smooth_problem_is_its_gradient_over_that_of_an_empty_image():
    problem = PROBLEMS["tikhonov"].make(torch.float64)
    x, report = ap.solve(problem, ap.Gradient(), max_steps=3, throw=False)
    expected = problem.smooth_grad(x).norm() / problem.smooth_grad(0 * x).norm()
    assert_close(report.residual, expected, rtol=1e-9, atol=0)


def test_the_residual_of_a_saddle_point_problem_is_the_larger_relative_movement():
    """By hand, for denoising: one step of natural length in the image, and one in the dual."""
    problem = ap.Problem(ap.LeastSquares(Identity(), NOISY), 0.1 * ap.TotalVariation())
    D = ap.operators.FiniteDifferences()
    x, p = NOISY + 0.1, 0.05 * D(NOISY.flip(-1))
    pull = D.adjoint(p)
    slopes = max(float(NOISY.norm()), 0.1 * 8, float(pull.norm()))
    primal = float((x - NOISY + pull).norm()) / slopes
    size = max(float(p.norm()), slopes / float(D.norm(IMAGE).value))
    ahead = p + size / float(D(NOISY).norm()) * D(x)
    projected = ahead / (ahead.norm(dim=0) / 0.1).clamp(min=1)
    dual = float((p - projected).norm()) / size
    measured = float(optimality_residual(problem, x, (p,), reference(problem, NOISY)))
    assert measured == pytest.approx(max(primal, dual), rel=1e-9)
    assert dual != pytest.approx(primal, rel=1e-2)


@given(seed=st.integers(0, 10**6), batch=st.sampled_from([(), (1,), (4,)]), side=st.integers(1, 9))
def test_any_shape(seed, batch, side):
    y = torch.rand(*batch, 2, side, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    for problem in (
        ap.Problem(ap.LeastSquares(BLUR, y), 0.05 * ap.TotalVariation()),
        ap.Problem(ap.LeastSquares(Identity(), y), 0.05 * ap.L1()),
        ap.Problem(ap.LeastSquares(BLUR, y), 0.05 * ap.QuadraticSmoothness()),
    ):
        x, report = ap.solve(problem)
        assert x.shape == y.shape
        assert report.status is Status.CONVERGED
        assert report.batch_shape == batch
        start = problem.start()
        assert bool((problem(x) <= problem(start) + 1e-9).all())


def test_a_run_is_deterministic_and_leaves_global_state_alone():
    before = torch.get_rng_state()
    first, second = ap.solve(TV)[0], ap.solve(TV)[0]
    assert torch.equal(first, second)
    assert torch.equal(before, torch.get_rng_state())
    assert torch.is_grad_enabled()
    assert torch.get_default_dtype() is torch.float32


def test_a_tighter_tolerance_is_closer():
    best, _ = ap.solve(TV, tol=1e-8, max_steps=50_000)
    distances = [float((ap.solve(TV, tol=tol)[0] - best).norm()) for tol in (1e-2, 1e-4, 1e-6)]
    assert distances[0] > distances[1] > distances[2]


def test_the_text_of_a_report():
    _, report = ap.solve(TV)
    text = str(report)
    for words in ("CONVERGED", "CondatVu (terms h(K x)", "convergence: proved", "objective_gap: none", "tolerance 0.0001"):
        assert words in text
    assert report.as_dict()["status"] == "CONVERGED"


def test_start_points():
    with pytest.raises(ap.ShapeError, match=r"solve: `x0` must have shape"):
        ap.solve(TV, x0=torch.zeros(1, 3, 3))
    with pytest.raises(ap.ArgumentError, match=r"Box suggests no point to begin from; give `x0`"):
        ap.solve(ap.Problem(ap.Box()))
    with pytest.raises(ap.ShapeError, match="batch shapes"):
        ap.solve(ap.Problem(ap.LeastSquares(BLUR, NOISY.expand(3, *IMAGE))), x0=torch.zeros(2, *IMAGE))
    x, _ = ap.solve(ap.Problem(ap.Box(0.2, 1)), x0=torch.zeros(1, 3, 3))
    assert torch.equal(x, torch.full((1, 3, 3), 0.2))


def test_only_a_prior_goes_to_its_minimum():
    for g in (0.5 * ap.L1(), ap.Ball(1.0)):
        report = ap.solve(ap.Problem(g), x0=NOISY, max_steps=2000)[1]
        assert report.status is Status.CONVERGED
        assert float(report.objective) < 1e-3


def test_merge_keeps_what_has_finished():
    old, new = (State(k, torch.full((2, 1), float(k)), (torch.full((2, 3), float(k)),)) for k in (3, 4))
    mixed = merge(torch.tensor([True, False]), new, old)
    assert mixed.k == 4
    assert mixed.x.tolist() == [[4.0], [3.0]]
    assert mixed.duals[0][:, 0].tolist() == [4.0, 3.0]
    assert merge(torch.tensor([True, True]), new, old) is new


def test_circular_and_closed_form_problems_need_no_gradient():
    problem = ap.Problem(ap.LeastSquares(CIRCULAR, NOISY), 0.02 * ap.TotalVariation())
    state = ap.ChambollePock().init(problem, NOISY)
    assert float(state.smoothness) == 0


def test_without_early_stopping_all_steps_are_run_and_the_status_speaks_of_the_end():
    looked = []
    options = {"tol": 1e-2, "early_stopping": False, "throw": False}
    _, report = ap.solve(TV, max_steps=200, callbacks=[lambda state, residual: looked.append(state.k)], **options)
    assert (int(report.steps), report.status) == (200, Status.CONVERGED)
    assert looked[-1] == 200
    assert int(ap.solve(TV, tol=1e-2)[1].steps) < 100
    _, short = ap.solve(TV, max_steps=2, **options)
    assert (int(short.steps), short.status) == (2, Status.MAX_STEPS)
    assert_close(
        report.residual, optimality_residual(TV, report.x, report.duals, reference(TV, TV.start())), rtol=1e-6, atol=1e-12
    )
    # the parts of something larger run one iteration: a point does not depend on which images are beside it
    batch = ap.Problem(ap.LeastSquares(BLUR, torch.stack([NOISY, 0 * NOISY])), 0.02 * ap.TotalVariation())
    x, _ = ap.solve(batch, ap.ADMM(penalty=0.1), max_steps=37, **options)
    assert_close(x[0], ap.solve(TV, ap.ADMM(penalty=0.1), max_steps=37, **options)[0])


def test_a_run_without_early_stopping_still_stops_when_it_diverges():
    L = float(PROBLEMS["lasso"].make(torch.float64).smoothness(PROBLEMS["lasso"].shape).value)
    for steps in (500, 64):
        _, report = ap.solve(
            PROBLEMS["lasso"].make(torch.float64), ap.FISTA(step=30 / L), max_steps=steps, early_stopping=False, throw=False
        )
        assert report.status is Status.DIVERGED
        # within ten steps of showing, though the looks are rare
        assert int(report.steps) <= 30


def test_what_is_diagonal_in_one_basis_is_solved_in_closed_form():
    y, tv, box = BLUR(NOISY), 0.02 * ap.TotalVariation(), ap.Box(0, 1)
    skew = Convolution(torch.tensor([[0.2, 0.5, 0.3]], dtype=torch.float64), boundary="reflect")
    for A, g, name, convergence in (
        (SYMMETRIC, tv, "ADMM", "proved"),
        (SYMMETRIC, tv + box, "ADMM", "proved"),
        (skew, tv + box, "CondatVu", "proved"),
        (CIRCULAR, tv, "ADMM", "proved"),
        (Identity(), tv, "ChambollePock", "proved"),
        (Identity(), tv + box, "CondatVu", "proved"),
    ):
        _, report = ap.solve(ap.Problem(ap.LeastSquares(A, y), g))
        assert (report.algorithm, report.certificate("convergence").status) == (name, convergence)
    # without a basis in common the linear system is solved by iterations, and the proof is gone
    _, report = ap.solve(ap.Problem(ap.LeastSquares(skew, y), tv), ap.ADMM())
    assert report.certificate("convergence").status == "estimated"


def test_a_kernel_without_mean_leaves_no_closed_form():
    edges = Convolution(torch.tensor([[-1.0, 2.0, -1.0]], dtype=torch.float64), boundary="reflect")
    problem = ap.Problem(ap.LeastSquares(edges, edges(NOISY)), 0.02 * ap.TotalVariation())
    _, report = ap.solve(problem, ap.ADMM(), max_steps=300, throw=False)
    assert report.certificate("convergence").status == "estimated"
    assert bool(report.x.isfinite().all())
    _, report = ap.solve(problem, max_steps=300, throw=False)
    assert report.algorithm != "ADMM"
    assert report.certificate("convergence").status == "proved"


def test_fista_without_restart_reaches_the_same_minimum_and_promises_the_objective_only():
    problem = PROBLEMS["lasso"].make(torch.float64)
    x, report = ap.solve(problem, ap.FISTA(restart=False), tol=1e-6)
    assert_close(x, ap.solve(problem, ap.FISTA(), tol=1e-6)[0], rtol=1e-4, atol=1e-4)
    assert report.certificate("convergence").why.startswith("of the objective")
    assert "after x0" in report.certificate("rate").why
