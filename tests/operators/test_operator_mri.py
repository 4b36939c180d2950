"""Cartesian MRI against numpy's centred transforms, its closed forms, and wrong use."""

import numpy
import pytest
import torch
from case_types import randn, uniform

from apheleia.core import CapabilityError, ShapeError
from apheleia.operators import MultiCoilMRI


def centred(x):
    """Return numpy's centred orthonormal transform of the last two axes."""
    shifted = numpy.fft.ifftshift(x, axes=(-2, -1))
    return numpy.fft.fftshift(numpy.fft.fft2(shifted, norm="ortho"), axes=(-2, -1))


@pytest.mark.parametrize("size", [(4, 6), (5, 7), (6, 5), (1, 4)])
def test_it_is_the_centred_transform_of_every_coil(size):
    mask, maps = uniform(*size) > 0.5, randn(3, *size, seed=1, dtype=torch.complex128)
    x = randn(2, 1, *size, seed=2, dtype=torch.complex128)
    expected = mask.numpy() * centred(maps.numpy() * x.numpy())
    numpy.testing.assert_allclose(MultiCoilMRI(mask, maps)(x.numpy()), expected, atol=1e-14)


def test_a_point_at_the_origin_is_flat_in_k_space():
    x = torch.zeros(1, 5, 6, dtype=torch.complex128)
    x[0, 2, 3] = 1
    torch.testing.assert_close(MultiCoilMRI(torch.ones(5, 6))(x), torch.full_like(x, 30**-0.5))


@pytest.mark.parametrize("shape", [(6, 1), (1, 5), (6, 5)], ids=["rows", "columns", "points"])
@pytest.mark.parametrize("coils", [None, 3])
def test_gram_without_shifts_nor_superfluous_transforms(shape, coils):
    mask = uniform(*shape).expand(6, 5)
    A = MultiCoilMRI(mask, None if coils is None else randn(coils, 6, 5, dtype=torch.complex128))
    x = randn(2, 1, 6, 5, seed=3, dtype=torch.complex128)
    assert len(A.transformed) == 2 - shape.count(1)
    torch.testing.assert_close(A.gram(x), A.adjoint(A(x)))


def test_a_learned_mask_gets_its_whole_gradient():
    maps, x = randn(2, 4, 4, dtype=torch.complex128), randn(1, 4, 4, seed=1, dtype=torch.complex128)

    def energy(mask):
        return MultiCoilMRI(mask, maps).gram(x).abs().sum()

    assert torch.autograd.gradcheck(energy, (torch.ones(4, 4, dtype=torch.float64, requires_grad=True),))


def test_learned_maps_get_gradients():
    mask, x = (uniform(3, 4) > 0.5).double(), randn(1, 3, 4, seed=1, dtype=torch.complex128)
    maps = randn(2, 3, 4, dtype=torch.complex128).requires_grad_()
    assert torch.autograd.gradcheck(lambda S: torch.view_as_real(MultiCoilMRI(mask, S)(x)), (maps,))
    assert torch.autograd.gradcheck(lambda S: torch.view_as_real(MultiCoilMRI(mask, S).gram(x)), (maps,))
    A = MultiCoilMRI(mask, torch.nn.Parameter(maps.detach()))
    assert [name for name, _ in A.named_parameters()] == ["sensitivities"]


def test_single_precision_is_kept_and_phases_are_exact():
    A = MultiCoilMRI(torch.ones(255, 256))
    x = randn(1, 255, 256, dtype=torch.complex128)
    torch.testing.assert_close(A(x.to(torch.complex64)), A(x).to(torch.complex64), rtol=0, atol=3e-6)


def test_the_whole_of_k_space_is_unitary():
    assert MultiCoilMRI(torch.ones(3, 4)).is_orthonormal
    assert not MultiCoilMRI(2 * torch.ones(3, 4)).is_orthonormal
    assert not MultiCoilMRI(torch.ones(3, 4), torch.ones(1, 3, 4)).is_orthonormal


def test_several_coils_have_no_closed_form():
    gram = MultiCoilMRI(uniform(3, 4), torch.ones(2, 3, 4)).gram
    with pytest.raises(CapabilityError, match="has no closed-form shifted inverse"):
        gram.shifted_solve(torch.ones(1, 3, 4), 1.0)


@pytest.mark.parametrize(
    ("mask", "maps", "message"),
    [
        (torch.ones(4), None, r"`mask` must be real, \(\*batch, height, width\); got torch.float32 \(4,\)"),
        (torch.ones(4, 4, dtype=torch.complex64), None, "`mask` must be real"),
        (
            torch.ones(4, 5),
            torch.ones(4, 5),
            r"`sensitivities` must be \(\*batch, coil, 4, 5\), of the mask's size; got \(4, 5\)",
        ),
        (torch.ones(4, 5), torch.ones(2, 5, 4), "of the mask's size"),
        (torch.ones(3, 4, 5), torch.ones(2, 2, 4, 5), r"batch shapes \(3,\), \(2,\) do not broadcast"),
    ],
)
def test_wrong_use(mask, maps, message):
    with pytest.raises(ShapeError, match=message):
        MultiCoilMRI(mask, maps)


def test_data_of_another_number_of_coils_are_refused():
    with pytest.raises(ShapeError, match=r"`y` must have shape \(\*batch, 2, 4, 5 complex\)"):
        MultiCoilMRI(torch.ones(4, 5), torch.ones(2, 4, 5)).adjoint(torch.ones(3, 4, 5))
