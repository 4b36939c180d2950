"""Upright images: the orientation tag of cameras, applied once and then set to 1."""

from __future__ import annotations

import struct
from io import BytesIO
from typing import Any

import numpy as np

from apheleia.core.errors import FileError
from apheleia.io.tiff_header import ORIENTATION, directories

__all__ = ["turn", "turn_resolution", "upright"]

SHORT = 3


def upright(data: np.ndarray, metadata: dict[str, Any]) -> tuple[np.ndarray, dict[str, Any]]:
    """Turn an image as its EXIF orientation says, and say in the EXIF that it is upright.

    Parameters
    ----------
    data : ndarray
        Shape (Y, X) or (Y, X, C).
    metadata : dict
        See `Measurement`; an unreadable `exif` is kept as it is and turns nothing.

    Returns
    -------
    data : ndarray
        Upright.
    metadata : dict
        With the alpha turned and the resolutions exchanged alike.
    """
    exif = metadata.get("exif", b"")
    try:
        first = directories(BytesIO(exif), len(exif), "EXIF")[0]
    except FileError:
        return data, metadata
    entry = first.entries.get(ORIENTATION)
    if entry is None or entry.kind != SHORT or entry.count != 1:
        return data, metadata
    orientation = first.whole(ORIENTATION, 1)
    result = turn_resolution(metadata, orientation)
    result["exif"] = exif[: entry.offset] + struct.pack(first.order + "H", 1) + exif[entry.offset + 2 :]
    if "alpha" in result:
        result["alpha"] = turn(result["alpha"], orientation)
    return turn(data, orientation), result


def turn(image: np.ndarray, orientation: int) -> np.ndarray:
    """Apply an orientation of the TIFF standard.

    Parameters
    ----------
    image : ndarray
        Shape (Y, X, ...).
    orientation : int
        1 (upright) to 8; other values turn nothing. 5 to 8 exchange the axes; then each flips none, one or both of them.

    Returns
    -------
    ndarray
        Upright, contiguous.
    """
    if orientation in (5, 6, 7, 8):
        image = image.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    return np.ascontiguousarray(image)


def turn_resolution(metadata: dict[str, Any], orientation: int) -> dict[str, Any]:
    """Exchange the resolutions along x and y where the orientation exchanges the axes.

    Parameters
    ----------
    metadata : dict
        See `Measurement`.
    orientation : int
        Of the TIFF standard.

    Returns
    -------
    dict
        A new one.
    """
    result = dict(metadata)
    for key in ("dpi", "resolution"):
        if orientation in (5, 6, 7, 8) and key in result:
            result[key] = result[key][::-1]
    return result
