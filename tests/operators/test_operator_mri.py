"""Cartesian MRI against numpy's centred transforms, its closed forms, and wrong use."""

import numpy
import pytest
import torch
from case_types import randn, uniform

from apheleia.core import CapabilityError, ShapeError
from apheleia.imaging import birdcage_sensitivities, variable_density_mask
from apheleia.operators import MultiCoilMRI, conjugate_gradient


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


@pytest.mark.parametrize("shape", [(6, 1), (1, 5), (6, 5)], ids=["rows", "columns", "points"])
def test_the_preconditioner_is_the_diagonal_of_the_gram_in_the_fourier_basis(shape):
    mask, shift = uniform(*shape).expand(6, 5), torch.tensor(0.3, dtype=torch.float64)
    maps, rhs = randn(3, 6, 5, dtype=torch.complex128), randn(1, 6, 5, seed=1, dtype=torch.complex128)
    if 1 not in shape:
        A = MultiCoilMRI(mask, maps)
        waves = torch.fft.ifft2(torch.eye(30, dtype=torch.complex128).reshape(30, 1, 6, 5), norm="ortho")
        diagonal = A.codomain.norm(A(waves)).square().reshape(6, 5)
        P = A.prepared((1, 6, 5), torch.float64)._gram_preconditioner((1, 6, 5), shift)
        torch.testing.assert_close(P(rhs), torch.fft.ifft2(torch.fft.fft2(rhs) / (diagonal + shift)))
    # maps without detail leave a circulant, and the inverse is exact
    A = MultiCoilMRI(mask, (1 - 2j) * torch.ones(2, 6, 5))
    ready = A.prepared((1, 6, 5), torch.float64)
    z = ready._gram_preconditioner((1, 6, 5), shift)(rhs)
    torch.testing.assert_close(A.gram(z) + shift * z, rhs)


def test_the_preconditioner_saves_steps():
    maps = birdcage_sensitivities((32, 32), 8)
    mask = variable_density_mask((32, 32), 4, pattern="points", generator=torch.Generator().manual_seed(0))
    ready = MultiCoilMRI(mask, maps).prepared((1, 32, 32), torch.float64)
    rhs, shift, counts = randn(1, 32, 32, dtype=torch.complex128), torch.ones((), dtype=torch.float64), []
    for preconditioner in (None, ready._gram_preconditioner((1, 32, 32), shift)):
        steps = []

        def apply(z, steps=steps):
            steps.append(1)
            return ready.gram(z) + z

        conjugate_gradient(apply, rhs, ready.domain, tol=1e-4, preconditioner=preconditioner)
        counts.append(len(steps))
    assert counts[1] < counts[0]


@pytest.mark.parametrize("maps", [None, randn(2, 4, 5, dtype=torch.complex128)])
def test_a_loaded_mask_brings_its_own_structure(maps):
    mask = (torch.rand(4, 5, generator=torch.Generator().manual_seed(0)) > 0.5).double()
    given = MultiCoilMRI(mask, maps)
    for first in (torch.ones(4, 5, dtype=torch.float64), mask[:1].expand(4, 5)):
        A, x = MultiCoilMRI(first, maps), randn(1, 4, 5, dtype=torch.complex128)
        A.load_state_dict(given.state_dict())
        torch.testing.assert_close(A.gram(x), A.adjoint(A(x)))
        assert not A.is_orthonormal
