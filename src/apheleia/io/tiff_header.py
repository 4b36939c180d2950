"""The directories of a TIFF or EXIF block, parsed without allocating what they claim."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from apheleia.core.errors import FileError

__all__ = ["Directory", "Entry", "directories"]

SUBFILE, WIDTH, LENGTH, BITS, COMPRESSION, PHOTOMETRIC = 254, 256, 257, 258, 259, 262
DESCRIPTION, STRIP_OFFSETS, ORIENTATION, SAMPLES, ROWS_PER_STRIP, STRIP_COUNTS = 270, 273, 274, 277, 278, 279
X_RESOLUTION, Y_RESOLUTION, PLANAR, RESOLUTION_UNIT, PREDICTOR, COLOUR_MAP = 282, 283, 284, 296, 317, 320
TILE_WIDTH, TILE_LENGTH, TILE_OFFSETS, TILE_COUNTS, EXTRA_SAMPLES, SAMPLE_FORMAT = 322, 323, 324, 325, 338, 339
ICC_PROFILE = 34675

MAX_PAGES = 10_000
MAX_ENTRIES = 4096
TYPES = {1: "u1", 2: "u1", 3: "u2", 4: "u4", 6: "i1", 7: "u1", 8: "i2", 9: "i4", 11: "f4", 12: "f8", 13: "u4"}
BIG_TYPES = {16: "u8", 17: "i8", 18: "u8"}
RATIONALS = {5: "u4", 10: "i4"}
"""Pairs of integers, numerator first."""


@dataclass(frozen=True)
class Entry:
    """One tag: `count` values of a type, at `offset` in the file."""

    kind: int
    count: int
    offset: int


@dataclass(frozen=True)
class Directory:
    """The tags of one page.

    Parameters
    ----------
    stream : binary file
        Where the values are read from, on demand.
    path : str
        For the messages.
    order : str
        "<" or ">".
    entries : dict
        By tag number; each entry's values lie inside the file.
    """

    stream: BinaryIO
    path: str
    order: str
    entries: dict[int, Entry]

    def wholes(self, tag: int, most: int) -> np.ndarray:
        """Read the first values of a tag that counts something.

        Parameters
        ----------
        tag : int
            Its number in the TIFF standard.
        most : int
            Values to read at most.

        Returns
        -------
        ndarray
            uint64, one axis; empty where the tag is absent.

        Raises
        ------
        FileError
            If a value is negative or no whole number.
        """
        values = self._values(tag, most)
        entry = self.entries.get(tag)
        if entry and entry.kind in RATIONALS:
            values = values.astype(np.float64)
        if values.dtype.kind not in "ui" or (values.size and int(values.min()) < 0):
            raise FileError(f"{self.path} is corrupt: its TIFF tag {tag} needs whole numbers, got {values[:3]}; save it again.")
        return values.astype(np.uint64)

    def whole(self, tag: int, default: int) -> int:
        """Read the only value of a tag that counts something.

        Parameters
        ----------
        tag : int
            Its number in the TIFF standard.
        default : int
            Where the tag is absent.

        Returns
        -------
        int
            Not negative.

        Raises
        ------
        FileError
            If there are several values, or one that is negative or no whole number.
        """
        values = self.wholes(tag, 2)
        if len(values) > 1:
            raise FileError(f"{self.path} is corrupt: its TIFF tag {tag} needs one value, got several; save it again.")
        return int(values[0]) if values.size else default

    def ratio(self, tag: int) -> float:
        """Read a tag that holds a fraction.

        Parameters
        ----------
        tag : int
            Its number in the TIFF standard.

        Returns
        -------
        float
            0 where the tag is absent or no fraction of positive numbers.
        """
        entry = self.entries.get(tag)
        values = self._values(tag, 2)
        if entry is None or entry.kind not in RATIONALS or len(values) < 2 or values[1] <= 0 or values[0] <= 0:
            return 0.0
        return float(values[0]) / float(values[1])

    def raw(self, tag: int) -> bytes:
        """Read the bytes of a tag.

        Parameters
        ----------
        tag : int
            Its number in the TIFF standard.

        Returns
        -------
        bytes
            Empty where the tag is absent.
        """
        entry = self.entries.get(tag)
        return self._values(tag, entry.count).tobytes() if entry else b""

    def _values(self, tag: int, most: int) -> np.ndarray:
        entry = self.entries.get(tag)
        if entry is None:
            return np.zeros(0, dtype=np.uint64)
        code = (TYPES | BIG_TYPES | RATIONALS)[entry.kind]
        count = min(most, entry.count * (2 if entry.kind in RATIONALS else 1))
        self.stream.seek(entry.offset)
        return np.frombuffer(self.stream.read(count * int(code[1])), dtype=self.order + code)


def directories(stream: BinaryIO, size: int, path: str) -> list[Directory]:
    """Follow the chain of directories: classic or big, either byte order.

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
    list of Directory
        At least one.

    Raises
    ------
    FileError
        If the chain is cut, loops or is longer than 10 000 pages, or a tag lies outside the file.
    """
    stream.seek(0)
    start = stream.read(16).ljust(16, b"\0")
    order = {b"II": "<", b"MM": ">"}.get(start[:2], "")
    version = struct.unpack(order + "H", start[2:4])[0] if order else 0
    if version not in (42, 43):
        raise FileError(f"{path} has a damaged TIFF header; save it again.")
    is_big = version == 43
    offset = struct.unpack(order + ("Q" if is_big else "I"), start[8:16] if is_big else start[4:8])[0]
    found: list[Directory] = []
    read_bytes = 0
    while offset:
        if len(found) == MAX_PAGES:
            raise FileError(f"{path} holds more than {MAX_PAGES} pages; split it into smaller stacks.")
        entries, following, length = _directory(stream, size, path, order, is_big, offset)
        read_bytes += length
        # Honest directories do not overlap; those that loop or overlap are longer than the file together.
        if read_bytes > size:
            raise FileError(f"{path} is corrupt: its TIFF directories form a loop; save it again.")
        found.append(Directory(stream, path, order, entries))
        offset = following
    if not found:
        raise FileError(f"{path} is a TIFF without pages; save it again.")
    return found


def _directory(
    stream: BinaryIO, size: int, path: str, order: str, is_big: bool, offset: int
) -> tuple[dict[int, Entry], int, int]:
    """Parse one directory: its entries, the offset of the next one, its length in bytes."""
    count_format, entry_format, inline = ("Q", "HHQ8s", 8) if is_big else ("H", "HHI4s", 4)
    offset_format = order + ("Q" if is_big else "I")
    count_bytes, entry_bytes = struct.calcsize("=" + count_format), struct.calcsize("=" + entry_format)
    count = 0
    if offset + count_bytes <= size:
        stream.seek(offset)
        count = struct.unpack(order + count_format, stream.read(count_bytes))[0]
    length = count_bytes + count * entry_bytes + inline
    if count == 0 or count > MAX_ENTRIES or offset + length > size:
        raise FileError(f"{path} is truncated or corrupt: its TIFF directory at byte {offset} does not fit; copy the file again.")
    entries: dict[int, Entry] = {}
    table = struct.iter_unpack(order + entry_format, stream.read(count * entry_bytes))
    for index, (tag, kind, values, field) in enumerate(table):
        if kind not in TYPES | BIG_TYPES | RATIONALS:
            continue
        needed = _bytes_of(kind, values)
        place = offset + count_bytes + (index + 1) * entry_bytes - inline
        if needed > inline:
            place = struct.unpack(offset_format, field)[0]
        if place + needed > size:
            raise FileError(f"{path} is truncated or corrupt: TIFF tag {tag} lies outside its {size} bytes; copy the file again.")
        entries.setdefault(tag, Entry(kind, values, place))
    return entries, struct.unpack(offset_format, stream.read(inline))[0], length


def _bytes_of(kind: int, count: int) -> int:
    if kind in RATIONALS:
        return 8 * count
    return count * int((TYPES | BIG_TYPES)[kind][1])
