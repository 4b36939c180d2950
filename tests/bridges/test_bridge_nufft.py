"""FINUFFT against the direct sums, its tolerance, and wrong use."""

import sys

import pytest
import torch
from case_types import randn, uniform

from apheleia.bridges import NonuniformFourierTransform
from apheleia.core import ArgumentError, MissingExtraError, ShapeError
from apheleia.operators import FourierSampling, check_adjoint

pytest.importorskip("finufft")


@pytest.mark.parametrize("is_complex", [False, True])
@pytest.mark.parametrize("tol", [1e-3, 1e-6, 1e-12])
@pytest.mark.parametrize("size", [(12, 9), (7, 10)])
def test_it_agrees_with_the_direct_sums(size, tol, is_complex):
    f = uniform(40, 2, low=-3, high=3)
    fast, direct = NonuniformFourierTransform(f, size, tol, is_complex), FourierSampling(f, size, is_complex)
    x = randn(2, 1, *size, dtype=torch.complex128 if is_complex else torch.float64)
    y = direct(x)
    assert (fast(x) - y).norm() <= 10 * tol * y.norm()
    assert (fast.adjoint(y) - direct.adjoint(y)).norm() <= 10 * tol * direct.adjoint(y).norm()
    assert check_adjoint(fast, (1, *size), tol=1) <= tol
    exact, room = direct.norm().value, 1 + tol * (size[0] * size[1]) ** 0.5
    assert exact <= fast.norm().value <= room * exact * (1 + 1e-11)
    gram = fast.prepared((1, *size), torch.float64).gram(x)
    assert (gram - direct.gram(x)).norm() <= 10 * tol * gram.norm()


def test_single_precision():
    f, x = uniform(20, 2), randn(1, 8, 8, dtype=torch.complex64)
    y = NonuniformFourierTransform(f, (8, 8), 1e-5)(x)
    torch.testing.assert_close(y, FourierSampling(f, (8, 8), True)(x), rtol=1e-3, atol=1e-3)


def test_conjugated_and_mirrored_views_are_read_rightly():
    A, x = NonuniformFourierTransform(uniform(6, 2), (4, 4), 1e-12), randn(1, 4, 4, dtype=torch.complex128)
    torch.testing.assert_close(A(x.conj().mT), A(x.conj().mT.resolve_conj().contiguous()))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((torch.zeros(3, 3), (4, 4)), ShapeError, "`frequencies` must be real"),
        ((torch.zeros(2, 3, 2), (4, 4)), ShapeError, r"must be \(m, 2\), one set for all images; got \(2, 3, 2\)"),
        ((torch.zeros(3, 2, requires_grad=True), (4, 4)), ArgumentError, "Use operators.FourierSampling to learn them"),
        ((torch.full((3, 2), torch.inf), (4, 4)), ArgumentError, "NonuniformFourierTransform: `frequencies` must be finite"),
        ((torch.zeros(3, 2), (4, 4), 0.0), ArgumentError, "`tol` must lie between 0 and 1; got 0.0"),
    ],
)
def test_wrong_use(arguments, error, message):
    with pytest.raises(error, match=message):
        NonuniformFourierTransform(*arguments)


def test_without_finufft(monkeypatch):
    monkeypatch.setitem(sys.modules, "finufft", None)
    with pytest.raises(MissingExtraError, match=r"needs finufft, which is not installed. Run: pip install \"apheleia\[nufft\]\""):
        NonuniformFourierTransform(torch.zeros(3, 2), (4, 4))


def test_the_norm_is_above_that_of_the_approximate_transform():
    # frequencies of a grid: the circulant bound of the exact transform is nearly attained, and the tolerance is coarse
    f = torch.cartesian_prod(torch.arange(5.0) / 5, torch.arange(4.0) / 4)
    A = NonuniformFourierTransform(f.double(), (5, 4), tol=0.05)
    norm = torch.linalg.svdvals(A.dense((1, 5, 4)))[0]
    assert norm <= A.norm((1, 5, 4)).value
    assert A.norm((1, 5, 4)).value <= 1.3 * FourierSampling(f.double(), (5, 4)).norm().value
