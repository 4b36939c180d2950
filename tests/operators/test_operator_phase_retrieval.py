"""Intensities, their derivatives against automatic ones, and fields recovered from them."""

import pytest
import torch
from case_types import randn

from apheleia.core import ArgumentError, ShapeError, Space
from apheleia.operators import (
    Matrix,
    PhaseRetrieval,
    check_adjoint,
    coded_diffraction,
    conjugate_gradient,
    spectral_initialization,
)
from apheleia.operators.linearization import Linearization


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def gaussian(m, n, seed=0, dtype=torch.complex128):
    return PhaseRetrieval(Matrix(randn(m, n, seed=seed, dtype=dtype)))


def misfit(x, truth):
    """Return the relative distance of x to the truth, their global phases aligned."""
    inner = (x.conj() * truth).flatten(-truth.ndim).sum(-1)
    turned = x * (inner / inner.abs())[(...,) + (None,) * truth.ndim]
    return (turned - truth).flatten(-truth.ndim).norm(dim=-1) / truth.norm()


def gauss_newton(A, y, x, steps):
    """Return x after damped Gauss-Newton steps: (J^H J + s I) d = -J^H (A x - y)."""
    for _ in range(steps):
        J, residual = A.linearize(x), A(x) - y
        damping = 1e-3 * A.codomain.norm(residual)
        d = conjugate_gradient(lambda v, J=J, s=damping: J.gram(v) + s * v, J.adjoint(residual), A.domain, tol=1e-8)[0]
        x = x - d
    return x


OPERATORS = {
    "Gaussian": lambda: (gaussian(7, 3), (3,)),
    "real": lambda: (gaussian(7, 3, dtype=torch.float64), (3,)),
    "coded diffraction": lambda: (PhaseRetrieval(coded_diffraction((3, 4), 2, generator=seeded())), (1, 3, 4)),
}
every_operator = pytest.mark.parametrize("make", OPERATORS.values(), ids=OPERATORS)


def draw(A, shape, *batch, seed=0):
    return Space(shape, A.domain.is_complex).randn(batch, generator=seeded(seed), dtype=torch.float64)


@every_operator
def test_values(make):
    A, shape = make()
    x = draw(A, shape, 2)
    torch.testing.assert_close(A(x), A.B(x).abs() ** 2)
    assert A(x).dtype == torch.float64
    assert A(x).shape[1:] == A.output_shape(shape)
    assert A.input_shape(A.output_shape(shape)) == shape


@every_operator
def test_derivatives_against_automatic_ones(make):
    A, shape = make()
    x, v = draw(A, shape, 2), draw(A, shape, 2, seed=1)
    w = randn(*A(x).shape, seed=2)
    automatic = Linearization(A, x)
    torch.testing.assert_close(A.jvp(x, v), super(PhaseRetrieval, A)._jvp(x, v))
    torch.testing.assert_close(A.vjp(x, w), super(PhaseRetrieval, A)._vjp(x, w))
    J = A.linearize(x)
    torch.testing.assert_close(J(v), automatic(v))
    torch.testing.assert_close(J.adjoint(w), automatic.adjoint(w))
    check_adjoint(J, shape, batch=(2,), tol=1e-13)


@every_operator
def test_derivatives_can_be_differentiated(make):
    A, shape = make()
    x, v = draw(A, shape).requires_grad_(), draw(A, shape, seed=1)
    w = randn(*A.output_shape(shape), seed=2)
    assert torch.autograd.gradcheck(A, (x,))
    assert torch.autograd.gradcheck(lambda x: A.linearize(x)(v), (x,))
    assert torch.autograd.gradcheck(lambda x: A.vjp(x, w), (x,))


def test_a_global_phase_is_invisible():
    A = gaussian(8, 3)
    x = draw(A, (3,))
    torch.testing.assert_close(A(x), A(torch.exp(torch.tensor(0.7j)) * x))


@every_operator
def test_norm_of_the_derivative_holds(make):
    A, shape = make()
    J = A.linearize(draw(A, shape, 2))
    bound = J.norm(shape)
    v = draw(A, shape, 50, 2, seed=3)
    assert bound.kind == "upper"
    assert (J.codomain.norm(J(v)) <= bound.value * J.domain.norm(v)).all()


@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_spectral_initialization_is_near_and_has_the_scale(noise):
    A = gaussian(160, 16)
    truth = 3 * draw(A, (16,), seed=5)
    y = A(truth) * (1 + noise * randn(160, seed=6))
    x = spectral_initialization(A, y)
    assert misfit(x, truth) < 0.35
    torch.testing.assert_close(x.norm(), truth.norm(), rtol=0.1, atol=0)


def test_spectral_initialization_of_a_batch_equals_a_loop():
    A = gaussian(40, 5)
    y = A(draw(A, (5,), 3))
    alone = torch.stack([spectral_initialization(A, sample) for sample in y])
    torch.testing.assert_close(spectral_initialization(A, y), alone, rtol=1e-12, atol=1e-12)
    assert spectral_initialization(A, y.numpy()).shape == (3, 5)
    assert spectral_initialization(A, y.float()).dtype == torch.complex64


def test_spectral_initialization_of_darkness_is_zero():
    assert (spectral_initialization(gaussian(8, 3), torch.zeros(8, dtype=torch.float64)) == 0).all()


def test_spectral_initialization_follows_its_generator():
    A = gaussian(30, 4)
    y = A(draw(A, (4,)))
    first, again, other = (spectral_initialization(A, y, steps=1, generator=seeded(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("kind", ["Gaussian", "coded diffraction"])
def test_a_field_is_recovered_from_its_intensities(kind):
    A, shape = {
        "Gaussian": (gaussian(60, 8), (8,)),
        "coded diffraction": (PhaseRetrieval(coded_diffraction((5, 4), 6, generator=seeded())), (1, 5, 4)),
    }[kind]
    truth = draw(A, shape, seed=5)
    start = spectral_initialization(A, A(truth))
    assert misfit(gauss_newton(A, A(truth), start, 12), truth) < 1e-6


def test_coded_diffraction_masks():
    B = coded_diffraction((50, 40), 5, generator=seeded())
    masks = B.sensitivities
    sizes = masks.abs() ** 2
    torch.testing.assert_close(sizes.unique(), torch.tensor([0.5, 3.0], dtype=torch.float64))
    # E |d|^2 = 4/5 * 1/2 + 1/5 * 3 = 1, E d = 0
    torch.testing.assert_close(sizes.mean(), torch.ones((), dtype=torch.float64), rtol=0.05, atol=0)
    assert masks.mean().abs() < 0.05
    assert (B.output_shape((1, 50, 40)), B.norm().kind) == ((5, 50, 40), "exact")


def test_wrong_use():
    with pytest.raises(ArgumentError, match="`B` must be a linear operator; got PhaseRetrieval"):
        PhaseRetrieval(gaussian(3, 2))
    with pytest.raises(ArgumentError, match="`steps` must be at least 1; got 0"):
        spectral_initialization(gaussian(3, 2), torch.ones(3), steps=0)
    with pytest.raises(ShapeError, match=r"spectral_initialization: `y` must have shape"):
        spectral_initialization(gaussian(3, 2), torch.ones(4))
    with pytest.raises(ArgumentError, match=r"coded_diffraction: `count` must be a whole number >= 1; got 0"):
        coded_diffraction((4, 4), 0)
