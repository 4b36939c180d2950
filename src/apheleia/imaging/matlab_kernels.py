"""Blur kernels in MATLAB files of version 7.3, which are HDF5: matrices, and cells of matrices."""

from __future__ import annotations

import os
from collections.abc import Iterator
from os import PathLike
from typing import Any

import numpy

from apheleia.core.errors import ArgumentError, FileError, MissingExtraError

__all__ = ["is_hdf5", "read_matlab_kernel"]

SIGNATURE = b"\x89HDF\r\n\x1a\n"
LARGEST_FILE = 64 * 1024**2
LARGEST_WIDTH = 4096
MOST_KERNELS = 10_000


def is_hdf5(path: str | PathLike[str]) -> bool:
    """Return whether a file begins as HDF5, at once or behind MATLAB's own header of 512 bytes; False where it cannot be read."""
    try:
        if not os.path.isfile(path):
            return False
        with open(path, "rb") as stream:
            start = stream.read(512 + len(SIGNATURE))
    except OSError:
        return False
    return start.startswith(SIGNATURE) or start[512:] == SIGNATURE


def read_matlab_kernel(path: str | PathLike[str], number: int = 1) -> numpy.ndarray:
    """Return one of the real matrices of a file, in the order of its names and of the cells under them.

    Nothing is followed out of the file, no size is believed before it is checked, and nothing but numbers is read.

    Parameters
    ----------
    path : path
        A .mat file of version 7.3 or another HDF5 file.
    number : int
        Which matrix, from 1.

    Returns
    -------
    ndarray of float64, (height, width)
        As MATLAB shows it.

    Raises
    ------
    FileError
        If the file is damaged, too large, or has no such matrix.
    ArgumentError
        If the number is below 1.
    MissingExtraError
        If h5py is not installed.
    """
    if number < 1:
        raise ArgumentError(f"read_kernel: kernels are numbered from 1; got {number}.")
    size = os.path.getsize(path)
    if size > LARGEST_FILE:
        raise FileError(
            f"{path} is a file of {size / 2**20:.0f} MiB; kernels are small: expected at most {LARGEST_FILE >> 20} MiB."
        )
    try:
        import h5py
    except ImportError:
        raise MissingExtraError(f"Reading {os.fspath(path)}", "h5py", "kernels") from None
    count = 0
    try:
        with h5py.File(path, "r") as file:
            for matrix in _matrices(file, h5py):
                count += 1
                if count == number:
                    # MATLAB stores columns first
                    return numpy.asarray(matrix[()], dtype=numpy.float64).T
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
        raise FileError(
            f"{path} cannot be read as HDF5: {type(error).__name__}; save the kernel with numpy.save as .npy."
        ) from None
    raise FileError(f"{path} holds {count} matrices of numbers; there is no kernel {number}.")


def _matrices(file: Any, h5py: Any) -> Iterator[Any]:
    """Yield the datasets that are small real matrices, those behind a cell's references included."""
    seen = 0
    for name in sorted(file):
        # soft and external links are not followed
        if not isinstance(file.get(name, getlink=True), h5py.HardLink) or not isinstance(file[name], h5py.Dataset):
            continue
        dataset = file[name]
        if not _is_inside(dataset):
            continue
        is_cell = h5py.check_ref_dtype(dataset.dtype) is h5py.Reference and dataset.size <= MOST_KERNELS
        for item in [file[reference] for reference in dataset[()].ravel()] if is_cell else [dataset]:
            seen += 1
            if seen > MOST_KERNELS:
                return
            if isinstance(item, h5py.Dataset) and _is_inside(item) and _is_matrix(item):
                yield item


def _is_inside(dataset: Any) -> bool:
    return dataset.external is None and not dataset.is_virtual


def _is_matrix(dataset: Any) -> bool:
    return dataset.dtype.kind in "fiu" and dataset.ndim == 2 and min(dataset.shape) > 0 and max(dataset.shape) <= LARGEST_WIDTH
