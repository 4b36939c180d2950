import numpy as np
import pytest

from apheleia.core.errors import ArgumentError, ShapeError
from apheleia.report import Images


def grey(*shape):
    return np.zeros(shape, np.float32)


def test_a_single_channel_is_dropped_as_a_view():
    image = grey(4, 5, 1)
    images = Images(image, grey(4, 5), grey(4, 5, 1))
    assert [(name, a.shape) for name, a in images.named()] == [("observed", (4, 5)), ("restored", (4, 5)), ("residual", (4, 5))]
    assert np.shares_memory(images.named()[0][1], image)


@pytest.mark.parametrize("shape", [(4,), (4, 5, 2), (4, 5, 4), (0, 5), (1, 4, 5, 3)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(ShapeError, match="`observed` must be a non-empty"):
        Images(grey(*shape), grey(4, 5), grey(4, 5))


def test_images_that_do_not_match_are_refused():
    with pytest.raises(ShapeError, match=r"`residual` must have the shape \(4, 5\)"):
        Images(grey(4, 5), grey(8, 10), grey(8, 10))
    with pytest.raises(ShapeError, match=r"`restored` must have the shape \(8, 10\)"):
        Images(grey(4, 5), grey(8, 11), grey(4, 5))
    with pytest.raises(ShapeError, match=r"`truth` must have the shape \(8, 10\)"):
        Images(grey(4, 5), grey(8, 10), grey(4, 5), grey(4, 5))
    with pytest.raises(ShapeError, match=r"`restored` must have the shape \(4, 5\)"):
        Images(grey(4, 5), grey(2, 5), grey(4, 5))


def test_integers_are_refused():
    with pytest.raises(ArgumentError, match="floating point"):
        Images(grey(4, 5), np.zeros((4, 5), np.uint8), grey(4, 5))


@pytest.mark.parametrize("bad", [(1.0, 0.0), (0.0, 0.0), (0.0, float("inf")), (float("nan"), 1.0)])
def test_a_display_range_increases(bad):
    with pytest.raises(ArgumentError, match="display_range"):
        Images(grey(4, 5), grey(4, 5), grey(4, 5), display_range=bad)


def test_an_enlarged_restoration_has_its_scale():
    assert Images(grey(4, 5), grey(12, 15), grey(4, 5)).scale == 3
