"""TIFF files: 8 to 64 bits, integers and floats, one page or a stack of pages."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from apheleia.core.errors import FileError, MissingExtraError
from apheleia.io import tiff_header as tags
from apheleia.io.exif import turn, turn_resolution
from apheleia.io.header import Header
from apheleia.io.tiff_description import TIFFFILE_SHAPE, stack_sizes
from apheleia.io.tiff_page import parse_page
from apheleia.io.tiff_pixels import ListedPage, samples_of

__all__ = ["decode", "encode", "header"]

THUMBNAIL_OR_MASK = 1 | 4
INCH, CENTIMETRE = 2, 3


def header(stream: BinaryIO, size: int, path: str) -> Header:
    """Parse all directories and check every page.

    Parameters
    ----------
    stream : binary file
        Seekable, at any position.
    size : int
        Of the file in bytes.
    path : str
        For the messages.

    Returns
    -------
    Header
        What the file claims; its shape is the one before the orientation is applied.

    Raises
    ------
    FileError
        If a page is damaged or of a kind that cannot be read, or the pages differ.
    """
    pages = [page for _, _, page in _pages(stream, size, path)]
    first = pages[0]
    shape = (len(pages), *first.shape) if len(pages) > 1 else first.shape
    alpha = len(pages) * first.height * first.width * first.has_alpha
    decoded = (math.prod(shape) + alpha) * first.dtype.itemsize
    return Header(shape, first.dtype, decoded, sum(page.segments.stored_bytes for page in pages))


def decode(stream: BinaryIO, size: int, path: str) -> tuple[np.ndarray, str, dict[str, Any]]:
    """Decode a file that `header` accepted.

    Parameters
    ----------
    stream : binary file
        Seekable.
    size : int
        Of the file in bytes.
    path : str
        For the messages.

    Returns
    -------
    data : ndarray
        Upright, in native byte order.
    axes : str
        "YX", "YXC", "ZYX" or "ZYXC".
    metadata : dict
        See `Measurement`: alpha, dpi or resolution, description, icc_profile.

    Raises
    ------
    FileError
        If the pixels are cut or corrupt.
    """
    listed = _pages(stream, size, path)
    _, directory, page = listed[0]
    data = np.empty(0)
    for number, samples in enumerate(samples_of(stream, listed, path)):
        image = turn(samples, page.orientation)
        if number == 0:
            data = np.empty((len(listed), *image.shape), dtype=page.dtype)
        data[number] = image
    data = data if len(listed) > 1 else data[0]
    metadata = turn_resolution(_metadata(directory), page.orientation)
    if page.has_alpha:
        data, metadata["alpha"] = data[..., :-1], np.ascontiguousarray(data[..., -1])
        data = np.ascontiguousarray(data[..., 0] if data.shape[-1] == 1 else data)
    axes = ("Z" if len(listed) > 1 else "") + ("YXC" if len(page.shape) == 3 else "YX")
    return data, axes, metadata


def encode(file: Path, data: np.ndarray, axes: str, metadata: dict[str, Any], path: str) -> None:
    """Write uncompressed, one page per Z, with the metadata that TIFF holds.

    Parameters
    ----------
    file : Path
        To overwrite.
    data : ndarray
        Any depth.
    axes : str
        Of the data.
    metadata : dict
        See `Measurement`; alpha, dpi or resolution, description and icc_profile are written.
    path : str
        For the messages.

    Raises
    ------
    FileError
        If the description states a stack of another size.
    """
    try:
        import tifffile
    except ImportError:
        raise MissingExtraError("io.write", "tifffile", "app") from None
    alpha, description = metadata.get("alpha"), metadata.get("description")
    pages = data.shape[0] if axes.startswith("Z") else 1
    stated = math.prod(stack_sizes(description or "", pages))
    if stated not in (1, pages):
        raise FileError(
            f"{path} cannot be written: metadata['description'] states {stated} pages, "
            f"the data have {pages}; edit it or leave it out."
        )
    samples, extra = data, []
    photometric = "rgb" if axes.endswith("C") and data.shape[-1] == 3 else "minisblack"
    if photometric == "minisblack" and axes.endswith("C"):
        extra += ["unspecified"] * (data.shape[-1] - 1)
    if alpha is not None:
        extra += ["unassalpha"]
        samples = np.concatenate([data if axes.endswith("C") else data[..., None], alpha[..., None]], axis=-1)
    resolution = metadata.get("dpi") or metadata.get("resolution")
    tifffile.imwrite(
        file,
        samples,
        photometric=photometric,
        planarconfig="contig" if samples.ndim > len(axes.rstrip("C")) else None,
        extrasamples=extra or None,
        metadata=None,
        software=False,
        description=None if description is None else description.encode("utf-8"),
        resolution=resolution,
        resolutionunit=None if resolution is None else ("INCH" if "dpi" in metadata else "NONE"),
        iccprofile=metadata.get("icc_profile"),
    )


def _pages(stream: BinaryIO, size: int, path: str) -> list[ListedPage]:
    """List the full pages, leaving out thumbnails and masks, with their place in the file."""
    found = list(enumerate(tags.directories(stream, size, path)))
    full = [item for item in found if not item[1].whole(tags.SUBFILE, 0) & THUMBNAIL_OR_MASK] or found[:1]
    listed = [(index, directory, parse_page(directory, size, index + 1)) for index, directory in full]
    first = listed[0][2]
    for index, _, page in listed:
        if page.kind != first.kind:
            raise FileError(
                f"{path} holds pages that differ: page 1 is {first.dtype} {first.shape}, page {index + 1} is {page.dtype} "
                f"{page.shape}; save the page you want as a file of its own."
            )
    sizes = stack_sizes(_text(listed[0][1]), len(listed))
    axes = [count for count in sizes if count > 1]
    if math.prod(sizes) > len(listed):
        raise FileError(f"{path} states {math.prod(sizes)} pages and lists {len(listed)}; save it as a plain multi-page TIFF.")
    if len(axes) > 1 and math.prod(sizes) == len(listed):
        raise FileError(
            f"{path} is a stack of {' x '.join(map(str, axes))} pages (planes, times, channels); expected one such axis: "
            "save one channel or one time as a file of its own."
        )
    return listed


def _text(directory: tags.Directory) -> str:
    content = directory.raw(tags.DESCRIPTION).split(b"\0")[0]
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def _metadata(directory: tags.Directory) -> dict[str, Any]:
    metadata: dict[str, Any] = {}
    description, profile = _text(directory), directory.raw(tags.ICC_PROFILE)
    resolution = (directory.ratio(tags.X_RESOLUTION), directory.ratio(tags.Y_RESOLUTION))
    unit = directory.whole(tags.RESOLUTION_UNIT, INCH)
    if description and not description.startswith(TIFFFILE_SHAPE):
        metadata["description"] = description
    if profile:
        metadata["icc_profile"] = profile
    if min(resolution) > 0 and unit in (INCH, CENTIMETRE):
        scale = 2.54 if unit == CENTIMETRE else 1.0
        metadata["dpi"] = (resolution[0] * scale, resolution[1] * scale)
    elif min(resolution) > 0 and resolution != (1.0, 1.0):
        # One pixel per unnamed unit says nothing; tifffile and others write it where nothing is known.
        metadata["resolution"] = resolution
    return metadata
