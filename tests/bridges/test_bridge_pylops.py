"""PyLops' operators in, ours out: what the register cannot see, and wrong use."""

import sys

import numpy
import pylops
import pytest
import scipy.sparse.linalg as linalg
import torch
from case_types import randn
from pylops.signalprocessing import FFT, FFT2D, Convolve2D

import apheleia as ap
from apheleia.bridges import from_pylops, to_pylops
from apheleia.core import ArgumentError, MissingExtraError, ShapeError, Space
from apheleia.operators import Convolution, FiniteDifferences, check_adjoint


@pytest.mark.parametrize(
    "Op",
    [
        pylops.FirstDerivative((4, 5), kind="centered", edge=True),
        pylops.Laplacian((4, 5), axes=(0, 1)),
        pylops.VStack([pylops.Identity(4), pylops.FirstDerivative(4)]),
        pylops.MatrixMult(randn(3, 4).numpy(), otherdims=(2,)),
        pylops.Gradient((3, 4)).H,
        FFT2D((4, 6), real=True),
        FFT(8, dtype="complex128"),
        FFT(8, dtype="float64"),
        pylops.basicoperators.Real(4, dtype="complex128"),
        pylops.basicoperators.Imag(4, dtype="complex128"),
        pylops.basicoperators.Conj(4, dtype="complex128"),
    ],
    ids=lambda Op: type(Op).__name__,
)
def test_spaces_and_adjoint(Op):
    A = from_pylops(Op)
    assert A.domain.shape == tuple(Op.dims)
    assert A.codomain.shape == tuple(Op.dimsd)
    assert check_adjoint(A, tol=1e-12) < 1e-12
    x = A.domain.randn(generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    numpy.testing.assert_allclose(A(x).numpy(), Op @ x.numpy(), atol=1e-12)


@pytest.mark.parametrize(
    ("Op", "fields"),
    [
        (FFT(8, real=True), (False, True)),
        (pylops.basicoperators.Real(4, dtype="complex128"), (True, False)),
        (pylops.basicoperators.Conj(4, dtype="complex128"), (True, True)),
        (pylops.Identity(4), (False, False)),
    ],
)
def test_fields(Op, fields):
    A = from_pylops(Op)
    assert (A.domain.is_complex, A.codomain.is_complex) == fields


def test_convolution_is_ours():
    kernel = randn(3, 3)
    Op = Convolve2D((6, 5), kernel.numpy(), offset=(1, 1))
    A, image = from_pylops(Op, Space((1, 6, 5)), Space((1, 6, 5))), randn(2, 1, 6, 5)
    torch.testing.assert_close(A(image), Convolution(kernel, "zero")(image))


def test_an_image_problem_on_an_operator_of_pylops():
    kernel, truth = torch.full((3, 3), 1 / 9, dtype=torch.float64), randn(1, 6, 5).abs()
    space = Space((1, 6, 5))
    theirs = from_pylops(Convolve2D((6, 5), kernel.numpy(), offset=(1, 1)), space, space)
    ours = Convolution(kernel, "zero")
    answers = [
        ap.solve(ap.Problem(ap.LeastSquares(A, ours(truth)), 0.01 * ap.TotalVariation()), tol=1e-7)[0] for A in (theirs, ours)
    ]
    torch.testing.assert_close(*answers, rtol=1e-3, atol=1e-3)


def test_what_is_no_operator_of_pylops():
    with pytest.raises(ArgumentError, match=r"must be a pylops.LinearOperator; got list"):
        from_pylops([1.0])
    with pytest.raises(ArgumentError, match=r"Use from_scipy"):
        from_pylops(linalg.aslinearoperator(numpy.eye(3)))


def test_spaces_of_other_sizes():
    with pytest.raises(ShapeError, match=r"from_pylops: `domain` must be a Space of 4 numbers"):
        from_pylops(pylops.Identity(4), Space((1, 3, 1)))


def test_ours_is_the_same_in_pylops():
    A, x = FiniteDifferences(), randn(1, 4, 5).numpy()
    Op = to_pylops(A, (1, 4, 5))
    assert (Op.dims, Op.dimsd, Op.clinear) == ((1, 4, 5), (2, 1, 4, 5), True)
    numpy.testing.assert_allclose(Op @ x, A(x))
    numpy.testing.assert_allclose(Op.H @ (Op @ x), A.adjoint(A(x)), atol=1e-12)
    pylops.utils.dottest(Op, *Op.shape, rtol=1e-10)


def test_ours_joins_their_algebra_and_solvers():
    A = Convolution(torch.tensor([[0.0, 1, 0], [1, 6, 1], [0, 1, 0]], dtype=torch.float64), "zero")
    Op = pylops.VStack([to_pylops(A, (1, 4, 5)), 0.1 * pylops.Identity(20)])
    truth = randn(20).numpy()
    answer = pylops.lsqr(Op, Op @ truth, niter=200, atol=1e-12, btol=1e-12)[0]
    numpy.testing.assert_allclose(answer, truth, rtol=1e-6, atol=1e-8)


def test_real_to_complex_there_and_back():
    A = from_pylops(FFT(6, real=True))
    Op = to_pylops(A)
    assert not Op.clinear
    B = from_pylops(Op)
    torch.testing.assert_close(B(randn(2, 6)), A(randn(2, 6)))
    assert check_adjoint(B) < 1e-12


def test_pylops_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "pylops", None)
    with pytest.raises(MissingExtraError, match=r"from_pylops needs pylops.*apheleia\[pylops\]"):
        from_pylops(None)
