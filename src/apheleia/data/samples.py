"""Real photographs that ship inside scikit-image: nothing is downloaded."""

from __future__ import annotations

import numpy

from apheleia.core.errors import ArgumentError, MissingExtraError

__all__ = ["SAMPLES", "sample"]

SAMPLES = ("camera", "astronaut", "coins", "moon", "cell", "page")
"""Names of the samples; astronaut is in colour, (512, 512, 3), the others are grey."""


def sample(name: str = "camera") -> numpy.ndarray:
    """Return a sample photograph as bytes.

    Parameters
    ----------
    name : str
        One of `SAMPLES`.

    Returns
    -------
    ndarray of uint8, (height, width) or (height, width, 3)
        The image, full scale 255.

    Raises
    ------
    ArgumentError
        If the name is unknown.
    MissingExtraError
        If scikit-image is not installed.
    """
    if name not in SAMPLES:
        raise ArgumentError(f"sample: `name` must be one of {', '.join(SAMPLES)}; got {name!r}.")
    try:
        import skimage.data
    except ImportError:
        raise MissingExtraError("sample", "scikit-image", "app") from None
    loaders = {
        "camera": skimage.data.camera,
        "astronaut": skimage.data.astronaut,
        "coins": skimage.data.coins,
        "moon": skimage.data.moon,
        "cell": skimage.data.cell,
        "page": skimage.data.page,
    }
    return numpy.array(loaders[name]())
