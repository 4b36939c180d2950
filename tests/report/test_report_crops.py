import numpy as np
import pytest

from apheleia.report.crops import choose_crops


def test_the_three_tiles_are_the_largest_median_and_smallest_change():
    rng = np.random.default_rng(0)
    observed = rng.random((512, 512))
    # One strength for each of the 16 tiles of 128 x 128 pixels.
    strength = rng.permutation(16).reshape(4, 4)
    restored = observed + np.kron(strength, np.ones((128, 128)))
    crops = choose_crops(observed, restored)
    assert [crop.rule for crop in crops] == ["largest change", "median change", "smallest change"]
    assert [round(crop.change) for crop in crops] == [15, 7, 0]
    for crop in crops:
        assert np.all(crop.cut(restored) - crop.cut(observed) == pytest.approx(strength[crop.top // 128, crop.left // 128]))


@pytest.mark.parametrize("shape", [(1, 1), (2000, 3), (3, 2000), (97, 150), (600, 400, 3), (1000, 1001)])
def test_crops_lie_within_any_image_and_do_not_repeat(shape):
    observed, restored = np.random.default_rng(0).random((2, *shape))
    crops = choose_crops(observed, restored)
    places = {(crop.top, crop.left) for crop in crops}
    assert len(places) == len(crops) <= 3
    for crop in crops:
        assert crop.cut(observed).shape[:2] == (crop.height, crop.width)
        assert 1 <= crop.height <= 256
        assert 1 <= crop.width <= 256


def test_small_images_have_fewer_crops():
    assert [crop.rule for crop in choose_crops(np.zeros((5, 5)), np.ones((5, 5)))] == ["whole image"]
    assert [crop.rule for crop in choose_crops(np.zeros((5, 150)), np.ones((5, 150)))] == ["largest change", "smallest change"]


def test_every_pixel_is_seen_by_the_rule():
    # A change in the last corner, which a grid without remainder would miss.
    observed = np.zeros((300, 301))
    restored = observed.copy()
    restored[-1, -1] = 1
    largest = choose_crops(observed, restored)[0]
    assert largest.cut(restored).max() == 1


def test_values_that_are_not_finite_rank_first():
    observed = np.zeros((400, 400))
    restored = observed + 1
    restored[350, 10] = np.nan
    largest, *others = choose_crops(observed, restored)
    assert np.isnan(largest.cut(restored)).any()
    assert largest.amount == "with values that are not finite"
    assert all(crop.change == 1 for crop in others)


def test_an_enlarged_restoration_is_compared_on_the_observed_pixels():
    observed = np.random.default_rng(0).random((200, 200))
    restored = np.kron(observed, np.ones((2, 2)))
    restored[:10, :10] += 1
    largest, _, smallest = choose_crops(observed, restored)
    assert (largest.top, largest.left) == (0, 0)
    assert smallest.change == pytest.approx(0, abs=1e-12)
    assert largest.cut(restored, 2).shape == (2 * largest.height, 2 * largest.width)
