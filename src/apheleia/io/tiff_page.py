"""One page of a TIFF: what its tags claim, held against each other and against the size of the file."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from apheleia.core.errors import FileError
from apheleia.io import tiff_header as tags

__all__ = ["Page", "Segments", "parse_page"]

RAW, LZW, JPEG, DEFLATE, PACKBITS, OLD_DEFLATE = 1, 5, 7, 8, 32773, 32946
DEFLATES = (DEFLATE, OLD_DEFLATE)
COMPRESSIONS = (RAW, LZW, JPEG, *DEFLATES, PACKBITS)
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, CMYK, YCBCR = 0, 1, 2, 3, 5, 6
UNSIGNED, SIGNED, FLOAT = 1, 2, 3
PREMULTIPLIED, STRAIGHT_ALPHA = 1, 2
MAX_SAMPLES = 16
"""Per pixel, of which tags are read; at most 5 are accepted."""
DTYPES = {
    (UNSIGNED, 1): "u1",
    **{(UNSIGNED, 8 * size): f"u{size}" for size in (1, 2, 4, 8)},
    **{(SIGNED, 8 * size): f"i{size}" for size in (1, 2, 4, 8)},
    **{(FLOAT, 8 * size): f"f{size}" for size in (2, 4, 8)},
}


@dataclass(frozen=True)
class Segments:
    """The strips or tiles of a page, all inside the file.

    Parameters
    ----------
    full_bytes, last_bytes : int
        Unpacked size of a strip or tile, and of the last strip of each plane.
    per_plane : int
        Number of strips or tiles of a plane.
    offsets, counts : ndarray
        uint64: place and packed size in bytes of each.
    """

    full_bytes: int
    last_bytes: int
    per_plane: int
    offsets: np.ndarray
    counts: np.ndarray

    @property
    def stored_bytes(self) -> int:
        """Unpacked size of all of them, padding included."""
        return self.full_bytes * len(self.offsets)

    def least_bytes(self) -> np.ndarray:
        """Compute the unpacked size that each must have; valid where `stored_bytes` is below 2**63.

        Returns
        -------
        ndarray
            uint64, in bytes.
        """
        least = np.full(len(self.offsets), self.full_bytes, dtype=np.uint64)
        least[self.per_plane - 1 :: self.per_plane] = self.last_bytes
        return least


@dataclass(frozen=True)
class Page:
    """The layout of one page.

    Parameters
    ----------
    height, width : int
        In pixels, before the orientation is applied.
    samples : int
        Per pixel, alpha included.
    has_alpha : bool
        The last sample is straight alpha.
    bits : int
        Per sample.
    dtype : dtype
        Of the decoded samples; 1 bit becomes uint8.
    photometric, compression, predictor, orientation : int
        As the TIFF standard numbers them.
    is_planar : bool
        Each sample has strips or tiles of its own.
    segments : Segments
        Its strips or tiles.
    """

    height: int
    width: int
    samples: int
    has_alpha: bool
    bits: int
    dtype: np.dtype
    photometric: int
    compression: int
    predictor: int
    orientation: int
    is_planar: bool
    segments: Segments

    @property
    def kind(self) -> tuple[object, ...]:
        """What all pages of a stack must share: shape, alpha, type, orientation."""
        return (self.shape, self.has_alpha, self.dtype, self.orientation)

    @property
    def shape(self) -> tuple[int, ...]:
        """(Y, X) or (Y, X, C) of the decoded page, without alpha, before the orientation is applied."""
        colours = 3 if self.photometric == PALETTE else self.samples - self.has_alpha
        return (self.height, self.width) + ((colours,) if colours > 1 else ())


def parse_page(directory: tags.Directory, size: int, number: int) -> Page:
    """Check a directory and compute its layout.

    Parameters
    ----------
    directory : Directory
        Of the page.
    size : int
        Of the file in bytes.
    number : int
        Of the page, from 1, for the messages.

    Returns
    -------
    Page
        Consistent in itself and with the size of the file.

    Raises
    ------
    FileError
        If a tag is absurd, the page is of a kind that cannot be read, or its strips or tiles lie outside the file.
    """
    where = f"{directory.path} page {number}"
    height, width, samples = directory.whole(tags.LENGTH, 0), directory.whole(tags.WIDTH, 0), directory.whole(tags.SAMPLES, 1)
    if not height or not width:
        raise FileError(f"{where} has no pixels: {width} x {height}; save it again.")
    compression = directory.whole(tags.COMPRESSION, RAW)
    if compression not in COMPRESSIONS:
        raise FileError(
            f"{where} has TIFF compression {compression}; expected none, deflate, LZW, PackBits or JPEG: save it uncompressed."
        )
    photometric = directory.whole(tags.PHOTOMETRIC, RGB if samples >= 3 else BLACK_IS_ZERO)
    bits, dtype = _sample_type(directory, where)
    has_alpha = _check_samples(directory, where, samples, photometric)
    if photometric == PALETTE and (bits != 8 or len(directory.wholes(tags.COLOUR_MAP, 769)) != 768):
        raise FileError(f"{where} has a palette of {bits} bits; expected 8: save it as RGB.")
    if photometric == WHITE_IS_ZERO and dtype.kind != "u":
        raise FileError(f"{where} is a negative (white is zero) of type {dtype}; save it with black as zero.")
    is_planar = directory.whole(tags.PLANAR, 1) == 2 and samples > 1
    return Page(
        height=height,
        width=width,
        samples=samples,
        has_alpha=has_alpha,
        bits=bits,
        dtype=dtype,
        photometric=photometric,
        compression=compression,
        predictor=directory.whole(tags.PREDICTOR, 1),
        orientation=directory.whole(tags.ORIENTATION, 1),
        is_planar=is_planar,
        segments=_segments(directory, size, where, compression == RAW, (height, width, samples, bits, is_planar)),
    )


def _segments(
    directory: tags.Directory, size: int, where: str, is_raw: bool, layout: tuple[int, int, int, int, bool]
) -> Segments:
    """Hold the list of strips or tiles against the pixels and against the file."""
    height, width, samples, bits, is_planar = layout
    is_tiled = tags.TILE_WIDTH in directory.entries
    columns = directory.whole(tags.TILE_WIDTH, 0) if is_tiled else width
    rows = directory.whole(tags.TILE_LENGTH, 0) if is_tiled else min(directory.whole(tags.ROWS_PER_STRIP, height), height)
    if not rows or not columns:
        raise FileError(f"{where} has strips or tiles of {columns} x {rows} pixels; save it again.")
    per_plane, planes = -(-height // rows) * -(-width // columns), samples if is_planar else 1
    expected = per_plane * planes
    offsets = directory.wholes(tags.TILE_OFFSETS if is_tiled else tags.STRIP_OFFSETS, expected)
    counts = directory.wholes(tags.TILE_COUNTS if is_tiled else tags.STRIP_COUNTS, expected)
    found = min(len(offsets), len(counts))
    if found < expected:
        raise FileError(f"{where} lists {found} strips or tiles, {width} x {height} pixels need {expected}; save it again.")
    limit = np.uint64(size)
    if (offsets > limit).any() or (counts > limit - offsets).any():
        raise FileError(
            f"{where} is truncated or corrupt: strips or tiles lie outside the {size} bytes of the file; copy the file again."
        )
    row_bytes = -(-columns * (1 if is_planar else samples) * bits // 8)
    last_rows = rows if is_tiled else height - (height - 1) // rows * rows
    segments = Segments(rows * row_bytes, last_rows * row_bytes, per_plane, offsets, counts)
    # The total first: it keeps the numbers of a lying header below what an array of 64-bit integers holds.
    least = row_bytes * (rows * (expected - planes) + last_rows * planes)
    if is_raw and (least > size or (counts < segments.least_bytes()).any()):
        raise FileError(
            f"{where} is truncated or corrupt: its strips or tiles hold fewer bytes than {width} x {height} pixels need; "
            "copy the file again."
        )
    return segments


def _sample_type(directory: tags.Directory, where: str) -> tuple[int, np.dtype]:
    bits = {int(value) for value in directory.wholes(tags.BITS, MAX_SAMPLES)} or {1}
    formats = {int(value) for value in directory.wholes(tags.SAMPLE_FORMAT, MAX_SAMPLES)} or {UNSIGNED}
    code = DTYPES.get((min(formats), min(bits)))
    if len(bits) > 1 or len(formats) > 1 or code is None:
        raise FileError(
            f"{where} has samples of {sorted(bits)} bits in TIFF format {sorted(formats)}; "
            "expected integers of 1, 8, 16, 32 or 64 bits or floats of 16, 32 or 64: convert it."
        )
    return min(bits), np.dtype(code)


def _check_samples(directory: tags.Directory, where: str, samples: int, photometric: int) -> bool:
    """Check the channels and tell whether the last one is alpha."""
    if photometric == CMYK:
        raise FileError(f"{where} is CMYK (4 inks); expected grey or RGB: convert it to RGB with its colour profile.")
    if photometric not in (WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, YCBCR):
        raise FileError(f"{where} has TIFF colours of kind {photometric}; expected grey, RGB or a palette: convert it.")
    extra = [int(value) for value in directory.wholes(tags.EXTRA_SAMPLES, MAX_SAMPLES)]
    if PREMULTIPLIED in extra:
        raise FileError(f"{where} has premultiplied alpha; expected straight alpha or none: save it without premultiplying.")
    has_alpha = bool(extra) and extra[-1] == STRAIGHT_ALPHA
    allowed = {RGB: (3, 4), YCBCR: (3,), PALETTE: (1,)}.get(photometric, (1, 3, 4))
    colours = samples - has_alpha
    if colours not in allowed or (colours == 1 and samples > 2):
        raise FileError(f"{where} has {colours} channels; expected 1 (grey), 3 (colour) or 4: select channels and save it again.")
    return has_alpha
