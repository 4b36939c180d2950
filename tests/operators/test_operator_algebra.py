"""The lazy algebra agrees with that of dense matrices."""

import numpy
import pytest
import torch
from case_types import COMPLEX_IMAGE, randn
from cases import Spectrum
from torch.testing import assert_close

from apheleia.core import Space
from apheleia.operators import Convolution, Diagonal, FiniteDifferences, Identity, Matrix, WaveletTransform, stack

A, B = Matrix(randn(3, 4, seed=1)), Matrix(randn(3, 4, seed=2))
C = Matrix(randn(4, 2, seed=3))
Z, W = Matrix(randn(3, 4, seed=1, dtype=torch.complex128)), Matrix(randn(4, 2, seed=2, dtype=torch.complex128))


@pytest.mark.parametrize(
    ("lazy", "dense"),
    [
        (A @ C, A.matrix @ C.matrix),
        (A + B, A.matrix + B.matrix),
        (A - B, A.matrix - B.matrix),
        (-A, -A.matrix),
        (2.5 * A, 2.5 * A.matrix),
        (A * 2.5, 2.5 * A.matrix),
        (numpy.float64(2.5) * A, 2.5 * A.matrix),
        (3 * A, 3 * A.matrix),
        (A.H, A.matrix.T),
        (A.gram, A.matrix.T @ A.matrix),
        ((A + B) @ C - 2 * (B @ C), (A.matrix - B.matrix) @ C.matrix),
        (stack([A, B]), torch.cat([A.matrix, B.matrix])),
        (Z @ W, Z.matrix @ W.matrix),
        (Z.H, Z.matrix.mH),
        (Z.gram, Z.matrix.mH @ Z.matrix),
        ((1 - 2j) * Z, (1 - 2j) * Z.matrix),
        (((1 - 2j) * Z).H, (1 + 2j) * Z.matrix.mH),
        (((1 - 2j) * Z).gram, 5 * (Z.matrix.mH @ Z.matrix)),
        ((-3.0 * A).gram, 9 * (A.matrix.T @ A.matrix)),
    ],
)
def test_against_dense(lazy, dense):
    assert_close(lazy.dense(), dense)
    assert_close(lazy.H.dense(), dense.mH)


def test_adjoint_of_the_adjoint_is_the_operator():
    assert A.H.H is A
    assert Identity().H.H.name == "Identity"


@pytest.mark.parametrize("factor", [torch.tensor([2.0, -1.0, 0.0]), numpy.array([2.0, -1.0, 0.0])])
def test_factor_a_sample(factor):
    scaled = factor * Identity()
    x = randn(3, 1, 2, 2)
    assert_close(scaled(x), torch.as_tensor(factor, dtype=torch.float64)[:, None, None, None] * x)


def test_complex_factor_a_sample():
    factor = randn(3, dtype=torch.complex128)
    scaled, x = factor * Identity(COMPLEX_IMAGE), randn(3, 1, 2, 2, dtype=torch.complex128)
    assert_close(scaled(x), factor[:, None, None, None] * x)
    assert_close(scaled.adjoint(x), factor.conj()[:, None, None, None] * x)


def test_real_then_complex_has_a_real_adjoint():
    phase = Diagonal(torch.tensor([1j, 2.0]), Space((2,), True)) @ Matrix(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    back = phase.adjoint(torch.tensor([1 + 1j, 1j]))
    # Re <A x, y> = <x, M^T Re(conj(d) y)>
    assert_close(back, torch.tensor([[1.0, 3.0], [2.0, 4.0]]) @ torch.tensor([1.0, 0.0]))


def test_spectrum_then_its_adjoint_is_real():
    x = randn(5)
    assert not Spectrum().gram(x).is_complex()


@pytest.mark.parametrize("sizes", [(Space((None, 4, 4)), Space((1, None, 4))), (Space((1, 4, 4)), Space((None, None, None)))])
def test_a_sum_fixes_every_size_that_a_part_fixes(sizes):
    total = Identity(sizes[0]) + Identity(sizes[1])
    assert total.domain.shape == (1, 4, 4)


def test_orthonormality_propagates():
    W = WaveletTransform("haar", 1)
    assert (W @ W.H).is_orthonormal
    assert not (W @ FiniteDifferences().H).is_orthonormal


def test_shifted_solve_propagates_through_a_positive_factor():
    d = Diagonal(torch.tensor([[[1.0, 2.0]]]))
    assert (2.0 * d).has_shifted_solve
    assert not (-2.0 * d).has_shifted_solve
    assert (-2.0 * d).has_gram_solve
    assert_close((2.0 * d).shifted_solve(torch.ones(1, 1, 2), 1.0), torch.tensor([[[1 / 3, 1 / 5]]]))


def test_names_read_as_formulas():
    blur = Convolution(torch.ones(3, 3))
    assert (2.0 * (FiniteDifferences() @ blur.H)).name == "(2 * (FiniteDifferences @ Convolution.H))"
    assert (Identity() + torch.ones(2) * Identity()).name == "(Identity + (c * Identity))"
    assert stack([Identity(), blur]).name == "stack(Identity, Convolution)"


def test_parts_are_submodules_that_move_together():
    A = 2.0 * (Diagonal(torch.ones(1, 2, 2)) @ Convolution(torch.ones(3, 3)))
    assert {name.split(".")[-1] for name in A.state_dict()} == {"factor", "diagonal", "kernel"}
    assert all(value.dtype == torch.float64 for value in A.double().state_dict().values())
