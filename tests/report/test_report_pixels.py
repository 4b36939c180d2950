import math

import numpy as np
import pytest

from apheleia.report.pixels import block_means, shrink, survey, symmetric_range, to_bytes


@pytest.mark.parametrize("shape", [(7, 5), (6, 4, 3), (1, 9), (2000, 3)])
@pytest.mark.parametrize("k", [1, 2, 3, 10])
def test_block_means_average_the_pixels_there_are(shape, k):
    image = np.random.default_rng(0).random(shape)
    slow = [[image[i : i + k, j : j + k].mean(axis=(0, 1)) for j in range(0, shape[1], k)] for i in range(0, shape[0], k)]
    np.testing.assert_allclose(block_means(image, k), np.array(slow), rtol=1e-12)


def test_shrink_keeps_within_the_side_and_leaves_small_images_alone():
    image = np.zeros((2000, 3), np.float32)
    assert shrink(image, 1600).shape == (1000, 2)
    assert shrink(image, 2000) is image


def test_survey_counts_what_the_screen_cannot_show():
    image = np.array([[-0.5, 0.0, 0.5, 1.0], [1.5, np.nan, np.inf, 0.2]], np.float32)
    seen = survey(image, 0.0, 1.0)
    assert (seen.low, seen.high, seen.clipped, seen.not_finite) == (-0.5, 1.5, 0.25, 2)
    assert math.isnan(survey(np.full((2, 2), np.nan), 0.0, 1.0).low)


def test_survey_of_many_blocks_is_that_of_one():
    image = np.random.default_rng(0).normal(size=(3000, 500, 3))
    seen = survey(image, 0.0, 1.0)
    assert (seen.low, seen.high) == (image.min(), image.max())
    assert seen.clipped == pytest.approx(np.mean((image < 0) | (image > 1)))


def test_the_symmetric_range_holds_995_of_1000_values_and_is_printed_exactly():
    noise = np.random.default_rng(0).normal(size=(100, 100)) * 0.02
    reach = symmetric_range(noise)
    assert 0.995 <= np.mean(np.abs(noise) <= reach) <= 0.998
    assert float(f"{reach:g}") == reach


def test_the_symmetric_range_of_odd_residuals():
    lonely = np.zeros((100, 100))
    lonely[3, 3] = 0.5
    assert symmetric_range(lonely) == 0.5
    assert symmetric_range(np.zeros((3, 3))) == 1.0
    assert symmetric_range(np.full((3, 3), np.nan)) == 1.0
    assert symmetric_range(np.full((3, 3), 1e-310)) == 1.0
    assert math.isfinite(symmetric_range(np.full((2, 2), 3e300)))


def test_bytes_are_linear_clipped_and_magenta_where_not_finite():
    image = np.array([[-1.0, 0.0, 0.5, 1.0, 9.0]])
    assert to_bytes(image, 0.0, 1.0).tolist() == [[0, 0, 128, 255, 255]]
    pixels = to_bytes(np.array([[0.5, np.nan], [np.inf, -np.inf]]), 0.0, 1.0)
    assert pixels.shape == (2, 2, 3)
    assert pixels[0, 0].tolist() == [128, 128, 128]
    assert pixels[0, 1].tolist() == pixels[1, 0].tolist() == pixels[1, 1].tolist() == [255, 0, 255]
    colour = to_bytes(np.array([[[0.0, np.nan, 1.0], [0.0, 1.0, 1.0]]]), 0.0, 1.0)
    assert colour.tolist() == [[[255, 0, 255], [0, 255, 255]]]


def test_nothing_is_mutated():
    image = np.random.default_rng(0).normal(size=(20, 20))
    image[3, 4] = np.nan
    before = image.copy()
    to_bytes(image, 0.0, 1.0)
    block_means(image, 3)
    survey(image, 0.0, 1.0)
    symmetric_range(image)
    np.testing.assert_array_equal(image, before)
