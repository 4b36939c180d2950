"""The proximal map of least squares where there is no closed form: preconditioned conjugate gradients, and derivatives."""

import numpy as np
import pytest
import torch
from case_types import randn, uniform
from torch.testing import assert_close

from apheleia.algorithms import choose
from apheleia.core import Space
from apheleia.functionals import L1, LeastSquares, TotalVariation
from apheleia.operators import Convolution, LinearOperator, Matrix, conjugate_gradient
from apheleia.operators.inverse import differentiable_solve
from apheleia.problem import Problem

SHAPE = (1, 5, 6)


class Scaling(LinearOperator):
    """A user's diagonal operator that offers nothing but a preconditioner, which counts its uses."""

    def __init__(self, diagonal: torch.Tensor) -> None:
        super().__init__(Space(tuple(diagonal.shape)), Space(tuple(diagonal.shape)))
        self.diagonal = diagonal
        self.uses = 0

    def _forward(self, x):
        return self.diagonal * x

    def _gram_preconditioner(self, shape, shift):
        def apply(r):
            self.uses += 1
            return r / (self.diagonal**2 + shift[..., None])

        return apply


def blur(kernel, boundary="replicate"):
    return Convolution(kernel, boundary)


def closed_form(kernel, y, x, step, std):
    """Return the proximal point by the normal equations, with a dense matrix."""
    A = blur(kernel).dense(SHAPE)
    ratio = step / std**2
    system = ratio * A.mT @ A + torch.eye(A.shape[1], dtype=torch.float64)
    return torch.linalg.solve(system, (ratio * A.mT @ y.flatten() + x.flatten())).reshape(SHAPE)


def iterated(kernel, y, x, step, std):
    return LeastSquares(blur(kernel), y, std).prox(x, step)


def arguments():
    """Return kernel, data, point, step and noise level, all with gradients."""
    values = (uniform(3, 3, seed=1), randn(*SHAPE, seed=2), randn(*SHAPE, seed=3), torch.tensor(0.7), torch.tensor(0.6))
    return [value.double().requires_grad_() for value in values]


def test_against_numpy():
    A, y, x = Matrix(randn(7, 5)), randn(7, seed=1), randn(5, seed=2)
    M = A.matrix.numpy()
    expected = np.linalg.solve(0.3 / 0.04 * M.T @ M + np.eye(5), 0.3 / 0.04 * M.T @ y.numpy() + x.numpy())
    assert_close(LeastSquares(A, y, 0.2).prox(x, 0.3), torch.from_numpy(expected), rtol=1e-9, atol=1e-9)


def test_single_precision_is_as_good_as_it_says():
    y, x = randn(1, 40, 40, seed=1, dtype=torch.float32), randn(1, 40, 40, seed=2, dtype=torch.float32)
    F = LeastSquares(blur(uniform(5, 5) / 12.5), y, 0.1)
    tight = F.prox(x.double(), 1.0)
    assert (F.prox(x, 1.0) - tight).norm() <= 1e-4 * (tight - x).norm()


def test_first_and_second_derivatives_are_those_of_the_exact_map():
    results, weight = [], randn(*SHAPE, seed=7)
    for prox in (iterated, closed_form):
        args = arguments()
        point = prox(*args)
        first = torch.autograd.grad((weight * point).sum(), args, create_graph=True)
        second = torch.autograd.grad(sum((g**2).sum() for g in first) + (first[2] * weight).sum(), args)
        results.append((point, *first, *second))
    for ours, expected in zip(*results, strict=True):
        assert_close(ours, expected, rtol=1e-6, atol=1e-6 * float(expected.detach().abs().max()))


def test_derivatives_survive_function_transforms():
    kernel, y, x, step, std = (value.detach() for value in arguments())
    pulled = torch.func.vjp(lambda point: iterated(kernel, y, point, step, std), x)[1](randn(*SHAPE, seed=5))[0]
    # the map is affine in x and its matrix symmetric
    straight = iterated(kernel, y, randn(*SHAPE, seed=5), step, std) - iterated(kernel, y, torch.zeros(SHAPE).double(), step, std)
    assert_close(pulled, straight, rtol=1e-7, atol=1e-7)


def test_a_plain_backward_pass_costs_one_solve():
    solves = []

    def solve(rhs):
        solves.append(rhs)
        return rhs / 2

    x = torch.ones(3, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(differentiable_solve(lambda z: 2 * z, x, solve).sum(), x)
    assert_close(gradient, torch.full((3,), 0.5, dtype=torch.float64))
    assert len(solves) == 2


def test_no_graph_is_kept_where_nothing_has_gradients():
    assert not LeastSquares(blur(uniform(3, 3)), randn(*SHAPE)).prox(randn(*SHAPE), 0.3).requires_grad


@pytest.mark.parametrize("tol", [1e-1, 1e-4, 1e-8])
def test_gap_is_a_bound_and_reaches_its_tolerance(tol):
    y, x, steps = randn(1, 8, 9, seed=1), randn(3, 1, 8, 9, seed=2), torch.tensor([0.01, 1.0, 1e3], dtype=torch.float64)
    F = LeastSquares(blur(uniform(5, 4)), y)

    def energy(u):
        return steps * F(u) + 0.5 * F.space.inner(u - x, u - x)

    point, gap = F.prox_and_gap(x, steps, tol)
    excess = energy(point) - energy(F.prox(x, steps))
    assert (excess <= gap + 1e-12).all()
    assert (gap <= tol * energy(point)).all()
    assert (gap > 0).all()


def test_a_preconditioner_is_used_and_saves_steps():
    diagonal = torch.logspace(-2, 1, 60, dtype=torch.float64)
    A, y, x = Scaling(diagonal), randn(60), randn(60, seed=1)
    expected = (x + diagonal * y) / (1 + diagonal**2)
    assert_close(LeastSquares(A, y).prox(x, 1.0), expected, rtol=1e-9, atol=1e-9)
    # the start, and one step, which is exact
    assert A.uses == 2
    assert_close(LeastSquares(-3.0 * A, y).prox(x, 1.0), (x - 3 * diagonal * y) / (1 + 9 * diagonal**2), rtol=1e-9, atol=1e-9)
    assert A.uses == 4


def test_preconditioned_conjugate_gradients_stop_by_the_plain_residual_image_by_image():
    diagonal = torch.logspace(0, 4, 50, dtype=torch.float64)
    near = 1 / (diagonal * uniform(50, low=0.5, high=2))
    rhs = randn(3, 50)
    tol = torch.tensor([1e-2, 1e-8, 1.0], dtype=torch.float64)
    x, residual = conjugate_gradient(lambda v: diagonal * v, rhs, Space((50,)), tol=tol, preconditioner=lambda r: near * r)
    assert_close((rhs - diagonal * x).norm(dim=-1) / rhs.norm(dim=-1), residual, rtol=1e-5, atol=1e-12)
    assert (residual <= tol).all()
    assert (x[2] == 0).all()
    _, plain = conjugate_gradient(lambda v: diagonal * v, rhs, Space((50,)), tol=0.0, max_steps=12)
    _, quick = conjugate_gradient(
        lambda v: diagonal * v, rhs, Space((50,)), tol=0.0, max_steps=12, preconditioner=lambda r: near * r
    )
    assert (quick < 1e-2 * plain).all()


def test_problems_keep_their_sorting():
    F = LeastSquares(blur(uniform(3, 3)), randn(*SHAPE))
    problem = Problem(F, 0.1 * TotalVariation())
    assert problem.smooth == (F,)
    assert type(choose(problem)[0]).__name__ == "CondatVu"
    assert type(choose(Problem(F, 0.1 * L1()))[0]).__name__ == "FISTA"
