"""A measurement: the numbers of a file in their native depth, with axes, full scale and metadata."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from apheleia.core.errors import ArgumentError, ShapeError

__all__ = ["Measurement"]

AXES = ("YX", "YXC", "ZYX", "ZYXC")
LARGEST_EXACT_INTEGER = 2**53
"""Beyond it float64 skips integers, so that `as_float` could not be undone."""


@dataclass(frozen=True, eq=False, repr=False)
class Measurement:
    """An image or a stack of images as a file holds it: `data == as_float() * full_scale`.

    Make one with `read` or `Measurement.from_array`; the bare constructor checks only that its parts agree.

    Parameters
    ----------
    data : ndarray
        The values in their native depth: integers of 8 to 64 bits, float16, float32 or float64. A file of 1 bit per
        pixel becomes uint8 with the values 0 and 255, as viewers show it.
    axes : str
        One letter per axis of `data`: "YX" grey, "YXC" colour, "ZYX" grey pages, "ZYXC" colour pages. C has 3 or 4 entries.
    full_scale : float
        The value that counts as 1, positive. Integers of 8 and 16 bits: the largest value of the type (255, 65535; 127 and
        32767 when signed). Floats, and integers of 32 and 64 bits (counts): 1 when all values lie in [0, 1], else the data
        range `max - min`, or `|max|` when the data are constant.
    metadata : dict
        What else the file says, all keys optional. `alpha`: ndarray of opacities, dtype of `data` and its shape without C;
        `dpi`: (x, y) dots per inch; `resolution`: (x, y) pixels per unnamed unit (TIFF); `description`: str; `text`: dict of
        PNG text; `exif`: bytes, without the "Exif" prefix and always upright; `icc_profile`: bytes; `gamma`: float and
        `srgb`: int (PNG).

    Raises
    ------
    ArgumentError
        If `axes` is unknown, `full_scale` not positive, or the shapes of `data`, `axes` and `metadata["alpha"]` disagree.

    Examples
    --------
    >>> import numpy as np
    >>> m = Measurement.from_array(np.array([[0, 51], [102, 255]], dtype=np.uint8))
    >>> m
    Measurement(uint8, YX 2x2, full scale 255)
    >>> m.as_float()
    array([[0. , 0.2], [0.4, 1. ]], dtype=float32)
    """

    data: np.ndarray
    axes: str
    full_scale: float
    metadata: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.axes not in AXES:
            raise ArgumentError(f"Measurement needs `axes` to be one of {', '.join(AXES)}; got {self.axes!r}.")
        if not isinstance(self.data, np.ndarray):
            raise ArgumentError(f"Measurement: `data` must be an ndarray; got {type(self.data).__name__}.")
        shape = self.data.shape
        if len(self.axes) != len(shape):
            raise ShapeError(f"Measurement: axes {self.axes} need {len(self.axes)} dimensions; data have shape {shape}.")
        if self.axes.endswith("C") and shape[-1] not in (3, 4):
            raise ShapeError(f"Measurement: the last axis of {self.axes} needs 3 or 4 channels; data have shape {shape}.")
        if not 0 < self.full_scale < np.inf:
            raise ArgumentError(f"Measurement needs a positive, finite `full_scale`; got {self.full_scale}.")
        alpha = self.metadata.get("alpha")
        if alpha is not None and (alpha.shape != shape[: len(self.axes.rstrip("C"))] or alpha.dtype != self.data.dtype):
            raise ShapeError(
                f"Measurement: metadata['alpha'] is {alpha.dtype} {alpha.shape}, the data {self.data.dtype} {shape}; "
                "crop or resize it with the data, or leave it out."
            )

    @classmethod
    def from_array(cls, data: np.ndarray, axes: str | None = None, metadata: dict[str, Any] | None = None) -> Measurement:
        """Check an array and find its axes and full scale.

        Parameters
        ----------
        data : ndarray
            Real and finite, not empty. bool becomes uint8 0 and 255. A last axis of length 1 is dropped.
        axes : str, optional
            Needed for a stack "ZYX". Without it two axes are "YX", and a last axis of 3 or 4 entries holds the channels of
            "YXC" or "ZYXC".
        metadata : dict, optional
            See `Measurement`.

        Returns
        -------
        Measurement
            In native byte order; `data` shares memory with the input where it can.

        Raises
        ------
        ArgumentError
            If the type is not a real number, a value is NaN or infinite, or an integer exceeds 2**53.
        ShapeError
            If the array is empty or its axes cannot be told.
        """
        data = _native(np.asarray(data))
        if axes is None and data.ndim > 2 and data.shape[-1] == 1:
            data = data[..., 0]
        if data.size == 0:
            raise ShapeError(f"Measurement needs at least one pixel; got shape {data.shape}.")
        _check_values(data)
        return cls(data, axes or _infer_axes(data.shape), _full_scale(data), dict(metadata or {}))

    def as_float(self) -> np.ndarray:
        """Compute `data / full_scale`, a new array.

        Returns
        -------
        ndarray
            float32 for types of at most 16 bits and float32, float64 for the others; in units of the full scale, hence in
            [0, 1] for unsigned integers of 8 and 16 bits. Times `full_scale` it gives `data` back: exactly for integers of 8
            and 16 bits, to the last digit for the others.
        """
        target = np.float32 if self.data.itemsize <= 2 or self.data.dtype == np.float32 else np.float64
        if self.full_scale == 1.0:
            return self.data.astype(target)
        return np.divide(self.data, self.full_scale, dtype=np.float64).astype(target)

    def __repr__(self) -> str:
        size = "x".join(map(str, self.data.shape))
        extra = f", metadata: {', '.join(sorted(self.metadata))}" if self.metadata else ""
        return f"Measurement({self.data.dtype}, {self.axes} {size}, full scale {self.full_scale:g}{extra})"


def _native(data: np.ndarray) -> np.ndarray:
    if data.dtype == np.bool_:
        # Seen as bytes, because a file may hold other bytes than 0 and 1 under the name bool.
        return (data.view(np.uint8) != 0) * np.uint8(255)
    if data.dtype.kind not in "uif" or data.dtype.itemsize > 8:
        raise ArgumentError(f"Measurement needs real numbers of at most 64 bits; got {data.dtype}: save real numbers.")
    return np.ascontiguousarray(data, dtype=data.dtype.newbyteorder("="))


def _check_values(data: np.ndarray) -> None:
    if data.dtype.kind == "f":
        bad = ~np.isfinite(data)
        count = int(np.count_nonzero(bad))
        if count:
            first = tuple(int(i) for i in np.unravel_index(int(np.argmax(bad)), data.shape))
            raise ArgumentError(f"{count} of {data.size} values are NaN or infinite, the first at {first}: fill or crop them.")
        if not np.isfinite(float(data.max()) - float(data.min())):
            raise ArgumentError(f"the data range {data.min():g} to {data.max():g} overflows {data.dtype}: scale the values down.")
    elif data.itemsize == 8 and (int(data.max()) > LARGEST_EXACT_INTEGER or int(data.min()) < -LARGEST_EXACT_INTEGER):
        raise ArgumentError(f"integers from {data.min()} to {data.max()} exceed 2**53, so that float64 cannot hold them.")


def _infer_axes(shape: tuple[int, ...]) -> str:
    if len(shape) == 2:
        return "YX"
    if len(shape) in (3, 4) and shape[-1] in (3, 4):
        return "YXC" if len(shape) == 3 else "ZYXC"
    if len(shape) == 3 and shape[0] in (3, 4):
        hint = 'move the channels last with data.transpose(1, 2, 0), or pass axes="ZYX" if these are pages'
    elif len(shape) == 3:
        hint = 'keep 1, 3 or 4 channels on the last axis, or pass axes="ZYX" if these are pages'
    else:
        hint = "save one image or one stack"
    raise ShapeError(f"shape {shape} is neither (Y, X) nor (Y, X, 3 or 4 channels): {hint}.")


def _full_scale(data: np.ndarray) -> float:
    if data.dtype.kind in "ui" and data.itemsize <= 2:
        return float(np.iinfo(data.dtype).max)
    low, high = float(data.min()), float(data.max())
    if low >= 0.0 and high <= 1.0:
        return 1.0
    return high - low if high > low else abs(high)
