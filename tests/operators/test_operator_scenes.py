"""Scenes before the camera: blurs that vary, volumes, mosaics, warps and mixtures of spectra."""

import numpy as np
import pytest
import torch
from case_types import randn, uniform
from torch.testing import assert_close

from apheleia import Problem, solve
from apheleia.core import ArgumentError, ShapeError
from apheleia.data import sample
from apheleia.functionals import LeastSquares, VectorialTotalVariation
from apheleia.metrics import psnr
from apheleia.operators import (
    BayerMosaic,
    Convolution,
    SpectralMixing,
    VaryingConvolution,
    VolumeConvolution,
    Warp,
)

# blurs that vary


@pytest.mark.parametrize("weights", ["bilinear", "smooth"])
@pytest.mark.parametrize("boundary", ["circular", "zero", "reflect", "replicate"])
def test_equal_kernels_make_a_plain_convolution(boundary, weights):
    kernel, x = randn(3, 4), randn(2, 9, 8)
    varying = VaryingConvolution(kernel.expand(3, 2, 3, 4), boundary, weights)
    assert_close(varying(x), Convolution(kernel, boundary)(x))


def test_a_point_spreads_by_the_kernel_of_its_place():
    kernels = randn(1, 3, 3, 3)
    A = VaryingConvolution(kernels, "zero")
    # nine columns: the middles of the tiles are at 1, 4 and 7
    for tile, column in enumerate((1, 4, 7)):
        point = torch.zeros(1, 9, 9, dtype=torch.float64)
        point[0, 4, column] = 1
        assert_close(A(point)[0, 3:6, column - 1 : column + 2], kernels[0, tile])
    between = torch.zeros(1, 9, 9, dtype=torch.float64)
    between[0, 4, 2] = 1
    assert_close(A(between)[0, 3:6, 1:4], (2 * kernels[0, 0] + kernels[0, 1]) / 3)


def test_varying_convolution_refuses():
    with pytest.raises(ShapeError, match=r"`kernels` must be real, \(rows, columns, height, width\); got"):
        VaryingConvolution(torch.ones(3, 3))
    with pytest.raises(ArgumentError, match="`boundary` must be one of circular, zero, reflect, replicate; got 'mirror'"):
        VaryingConvolution(torch.ones(1, 1, 3, 3), "mirror")  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="`weights` must be one of bilinear, smooth; got 'cubic'"):
        VaryingConvolution(torch.ones(1, 1, 3, 3), "zero", "cubic")  # type: ignore[arg-type]


# volumes


@pytest.mark.parametrize(("boundary", "mode"), [("circular", "wrap"), ("zero", "constant"), ("reflect", "reflect")])
def test_volumes_against_scipy(boundary, mode):
    ndimage = pytest.importorskip("scipy.ndimage")
    kernel, x = randn(3, 5, 3), randn(1, 4, 6, 7)
    expected = torch.from_numpy(ndimage.convolve(x[0].numpy(), kernel.numpy(), mode=mode))
    assert_close(VolumeConvolution(kernel, boundary)(x)[0], expected)


def test_flat_volumes_are_images():
    kernel, x = randn(4, 3), randn(2, 6, 5)
    assert_close(VolumeConvolution(kernel[None], "reflect")(x[:, None])[:, 0], Convolution(kernel, "reflect")(x))


def test_volumes_are_deblurred_by_the_closed_form_and_by_iterations():
    kernel, x, y = uniform(3, 3, 3) / 13, randn(1, 4, 5, 6), randn(1, 4, 5, 6, seed=1)
    for boundary in ("circular", "zero", "reflect"):
        F = LeastSquares(VolumeConvolution(kernel, boundary), y, 0.1)
        u = F.prox(x, 0.5)
        assert F.has_exact_prox == (boundary == "circular")
        assert_close(u + 0.5 * F.grad(u), x, rtol=1e-7, atol=1e-7)


def test_volume_convolution_refuses():
    with pytest.raises(ShapeError, match=r"`kernel` must be real, \(depth, height, width\) or with channels"):
        VolumeConvolution(torch.ones(3, 3))
    with pytest.raises(ArgumentError, match="`boundary` must be one of circular, zero, reflect; got 'replicate'"):
        VolumeConvolution(torch.ones(3, 3, 3), "replicate")  # type: ignore[arg-type]


# mosaics


@pytest.mark.parametrize("pattern", ["RGGB", "BGGR", "GRBG", "GBRG"])
def test_mosaic_follows_its_pattern(pattern):
    x = torch.arange(3.0)[:, None, None].expand(3, 4, 4)
    y = BayerMosaic(pattern)(x)[0]
    assert "".join("RGB"[int(value)] for value in y[:2, :2].flatten()) == pattern
    assert torch.equal(y[2:, 2:], y[:2, :2])


def test_mosaic_refuses():
    with pytest.raises(ArgumentError, match="`pattern` must be one of RGGB, BGGR, GRBG, GBRG; got 'RGB'"):
        BayerMosaic("RGB")
    with pytest.raises(ShapeError, match=r"must have shape \(\*batch, 3, height, width\)"):
        BayerMosaic()(torch.ones(1, 4, 4))


def bilinear_demosaicking(y, A):
    """Return the averages of the seen neighbours, by the usual kernels."""
    seen, masks = A.adjoint(y), A.adjoint(torch.ones_like(y))
    kernel = torch.tensor([[1.0, 2, 1], [2, 4, 2], [1, 2, 1]]).to(y)
    average = Convolution(kernel, "zero")
    return torch.where(masks > 0, seen, average(seen) / average(masks))


def test_demosaicking_by_total_variation_beats_interpolation():
    pytest.importorskip("skimage")
    truth = torch.from_numpy(sample("astronaut")[60:156, 180:276].astype(np.float32) / 255).movedim(-1, 0)
    A = BayerMosaic("RGGB")
    y = A(truth)
    x, _ = solve(Problem(LeastSquares(A, y), 2e-3 * VectorialTotalVariation()), x0=bilinear_demosaicking(y, A))
    assert psnr(x, truth) > psnr(bilinear_demosaicking(y, A), truth) + 0.5


# warps


def test_warp_against_scipy():
    ndimage = pytest.importorskip("scipy.ndimage")
    x, flow = randn(1, 7, 9), 2 * randn(2, 7, 9, seed=1)
    v, u = np.mgrid[:7, :9]
    places = np.stack([v + flow[1].numpy(), u + flow[0].numpy()])
    expected = ndimage.map_coordinates(x[0].numpy(), places, order=1, mode="grid-constant", cval=0.0)
    assert_close(Warp(flow, "flow")(x)[0], torch.from_numpy(expected))


def test_the_three_kinds_agree():
    matrix, x = torch.tensor([[0.9, 0.2, 0.3], [-0.1, 1.1, -0.4]], dtype=torch.float64), randn(1, 6, 5)
    v, u = torch.meshgrid(torch.arange(6.0), torch.arange(5.0), indexing="ij")
    places = torch.einsum("ij,jhw->ihw", matrix, torch.stack([u, v, torch.ones_like(u)]).double())
    homography = torch.cat((matrix, torch.tensor([[0.0, 0, 1]], dtype=torch.float64)))
    expected = Warp(matrix)(x)
    assert_close(Warp(2.0 * homography, "homography")(x), expected)
    assert_close(Warp(places - torch.stack([u, v]), "flow")(x), expected)


def test_what_lies_behind_a_homography_is_not_seen():
    behind = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, -1]])
    assert (Warp(behind, "homography")(torch.ones(1, 3, 3)) == 0).all()


@pytest.mark.parametrize("kind", ["affine", "homography", "flow"])
def test_warps_are_differentiable_in_their_motion(kind):
    motion = {
        "affine": torch.eye(2, 3) + 0.17 * randn(2, 3),
        "homography": torch.eye(3) + 0.03 * randn(3, 3),
        "flow": 0.37 * randn(2, 4, 5),
    }[kind].double()
    x, y = randn(1, 4, 5), randn(1, 4, 5, seed=1)
    motion.requires_grad_()
    assert torch.autograd.gradcheck(lambda m: Warp(m, kind)(x), (motion,))
    assert torch.autograd.gradcheck(lambda m: Warp(m, kind).adjoint(y), (motion,))
    assert Warp(torch.nn.Parameter(motion.detach()), kind).norm((1, 4, 5)).is_upper


def test_warp_refuses():
    with pytest.raises(ShapeError, match="`kind` must be one of affine, homography, flow; got 'rigid'"):
        Warp(torch.eye(3), "rigid")  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match=r"a motion of kind affine must be real and end in \(2, 3\); got"):
        Warp(torch.eye(3))
    with pytest.raises(ShapeError, match="`motion` must be finite; it holds NaN"):
        Warp(torch.full((2, 3), torch.nan))


# mixtures of spectra


def test_mixing_is_a_product_pixel_by_pixel():
    E, x = randn(6, 3), randn(3, 4, 5)
    assert_close(SpectralMixing(E)(x), torch.einsum("bp,phw->bhw", E, x))


def test_abundances_without_noise_are_found_again():
    E, x = uniform(6, 3), uniform(3, 4, 5, seed=1)
    F = LeastSquares(SpectralMixing(E), SpectralMixing(E)(x))
    assert F.is_strongly_convex
    assert_close(F.prox(torch.zeros_like(x), 1e9), x, rtol=1e-5, atol=1e-6)


def test_mixing_refuses():
    with pytest.raises(ShapeError, match=r"`endmembers` must be real, \(\*batch, bands, p\); got"):
        SpectralMixing(torch.ones(3))
