"""What a file says about itself before anything is decoded."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

__all__ = ["Header", "gibibytes", "inflated_bytes"]

BLOCK = 1 << 20


@dataclass(frozen=True)
class Header:
    """The claims of a file's header, for the guard to hold against the file's size and the budget.

    Parameters
    ----------
    shape : tuple of int
        As stored, pages first and channels last, without alpha.
    dtype : dtype
        Of the decoded values.
    decoded_bytes : int
        Of the decoded array with its alpha.
    stored_bytes : int
        Of the samples as packed in the file before compression, padding included.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    decoded_bytes: int
    stored_bytes: int


def gibibytes(count: int) -> str:
    """Write a number of bytes for people.

    Parameters
    ----------
    count : int
        Bytes.

    Returns
    -------
    str
        Such as "17 bytes" or "3.4 GiB".

    Examples
    --------
    >>> gibibytes(3 << 30)
    '3 GiB'
    """
    units = ("bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
    power = min((max(count, 1).bit_length() - 1) // 10, len(units) - 1)
    return f"{count / 1024**power:.4g} {units[power]}" if power else f"{count} bytes"


def inflated_bytes(blocks: Iterable[bytes], limit: int) -> int:
    """Count what a zlib stream unpacks to, in constant memory, stopping beyond `limit`.

    Parameters
    ----------
    blocks : iterable of bytes
        The stream in pieces.
    limit : int
        In bytes; where the count exceeds it, unpacking stops.

    Returns
    -------
    int
        The size in bytes; a value above `limit` says only that there is more.

    Raises
    ------
    zlib.error
        If the stream is corrupt.
    """
    engine, total = zlib.decompressobj(), 0
    for block in blocks:
        while not engine.eof:
            piece = engine.decompress(block, BLOCK)
            total += len(piece)
            if total > limit:
                return total
            block = engine.unconsumed_tail
            # A full piece may leave output pending inside the engine even when all input is consumed.
            if not block and len(piece) < BLOCK:
                break
    return total
