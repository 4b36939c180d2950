"""PNG files: every depth in, every depth out.

Pillow decodes; of 16-bit colour it keeps only the high bytes, so a second pass fetches the low ones.
The encoder is our own, because Pillow cannot write 16-bit colour at all.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from apheleia.core.errors import FileError, MissingExtraError
from apheleia.io.header import Header, inflated_bytes

__all__ = ["decode", "encode", "header"]

SIGNATURE = b"\x89PNG\r\n\x1a\n"
MAX_CHUNKS = 200_000
SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""First column, first row, column step, row step of each interlaced pass."""
METRES_PER_INCH = 0.0254
ROWS_PER_BLOCK = 256


@dataclass(frozen=True)
class _Chunk:
    kind: bytes
    offset: int
    length: int


@dataclass(frozen=True)
class _Layout:
    width: int
    height: int
    depth: int
    colour: int
    is_interlaced: bool
    chunks: tuple[_Chunk, ...]

    @property
    def has_alpha(self) -> bool:
        return self.colour in (4, 6) or any(chunk.kind == b"tRNS" for chunk in self.chunks)

    def filtered_bytes(self) -> int:
        """Size of the unpacked IDAT stream: each row of each pass has one more byte for its filter."""
        bits = self.depth * SAMPLES[self.colour]
        sizes = [(self.width, self.height)]
        if self.is_interlaced:
            sizes = [(-(-(self.width - x) // dx), -(-(self.height - y) // dy)) for x, y, dx, dy in ADAM7]
        return sum(rows * (1 + -(-columns * bits // 8)) for columns, rows in sizes if rows > 0 and columns > 0)


def header(stream: BinaryIO, size: int, path: str) -> Header:
    """Walk the chunks and read IHDR.

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
        What the file claims.

    Raises
    ------
    FileError
        If a chunk is cut, the header is invalid, or the file is animated.
    """
    layout = _layout(stream, size, path)
    colours = 3 if layout.colour in (2, 3, 6) else 1
    dtype = np.dtype(np.uint16 if layout.depth == 16 else np.uint8)
    shape = (layout.height, layout.width) + ((3,) if colours == 3 else ())
    decoded = layout.height * layout.width * (colours + layout.has_alpha) * dtype.itemsize
    return Header(shape, dtype, decoded, layout.filtered_bytes())


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
        uint8 or uint16, shape (Y, X) or (Y, X, 3).
    metadata : dict
        See `Measurement`.

    Raises
    ------
    FileError
        If the pixels are cut or corrupt.
    """
    try:
        from PIL import PngImagePlugin
    except ImportError:
        raise MissingExtraError("io.read", "pillow", "app") from None
    layout = _layout(stream, size, path)
    expected = layout.filtered_bytes()
    found = inflated_bytes(_pixels(stream, layout, path), expected)
    if found < expected:
        raise FileError(f"{path} is truncated: its pixels need {expected} bytes, the file holds {found}; copy the file again.")
    stream.seek(0)
    # The plugin's own class, because Image.open refuses large images by a global limit; the guard has checked the size.
    with PngImagePlugin.PngImageFile(stream) as image:
        image.load()
        info, text = image.info, dict(image.text)
        if layout.colour == 3:
            image = image.convert("RGBA" if layout.has_alpha else "RGB")
        samples = np.asarray(image)
    if layout.depth == 16 and layout.colour != 0:
        samples = _deep_colours(b"".join(_pixels(stream, layout, path)), layout)
    elif layout.depth == 16:
        samples = samples.astype(np.uint16)
    elif samples.dtype == np.bool_:
        samples = samples.astype(np.uint8) * np.uint8(255)
    data, alpha = samples, None
    if layout.has_alpha and layout.colour in (3, 4, 6):
        data, alpha = samples[..., :-1], np.ascontiguousarray(samples[..., -1])
        data = data[..., 0] if data.shape[-1] == 1 else data
    elif layout.has_alpha:
        alpha = _keyed_alpha(stream, data, layout)
    return np.ascontiguousarray(data), _metadata(info, text, alpha)


def encode(file: Path, data: np.ndarray, metadata: dict[str, Any]) -> None:
    """Write 8 or 16 bits per sample, lossless, with the metadata that PNG holds.

    Parameters
    ----------
    file : Path
        To overwrite.
    data : ndarray
        uint8 or uint16, shape (Y, X) or (Y, X, 3).
    metadata : dict
        See `Measurement`; `resolution` has no place in PNG and is left out.
    """
    alpha = metadata.get("alpha")
    samples = data if data.ndim == 3 else data[..., None]
    if alpha is not None:
        samples = np.concatenate([samples, alpha[..., None]], axis=-1)
    height, width, count = samples.shape
    colour = {1: 0, 2: 4, 3: 2, 4: 6}[count]
    with open(file, "wb") as stream:
        stream.write(SIGNATURE)
        _write_chunk(stream, b"IHDR", struct.pack(">IIBBBBB", width, height, 8 * data.itemsize, colour, 0, 0, 0))
        for kind, content in _metadata_chunks(metadata):
            _write_chunk(stream, kind, content)
        engine = zlib.compressobj()
        for rows in _filtered_rows(samples):
            _write_chunk(stream, b"IDAT", engine.compress(rows))
        _write_chunk(stream, b"IDAT", engine.flush())
        _write_chunk(stream, b"IEND", b"")


def _layout(stream: BinaryIO, size: int, path: str) -> _Layout:
    chunks = tuple(_walk(stream, size, path))
    if not chunks or chunks[0].kind != b"IHDR" or chunks[0].length != 13:
        raise FileError(f"{path} has a damaged PNG header: it does not start with IHDR; save it again.")
    stream.seek(chunks[0].offset)
    content, checksum = stream.read(13), stream.read(4)
    width, height, depth, colour, compression, filtering, interlace = struct.unpack(">IIBBBBB", content)
    is_valid = depth in DEPTHS.get(colour, ()) and compression == filtering == 0 and interlace in (0, 1)
    if not is_valid or checksum != struct.pack(">I", zlib.crc32(b"IHDR" + content)):
        raise FileError(f"{path} has a damaged PNG header: its fields or its checksum are invalid; save it again.")
    kinds = {chunk.kind for chunk in chunks}
    if b"acTL" in kinds:
        raise FileError(f"{path} is an animated PNG; expected a single image: save the frames as separate files.")
    if b"IDAT" not in kinds:
        raise FileError(f"{path} is a PNG without pixels (no IDAT chunk); save it again.")
    return _Layout(width, height, depth, colour, interlace == 1, chunks)


def _walk(stream: BinaryIO, size: int, path: str) -> Iterator[_Chunk]:
    offset = len(SIGNATURE)
    for _ in range(MAX_CHUNKS):
        stream.seek(offset)
        start = stream.read(8)
        length, kind = struct.unpack(">I4s", start) if len(start) == 8 else (0, b"next")
        if offset + 12 + length > size:
            name = kind.decode("latin-1")
            raise FileError(f"{path} is truncated: its {name} chunk ends beyond the {size} bytes of the file; copy it again.")
        yield _Chunk(kind, offset + 8, length)
        if kind == b"IEND":
            return
        offset += 12 + length
    raise FileError(f"{path} holds more than {MAX_CHUNKS} PNG chunks; save it again.")


def _pixels(stream: BinaryIO, layout: _Layout, path: str) -> Iterator[bytes]:
    for chunk in layout.chunks:
        if chunk.kind != b"IDAT":
            continue
        stream.seek(chunk.offset)
        content, checksum = stream.read(chunk.length), stream.read(4)
        if checksum != struct.pack(">I", zlib.crc32(content, zlib.crc32(b"IDAT"))):
            raise FileError(f"{path} is corrupt: the checksum of its pixels is wrong; copy the file again.")
        yield content


def _deep_colours(pixels: bytes, layout: _Layout) -> np.ndarray:
    """Let Pillow undo the row filters twice, keeping the high and then the low byte of each big-endian sample."""
    from PIL import Image

    size, interlace = (layout.width, layout.height), int(layout.is_interlaced)
    if layout.colour == 4:
        octets = np.asarray(Image.frombytes("RGBA", size, pixels, "zip", "RGBA", interlace))
        high, low = octets[..., 0::2], octets[..., 1::2]
    else:
        mode = "RGB" if layout.colour == 2 else "RGBA"
        high, low = (np.asarray(Image.frombytes(mode, size, pixels, "zip", f"{mode};16{end}", interlace)) for end in "BL")
    return (high.astype(np.uint16) << np.uint16(8)) | low


def _keyed_alpha(stream: BinaryIO, data: np.ndarray, layout: _Layout) -> np.ndarray:
    """Opacity 0 where a pixel has the one transparent colour, full elsewhere."""
    (chunk, *_) = (chunk for chunk in layout.chunks if chunk.kind == b"tRNS")
    stream.seek(chunk.offset)
    key = np.frombuffer(stream.read(2 * SAMPLES[layout.colour]), dtype=">u2").astype(np.int64)
    largest = np.iinfo(data.dtype).max
    same = data == key * (largest // (2**layout.depth - 1))
    return np.where(same.all(axis=-1) if data.ndim == 3 else same, 0, largest).astype(data.dtype)


def _metadata(info: dict[Any, Any], text: dict[str, str], alpha: np.ndarray | None) -> dict[str, Any]:
    metadata: dict[str, Any] = {}
    if alpha is not None:
        metadata["alpha"] = alpha
    for key in ("dpi", "gamma", "srgb", "icc_profile"):
        if info.get(key) is not None:
            metadata[key] = info[key]
    if info.get("exif"):
        metadata["exif"] = info["exif"].removeprefix(b"Exif\0\0")
    words = {str(key): str(value) for key, value in text.items()}
    description = words.pop("Description", None)
    if description is not None:
        metadata["description"] = description
    if words:
        metadata["text"] = words
    return metadata


def _metadata_chunks(metadata: dict[str, Any]) -> Iterator[tuple[bytes, bytes]]:
    if "gamma" in metadata:
        yield b"gAMA", struct.pack(">I", round(metadata["gamma"] * 100_000))
    # The standard allows only one of sRGB and iCCP; the profile says more.
    if "icc_profile" in metadata:
        yield b"iCCP", b"ICC Profile\0\0" + zlib.compress(metadata["icc_profile"])
    elif "srgb" in metadata:
        yield b"sRGB", bytes([metadata["srgb"]])
    if "dpi" in metadata:
        yield b"pHYs", struct.pack(">IIB", *(round(dots / METRES_PER_INCH) for dots in metadata["dpi"]), 1)
    if "exif" in metadata:
        yield b"eXIf", metadata["exif"]
    words = dict(metadata.get("text", {}))
    if "description" in metadata:
        words["Description"] = metadata["description"]
    for key, value in words.items():
        name = key.encode("latin-1") + b"\0"
        try:
            yield b"tEXt", name + value.encode("latin-1")
        except UnicodeEncodeError:
            yield b"iTXt", name + b"\0\0\0\0" + value.encode("utf-8")


def _write_chunk(stream: BinaryIO, kind: bytes, content: bytes) -> None:
    if content or kind != b"IDAT":
        stream.write(struct.pack(">I", len(content)) + kind + content)
        stream.write(struct.pack(">I", zlib.crc32(content, zlib.crc32(kind))))


def _filtered_rows(samples: np.ndarray) -> Iterator[bytes]:
    """Filter each row by none, sub, up or Paeth, whichever leaves the smallest sum of absolute values."""
    step = samples.shape[-1] * samples.itemsize
    above = np.zeros((1, samples.shape[1] * step), dtype=np.int16)
    for start in range(0, samples.shape[0], ROWS_PER_BLOCK):
        block = np.ascontiguousarray(samples[start : start + ROWS_PER_BLOCK], dtype=samples.dtype.newbyteorder(">"))
        rows = block.view(np.uint8).reshape(block.shape[0], -1).astype(np.int16)
        up = np.concatenate([above, rows[:-1]])
        left, corner = np.zeros_like(rows), np.zeros_like(rows)
        left[:, step:], corner[:, step:] = rows[:, :-step], up[:, :-step]
        slope = left + up - corner
        far_left, far_up, far_corner = abs(slope - left), abs(slope - up), abs(slope - corner)
        paeth = np.where((far_left <= far_up) & (far_left <= far_corner), left, np.where(far_up <= far_corner, up, corner))
        candidates = np.stack([rows, rows - left, rows - up, rows - paeth]).astype(np.uint8)
        cost = np.abs(candidates.view(np.int8).astype(np.int16)).sum(axis=-1, dtype=np.int64)
        best = cost.argmin(axis=0)
        chosen = candidates[best, np.arange(len(rows))]
        kinds = np.array([0, 1, 2, 4], dtype=np.uint8)[best]
        yield np.concatenate([kinds[:, None], chosen], axis=1).tobytes()
        above = rows[-1:]
