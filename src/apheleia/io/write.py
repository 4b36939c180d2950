"""Measurements out, whole files or none."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from apheleia.core.errors import ApheleiaError, ArgumentError, FileError
from apheleia.io import jpeg, png, tiff
from apheleia.io.atomic import atomic_path
from apheleia.io.guard import as_name
from apheleia.io.measurement import Measurement

__all__ = ["write"]

FORMATS = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".tif": "tiff", ".tiff": "tiff", ".npy": "npy"}
LARGEST_JPEG_SIDE = 65_500


def write(path: str | os.PathLike[str], measurement: Measurement | np.ndarray, *, quality: int = 95) -> None:
    """Write a measurement in its own depth, never a reduced one; the suffix of `path` chooses the format.

    ======  =======================  =====================  =================================================
    suffix  types                    axes                   metadata kept
    ======  =======================  =====================  =================================================
    .png    uint8, uint16            YX, YXC (3 channels)   alpha, dpi, description, text, exif, icc_profile,
                                                            gamma, srgb
    .jpg    uint8 (loses detail)     YX, YXC (3 channels)   dpi (whole), description, exif, icc_profile
    .tif    all                      all                    alpha, dpi or resolution, description, icc_profile
    .npy    all                      all                    none; read stacks back with `axes="ZYX"`
    ======  =======================  =====================  =================================================

    The file appears complete or not at all: on any failure an old file stays as it was.

    Parameters
    ----------
    path : str or path
        Ends in .png, .jpg, .jpeg, .tif, .tiff or .npy; its folder must exist.
    measurement : Measurement or ndarray
        An array is taken as `Measurement.from_array` takes it. For real numbers from a solver see `quantise`.
    quality : int
        Of JPEG, 1 to 100.

    Raises
    ------
    FileError
        If the format cannot hold the depth, the axes or the alpha, or the file cannot be written.
    MissingExtraError
        If Pillow or tifffile is needed and not installed.
    """
    name = as_name(path, "write")
    kind = FORMATS.get(Path(name).suffix.lower())
    if kind is None:
        raise FileError(f"{name} cannot be written: its suffix is {Path(name).suffix!r}, expected one of {', '.join(FORMATS)}.")
    try:
        # An axes-preserving check of the values too: what `read` would refuse is not written.
        given = measurement if isinstance(measurement, Measurement) else Measurement.from_array(measurement)
        checked = Measurement.from_array(given.data, given.axes, given.metadata)
    except ArgumentError as error:
        raise FileError(f"{name} cannot be written: {error}") from error
    _check(name, kind, checked, quality)
    with atomic_path(name) as temporary:
        try:
            _encode(temporary, kind, checked, quality, name)
        except ApheleiaError:
            raise
        except Exception as error:
            raise FileError(f"{name} cannot be written: {error}.") from error


def _check(name: str, kind: str, measurement: Measurement, quality: int) -> None:
    data, axes = measurement.data, measurement.axes
    types = {"png": ("uint8", "uint16"), "jpeg": ("uint8",)}.get(kind)
    if types is None:
        return
    if data.dtype.name not in types:
        raise FileError(
            f"{name} cannot be written: {kind} holds {' or '.join(types)}, the data are {data.dtype}; "
            "write .tif or .npy, or convert them with apheleia.io.quantise(values, like=measurement)."
        )
    if axes.startswith("Z"):
        raise FileError(f"{name} cannot be written: {kind} holds one image, the data are a stack {axes}; write .tif or .npy.")
    if axes.endswith("C") and data.shape[-1] != 3:
        raise FileError(
            f"{name} cannot be written: {kind} holds 1 or 3 channels, the data have {data.shape[-1]}; write .tif or .npy, "
            "or put an opacity into metadata['alpha']."
        )
    if kind == "jpeg" and "alpha" in measurement.metadata:
        raise FileError(f"{name} cannot be written: jpeg holds no alpha; write .png or .tif, or leave metadata['alpha'] out.")
    if kind == "jpeg" and (max(data.shape[:2]) > LARGEST_JPEG_SIDE or not 1 <= quality <= 100):
        raise FileError(
            f"{name} cannot be written: jpeg holds sides up to {LARGEST_JPEG_SIDE} at a quality of 1 to 100; "
            f"got {data.shape[:2]} at {quality}."
        )


def _encode(temporary: Path, kind: str, measurement: Measurement, quality: int, name: str) -> None:
    data, metadata = measurement.data, measurement.metadata
    if kind == "png":
        png.encode(temporary, data, metadata)
    elif kind == "jpeg":
        jpeg.encode(temporary, data, metadata, quality)
    elif kind == "tiff":
        tiff.encode(temporary, data, measurement.axes, metadata, name)
    else:
        with open(temporary, "wb") as stream:
            np.save(stream, data, allow_pickle=False)
