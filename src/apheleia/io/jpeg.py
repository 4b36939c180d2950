"""JPEG files of 8 bits, grey or colour."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from apheleia.core.errors import FileError, MissingExtraError
from apheleia.io.header import Header

__all__ = ["decode", "encode", "header"]

MAX_SEGMENTS = 10_000
SIZES = range(0xC0, 0xD0)
NOT_SIZES = (0xC4, 0xC8, 0xCC)
READABLE = (0xC0, 0xC1, 0xC2, 0xC9, 0xCA)
"""Baseline, extended, progressive, and their arithmetic-coded kin; the rest is lossless or hierarchical."""
START_OF_SCAN, COMMENT, JFIF, EXIF, ICC, ADOBE = 0xDA, 0xFE, 0xE0, 0xE1, 0xE2, 0xEE
INCHES_PER_UNIT = {1: 1.0, 2: 1 / 2.54}


@dataclass(frozen=True)
class _Segment:
    marker: int
    offset: int
    content: bytes


def header(stream: BinaryIO, size: int, path: str) -> Header:
    """Walk the segments to the frame header.

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
        What the file claims; its shape is the one before the EXIF orientation is applied.

    Raises
    ------
    FileError
        If the header is cut or damaged, or the image is CMYK, lossless or deeper than 8 bits.
    """
    frames = [s for s in _walk(stream, size, path) if s.marker in SIZES and s.marker not in NOT_SIZES]
    if len(frames) != 1 or len(frames[0].content) < 6:
        raise FileError(f"{path} has a damaged JPEG header: {len(frames)} frame headers, expected 1; save it again.")
    depth, height, width, components = struct.unpack(">BHHB", frames[0].content[:6])
    if frames[0].marker not in READABLE or depth != 8:
        raise FileError(f"{path} is a lossless, hierarchical or {depth}-bit JPEG; expected 8 bits: save it as PNG or TIFF.")
    if components == 4:
        raise FileError(f"{path} is a CMYK JPEG (4 inks); expected grey or RGB: convert it to RGB with its colour profile.")
    if components not in (1, 3):
        raise FileError(f"{path} is a JPEG with {components} components; expected 1 (grey) or 3 (colour): save it again.")
    shape = (height, width) + ((3,) if components == 3 else ())
    count = height * width * components
    return Header(shape, np.dtype(np.uint8), count, count)


def decode(stream: BinaryIO, size: int, path: str) -> tuple[np.ndarray, dict[str, Any]]:
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
        uint8, shape (Y, X) or (Y, X, 3), not yet turned by the EXIF orientation.
    metadata : dict
        See `Measurement`: dpi, description (the comment), exif, icc_profile.

    Raises
    ------
    FileError
        If the header is cut or damaged.
    """
    try:
        from PIL import JpegImagePlugin
    except ImportError:
        raise MissingExtraError("io.read", "pillow", "app") from None
    segments = list(_walk(stream, size, path))
    # Pillow gets only what it needs to decode: it would parse the metadata too and warn about damaged ones.
    wanted = [s for s in segments if s.marker != COMMENT and (s.marker not in range(0xE0, 0xF0) or s.marker in (JFIF, ADOBE))]
    body = b"\xff\xd8" + b"".join(struct.pack(">BBH", 0xFF, s.marker, len(s.content) + 2) + s.content for s in wanted)
    stream.seek(segments[-1].offset + len(segments[-1].content))
    # The plugin's own class, because Image.open refuses large images by a global limit; the guard has checked the size.
    with JpegImagePlugin.JpegImageFile(BytesIO(body + stream.read())) as image:
        data = np.array(image)
    return data, _metadata(segments)


def encode(file: Path, data: np.ndarray, metadata: dict[str, Any], quality: int) -> None:
    """Write 8 bits per sample without chroma subsampling; JPEG loses detail by design.

    Parameters
    ----------
    file : Path
        To overwrite.
    data : ndarray
        uint8, shape (Y, X) or (Y, X, 3), sides of at most 65 535.
    metadata : dict
        See `Measurement`: dpi, description, exif and icc_profile are written.
    quality : int
        1 (worst) to 100.
    """
    try:
        from PIL import Image
    except ImportError:
        raise MissingExtraError("io.write", "pillow", "app") from None
    exif = metadata.get("exif")
    Image.fromarray(data).save(
        file,
        "JPEG",
        quality=quality,
        subsampling=0,
        dpi=tuple(round(dots) for dots in metadata.get("dpi", (0, 0))),
        exif=b"Exif\0\0" + exif if exif else b"",
        icc_profile=metadata.get("icc_profile"),
        comment=metadata.get("description", "").encode("utf-8"),
    )


def _walk(stream: BinaryIO, size: int, path: str) -> Iterator[_Segment]:
    """Yield the segments up to and including the first start of scan."""
    offset = 2
    for _ in range(MAX_SEGMENTS):
        stream.seek(offset)
        start = stream.read(4)
        if start[:2] == b"\xff\xff":
            offset += 1
            continue
        if offset + 4 <= size and start[0] != 0xFF:
            raise FileError(f"{path} is a corrupt JPEG: no marker at byte {offset}; copy the file again.")
        length = int.from_bytes(start[2:4], "big")
        if len(start) < 4 or length < 2 or offset + 2 + length > size:
            raise FileError(f"{path} is truncated: its JPEG header ends beyond the {size} bytes of the file; copy it again.")
        yield _Segment(start[1], offset + 4, stream.read(length - 2))
        if start[1] == START_OF_SCAN:
            return
        offset += 2 + length
    raise FileError(f"{path} holds more than {MAX_SEGMENTS} JPEG segments; save it again.")


def _metadata(segments: list[_Segment]) -> dict[str, Any]:
    metadata: dict[str, Any] = {}
    profile: dict[int, bytes] = {}
    for segment in segments:
        content = segment.content
        if segment.marker == JFIF and content.startswith(b"JFIF\0") and len(content) >= 12:
            unit, x, y = struct.unpack(">BHH", content[7:12])
            if unit in INCHES_PER_UNIT and x and y:
                metadata["dpi"] = (x / INCHES_PER_UNIT[unit], y / INCHES_PER_UNIT[unit])
        elif segment.marker == EXIF and content.startswith(b"Exif\0\0") and "exif" not in metadata:
            metadata["exif"] = content[6:]
        elif segment.marker == ICC and content.startswith(b"ICC_PROFILE\0") and len(content) > 14:
            profile[content[12]] = content[14:]
        elif segment.marker == COMMENT and "description" not in metadata:
            metadata["description"] = content.decode("utf-8", errors="replace")
    if profile:
        metadata["icc_profile"] = b"".join(profile[number] for number in sorted(profile))
    return metadata
