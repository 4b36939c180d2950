"""Blurs: scenes larger than their picture, and the preconditioners of boundary-correct ones."""

import pytest
import torch
from case_types import randn, uniform
from torch.testing import assert_close

from apheleia.core import ShapeError, Space
from apheleia.operators import Convolution, UnknownBoundaryConvolution, conjugate_gradient


@pytest.mark.parametrize("size", [(3, 3), (4, 2), (1, 5)])
def test_unknown_boundary_is_the_valid_part_of_scipy(size):
    signal = pytest.importorskip("scipy.signal")
    kernel, x = randn(*size, seed=1), randn(1, 9, 8, seed=2)
    expected = torch.from_numpy(signal.convolve2d(x[0].numpy(), kernel.numpy(), mode="valid"))
    assert_close(UnknownBoundaryConvolution(kernel)(x)[0], expected)


@pytest.mark.parametrize("size", [(3, 3), (4, 2), (1, 5)])
def test_the_window_is_where_convolution_puts_the_same_pixels(size):
    kernel, x = randn(*size, seed=1), randn(1, 9, 8, seed=2)
    A = UnknownBoundaryConvolution(kernel)
    assert x[(..., *A.window)].shape == A(x).shape
    assert_close(A(x), Convolution(kernel, "zero")(x)[(..., *A.window)])


def test_unknown_boundary_refuses():
    with pytest.raises(ShapeError, match="`kernel` must be real, "):
        UnknownBoundaryConvolution(torch.ones(3))
    with pytest.raises(ShapeError, match=r"`shape` must be \(channel, height, width\) and fit 2 channels"):
        UnknownBoundaryConvolution(torch.ones(2, 3, 3), shape=(3, 4, 4))
    with pytest.raises(ShapeError, match=r"the scene must hold the kernel, at least \(3, 3\) pixels; got \(2, 5\)"):
        UnknownBoundaryConvolution(torch.ones(3, 3))(torch.ones(1, 2, 5))


def gaussian(size):
    t = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
    g = torch.exp(-(t**2) / 4)
    return torch.outer(g, g) / torch.outer(g, g).sum()


@pytest.mark.parametrize(
    ("boundary", "size", "saved"), [("zero", 7, 0.5), ("reflect", 6, 0.5), ("replicate", 7, 0.7), ("unknown", 7, 0.9)]
)
def test_preconditioners_save_steps(boundary, size, saved):
    shape = (1, 40, 36)
    kernel = gaussian(size)
    A = UnknownBoundaryConvolution(kernel) if boundary == "unknown" else Convolution(kernel, boundary)
    ready, shift, rhs = A.prepared(shape, torch.float64), torch.tensor(1e-2, dtype=torch.float64), uniform(*shape)
    counts = []
    for preconditioner in (None, ready._gram_preconditioner(shape, shift)):
        applied = []

        def apply(z, applied=applied):
            applied.append(1)
            return ready.gram(z) + shift * z

        x, _ = conjugate_gradient(apply, rhs, Space(shape), tol=1e-8, preconditioner=preconditioner)
        assert (rhs - apply(x)).norm() <= 1e-7 * rhs.norm()
        counts.append(len(applied))
    assert counts[1] <= saved * counts[0]


def test_no_preconditioner_where_the_blur_has_a_direction():
    line = Convolution(torch.eye(7, dtype=torch.float64) / 7, "reflect").prepared((1, 20, 20), torch.float64)
    assert line._gram_preconditioner((1, 20, 20), torch.tensor(1e-2, dtype=torch.float64)) is None
