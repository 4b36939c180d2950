"""Spectra at arbitrary frequencies: by their definition, on the grid, learned, and wrong use."""

import math

import pytest
import torch
from case_types import randn, uniform

import apheleia as ap
from apheleia.core import ArgumentError, ShapeError
from apheleia.operators import FourierSampling, MultiCoilMRI


def test_it_is_its_definition():
    f, x = uniform(5, 2, low=-1, high=1), randn(2, 1, 3, 4, dtype=torch.complex128)
    expected = torch.zeros(2, 1, 5, dtype=torch.complex128)
    for j in range(5):
        for m in range(3):
            for n in range(4):
                angle = -2 * math.pi * (float(f[j, 0]) * (m - 1) + float(f[j, 1]) * (n - 2))
                expected[..., j] += x[..., m, n] * complex(math.cos(angle), math.sin(angle))
    torch.testing.assert_close(FourierSampling(f, (3, 4), is_complex=True)(x), expected)


@pytest.mark.parametrize("size", [(4, 6), (5, 3)])
def test_the_frequencies_of_the_grid_are_the_centred_transform(size):
    rows, columns = ((torch.arange(n, dtype=torch.float64) - n // 2) / n for n in size)
    A = FourierSampling(torch.cartesian_prod(rows, columns), size, is_complex=True)
    x = randn(1, *size, dtype=torch.complex128)
    root = math.sqrt(math.prod(size))
    torch.testing.assert_close(A(x).reshape(1, *size), root * MultiCoilMRI(torch.ones(size, dtype=torch.float64))(x))
    torch.testing.assert_close(A.norm().value, torch.tensor(root, dtype=torch.float64))


def test_a_baseline_of_zero_measures_the_flux():
    x = uniform(1, 3, 4)
    torch.testing.assert_close(FourierSampling(torch.zeros(1, 2), (3, 4))(x).real[..., 0], x.sum((-2, -1)))


def test_a_point_off_the_origin_turns_the_phase():
    x = torch.zeros(1, 4, 4)
    x[0, 2, 3] = 1
    f = torch.tensor([[0.3, 0.125]])
    torch.testing.assert_close(FourierSampling(f, (4, 4))(x).angle(), torch.tensor([[-math.pi / 4]]))


@pytest.mark.parametrize("is_complex", [False, True])
def test_norm_bound_is_close_for_many_frequencies(is_complex):
    A = FourierSampling(uniform(200, 2, low=-0.5, high=0.5), (6, 5), is_complex)
    x = torch.eye(30, dtype=torch.float64).reshape(30, 1, 6, 5)
    matrix = A(x).reshape(30, -1)
    true = torch.linalg.matrix_norm(torch.cat((matrix.real, matrix.imag), 1) if not is_complex else matrix, 2)
    bound = A.norm((1, 6, 5))
    assert bound.kind == "upper"
    assert true <= bound.value <= 1.5 * true


def test_prepared_gram_is_the_toeplitz_form_in_any_precision():
    A, x = FourierSampling(uniform(9, 2), (4, 5)), randn(2, 4, 5)
    gram = A.prepared((2, 4, 5), torch.float32).gram
    torch.testing.assert_close(gram(x.float()), A.gram(x).float(), rtol=1e-4, atol=1e-4)


def test_learned_frequencies_get_gradients():
    x = randn(1, 3, 3)
    f = uniform(4, 2).requires_grad_()
    assert torch.autograd.gradcheck(lambda f: torch.view_as_real(FourierSampling(f, (3, 3))(x)), (f,))
    assert torch.autograd.gradcheck(lambda f: FourierSampling(f, (3, 3)).prepared((1, 3, 3), x.dtype).gram(x), (f,))
    A = FourierSampling(torch.nn.Parameter(f.detach()), (3, 3))
    assert [name for name, _ in A.named_parameters()] == ["frequencies"]


@pytest.mark.parametrize("frequencies", [torch.zeros(3), torch.zeros(3, 3), torch.zeros(3, 2, dtype=torch.complex64)])
def test_wrong_frequencies(frequencies):
    with pytest.raises(ShapeError, match=r"`frequencies` must be real, \(\*batch, m, 2\), in cycles a pixel; got"):
        FourierSampling(frequencies, (4, 4))


def test_two_stars_from_few_visibilities():
    truth = torch.zeros(1, 16, 16, dtype=torch.float64)
    truth[0, 4, 5], truth[0, 10, 12] = 1.0, 0.6
    A = FourierSampling(uniform(60, 2, low=-0.5, high=0.5), (16, 16))
    f = ap.LeastSquares(A, A(truth))
    x, report = ap.solve(ap.Problem(f, 0.05 * ap.L1() + ap.NonNegativity()), tol=1e-5)
    assert report.status.name == "CONVERGED"
    torch.testing.assert_close(x, truth, rtol=0, atol=5e-3)


def test_frequencies_that_are_not_finite():
    with pytest.raises(ArgumentError, match="FourierSampling: `frequencies` must be finite"):
        FourierSampling(torch.tensor([[0.0, torch.nan]]), (4, 4))
