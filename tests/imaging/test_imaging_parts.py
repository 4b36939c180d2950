"""Kernels, noise, tiles and the model: the parts of `restore`."""

import numpy
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from apheleia.core.errors import ArgumentError, FileError, ShapeError
from apheleia.data import SAMPLES, sample
from apheleia.imaging import (
    PRIORS,
    ImagingModel,
    box_kernel,
    discrepancy_weight,
    estimate_noise_std,
    gaussian_kernel,
    read_kernel,
    sampling_kernel,
)
from apheleia.imaging.tiles import plan_tiles
from apheleia.io import Measurement, write
from apheleia.metrics import psnr
from apheleia.operators import Convolution, Decimation


@pytest.mark.parametrize("kernel", [gaussian_kernel(0.3), gaussian_kernel(2.7), box_kernel(4), sampling_kernel(3)])
def test_kernels_sum_to_one_and_are_non_negative(kernel):
    assert kernel.sum() == pytest.approx(1, abs=1e-12)
    assert kernel.min() >= 0


@pytest.mark.parametrize("scale", [2, 3, 4, 5])
def test_the_sampling_kernel_averages_whole_blocks(scale):
    x = torch.rand(1, 4 * scale, 3 * scale, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    coarse = (Decimation(scale) @ Convolution(sampling_kernel(scale)))(x)
    blocks = x.reshape(1, 4, scale, 3, scale).mean((2, 4))
    torch.testing.assert_close(coarse, blocks)


@pytest.mark.parametrize("size", [2, 3, 4, 5])
@pytest.mark.parametrize("scale", [2, 3])
def test_blur_and_sampling_compose_into_one_kernel(size, scale):
    kernel = numpy.random.default_rng(0).random((size, size + 1))
    x = torch.rand(1, 36, 36, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    one = Convolution(ImagingModel(kernel=kernel, scale=scale).full_kernel, "circular")(x)
    two = Convolution(sampling_kernel(scale), "circular")(Convolution(kernel, "circular")(x))
    torch.testing.assert_close(one, two)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: gaussian_kernel(0), "sigma.*above zero"),
        (lambda: box_kernel(0), "a whole number of pixels >= 1"),
        (lambda: ImagingModel(prior="magic"), "must be one of tv"),
        (lambda: ImagingModel(scale=0), "scale.*>= 1"),
        (lambda: sample("cat"), "must be one of camera"),
        (lambda: psnr(torch.zeros(2), torch.zeros(3)), "one shape"),
        (lambda: estimate_noise_std(torch.zeros(1, 3, 3)), "at least 4 x 4"),
    ],
)
def test_wrong_arguments_get_a_sentence(call, words):
    with pytest.raises(ArgumentError, match=words):
        call()


def test_a_kernel_file_is_normalised(tmp_path):
    write(tmp_path / "k.png", Measurement.from_array(numpy.array([[0, 10], [20, 30]], dtype=numpy.uint8)))
    numpy.testing.assert_allclose(read_kernel(tmp_path / "k.png"), numpy.array([[0, 10], [20, 30]]) / 60)


@pytest.mark.parametrize("values", [numpy.array([[1.0, -1.0]]), numpy.zeros((3, 3)), numpy.ones((3, 3, 3))])
def test_a_kernel_file_that_is_no_kernel_is_refused(tmp_path, values):
    numpy.save(tmp_path / "k.npy", values)
    with pytest.raises(FileError, match="a kernel must be"):
        read_kernel(tmp_path / "k.npy")


@pytest.mark.parametrize("noise_std", [0.02, 0.1])
def test_the_noise_of_a_real_photograph_is_found_to_a_tenth(noise_std):
    image = Convolution(gaussian_kernel(1.0))(sample("camera")[None] / 255)
    noisy = image + noise_std * numpy.random.default_rng(0).standard_normal(image.shape)
    assert float(estimate_noise_std(noisy)) == pytest.approx(noise_std, rel=0.1)


def test_saturated_and_missing_pixels_do_not_count_as_silence():
    rng = numpy.random.default_rng(0)
    noisy = 0.5 + 0.05 * rng.standard_normal((1, 128, 128))
    noisy[:, :64] = 1.0
    assert float(estimate_noise_std(noisy)) == pytest.approx(0.05, rel=0.1)
    mask = (rng.random((1, 128, 128)) > 0.05).astype(float)
    assert float(estimate_noise_std(mask * noisy, mask)) == pytest.approx(0.05, rel=0.1)


@settings(deadline=None, derandomize=True, max_examples=50)
@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 24), st.integers(0, 12), st.integers(1, 3))
def test_tiles_cover_the_answer_exactly_once(height, width, size, overlap, scale):
    count = numpy.zeros((scale * height, scale * width), dtype=int)
    for tile in plan_tiles(height, width, size, overlap):
        window = numpy.arange(height * width).reshape(height, width)[tile.window].repeat(scale, 0).repeat(scale, 1)
        count[tile.target(scale)] += 1
        whole = numpy.arange(height * width).reshape(height, width).repeat(scale, 0).repeat(scale, 1)
        numpy.testing.assert_array_equal(window[tile.inner(scale)], whole[tile.target(scale)])
    assert (count == 1).all()


@pytest.mark.parametrize("prior", PRIORS)
def test_the_discrepancy_principle_leaves_a_residual_as_large_as_the_noise(prior):
    image = Convolution(gaussian_kernel(1.0))(sample("camera")[None, 100:164, 100:164] / 255)
    y = torch.from_numpy(image + 0.05 * numpy.random.default_rng(0).standard_normal(image.shape))
    model = ImagingModel(kernel=gaussian_kernel(1.0), prior=prior)
    weight, how = discrepancy_weight(model, y, None, 0.05)
    assert how.startswith("discrepancy principle")
    problem = model.problem(y, None, 0.05, weight)
    from apheleia import solve

    x, _ = solve(problem, tol=1e-3, throw=False)
    residual = model.operator(tuple(y.shape), None)(x) - y
    assert float(residual.square().mean().sqrt()) / 0.05 == pytest.approx(1, abs=0.03)


def test_the_weight_search_says_so_where_the_noise_cannot_be_met():
    y = torch.full((1, 32, 32), 0.5, dtype=torch.float64)
    assert "largest weight tried" in discrepancy_weight(ImagingModel(), y, None, 0.1)[1]
    rough = y + 0.3 * torch.randn(1, 32, 32, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert "smallest weight tried" in discrepancy_weight(ImagingModel(kernel=box_kernel(9)), rough, None, 0.01)[1]


@pytest.mark.parametrize("name", SAMPLES)
def test_samples_are_bytes(name):
    image = sample(name)
    assert image.dtype == numpy.uint8
    assert image.ndim == (3 if name == "astronaut" else 2)


def test_psnr_of_equal_images_is_infinite():
    assert psnr(torch.ones(3), torch.ones(3)) == torch.inf


def test_shape_errors_are_argument_errors():
    assert issubclass(ShapeError, ArgumentError)


def test_psnr_of_complex_images_counts_the_imaginary_part():
    assert psnr(numpy.full((1, 2, 2), 0.06 + 0.08j), numpy.zeros((1, 2, 2))) == pytest.approx(20)
