"""scipy's operators in, ours out: what the register cannot see, and wrong use."""

import sys

import numpy
import pytest
import scipy.sparse
import scipy.sparse.linalg as linalg
import torch
from case_types import randn

import apheleia as ap
from apheleia.bridges import from_scipy, to_scipy
from apheleia.bridges.scipy import matrix_bound
from apheleia.core import ArgumentError, CapabilityError, MissingExtraError, ShapeError, Space
from apheleia.operators import Convolution, FiniteDifferences, Identity, Matrix

MATRIX = randn(4, 6, seed=1)


@pytest.mark.parametrize("wrap", [numpy.asarray, scipy.sparse.csr_array, scipy.sparse.coo_matrix, linalg.aslinearoperator])
def test_every_kind_is_the_same_matrix(wrap):
    A, x = from_scipy(wrap(MATRIX.numpy())), randn(2, 3, 6)
    torch.testing.assert_close(A(x), Matrix(MATRIX)(x))
    torch.testing.assert_close(A.adjoint(randn(2, 4)), Matrix(MATRIX).adjoint(randn(2, 4)))


def test_images_are_read_row_by_row():
    A = from_scipy(scipy.sparse.diags_array(numpy.arange(6.0)), Space((1, 2, 3)), Space((1, 2, 3)))
    assert A(torch.ones(1, 2, 3)).tolist() == [[[0, 1, 2], [3, 4, 5]]]


def test_a_matvec_for_vectors_alone_gets_vectors():
    seen = []
    A = from_scipy(linalg.LinearOperator((3, 3), matvec=lambda x: (seen.append(x.shape), x)[1], dtype=float))
    seen.clear()  # scipy has asked once for the type
    A(torch.ones(2, 5, 3))
    assert seen == [(3,)] * 10


def test_an_operator_in_single_precision_answers_in_the_signals():
    A = from_scipy(scipy.sparse.csr_array(MATRIX.numpy().astype(numpy.float32)))
    for dtype in (torch.float32, torch.float64):
        assert A(randn(6, dtype=dtype)).dtype == dtype
        assert A.adjoint(randn(4, dtype=dtype)).dtype == dtype


@pytest.mark.parametrize("wrap", [numpy.asarray, linalg.aslinearoperator])
def test_an_empty_batch(wrap):
    assert from_scipy(wrap(MATRIX.numpy()))(torch.ones(0, 6)).shape == (0, 4)


@pytest.mark.parametrize("matrix", [MATRIX.numpy(), MATRIX.numpy() * 1j, numpy.zeros((2, 3)), numpy.eye(5), numpy.ones((3, 2))])
def test_the_bound_of_a_matrix_is_above_its_norm(matrix):
    true = numpy.linalg.norm(matrix, 2)
    for form in (matrix, scipy.sparse.csr_array(matrix)):
        bound = matrix_bound(form)
        assert bound.kind == "upper"
        assert true * (1 - 1e-12) <= float(bound.value) <= 2.5 * true


def test_a_problem_with_a_matrix_has_a_proved_certificate():
    A = from_scipy(scipy.sparse.csr_array(MATRIX.numpy()))
    f = ap.LeastSquares(A, randn(4))
    x, report = ap.solve(ap.Problem(f, 0.1 * ap.L1(Space((6,)))), tol=1e-8)
    twin, _ = ap.solve(ap.Problem(ap.LeastSquares(Matrix(MATRIX), randn(4)), 0.1 * ap.L1(Space((6,)))), tol=1e-8)
    torch.testing.assert_close(x, twin, rtol=1e-5, atol=1e-6)
    assert report.certificate("convergence").status == "proved"


def test_no_adjoint_is_said():
    A = from_scipy(linalg.LinearOperator((3, 3), matvec=lambda x: x, dtype=float))
    assert A(torch.ones(3)).shape == (3,)
    with pytest.raises(CapabilityError, match=r"_CustomLinearOperator has no adjoint. Give it rmatvec"):
        A.adjoint(torch.ones(3))


def test_a_fault_in_the_users_adjoint_stays_the_users():
    def broken(y):
        raise RuntimeError("the user's own")

    A = from_scipy(linalg.LinearOperator((3, 3), matvec=lambda x: x, rmatvec=broken, dtype=float))
    with pytest.raises(RuntimeError, match=r"the user's own"):
        A.adjoint(torch.ones(3))


@pytest.mark.parametrize("wrong", [3.0, [[1.0, 2.0]], torch.ones(2, 2), Identity()])
def test_what_is_no_operator_of_scipy(wrong):
    with pytest.raises(ArgumentError, match=r"`A` must be a scipy.sparse.linalg.LinearOperator, a sparse matrix or an ndarray"):
        from_scipy(wrong)


@pytest.mark.parametrize("wrong", [numpy.ones(3), numpy.array([["a"]])])
def test_what_is_no_matrix(wrong):
    with pytest.raises(ArgumentError, match=r"a matrix must have two axes and hold numbers"):
        from_scipy(wrong)


def test_spaces_of_other_sizes():
    with pytest.raises(ShapeError, match=r"`domain` must be a Space of 6 numbers, such as Space\(\(6,\)\); .* holds 8"):
        from_scipy(MATRIX.numpy(), Space((1, 2, 4)))
    with pytest.raises(ShapeError, match=r"`codomain` must be a Space of 4 numbers, .* leaves sizes open"):
        from_scipy(MATRIX.numpy(), None, Space((None,)))


def test_a_matvec_of_the_wrong_length():
    class Liar(linalg.LinearOperator):
        def __init__(self):
            super().__init__(float, (3, 3))

        def _matvec(self, x):
            return x

        def matvec(self, x):
            return x[:2]

    with pytest.raises(ShapeError, match=r"scipy Liar: the foreign code must return 3 numbers a signal; got 2"):
        from_scipy(Liar())(torch.ones(3))


# ours as scipy's


@pytest.mark.parametrize(
    ("A", "shape"),
    [
        (FiniteDifferences(), (1, 3, 4)),
        (FiniteDifferences(True), (1, 2, 3)),
        (Matrix(MATRIX), None),
        (Convolution(randn(3, 3), "reflect"), (2, 4, 3)),
    ],
)
def test_ours_is_the_same_matrix_in_scipy(A, shape):
    B, dense = to_scipy(A, shape), A.dense(shape).numpy()
    numpy.testing.assert_allclose(B @ numpy.eye(B.shape[1]), dense, atol=1e-12)
    numpy.testing.assert_allclose(B.rmatmat(numpy.eye(B.shape[0])), dense.conj().T, atol=1e-12)
    x = numpy.arange(B.shape[1])
    numpy.testing.assert_allclose(B.matvec(x), dense @ x, atol=1e-9)
    assert B.dtype == dense.dtype


def test_there_and_back():
    A = Convolution(randn(3, 3), "zero")
    B = from_scipy(to_scipy(A, (1, 4, 5)), Space((1, 4, 5)), Space((1, 4, 5)))
    torch.testing.assert_close(B(randn(2, 1, 4, 5)), A(randn(2, 1, 4, 5)))


def test_lsqr_solves_with_ours():
    A = Matrix(randn(7, 4))
    x = linalg.lsqr(to_scipy(A), A(torch.ones(4, dtype=torch.float64)).numpy(), atol=1e-12, btol=1e-12)[0]
    numpy.testing.assert_allclose(x, numpy.ones(4), rtol=1e-8)


def test_single_precision_out():
    assert to_scipy(Identity(), (1, 2, 2), torch.float32).matvec(numpy.ones(4)).dtype == numpy.float32


def test_a_learned_operator_leaves_without_its_gradient():
    A = torch.nn.Parameter(torch.tensor(2.0)) * Identity(Space((3,)))
    assert to_scipy(A).matvec(numpy.ones(3)).tolist() == [2, 2, 2]


def test_sizes_must_be_known():
    with pytest.raises(ArgumentError, match=r"to_scipy: Identity works on any size; give shape=\(channel, height, width\)"):
        to_scipy(Identity())


def test_one_field_for_scipy():
    A = from_scipy(MATRIX.numpy() * 1j, Space((6,)))
    with pytest.raises(ArgumentError, match=r"real on one side and complex on the other"):
        to_scipy(A)


def test_no_batch_of_operators_for_scipy():
    with pytest.raises(ShapeError, match=r"has parameters per sample, so that one signal gives data \(3, 2\). Make it of one"):
        to_scipy(Matrix(randn(3, 2, 4)))


def test_scipy_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.sparse", None)
    with pytest.raises(MissingExtraError, match=r"from_scipy needs scipy.*apheleia\[scipy\]"):
        from_scipy(MATRIX.numpy())


def test_the_bound_of_whole_numbers_does_not_overflow():
    bound = from_scipy(numpy.array([[-128, 127]], dtype=numpy.int8)).norm()
    assert bound.value >= numpy.hypot(128.0, 127.0) * (1 - 1e-12)


def test_views_with_a_negative_bit():
    z = torch.randn(1, 2, 2, dtype=torch.complex128, generator=torch.Generator().manual_seed(0))
    A = from_scipy(numpy.eye(4), Space((1, 2, 2)), Space((1, 2, 2)))
    torch.testing.assert_close(A(z.conj().imag), -z.imag)
