"""Named tensors and words about them in one safetensors file: written whole or not at all, read without running code."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from apheleia.core.errors import FileError, MissingExtraError
from apheleia.io.atomic import atomic_write_bytes

__all__ = ["TensorFile", "read_tensors", "write_tensors"]

FIELD = "apheleia"
"""Key of the metadata under which the words of a file stand, as JSON."""

LIMIT = 256 * 1024**2
"""Largest file that is read, in bytes: a thousand times the size of any prior of this package."""


@dataclass(frozen=True)
class TensorFile:
    """Named tensors, and words about them that JSON can hold."""

    tensors: dict[str, Tensor]
    words: dict[str, object]


def write_tensors(path: str | os.PathLike[str], content: TensorFile) -> None:
    """Write tensors and words to a safetensors file; an older file is replaced in one step.

    Raises
    ------
    FileError
        If the file cannot be written; an older one stays as it was.
    MissingExtraError
        If safetensors is not installed.
    """
    try:
        from safetensors.torch import save
    except ImportError as error:
        raise MissingExtraError("write_tensors", "safetensors", "train") from error
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in content.tensors.items()}
    atomic_write_bytes(path, save(tensors, metadata={FIELD: json.dumps(content.words)}))


def read_tensors(path: str | os.PathLike[str]) -> TensorFile:
    """Read what `write_tensors` wrote.

    Raises
    ------
    FileError
        If the file is missing, too large, damaged, or no file of weights.
    MissingExtraError
        If safetensors is not installed.
    """
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load
    except ImportError as error:
        raise MissingExtraError("read_tensors", "safetensors", "train") from error
    try:
        if Path(path).stat().st_size > LIMIT:
            raise FileError(f"{path} is larger than {LIMIT // 1024**2} MiB; expected the weights of a small model.")
        data = Path(path).read_bytes()
    except FileNotFoundError:
        raise FileError(f"{path} does not exist; check the path.") from None
    except OSError as error:
        raise FileError(f"{path} cannot be read: {error.strerror or error}.") from error
    try:
        tensors = load(data)
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        words = json.loads(header["__metadata__"][FIELD])
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise FileError(
            f"{path} is no file of weights, or is damaged ({type(error).__name__}); copy or save it again."
        ) from error
    if not isinstance(words, dict):
        raise FileError(f"{path} is no file of weights: its words are no table.")
    return TensorFile(tensors, words)
