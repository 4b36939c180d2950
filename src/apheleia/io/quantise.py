"""From real numbers back to the native depth of a measurement."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from apheleia.core.errors import ArgumentError, ShapeError
from apheleia.io.measurement import LARGEST_EXACT_INTEGER, Measurement

__all__ = ["quantise"]


def quantise(values: np.ndarray, like: Measurement) -> Measurement:
    """Convert `values * like.full_scale` to the depth of `like`: integers are clipped and rounded, floats only scaled.

    Parameters
    ----------
    values : ndarray
        In units of the full scale, as `like.as_float()` gives them; finite, with as many axes as `like.data`.
    like : Measurement
        Gives dtype, axes, full scale and metadata.

    Returns
    -------
    Measurement
        `quantise(m.as_float(), m)` holds the data of `m`: exactly for integers, to the last digit for floats.

    Raises
    ------
    ArgumentError
        If a value is NaN or infinite, or becomes so in the dtype of `like`.
    ShapeError
        If the axes do not agree, or `like.metadata["alpha"]` no longer fits the shape.

    Examples
    --------
    >>> import numpy as np
    >>> m = Measurement.from_array(np.array([[0, 255]], dtype=np.uint8))
    >>> quantise(np.array([[-0.1, 0.5]]), like=m).data
    array([[  0, 128]], dtype=uint8)
    """
    values = np.asarray(values)
    if values.ndim != like.data.ndim:
        raise ShapeError(f"quantise: axes {like.axes} need {like.data.ndim} dimensions; values have shape {values.shape}.")
    scaled = np.multiply(values, like.full_scale, dtype=np.float64)
    dtype = like.data.dtype
    if not np.isfinite(scaled).all():
        raise ArgumentError("quantise needs finite values; some are NaN, infinite or overflow.")
    if dtype.kind in "ui":
        limits = np.iinfo(dtype)
        low, high = max(limits.min, -LARGEST_EXACT_INTEGER), min(limits.max, LARGEST_EXACT_INTEGER)
        return replace(like, data=np.rint(np.clip(scaled, low, high)).astype(dtype))
    largest = float(np.finfo(dtype).max)
    if np.abs(scaled).max(initial=0.0) > largest:
        raise ArgumentError(f"quantise: values up to {np.abs(scaled).max():g} overflow {dtype}, whose largest is {largest:g}.")
    return replace(like, data=scaled.astype(dtype))
