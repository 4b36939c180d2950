"""NumPy's .npy files, without pickles and without evaluating their header as Python."""

from __future__ import annotations

import math
import re
import struct
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from apheleia.core.errors import FileError
from apheleia.io.header import Header, gibibytes

__all__ = ["decode", "header"]

MAGIC = b"\x93NUMPY"
LARGEST_HEADER = 10_000
DESCRIPTION = re.compile(r"""(['"])descr\1\s*:\s*(?:(['"])([<>|=]?[A-Za-z]\d{0,9})(?:\[\w{1,9}\])?\2|(\[))""")
ORDER = re.compile(r"""(['"])fortran_order\1\s*:\s*(True|False)""")
SHAPE = re.compile(r"""(['"])shape\1\s*:\s*\((\s*|\s*\d{1,20}\s*,\s*|\s*\d{1,20}(?:\s*,\s*\d{1,20}){1,31}\s*,?\s*)\)""")


@dataclass(frozen=True)
class _Layout:
    shape: tuple[int, ...]
    is_fortran: bool
    dtype: np.dtype
    offset: int


def header(stream: BinaryIO, size: int, path: str) -> Header:
    """Parse the header and hold it against the size of the file.

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
        If the file holds pickled objects, records, text or complex numbers, or if shape and size do not agree.
    """
    layout = _layout(stream, size, path)
    expected, found = math.prod(layout.shape) * layout.dtype.itemsize, size - layout.offset
    if expected != found:
        raise FileError(
            f"{path} is truncated or its header is wrong: shape {layout.shape} of {layout.dtype} needs {gibibytes(expected)}, "
            f"the file holds {gibibytes(found)}; save it again with numpy.save."
        )
    return Header(layout.shape, layout.dtype, expected, expected)


def decode(stream: BinaryIO, size: int, path: str) -> np.ndarray:
    """Read the array of a file that `header` accepted.

    Parameters
    ----------
    stream : binary file
        Open on disk.
    size : int
        Of the file in bytes.
    path : str
        For the messages.

    Returns
    -------
    ndarray
        In the dtype and the byte order of the file.
    """
    layout = _layout(stream, size, path)
    stream.seek(layout.offset)
    values = np.fromfile(stream, dtype=layout.dtype, count=math.prod(layout.shape))
    return values.reshape(layout.shape, order="F" if layout.is_fortran else "C")


def _layout(stream: BinaryIO, size: int, path: str) -> _Layout:
    stream.seek(0)
    start = stream.read(12).ljust(12, b"\0")
    if start[6] not in (1, 2, 3):
        raise FileError(f"{path} has a damaged npy header: version {start[6]}, expected 1 to 3; save it again with numpy.save.")
    prefix, (length,) = (10, struct.unpack("<H", start[8:10])) if start[6] == 1 else (12, struct.unpack("<I", start[8:12]))
    most = max(0, min(LARGEST_HEADER, size - prefix))
    if length > most:
        raise FileError(
            f"{path} has a damaged npy header: it claims {length} bytes, at most {most} fit; save it again with numpy.save."
        )
    stream.seek(prefix)
    text = stream.read(length).decode("latin-1")
    kind, order, shape = DESCRIPTION.search(text), ORDER.search(text), SHAPE.search(text)
    if kind is None or order is None or shape is None:
        raise FileError(f"{path} has a damaged npy header: {text.strip()[:80]!r}; save it again with numpy.save.")
    code = kind.group(3) or "V"
    if code.strip("<>|=").startswith("O"):
        raise FileError(
            f"{path} holds pickled Python objects, which can run code and are never read; "
            "expected numbers: save with numpy.save(path, array, allow_pickle=False)."
        )
    if not re.fullmatch(r"[<>|=]?(?:b1|[ui][1248]|f[248])", code):
        name = "records" if kind.group(4) else f"values of type {code!r}"
        raise FileError(f"{path} holds {name}; expected bool, integers or floats of at most 64 bits: convert them.")
    sizes = tuple(int(count) for count in re.findall(r"\d+", shape.group(2)))
    return _Layout(sizes, order.group(2) == "True", np.dtype(code), prefix + length)
