"""The one gate for files from strangers: what they claim is checked before anything is allocated for it."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NoReturn

import numpy as np

from apheleia.core.errors import ArgumentError, FileError
from apheleia.io import jpeg, npy, png, tiff
from apheleia.io.header import Header, gibibytes

__all__ = ["DEFAULT_BUDGET_BYTES", "UserFile", "open_user_file"]

DEFAULT_BUDGET_BYTES = 2 * 1024**3
"""Largest decoded size of a file, 2 GiB, unless the caller raises it."""

MAX_RATIO = 1400
"""Deflate packs at most 1032 to 1, JPEG about 1230, LZW 1370: beyond it a header lies, or the file is cut."""

READABLE = "PNG, JPEG, TIFF or npy"
MAGICS = {
    png.SIGNATURE: "png",
    b"\xff\xd8\xff": "jpeg",
    b"II*\0": "tiff",
    b"MM\0*": "tiff",
    b"II+\0": "tiff",
    b"MM\0+": "tiff",
    npy.MAGIC: "npy",
}
FOREIGN = {
    b"PK\x03\x04": "an npz or zip archive; expected a single array: save it with numpy.save as .npy",
    b"PK\x05\x06": "an empty npz or zip archive; expected a single array: save it with numpy.save as .npy",
    b"\x80": "a Python pickle, which can run code and is never read: save the array with numpy.save as .npy",
    b"GIF8": f"a GIF; expected {READABLE}: save the frame you want as PNG",
    b"BM": f"a BMP; expected {READABLE}: save it as PNG",
    b"RIFF": f"a WebP or another RIFF file; expected {READABLE}: save it as PNG",
    b"\x89HDF": f"an HDF5 file; expected {READABLE}: save the array you want with numpy.save as .npy",
    b"SIMPLE": f"a FITS file; expected {READABLE}: save the image you want with numpy.save as .npy",
    b"%PDF": f"a PDF; expected {READABLE}: save the image as PNG",
    b"\0\0\0": f"a JPEG 2000, HEIC, AVIF or video file; expected {READABLE}: save the image as PNG or TIFF",
}
_HEADERS: dict[str, Callable[[BinaryIO, int, str], Header]] = {
    "png": png.header,
    "jpeg": jpeg.header,
    "tiff": tiff.header,
    "npy": npy.header,
}


@dataclass(frozen=True)
class UserFile:
    """A file that passed the guard.

    Parameters
    ----------
    path : Path
        As given.
    format : str
        "png", "jpeg", "tiff" or "npy", told from the content, never from the name.
    shape : tuple of int
        As stored: pages first, channels last, alpha left out, before an orientation is applied.
    dtype : dtype
        Of the decoded values.
    decoded_bytes : int
        What decoding will allocate for the result, alpha included.
    """

    path: Path
    format: str
    shape: tuple[int, ...]
    dtype: np.dtype
    decoded_bytes: int


def open_user_file(path: str | os.PathLike[str], budget_bytes: int = DEFAULT_BUDGET_BYTES) -> UserFile:
    """Tell what a file holds and refuse it if it is unsafe, damaged, too large or of an unknown format.

    Only headers are read: no pixel is decoded, so that a decompression bomb costs nothing.

    Parameters
    ----------
    path : str or path
        Of a regular file.
    budget_bytes : int
        Largest decoded size, positive; also the largest size of the file itself.

    Returns
    -------
    UserFile
        Format, shape, type and decoded size.

    Raises
    ------
    FileError
        With one sentence: which file, what was expected, what came, what to do.
    ArgumentError
        If `budget_bytes` is not positive.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.save(Path(folder) / "a.npy", np.zeros((4, 6)))
    ...     found = open_user_file(Path(folder) / "a.npy")
    >>> found.format, found.shape, found.decoded_bytes
    ('npy', (4, 6), 192)
    """
    if budget_bytes <= 0:
        raise ArgumentError(f"open_user_file needs a positive `budget_bytes`; got {budget_bytes}.")
    name = as_name(path, "open_user_file")
    size = _regular_size(name)
    if size > budget_bytes:
        _refuse_size(name, f"is a file of {gibibytes(size)}", size, budget_bytes)
    try:
        with open(name, "rb") as stream:
            kind = _sniff(stream.read(8), name)
            header = _HEADERS[kind](stream, size, name)
    except FileError:
        raise
    except OSError as error:
        raise FileError(f"{name} cannot be read: {error.strerror or error}.") from error
    if 0 in header.shape:
        raise FileError(f"{name} has no pixels: its shape is {header.shape}; save it again.")
    if header.stored_bytes > MAX_RATIO * size:
        raise FileError(
            f"{name} is damaged or hostile: it promises {gibibytes(header.stored_bytes)} of pixels, shape {header.shape}, "
            f"in a file of {gibibytes(size)}, more than any compression packs; copy or save it again."
        )
    if header.decoded_bytes > budget_bytes:
        claim = f"decodes to {gibibytes(header.decoded_bytes)}, shape {header.shape}"
        _refuse_size(name, claim, header.decoded_bytes, budget_bytes)
    return UserFile(Path(name), kind, header.shape, header.dtype, header.decoded_bytes)


def _regular_size(name: str) -> int:
    try:
        status = os.stat(name)
    except FileNotFoundError:
        raise FileError(f"{name} does not exist; check the path.") from None
    except (OSError, ValueError) as error:
        raise FileError(f"{name!r} cannot be read: {error}.") from error
    if stat.S_ISDIR(status.st_mode):
        raise FileError(f"{name} is a folder; expected one file: name a file inside it.")
    if not stat.S_ISREG(status.st_mode):
        raise FileError(f"{name} is a pipe or a device; expected a regular file: copy its content to a file first.")
    if status.st_size == 0:
        raise FileError(f"{name} is empty (0 bytes); expected {READABLE}: copy or save it again.")
    return status.st_size


def _sniff(start: bytes, name: str) -> str:
    for magic, kind in MAGICS.items():
        if start.startswith(magic):
            return kind
    for magic, sentence in FOREIGN.items():
        if start.startswith(magic):
            raise FileError(f"{name} is {sentence}.")
    raise FileError(f"{name} is of no known format: it starts with {start!r}; expected {READABLE}: convert it.")


def _refuse_size(name: str, what: str, needed: int, budget_bytes: int) -> NoReturn:
    raise FileError(
        f"{name} {what}, more than the limit of {gibibytes(budget_bytes)}: if you trust it, raise the limit with "
        f"--max-bytes {needed} on the command line or budget_bytes={needed} in Python."
    )


def as_name(path: str | os.PathLike[str], who: str) -> str:
    """Return the name of a file.

    Raises
    ------
    ArgumentError
        If `path` is no path.
    """
    if not isinstance(path, str | os.PathLike):
        raise ArgumentError(f"{who}: `path` must name a file, a text or a pathlib.Path; got {type(path).__name__}.")
    return os.fspath(path)
