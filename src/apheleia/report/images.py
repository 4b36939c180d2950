"""The images of a page, checked once so that everything after may rely on them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from apheleia.core.errors import ArgumentError, ShapeError

__all__ = ["Images"]


@dataclass(frozen=True, eq=False)
class Images:
    """What went in, what came out, what is left over and, in a demonstration, the truth.

    Parameters
    ----------
    observed : ndarray
        Floating point, shape (H, W), (H, W, 1) or (H, W, 3), in units of full scale, usually within [0, 1].
    restored : ndarray
        The same, or larger by a whole factor in both directions where the restoration also enlarges.
    residual : ndarray
        A x - y for the restored x, of the shape and units of `observed`, centred on zero.
    truth : ndarray or None
        The true image, of the shape and units of `restored`; None where nobody knows it.
    display_range : tuple of float
        The values shown as black and as white, the same for all images; what lies outside is clipped for display only.

    Raises
    ------
    ShapeError
        If an image has another rank or number of channels, is empty, or does not match the observed one.
    ArgumentError
        If an image is not floating point, or the display range is not an increasing pair of finite numbers.
    """

    observed: NDArray[np.floating]
    restored: NDArray[np.floating]
    residual: NDArray[np.floating]
    truth: NDArray[np.floating] | None = None
    display_range: tuple[float, float] = (0.0, 1.0)

    def __post_init__(self) -> None:
        for name, image in self.named():
            _check(name, image)
        height, width, *channels = _drop_channel(self.observed).shape
        scale = max(self.scale, 1)
        small, large = (height, width, *channels), (scale * height, scale * width, *channels)
        for name, image in self.named():
            expected = small if name in ("observed", "residual") else large
            if image.shape != expected:
                raise ShapeError(f"Images: `{name}` must have the shape {expected} to match `observed`; got {image.shape}.")
        black, white = self.display_range
        if not (math.isfinite(black) and math.isfinite(white) and black < white):
            raise ArgumentError(f"Images: `display_range` must be two finite, increasing numbers; got {self.display_range}.")

    @property
    def scale(self) -> int:
        """How many times larger than the observed image the restored one is, 1 or more."""
        return self.restored.shape[0] // self.observed.shape[0]

    def named(self) -> tuple[tuple[str, NDArray[np.floating]], ...]:
        """Return name and image for each one there is, in reading order; a single channel is dropped without a copy."""
        listed = (("observed", self.observed), ("restored", self.restored), ("truth", self.truth), ("residual", self.residual))
        return tuple((name, _drop_channel(image)) for name, image in listed if image is not None)


def _drop_channel(image: NDArray[np.floating]) -> NDArray[np.floating]:
    return image[..., 0] if image.ndim == 3 and image.shape[2] == 1 else image


def _check(name: str, image: NDArray[np.floating]) -> None:
    if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] != 3) or image.size == 0:
        raise ShapeError(f"Images: `{name}` must be a non-empty (H, W), (H, W, 1) or (H, W, 3) array; got shape {image.shape}.")
    if not np.issubdtype(image.dtype, np.floating):
        raise ArgumentError(
            f"Images: `{name}` must be floating point in units of full scale; got {image.dtype}. Divide by full scale."
        )
