"""Maps that are linear in each of two factors: both linearities, derivatives, norms, and refusals."""

import pytest
import torch
from case_types import randn
from torch.testing import assert_close

import apheleia as ap
from apheleia.core import ArgumentError, ShapeError, Space
from apheleia.operators import (
    BilinearMap,
    BlindConvolution,
    MatrixProduct,
    Segment,
    UnknownBoundaryConvolution,
    check_derivative,
)


class Gains(BilinearMap):
    """(g, x) -> g * x, gains of detectors, as a user writes it."""

    def __init__(self, is_complex=False):
        space = Space((4,), is_complex)
        super().__init__(space, space, space)

    def _product(self, u, v):
        return u * v


MAPS = [
    MatrixProduct(4, 2, 3),
    MatrixProduct(4, 2, 2, 3),
    BlindConvolution((2, 5, 4), (3, 2)),
    BlindConvolution((1, 4, 4), (1, 1)),
    Gains(),
    Gains(is_complex=True),
]
every_map = pytest.mark.parametrize("B", MAPS, ids=lambda B: B.name)


def point(B, *batch, seed=0):
    return B.domain.randn(batch, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@every_map
def test_it_is_linear_in_each_factor_and_not_in_both(B):
    (u, v), (du, dv) = B.factors(point(B, 2)), B.factors(point(B, 2, seed=1))
    assert_close(B(B.join(u + 2 * du, v)), B(B.join(u, v)) + 2 * B(B.join(du, v)))
    assert_close(B(B.join(u, v - 3 * dv)), B(B.join(u, v)) - 3 * B(B.join(u, dv)))
    assert_close(B(2 * B.join(u, v)), 4 * B(B.join(u, v)))


@every_map
def test_derivatives(B):
    check_derivative(B)
    x = point(B)
    w = B.codomain.randn(generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    # by hand and by automatic differentiation
    assert_close(B.vjp(x, w), torch.func.vjp(B._forward, x)[1](w)[0])
    moved = point(B, seed=3)
    assert_close(B.linearize(x)(moved), B.jvp(x, moved))


@every_map
def test_the_partial_maps_are_the_map_with_one_factor_fixed(B):
    x, fresh = point(B, 3), point(B, 3, seed=4)
    (u, v), (p, q) = B.factors(x), B.factors(fresh)
    assert_close(B.partial(0, x)(p), B(B.join(p, v)))
    assert_close(B.partial(1, x)(q), B(B.join(u, q)))
    w = B.codomain.randn((3,), generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    slopes = [B.partial(0, x).adjoint(w).reshape(3, -1), B.partial(1, x).adjoint(w).reshape(3, -1)]
    assert_close(torch.cat(slopes, -1), B.vjp(x, w))


@pytest.mark.parametrize("B", MAPS[:4], ids=lambda B: B.name)
@pytest.mark.parametrize("index", [0, 1])
def test_the_norm_in_one_factor_is_no_less_than_the_largest_singular_value(B, index):
    x = point(B, 2, seed=6)
    bound = B.partial(index, x).norm()
    for i in range(2):
        largest = float(torch.linalg.matrix_norm(B.partial(index, x[i]).dense(), 2))
        assert bound.is_upper
        assert float(bound.value[i]) >= largest * (1 - 1e-12)
        if bound.kind == "exact":
            assert float(bound.value[i]) == pytest.approx(largest, rel=1e-10)


def test_a_norm_that_nobody_wrote_is_an_estimate():
    assert Gains().partial(0, point(Gains())).norm().kind == "estimate"


def test_norms_of_zero_have_derivatives():
    for B in MAPS[:4]:
        for index in (0, 1):
            x = torch.zeros(B.domain.shape[0], dtype=torch.float64, requires_grad=True)
            B.partial(index, x).norm().value.backward()
            assert bool(x.grad.isfinite().all())


def test_a_blind_convolution_is_that_with_a_known_kernel():
    scene, kernel = randn(2, 2, 7, 6), randn(2, 3, 2, seed=1)
    B = BlindConvolution((2, 5, 5), (3, 2))
    for i in range(2):
        expected = UnknownBoundaryConvolution(kernel[i], (2, 5, 5))(scene[i])
        assert_close(B(B.join(scene, kernel))[i], expected)


def test_a_matrix_product_of_an_image_mixes_pixel_by_pixel():
    E, A = randn(5, 2), randn(3, 2, 4, 6, seed=1)
    B = MatrixProduct(5, 2, 4, 6)
    assert_close(B(B.join(E, A)), ap.operators.SpectralMixing(E)(A))


def test_factors_come_back_and_one_batch_serves_both():
    B = MatrixProduct(3, 2, 4)
    u, v = randn(3, 2), randn(5, 2, 4, seed=1)
    x = B.join(u, v)
    assert x.shape == (5, 14)
    back = B.factors(x)
    assert torch.equal(back[0], u.expand(5, 3, 2))
    assert torch.equal(back[1], v)
    assert isinstance(B.join(u.numpy(), v[0].numpy()), type(u.numpy()))


def test_a_segment_is_replaced_and_shaped():
    K, x = Segment(7, 2, Space((2, 2))), torch.arange(7.0)
    assert K.place == (2, 6)
    assert torch.equal(K.replaced(x, torch.zeros(4)), torch.tensor([0.0, 1, 0, 0, 0, 0, 6]))
    assert torch.equal(x, torch.arange(7.0))
    assert torch.equal(K.shaping(x[2:6]), K(x))
    assert K.shaping.is_orthonormal
    assert not K.is_orthonormal


def test_refusals():
    with pytest.raises(ArgumentError, match=r"Segment: `space` must have fixed sizes; got \(channel, height, width\)"):
        Segment(5, 0, ap.IMAGE)
    for start in (-1, 3):
        with pytest.raises(ArgumentError, match=rf"Segment: 4 numbers from {start} on do not lie within a vector of 6"):
            Segment(6, start, Space((4,)))
    with pytest.raises(ArgumentError, match="MatrixProduct: rows, inner and columns must be at least 1"):
        MatrixProduct(3, 0, 4)
    with pytest.raises(ArgumentError, match="MatrixProduct: rows, inner and columns must be at least 1"):
        MatrixProduct(3, 2)
    with pytest.raises(ArgumentError, match=r"BlindConvolution: all sizes must be at least 1; got \(1, 4, 4\) and \(0, 3\)"):
        BlindConvolution((1, 4, 4), (0, 3))
    B = MatrixProduct(3, 2, 4)
    with pytest.raises(ArgumentError, match=r"MatrixProduct.partial: `index` must be 0 or 1; got 2"):
        B.partial(2, point(B))
    with pytest.raises(ShapeError, match=r"MatrixProduct.join: `v` must have shape"):
        B.join(randn(3, 2), randn(2, 5))

    class Loose(BilinearMap):
        def __init__(self):
            super().__init__(ap.VECTOR, Space((2,)), Space((2,)))

        def _product(self, u, v):
            return u * v

    with pytest.raises(ArgumentError, match="Loose: a bilinear map needs fixed sizes"):
        Loose()
