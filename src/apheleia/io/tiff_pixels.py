"""The pixels of a TIFF, through one of two decoders.

tifffile decodes what is stored raw or deflated, in every depth; Pillow's libtiff decodes LZW, PackBits and JPEG, which
tifffile leaves to a further package.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np

from apheleia.core.errors import FileError, MissingExtraError
from apheleia.io import tiff_header as tags
from apheleia.io.header import inflated_bytes
from apheleia.io.tiff_page import DEFLATES, PALETTE, RAW, WHITE_IS_ZERO, Page

__all__ = ["ListedPage", "samples_of"]

FLOAT_PREDICTOR = 3
ListedPage = tuple[int, tags.Directory, Page]
"""A page with its place in the file, from 0."""


def samples_of(stream: BinaryIO, listed: list[ListedPage], path: str) -> Iterator[np.ndarray]:
    """Decode page after page; 1 bit, negatives and palettes are resolved.

    Parameters
    ----------
    stream : binary file
        Seekable.
    listed : list of ListedPage
        The pages to decode, in order.
    path : str
        For the messages.

    Yields
    ------
    ndarray
        Native byte order, shape (Y, X) or (Y, X, samples) with the alpha last, not yet turned by the orientation.

    Raises
    ------
    FileError
        If the pixels are cut or corrupt, or no decoder keeps their depth.
    """
    is_plain = all(p.compression in (RAW, *DEFLATES) and p.predictor != FLOAT_PREDICTOR for _, _, p in listed)
    decoded = _with_tifffile(stream, listed, path) if is_plain else _with_pillow(stream, listed, path)
    for (index, _, page), samples in zip(listed, decoded, strict=True):
        channels = page.shape[2:] if not page.has_alpha else (page.samples,)
        expected = (page.height, page.width, *channels)
        if samples.shape != expected or samples.dtype != page.dtype:
            raise FileError(
                f"{path} page {index + 1} decodes to {samples.dtype} {samples.shape}, expected {page.dtype} {expected}: "
                "save it uncompressed."
            )
        yield samples


def _with_tifffile(stream: BinaryIO, listed: list[ListedPage], path: str) -> Iterator[np.ndarray]:
    try:
        import tifffile
    except ImportError:
        raise MissingExtraError("io.read", "tifffile", "app") from None
    stream.seek(0)
    with tifffile.TiffFile(stream) as file:
        for index, directory, page in listed:
            if page.compression in DEFLATES:
                _check_deflate(stream, index, page, path)
            samples = np.asarray(file.pages[index].asarray())
            if page.is_planar:
                samples = np.moveaxis(samples, 0, -1)
            if page.bits == 1:
                samples = samples.astype(np.uint8) * np.uint8(255)
            if page.photometric == WHITE_IS_ZERO:
                samples = np.iinfo(page.dtype).max - samples
            if page.photometric == PALETTE:
                colours = (directory.wholes(tags.COLOUR_MAP, 768) >> 8).astype(np.uint8).reshape(3, 256).T
                samples = colours[samples]
            yield samples.astype(samples.dtype.newbyteorder("="), copy=False)


def _check_deflate(stream: BinaryIO, index: int, page: Page, path: str) -> None:
    """Unpack without keeping anything: tifffile would unpack a bomb into memory."""
    segments = page.segments
    for offset, count, least in zip(segments.offsets, segments.counts, segments.least_bytes(), strict=True):
        stream.seek(int(offset))
        found = inflated_bytes([stream.read(int(count))], segments.full_bytes)
        if not least <= found <= segments.full_bytes:
            relation = "more" if found > segments.full_bytes else "fewer"
            raise FileError(
                f"{path} page {index + 1} is corrupt: a strip or tile unpacks to {relation} than the {segments.full_bytes} bytes "
                "that its header states; copy the file again."
            )


def _with_pillow(stream: BinaryIO, listed: list[ListedPage], path: str) -> Iterator[np.ndarray]:
    try:
        from PIL import Image, TiffImagePlugin
    except ImportError:
        raise MissingExtraError("io.read", "pillow", "app") from None
    for index, _, page in listed:
        is_small = page.height * page.width <= (Image.MAX_IMAGE_PIXELS or math.inf)
        if not (is_small and _pillow_keeps(page)):
            raise FileError(
                f"{path} page {index + 1} is {page.dtype} {page.shape} under TIFF compression {page.compression}, "
                "which is not read in this layout: save it uncompressed or with deflate, without predictor."
            )
    # Pillow keeps one byte of each sample of 16-bit colour: which one, the byte order in the raw mode decides.
    orders = "LB" if sys.byteorder == "little" else "BL"
    twins: list[TiffImagePlugin.TiffImageFile] = []
    for _ in orders:
        stream.seek(0)
        # The plugin's own class: Image.open refuses by a global limit, and warns long before.
        twins.append(TiffImagePlugin.TiffImageFile(stream))
    for index, _, page in listed:
        if page.dtype != np.uint16 or page.samples == 1:
            image = twins[0]
            image.seek(index)
            if image.mode in ("P", "1"):
                image = image.convert("RGB" if image.mode == "P" else "L")
            yield np.asarray(image).astype(page.dtype, copy=False)
            continue
        planes: list[np.ndarray] = []
        for order, twin in zip(orders, twins, strict=True):
            twin.seek(index)
            (tile,) = twin.tile
            options = tile.args[1:] if isinstance(tile.args, tuple) else ()
            twin.tile = [tile._replace(args=(f"{twin.mode};16{order}", *options))]
            planes.append(np.asarray(twin).astype(np.uint16))
        yield (planes[0] << np.uint16(8)) | planes[1]


def _pillow_keeps(page: Page) -> bool:
    """Tell whether Pillow decodes this layout without losing depth or turning it on its own."""
    layouts = (("u1", 1), ("u1", 3), ("u1", 4), ("u2", 1), ("u2", 3), ("u2", 4), ("f4", 1))
    return (
        (page.dtype.str[1:], page.samples) in layouts
        and page.compression != RAW
        and page.orientation == 1
        and not page.is_planar
        and (page.samples == 4) == page.has_alpha
        and (page.photometric != WHITE_IS_ZERO or page.dtype == np.uint8)
    )
