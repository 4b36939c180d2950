"""Transforms in which operators are diagonal."""

import math

import pytest
import torch
from case_types import randn
from hypothesis import given
from hypothesis import strategies as st

from apheleia.core.errors import ShapeError
from apheleia.core.space import Space
from apheleia.operators import Convolution, CosineFilter, FourierFilter
from apheleia.operators.transforms import CosineTransform, FourierTransform, by_frequency, cosine_layout

sizes = st.tuples(st.integers(1, 9), st.integers(1, 9))


def cosines(n: int) -> torch.Tensor:
    """Return the matrix of the unnormalised DCT-II by its definition."""
    return torch.tensor(
        [[math.cos(math.pi * k * (2 * m + 1) / (2 * n)) for m in range(n)] for k in range(n)], dtype=torch.float64
    )


@given(size=sizes, channels=st.integers(1, 3))
def test_cosine_transform_is_the_dct_of_type_2(size, channels):
    x = randn(2, channels, *size)
    coefficients = CosineTransform(size).analyse(x)
    found = by_frequency(coefficients * torch.tensor([1.0, -1.0]), size)
    torch.testing.assert_close(found, cosines(size[0]) @ x @ cosines(size[1]).T)


@given(size=sizes)
@pytest.mark.parametrize("kind", [CosineTransform, FourierTransform])
def test_transforms_are_invertible(kind, size):
    x = randn(2, 1, *size)
    torch.testing.assert_close(kind(size).synthesise(kind(size).analyse(x)), x)


@given(size=sizes)
def test_the_layout_of_eigenvalues_can_be_undone(size):
    values = randn(2, *size)
    torch.testing.assert_close(by_frequency(cosine_layout(values), size), values)


def test_cosine_transform_keeps_single_precision_and_has_gradients():
    change, x = CosineTransform((4, 5)), randn(1, 4, 5, dtype=torch.float32)
    assert change.analyse(x).dtype == torch.float32
    assert torch.autograd.gradcheck(lambda v: change.synthesise(change.analyse(v) ** 2), randn(1, 4, 5).requires_grad_())


def test_only_a_symmetric_kernel_that_reflects_is_diagonal_in_cosines():
    kernel = torch.tensor([[1.0, 2.0, 1.0]], dtype=torch.float64)
    assert Convolution(kernel, "reflect").gram_bases == ("cosine",)
    assert Convolution(kernel, "circular").gram_bases == ("fourier",)
    assert Convolution(kernel, "zero").gram_bases == ()
    assert Convolution(torch.tensor([[1.0, 2.0, 1.1]]), "reflect").gram_bases == ()
    assert Convolution(torch.ones(2, 2), "reflect").gram_bases == ()
    # learning moves a kernel out of symmetry, and its gradient must not be cut to the symmetric part
    assert Convolution(torch.nn.Parameter(kernel), "reflect").gram_bases == ()


def test_the_cosine_filter_equals_the_convolution_that_extends():
    kernel = torch.ones(3, 5, dtype=torch.float64)
    x = randn(2, 7, 6)
    learned = Convolution(torch.nn.Parameter(kernel), "reflect")
    torch.testing.assert_close(Convolution(kernel, "reflect")(x), learned(x).detach())


def test_cosine_filter_checks_its_eigenvalues():
    with pytest.raises(ShapeError, match="CosineFilter: give real images with fixed height and width"):
        CosineFilter(torch.ones(1, 4, 4), Space((None, None, 4)))
    with pytest.raises(ShapeError, match="`eigenvalues` must be real and end in"):
        CosineFilter(torch.ones(1, 4, 3), Space((None, 4, 4)))
    assert not CosineFilter(-torch.ones(1, 2, 2), Space((None, 2, 2))).has_shifted_solve
    assert isinstance(Convolution(torch.ones(3, 3), "circular").prepared((1, 4, 4), torch.float64), FourierFilter)
