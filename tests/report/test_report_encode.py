import base64
import io
import itertools
import sys

import numpy as np
import pytest
from PIL import Image

from apheleia.core.errors import MissingExtraError
from apheleia.report.encode import RUNGS, data_uri


def decoded(uri):
    head, body = uri.split(",")
    return head, np.asarray(Image.open(io.BytesIO(base64.b64decode(body))))


@pytest.mark.parametrize("shape", [(1, 1), (5, 7), (5, 7, 3), (1, 200)])
def test_png_is_lossless(shape):
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    head, back = decoded(data_uri(pixels))
    assert head == "data:image/png;base64"
    np.testing.assert_array_equal(back, pixels)


def test_jpeg_shrinks_with_quality():
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    head, back = decoded(data_uri(pixels, 60))
    assert head == "data:image/jpeg;base64"
    assert back.shape == pixels.shape
    assert len(data_uri(pixels, 40)) < len(data_uri(pixels, 90)) < len(data_uri(pixels))


def test_the_ladder_goes_down():
    steps = list(itertools.pairwise(RUNGS))
    assert RUNGS[0].quality is None
    assert all(b.side <= a.side and (b.quality or 0) <= (a.quality or 100) and a != b for a, b in steps)


def test_without_pillow_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(MissingExtraError, match=r"report needs pillow.*apheleia\[app\]"):
        data_uri(np.zeros((2, 2), np.uint8))
