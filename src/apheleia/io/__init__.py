"""Files in and out: one guard for what strangers send, native depth, axes and units kept, whole files or none."""

from __future__ import annotations

from apheleia.io.atomic import atomic_path, atomic_write_bytes
from apheleia.io.guard import DEFAULT_BUDGET_BYTES, UserFile, open_user_file
from apheleia.io.measurement import Measurement
from apheleia.io.quantise import quantise
from apheleia.io.read import read
from apheleia.io.tensors import TensorFile, read_tensors, write_tensors
from apheleia.io.write import write

__all__ = [
    "DEFAULT_BUDGET_BYTES",
    "Measurement",
    "TensorFile",
    "UserFile",
    "atomic_path",
    "atomic_write_bytes",
    "open_user_file",
    "quantise",
    "read",
    "read_tensors",
    "write",
    "write_tensors",
]
