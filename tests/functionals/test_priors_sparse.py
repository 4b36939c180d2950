"""Low rank and sparse priors: against numpy and scipy, by hand, and in problems that are not convex."""

import numpy
import pytest
import torch
from case_types import randn
from scipy import optimize
from torch.testing import assert_close

import apheleia as ap
from apheleia.core import VECTOR, ArgumentError, Space
from apheleia.functionals.priors.overlapping_group_l1 import sliding_windows
from apheleia.operators import Duplication, Identity, Matrix

MATRIX = Space((None, None))
SCAD = ap.SmoothlyClippedAbsoluteDeviation


# matrices


@pytest.mark.parametrize("shape", [(4, 3, 5), (1, 3, 3)])
@pytest.mark.parametrize("rows", [(-3,), (-3, -1), (-2,)])
def test_nuclear_norm_against_numpy(shape, rows):
    x = randn(*shape)
    columns = [axis for axis in (-3, -2, -1) if axis not in rows]
    order = [*rows, *columns]
    sizes = [shape[axis] for axis in order]
    X = x.numpy().transpose([axis + 3 for axis in order]).reshape(int(numpy.prod(sizes[: len(rows)])), -1)
    F = ap.NuclearNorm(rows)
    assert_close(F(x), torch.tensor(numpy.linalg.norm(X, "nuc")))
    U, s, V = numpy.linalg.svd(X, full_matrices=False)
    expected = ((U * numpy.maximum(s - 0.8, 0)) @ V).reshape(sizes).transpose(numpy.argsort([axis + 3 for axis in order]))
    assert_close(F.prox(x, 0.8), torch.from_numpy(expected.copy()))


def test_derivative_of_thresholding_where_singular_values_coincide():
    X = 2 * torch.eye(3, dtype=torch.float64)
    F, V = ap.NuclearNorm((-2,), MATRIX), randn(3, 3)
    X.requires_grad_()
    (gradient,) = torch.autograd.grad((F.prox(X, 0.5) * V).sum(), X)
    h = 1e-6
    # the map is self-adjoint and smooth here, because all singular values stay above the threshold
    numeric = (F.prox(X.detach() + h * V, 0.5) - F.prox(X.detach() - h * V, 0.5)) / (2 * h)
    assert_close(gradient, numeric, rtol=1e-6, atol=1e-8)


def test_gradient_of_the_nuclear_norm():
    X = randn(2, 4, 3).requires_grad_()
    assert torch.autograd.gradcheck(ap.NuclearNorm((-2,), MATRIX), (X,), fast_mode=True)


def test_low_rank_is_the_nearest():
    X = randn(5, 4)
    U, s, V = numpy.linalg.svd(X.numpy(), full_matrices=False)
    F = ap.LowRank(2, (-2,), MATRIX)
    assert_close(F.prox(X, 1.0), torch.from_numpy((U[:, :2] * s[:2]) @ V[:2]))
    assert (float(F(F.prox(X, 1.0))), float(F(X))) == (0.0, float("inf"))


def test_matrix_completion():
    truth = randn(12, 2) @ randn(2, 12, seed=1)
    seen = torch.rand(12, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64) < 0.75
    A = ap.operators.Diagonal(seen, MATRIX)
    f = ap.LeastSquares(A, A(truth))
    convex, _ = ap.solve(ap.Problem(f, 1e-2 * ap.NuclearNorm((-2,), MATRIX)), tol=1e-6)
    exact, _ = ap.solve(ap.Problem(f, ap.LowRank(2, (-2,), MATRIX)), tol=1e-8)
    size = truth.norm()
    assert (convex - truth).norm() < 0.05 * size
    assert (exact - truth).norm() < 1e-5 * size


# sparsity


def test_top_k_keeps_exactly_k_also_among_equals():
    x = torch.tensor([2.0, -2.0, 2.0, 1.0])
    kept = ap.TopK(2, space=VECTOR).prox(x, 1.0)
    assert int((kept != 0).sum()) == 2
    assert kept.abs().sum() == 4
    assert torch.equal(ap.TopK(9, space=VECTOR).prox(x, 1.0), x)


def test_top_k_along_an_axis():
    x = randn(5, 3, 4)
    kept = ap.TopK(2, axis=-3).prox(x, 1.0)
    assert ((kept != 0).sum(-3) == 2).all()
    assert_close(kept.abs().sum(-3), x.abs().sort(dim=-3).values[-2:].sum(-3))


@pytest.mark.parametrize("step", [0.05, 0.5, 1.5, 4.0])
@pytest.mark.parametrize("F", [ap.MinimaxConcavePenalty(1.0, VECTOR), SCAD(0.5, 3.0, VECTOR), ap.L0(VECTOR)])
def test_concave_penalties_reach_the_global_minimum(F, step):
    grid = torch.linspace(-6, 6, 24001, dtype=torch.float64)
    for value in (-5.0, -2.3, -0.4, 0.0, 0.7, 1.3, 1.9, 3.1):
        x = torch.tensor([value], dtype=torch.float64)
        p = F.prox(x, step)
        energies = step * F(grid[:, None]) + 0.5 * (grid - value) ** 2
        least = step * F(p) + 0.5 * (p[0] - value) ** 2
        assert least <= energies.min() + 1e-12


def test_concave_penalties_by_hand():
    x = torch.tensor([0.5, -1.0, 3.0], dtype=torch.float64)
    assert_close(ap.MinimaxConcavePenalty(1.0, VECTOR)(x), torch.tensor(0.375 + 0.5 + 0.5, dtype=torch.float64))
    # 0.5 at the knee, then the parabola, then knee (a + 1) / 2
    F = ap.SmoothlyClippedAbsoluteDeviation(0.5, 3.0, VECTOR)
    assert_close(F(x), torch.tensor(0.5 + (3.0 - 1.0 - 0.25) / 2 + 1.0, dtype=torch.float64))
    # large entries are not shrunk, small ones as by l1
    assert_close(F.prox(torch.tensor([5.0, 0.4]), 0.3), torch.tensor([5.0, 0.1]))


@pytest.mark.parametrize("g", [0.05 * ap.L0(VECTOR), 0.1 * ap.MinimaxConcavePenalty(0.5, VECTOR), 0.1 * SCAD(0.1, space=VECTOR)])
def test_sparse_recovery_without_bias(g):
    M = randn(30, 20) / 30**0.5
    truth = torch.zeros(20, dtype=torch.float64)
    truth[[2, 7, 11]] = torch.tensor([1.5, -2.0, 1.0], dtype=torch.float64)
    x, report = ap.solve(ap.Problem(ap.LeastSquares(Matrix(M), M @ truth), g), tol=1e-8)
    assert_close(x, truth, rtol=0, atol=1e-4)
    assert report.certificate("convergence").status == "none"


def test_overlapping_groups_against_scipy():
    groups, v, step = [[0, 1, 2], [2, 3], [3, 4, 0]], randn(5), 0.4
    F = ap.OverlappingGroupL1(groups, Space((5,)))

    def energy(u):
        return step * sum(numpy.linalg.norm(u[g]) for g in groups) + 0.5 * ((u - v.numpy()) ** 2).sum()

    assert_close(F(v), torch.tensor(sum(numpy.linalg.norm(v.numpy()[g]) for g in groups)))
    found = optimize.minimize(energy, v.numpy(), method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-12, "maxiter": 20000})
    u, gap = F.prox_and_gap(v, step, 1e-10)
    assert energy(u.numpy()) <= found.fun + 1e-8
    assert float(gap) <= 1e-9
    x, report = ap.solve(ap.Problem(ap.LeastSquares(Identity(Space((5,))), v), step * F), tol=1e-8)
    assert_close(x, u, rtol=0, atol=1e-4)
    assert report.certificate("objective_gap").status == "proved"


def test_sliding_windows():
    assert sliding_windows((2, 3), (2, 2)) == [[0, 1, 3, 4], [1, 2, 4, 5]]


@pytest.mark.parametrize(("k", "costs"), [(1, None), (3, None), (2.5, [1.0, 0.5, 2.0, 1.0, 0.7, 3.0])])
def test_squared_k_support_norm_against_a_constrained_solver(k, costs):
    n, step = 6, 0.6
    d = numpy.ones(n) if costs is None else numpy.array(costs)
    F = ap.SquaredKSupportNorm(k, costs=d, space=VECTOR)
    v = randn(n)

    def least(weight, point):
        # what is left after the minimum over x

        result = optimize.minimize(
            lambda u: 0.5 * (point**2 / (u + weight)).sum(),
            numpy.full(n, min(1, k / d.sum())),
            jac=lambda u: -0.5 * point**2 / (u + weight) ** 2,
            bounds=[(1e-12, 1)] * n,
            constraints={"type": "ineq", "fun": lambda u: k - d @ u, "jac": lambda u: -d},
            method="SLSQP",
            options={"maxiter": 1000, "ftol": 1e-15},
        )
        return result.fun, result.x

    value, _ = least(0.0, v.numpy())
    assert_close(F(v), torch.tensor(value), rtol=1e-7, atol=0)
    _, u = least(step, v.numpy())
    assert_close(F.prox(v, step), torch.from_numpy(u / (u + step) * v.numpy()), rtol=0, atol=1e-5)


def test_squared_k_support_norm_between_its_limits():
    x = randn(7)
    assert_close(ap.SquaredKSupportNorm(1, space=VECTOR)(x), 0.5 * x.abs().sum() ** 2)
    assert_close(ap.SquaredKSupportNorm(7, space=VECTOR)(x), 0.5 * (x**2).sum())
    sparse = torch.tensor([0.0, 3.0, 0.0, -1.0])
    # on its support it is the energy: the envelope is tight there
    assert_close(ap.SquaredKSupportNorm(2, space=VECTOR)(sparse), torch.tensor(5.0))


def test_l1_ball_and_largest_modulus_by_hand():
    x = torch.tensor([3.0, -1.0, 0.5])
    assert_close(ap.L1Ball(2.0, VECTOR).prox(x, 1.0), torch.tensor([2.0, 0.0, 0.0]))
    assert float(ap.LInfinity(VECTOR)(x)) == 3
    assert_close(ap.LInfinity(VECTOR).prox(x, 10.0), torch.zeros(3))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ap.NuclearNorm((-3, -2, -1)), r"NuclearNorm: `rows` must name some of the axes -3 to -1, each once and not all"),
        (lambda: ap.NuclearNorm((0,)), r"NuclearNorm: `rows` must name some of the axes -3 to -1.*got \(0,\)"),
        (lambda: ap.LowRank(0), "LowRank: `rank` must be a whole number of at least 1; got 0"),
        (lambda: ap.LowRank(1, ()), r"LowRank: `rows` must name some of the axes"),
        (lambda: ap.TopK(0), "TopK: `k` must be a whole number of at least 1; got 0"),
        (lambda: ap.TopK(1, axis=1), "TopK: `axis` must lie between -3 and -1; got 1"),
        (lambda: ap.MinimaxConcavePenalty(0), "MinimaxConcavePenalty: `width` must be a finite number above zero; got 0"),
        (lambda: SCAD(-1), "Deviation: `knee` must be a finite number above zero"),
        (lambda: SCAD(1, 1), "Deviation: `shape` must be a finite number above 1"),
        (lambda: ap.L1Ball(0), "L1Ball: `radius` must be a finite number above zero; got 0"),
        (lambda: ap.SquaredKSupportNorm(0), "SquaredKSupportNorm: `k` must be above zero; got 0"),
        (lambda: ap.SquaredKSupportNorm(1, axis=0), "SquaredKSupportNorm: `axis` must lie between -3 and -1; got 0"),
        (lambda: ap.SquaredKSupportNorm(1, costs=0.0), "SquaredKSupportNorm: `costs` must be finite numbers above zero"),
        (lambda: Duplication([[0]], VECTOR), r"Duplication: `space` must fix all sizes; got \(n\)"),
        (lambda: Duplication([[0, 0]], Space((2,))), "Duplication: give at least one group, none of them empty"),
        (lambda: Duplication([[2]], Space((2,))), "Duplication: groups must name places from 0 to 1"),
    ],
)
def test_wrong_use(make, message):
    with pytest.raises(ArgumentError, match=message):
        make()


def test_formulas():
    made = [
        (ap.NuclearNorm(), "|x|_*"),
        (ap.LowRank(2), "[rank x ≤ 2]"),
        (ap.TopK(3), "[|x|₀ ≤ 3]"),
        (ap.L0(), "|x|₀"),
        (ap.MinimaxConcavePenalty(2.0), "MCP(x; 2)"),
        (ap.SmoothlyClippedAbsoluteDeviation(0.5), "SCAD(x; 0.5, 3.7)"),
        (ap.OverlappingGroupL1([[0]], Space((1,))), "Σ|x_group|₂"),
        (ap.L1Ball(), "[|x|₁ ≤ 1]"),
        (ap.LInfinity(), "|x|_∞"),
        (ap.SquaredKSupportNorm(2), "1/2 |x|²_sup(2)"),
    ]
    assert [F.formula for F, _ in made] == [words for _, words in made]
