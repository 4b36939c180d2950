"""Norms say how they were obtained, and nothing more than is true."""

import math

import pytest
import torch
from case_types import randn, uniform
from cases import CumulativeSum

from apheleia.core import Bound, CheckError, Space
from apheleia.operators import (
    Convolution,
    Decimation,
    Diagonal,
    FiniteDifferences,
    Identity,
    LinearOperator,
    Matrix,
    check_norm,
    stack,
)
from apheleia.operators.norm import power_iteration, schur_bound


class Claims(LinearOperator):
    """Twice the identity, with whatever norm it is told to claim."""

    def __init__(self, claim):
        super().__init__(Space((4,)), Space((4,)))
        self.claim = claim

    def _forward(self, x):
        return 2 * x

    def _norm(self, shape):
        return self.claim


def test_power_iteration_is_an_estimate_from_below():
    matrix = randn(6, 6)
    bound = power_iteration(lambda x: x @ matrix.T @ matrix, Space((6,)), None)
    true = torch.linalg.matrix_norm(matrix, 2)
    assert bound.kind == "estimate"
    assert 0.999 * true <= bound.value <= true * (1 + 1e-12)


def test_power_iteration_of_nothing():
    assert power_iteration(torch.zeros_like, Space((3,)), None).value == 0


def test_power_iteration_a_sample():
    factors = torch.tensor([1.0, -3.0, 0.0], dtype=torch.float64)
    bound = power_iteration(lambda x: factors[:, None] ** 2 * x, Space((3,)), None)
    torch.testing.assert_close(bound.value, factors.abs())


def test_schur_bound_covers_the_norm():
    matrix = uniform(4, 6)
    bound = schur_bound(matrix.sum(1), matrix.sum(0), Space((6,)), Space((4,)))
    assert bound.kind == "upper"
    assert bound.value >= torch.linalg.matrix_norm(matrix, 2)


def test_a_non_negative_operator_has_a_safe_norm():
    assert CumulativeSum().norm((5,)).kind == "upper"
    assert (CumulativeSum() @ CumulativeSum()).norm((5,)).kind == "upper"


@pytest.mark.parametrize(
    "make",
    [
        lambda A: A @ Identity(Space((4,))),
        lambda A: A + Identity(Space((4,))),
        lambda A: 2.0 * A,
        lambda A: A.H,
        lambda A: A.gram,
        lambda A: stack([A, Identity(Space((4,)))]),
    ],
)
@pytest.mark.parametrize("claim", [None, Bound(2.0, "estimate", "a guess")], ids=["nothing", "estimate"])
def test_an_estimate_stays_one(make, claim):
    assert make(Claims(claim)).norm().kind == "estimate"


@pytest.mark.parametrize("kind", ["exact", "upper"])
def test_products_and_sums_of_safe_norms_are_upper(kind):
    A = Claims(Bound(2.0, kind, "told"))
    for combined, value in ((A @ A, 4), (A + A, 4), (stack([A, A]), math.sqrt(8))):
        assert combined.norm().kind == "upper"
        assert combined.norm().value == pytest.approx(value)
    assert (3.0 * A).norm().kind == kind


@pytest.mark.parametrize("size", [(1, 1), (1, 5), (4, 3), (7, 7)])
def test_differences_norm_is_exact(size):
    D = FiniteDifferences()
    true = torch.linalg.matrix_norm(D.dense((1, *size)), 2)
    assert D.norm((1, *size)).value == pytest.approx(float(true), rel=1e-12, abs=1e-15)
    assert D.norm((1, *size)).value <= D.norm().value


@pytest.mark.parametrize("boundary", ["circular", "zero", "reflect", "replicate"])
def test_norm_of_a_normalised_blur(boundary):
    bound = Convolution(torch.full((3, 3), 1 / 9, dtype=torch.float64), boundary).norm((1, 8, 8))
    assert 0.9 < bound.value <= 1 + 1e-12 or boundary == "replicate"
    assert bound.value < 1.2


def test_norm_of_any_size_of_a_signed_kernel_is_the_sum_of_its_modulus():
    kernel = torch.tensor([[1.0, -2.0, 3.0]])
    for boundary in ("circular", "zero"):
        bound = Convolution(kernel, boundary).norm()
        assert (bound.kind, float(bound.value)) == ("upper", 6.0)


def test_norm_follows_a_kernel_that_was_loaded():
    A = Convolution(torch.tensor([[1.0, 2.0]]), "circular")
    assert (A.norm().kind, float(A.norm().value)) == ("exact", 3.0)
    A.load_state_dict({"kernel": torch.tensor([[1.0, -2.0]])})
    assert (A.norm().kind, float(A.norm().value)) == ("upper", 3.0)


def test_norm_of_float32_parameters_is_computed_in_float64():
    kernel = randn(3, 3)
    norm = Convolution(kernel.float(), "circular").norm((1, 8, 8)).value
    exact = Convolution(kernel.float().double(), "circular").norm((1, 8, 8)).value
    assert norm == exact


def test_singular_matrix_has_no_positive_bound_below():
    column = randn(5, 1)
    assert Matrix(column @ randn(1, 3)).smallest_singular_value().value == 0
    assert Matrix(randn(3, 5)).smallest_singular_value().value == 0


def test_smallest_singular_value_of_what_is_not_known():
    bound = FiniteDifferences().H.smallest_singular_value((2, 1, 3, 3))
    assert (float(bound.value), bound.kind) == (0.0, "lower")
    assert Convolution(torch.ones(3, 3)).smallest_singular_value().value == 0


def test_smallest_singular_value_of_products_and_stacks():
    A = Matrix(randn(4, 4))
    true = torch.linalg.svdvals(A.matrix @ A.matrix)[-1]
    assert 0 < (A @ A).smallest_singular_value().value <= true * (1 + 1e-12)
    true = torch.linalg.svdvals(torch.cat([A.matrix, A.matrix]))[-1]
    assert stack([A, A]).smallest_singular_value().value == pytest.approx(float(true))


def test_decimation_by_one_loses_nothing():
    assert Decimation(1).smallest_singular_value((1, 3, 3)).value == 1
    assert Decimation(2).smallest_singular_value((1, 3, 3)).value == 0


# the hunt


def test_check_norm_returns_how_close_it_came():
    assert check_norm(Claims(Bound(2.0, "exact", "told"))) == pytest.approx(1)
    assert check_norm(Claims(Bound(4.0, "upper", "told"))) == pytest.approx(0.5)


@pytest.mark.parametrize("kind", ["exact", "upper"])
def test_check_norm_finds_a_norm_that_is_too_small(kind):
    with pytest.raises(CheckError, match=r"check_norm: Claims: \|A x\| / \|x\| reaches 1\.05263 times the claimed norm 1\.9"):
        check_norm(Claims(Bound(1.9, kind, "told")))


def test_check_norm_finds_a_norm_of_zero():
    with pytest.raises(CheckError, match=r"reaches inf times the claimed norm 0"):
        check_norm(Claims(Bound(0.0, "exact", "told")))


def test_check_norm_finds_what_is_not_a_number():
    with pytest.raises(CheckError, match="reaches nan times"):
        check_norm(Claims(Bound(math.nan, "upper", "told")))


def test_check_norm_finds_an_upper_bound_called_exact():
    with pytest.raises(CheckError, match=r"no x came closer than 0\.5 times the norm 4 .*Call it an upper bound, not exact"):
        check_norm(Claims(Bound(4.0, "exact", "told")))


def test_check_norm_forgives_an_estimate():
    assert check_norm(Claims(Bound(1.0, "estimate", "told"))) == pytest.approx(2)


def test_check_norm_of_the_zero_operator():
    assert check_norm(0.0 * Identity(), (1, 2, 2)) == 0


@pytest.mark.parametrize(
    "A",
    [
        Convolution(torch.nn.Parameter(randn(3, 3)), "circular"),
        Diagonal(torch.nn.Parameter(randn(1, 4, 4))),
        torch.nn.Parameter(torch.tensor(2.0)) * Identity(),
    ],
    ids=lambda A: A.name,
)
def test_check_norm_of_a_learned_operator(A):
    assert 0.9 < check_norm(A, (1, 4, 4)) <= 1 + 1e-8


def test_check_norm_of_an_operator_a_sample():
    d = torch.rand(3, 1, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) + 0.5
    assert check_norm(Diagonal(d), (1, 4, 4), power_steps=60) == pytest.approx(1.0, abs=0.05)
