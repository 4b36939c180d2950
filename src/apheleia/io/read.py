"""Files from strangers in."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from apheleia.core.errors import ApheleiaError, ArgumentError, FileError
from apheleia.io import jpeg, npy, png, tiff
from apheleia.io.exif import upright
from apheleia.io.guard import DEFAULT_BUDGET_BYTES, UserFile, open_user_file
from apheleia.io.header import gibibytes
from apheleia.io.measurement import Measurement

__all__ = ["read"]


def read(path: str | os.PathLike[str], *, axes: str | None = None, budget_bytes: int = DEFAULT_BUDGET_BYTES) -> Measurement:
    """Read a PNG, JPEG, TIFF or npy file in its native depth.

    The format is told from the content. Palettes become RGB, 1-bit images uint8 with 0 and 255, negative TIFFs (white is
    zero) positive; alpha moves to the metadata; JPEGs, PNGs and TIFFs with an orientation are turned upright. 16-bit colour
    stays 16-bit. The pages of a TIFF become Z, whether they are planes, times or channels; thumbnails and masks are left out.

    Parameters
    ----------
    path : str or path
        Of a regular file.
    axes : str, optional
        What the axes of an npy file mean: "YX", "YXC", "ZYX" or "ZYXC". Without it two axes are "YX", a last axis of 3 or 4
        entries holds channels, a last axis of 1 is dropped, and anything else is refused. Image files know their axes; for
        them it must agree.
    budget_bytes : int
        Largest decoded size. Reading takes up to about three times as much memory for a moment.

    Returns
    -------
    Measurement
        Data, axes, full scale and metadata.

    Raises
    ------
    FileError
        If the file is refused by `open_user_file`, is cut or corrupt, has values that are NaN or infinite, or has axes or
        channels of another number. The message names the file and says what to do.
    MissingExtraError
        If Pillow or tifffile is needed and not installed.
    """
    file = open_user_file(path, budget_bytes)
    try:
        data, found_axes, metadata = _decode(file)
    except ApheleiaError:
        raise
    except MemoryError as error:
        size = gibibytes(file.decoded_bytes)
        raise FileError(f"{file.path} decodes to {size}, shape {file.shape}, beyond the free memory: crop it first.") from error
    except Exception as error:
        # Decoders raise anything on damaged files, even SyntaxError, and in several lines.
        reason = " ".join(str(error).split()) or type(error).__name__
        raise FileError(
            f"{file.path} is truncated or corrupt, its {file.format} does not decode ({reason}); copy it again."
        ) from error
    if found_axes is not None and axes not in (None, found_axes):
        raise FileError(f'{file.path} has axes {found_axes}, shape {data.shape}; axes="{axes}" was asked for: leave it out.')
    try:
        return Measurement.from_array(data, found_axes or axes, metadata)
    except ArgumentError as error:
        raise FileError(f"{file.path} cannot be used: {error}") from error


def _decode(file: UserFile) -> tuple[np.ndarray, str | None, dict[str, Any]]:
    """Decode to data, axes (None where the file does not tell) and metadata."""
    path = str(file.path)
    size = os.path.getsize(file.path)
    with open(file.path, "rb") as stream:
        if file.format == "npy":
            return npy.decode(stream, size, path), None, {}
        if file.format == "tiff":
            return tiff.decode(stream, size, path)
        data, metadata = (png.decode if file.format == "png" else jpeg.decode)(stream, size, path)
    data, metadata = upright(data, metadata)
    return data, "YXC" if data.ndim == 3 else "YX", metadata
