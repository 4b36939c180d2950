"""Data formation that is not linear: Gauss-Newton, Levenberg-Marquardt and L-BFGS against SciPy, and what they do not claim."""

import numpy as np
import pytest
import scipy.optimize
import torch
from algorithm_cases import BLUR, IMAGE, M_TALL, Y_TALL, randn, scene
from torch.testing import assert_close

import apheleia as ap
from apheleia.algorithms import choose
from apheleia.core import CapabilityError, Status
from apheleia.functionals import Functional
from apheleia.functionals.fidelities.least_squares import SquaredDistance
from apheleia.operators import Operator


class Absorption(Operator):
    """x -> exp(-B x), Beer and Lambert's law."""

    def __init__(self, matrix):
        super().__init__(ap.Space((matrix.shape[1],)), ap.Space((matrix.shape[0],)))
        self.matrix = matrix

    def _forward(self, x):
        return torch.exp(-(x @ self.matrix.to(x.dtype).T))


class Saturation(Operator):
    """x -> tanh(blurred x), a sensor that saturates, on images."""

    def __init__(self):
        super().__init__(ap.IMAGE, ap.IMAGE)

    def _forward(self, x):
        return torch.tanh(BLUR(x))


class Power(Functional):
    """x -> sum x^4 / 4: convex and differentiable, its gradient nowhere near Lipschitz."""

    is_convex = True
    is_differentiable = True

    def _value(self, x):
        return (x**4).sum(self.space.axes) / 4


RAYS = randn(15, 6, seed=1).abs()
TRUTH = 0.3 * randn(6, seed=2).abs()
DIM = Absorption(RAYS)(TRUTH) + 0.01 * randn(15, seed=3)
SATURATED = Saturation()(scene()) + 0.02 * randn(*IMAGE, seed=4)

METHODS = [ap.LevenbergMarquardt(), ap.GaussNewton(), ap.LBFGS(), ap.Gradient(), ap.ProximalGradient()]
every_method = pytest.mark.parametrize("algorithm", METHODS, ids=lambda a: a.name)


def absorption(prior=None, dtype=torch.float64):
    return ap.Problem(ap.LeastSquares(Absorption(RAYS), DIM.to(dtype), noise_std=0.1), prior)


@every_method
def test_non_linear_least_squares_equals_scipy(algorithm):
    A = RAYS.numpy()
    exact = scipy.optimize.least_squares(lambda x: np.exp(-A @ x) - DIM.numpy(), np.zeros(6), xtol=1e-15, ftol=1e-15, gtol=1e-15)
    x, report = ap.solve(absorption(), algorithm, x0=torch.zeros(6).double(), tol=1e-9)
    assert report.status is Status.CONVERGED
    assert_close(x, torch.from_numpy(exact.x), rtol=1e-5, atol=1e-6)
    assert float(report.objective) == pytest.approx(float(exact.cost) / 0.1**2, rel=1e-9)


@every_method
def test_with_a_quadratic_prior_equals_scipy(algorithm):
    weight = 0.7
    prior = weight * ap.Problem(SquaredDistance(torch.ones(6).double(), ap.VECTOR)).f

    def residuals(x):
        return np.concatenate([(np.exp(-RAYS.numpy() @ x) - DIM.numpy()) / 0.1, np.sqrt(weight) * (x - 1)])

    exact = scipy.optimize.least_squares(residuals, np.zeros(6), xtol=1e-15, ftol=1e-15, gtol=1e-15)
    x, _ = ap.solve(absorption(prior), algorithm, x0=torch.zeros(6).double(), tol=1e-9)
    assert_close(x, torch.from_numpy(exact.x), rtol=1e-5, atol=1e-6)


def test_a_constraint_goes_by_its_proximal_map():
    exact = scipy.optimize.least_squares(
        lambda x: np.exp(-RAYS.numpy() @ x) - DIM.numpy(), np.full(6, 0.2), bounds=(0.15, 0.3), xtol=1e-15, ftol=1e-15, gtol=1e-15
    )
    x, report = ap.solve(absorption(ap.Box(0.15, 0.3, ap.VECTOR)), x0=torch.full((6,), 0.2).double(), tol=1e-8)
    assert report.algorithm == "ProximalGradient"
    assert report.why == "the gradient of LeastSquares has no known Lipschitz constant"
    assert_close(x, torch.from_numpy(exact.x), rtol=1e-4, atol=1e-4)
    assert report.certificate("convergence").status == "none"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_images_from_a_saturating_sensor(dtype):
    truth, y = scene().to(dtype), SATURATED.to(dtype)
    problem = ap.Problem(ap.LeastSquares(Saturation(), y), 1e-3 * ap.QuadraticSmoothness())
    x, report = ap.solve(problem, x0=0 * y)
    assert (report.algorithm, report.why) == ("LevenbergMarquardt", "LeastSquares of a map that is not linear")
    assert x.dtype == dtype
    assert float(((x - truth) ** 2).mean()) < 0.5 * float(((y - truth) ** 2).mean())
    _, second = ap.solve(problem, ap.LBFGS(), x0=0 * y)
    assert float(second.objective) == pytest.approx(float(report.objective), rel=1e-3)


@pytest.mark.parametrize("algorithm", METHODS[:3], ids=lambda a: a.name)
def test_the_objective_falls_at_every_step_and_each_image_has_its_own(algorithm):
    y = torch.stack([DIM, DIM.flip(0), DIM**2])
    problem = ap.Problem(ap.LeastSquares(Absorption(RAYS), y))
    x0 = torch.stack([torch.zeros(6), torch.full((6,), 3.0), -torch.ones(6)]).double()
    seen = [problem(x0)]
    x, report = ap.solve(problem, algorithm, x0=x0, tol=1e-8, callbacks=[lambda s, r: seen.append(problem(s.x))])
    curve = torch.stack(seen)
    assert bool((curve.diff(dim=0) <= 1e-12 * curve[0]).all())
    for i in range(3):
        alone, single = ap.solve(ap.Problem(ap.LeastSquares(Absorption(RAYS), y[i])), algorithm, x0=x0[i], tol=1e-8)
        assert_close(x[i], alone, rtol=1e-6, atol=1e-7)
        assert single.status is report[i].status is Status.CONVERGED


@pytest.mark.parametrize("algorithm", METHODS[:3], ids=lambda a: a.name)
def test_nothing_is_proved_of_a_map_that_is_not_linear_and_all_of_one_that_is(algorithm):
    report = ap.solve(absorption(), algorithm, x0=torch.zeros(6).double())[1]
    assert all(certificate.status == "none" for certificate in report.certificates)
    linear = ap.Problem(ap.LeastSquares(ap.operators.Matrix(M_TALL), Y_TALL))
    assert ap.solve(linear, algorithm)[1].certificate("convergence").status == "proved"


def test_lbfgs_estimates_with_an_estimated_constant():
    class Shift(ap.operators.LinearOperator):
        def __init__(self):
            super().__init__(ap.VECTOR, ap.VECTOR)

        def _forward(self, x):
            return x - 0.5 * x.roll(1, -1)

    problem = ap.Problem(ap.LeastSquares(Shift(), Y_TALL))
    assert ap.solve(problem, ap.LBFGS())[1].certificate("convergence").status == "estimated"


def test_a_convex_part_without_a_lipschitz_constant():
    problem = ap.Problem(ap.LeastSquares(ap.operators.Matrix(M_TALL), Y_TALL), Power(ap.VECTOR))
    assert [part.name for part in problem.unbounded] == ["Power"]
    x, report = ap.solve(problem, tol=1e-9)
    assert report.algorithm == "LBFGS"
    assert float(problem.smooth_grad(x).norm()) < 1e-6
    y, _ = ap.solve(problem, ap.Gradient(), tol=1e-9)
    assert_close(x, y, rtol=1e-6, atol=1e-7)
    # steps come from a short walk, and prove nothing
    assert report.certificate("convergence").status == "none"
    assert ap.solve(problem, ap.Gradient())[1].certificate("convergence").status == "estimated"


def test_the_predicate_follows_the_calculus():
    F = ap.LeastSquares(Absorption(RAYS), DIM)
    power = Power(ap.VECTOR)
    for made in (F, 2.0 * F, F + power, power @ ap.operators.Matrix(M_TALL)):
        assert made.is_differentiable
        assert not made.is_smooth
        x = randn(made.space.shape[0] or 5, seed=5)
        v = randn(*x.shape, seed=6)
        slope = (made(x + 1e-6 * v) - made(x - 1e-6 * v)) / 2e-6
        assert float((made.grad(x) * v).sum()) == pytest.approx(float(slope), rel=1e-5)
    assert not ap.LeastAbsoluteDeviations(Absorption(RAYS), DIM).is_differentiable
    assert not (F + ap.L1(ap.VECTOR)).is_differentiable
    assert ap.QuadraticSmoothness().is_differentiable


def test_the_linearised_hessian_is_that_of_gauss_and_newton():
    x = randn(2, 6, seed=7)
    F = 3.0 * ap.LeastSquares(Absorption(RAYS), DIM, noise_std=0.5) + SquaredDistance(torch.ones(6).double(), ap.VECTOR)
    assert F.has_linearised_hessian
    v = randn(2, 6, seed=8)
    out = F.linearised_hessian(x)(v)
    for i in range(2):
        J = torch.func.jacrev(Absorption(RAYS))(x[i])
        assert_close(out[i], 3 / 0.25 * J.T @ (J @ v[i]) + v[i])
    blurred = SquaredDistance(torch.zeros(20).double(), ap.VECTOR) @ ap.operators.Matrix(M_TALL)
    assert_close(blurred.linearised_hessian(randn(12))(randn(12, seed=9)), M_TALL.T @ (M_TALL @ randn(12, seed=9)))
    with pytest.raises(CapabilityError, match="L1 is no convex quadratic of a differentiable map"):
        ap.L1(ap.VECTOR).linearised_hessian(x)


def test_a_start_near_the_truth_or_far_away_is_judged_by_the_data():
    """The derivative of a square vanishes at zero, so that |A^H y| has no meaning there."""

    class Square(Operator):
        def __init__(self):
            super().__init__(ap.VECTOR, ap.VECTOR)

        def _forward(self, x):
            return (M_TALL.to(x.dtype) @ x[..., None])[..., 0] ** 2

        def _output_shape(self, shape):
            return (20,)

        def _input_shape(self, shape):
            return (12,)

    truth = randn(12, seed=10)
    y = Square()(truth)
    for size in (1e-3, 0.3, 1e4):
        x, report = ap.solve(ap.Problem(ap.LeastSquares(Square(), y)), x0=truth + size * randn(12, seed=11), throw=False)
        if report.status is Status.CONVERGED and size < 1:
            assert min(float((x - truth).norm()), float((x + truth).norm())) < 1e-3 * float(truth.norm())
        assert float(report.residual) < 1


def test_the_answer_can_be_differentiated():
    y = DIM.clone().requires_grad_()
    weights = randn(6, seed=12)

    def solved(data, algorithm, diff=None):
        problem = ap.Problem(ap.LeastSquares(Absorption(RAYS), data))
        return (ap.solve(problem, algorithm, x0=torch.zeros(6).double(), diff=diff, tol=1e-12)[0] * weights).sum()

    direction = randn(15, seed=13)
    near = [solved(DIM + s * 1e-5 * direction, ap.LevenbergMarquardt()) for s in (1, -1)]
    for algorithm in (ap.LevenbergMarquardt(), ap.GaussNewton()):
        y.grad = None
        solved(y, algorithm, ap.Unrolled(12)).backward()
        assert float((y.grad * direction).sum()) == pytest.approx(float(near[0] - near[1]) / 2e-5, rel=1e-4)


@pytest.mark.parametrize(
    ("algorithm", "sentence"),
    [
        (ap.FISTA(), "FISTA needs a Lipschitz constant of the gradient; that of LeastSquares is not known."),
        (ap.AcceleratedGradient(), "AcceleratedGradient needs a Lipschitz constant of the gradient; that of LeastSquares is not"),
        (ap.CondatVu(), "CondatVu needs a convex objective"),
        (ap.ConjugateGradient(), "ConjugateGradient needs a convex objective"),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_methods_that_need_more_refuse_and_name_those_that_do_not(algorithm, sentence):
    with pytest.raises(CapabilityError, match=sentence) as caught:
        ap.solve(absorption(), algorithm, x0=torch.zeros(6).double())
    assert str(caught.value).endswith("Try LevenbergMarquardt or Gradient or ProximalGradient.")


def test_refusals():
    with pytest.raises(CapabilityError, match=r"^LevenbergMarquardt needs quadratics of .* L1 is not differentiable"):
        ap.solve(absorption(ap.L1(ap.VECTOR)), ap.LevenbergMarquardt(), x0=torch.zeros(6).double())
    huber = ap.Problem(ap.HuberLoss(Absorption(RAYS), DIM, 0.1))
    with pytest.raises(CapabilityError, match=r"^GaussNewton needs convex quadratics .* such as LeastSquares; HuberLoss is none"):
        ap.solve(huber, ap.GaussNewton(), x0=torch.zeros(6).double())
    assert choose(huber)[0].name == "LBFGS"
    with pytest.raises(CapabilityError, match="LBFGS needs a smooth objective; L1 is not"):
        ap.solve(absorption(ap.L1(ap.VECTOR)), ap.LBFGS(), x0=torch.zeros(6).double())
    problem = ap.Problem(ap.LeastSquares(Saturation(), SATURATED), 0.1 * ap.TotalVariation(), terms=((ap.L1(), BLUR),))
    with pytest.raises(CapabilityError, match=r"no algorithm takes LeastSquares, whose gradient .*SmoothedVariation\."):
        ap.solve(problem, x0=0 * SATURATED)
    convex = ap.Problem(Power(), 0.1 * ap.TotalVariation())
    with pytest.raises(CapabilityError, match="CondatVu needs a Lipschitz constant of the gradient; that of Power is not known"):
        ap.solve(convex, ap.CondatVu(), x0=0 * SATURATED)
    with pytest.raises(ap.ArgumentError, match="LBFGS: `memory` must be a whole number >= 1; got 0"):
        ap.LBFGS(memory=0)
    with pytest.raises(ap.ArgumentError, match="LevenbergMarquardt: `damping` must be above zero; got 0"):
        ap.LevenbergMarquardt(damping=0)
    with pytest.raises(ap.ArgumentError, match="LeastSquares suggests no point to begin from; give `x0`"):
        ap.solve(absorption())
