"""The usual page, made once, and random images of any shape."""

from collections.abc import Callable

import numpy as np
import pytest
from report_samples import Pages, make_images

from apheleia.report import Images


@pytest.fixture(scope="session")
def pages() -> Pages:
    return Pages(make_images())


@pytest.fixture(scope="session")
def small() -> Callable[[tuple[int, ...]], Images]:
    """Make random images of any shape, without truth."""

    def build(shape: tuple[int, ...]) -> Images:
        noise = np.random.default_rng(1).random((3, *shape), dtype=np.float32)
        return Images(noise[0], noise[1], noise[2] - 0.5)

    return build
