"""Blur kernels: Gaussian and box ones by formula, any other from a file."""

from __future__ import annotations

import math
from os import PathLike

import numpy

from apheleia.core.errors import ArgumentError, FileError
from apheleia.core.interop import is_number
from apheleia.imaging.matlab_kernels import is_hdf5, read_matlab_kernel
from apheleia.io import DEFAULT_BUDGET_BYTES, read

__all__ = ["box_kernel", "gaussian_kernel", "read_kernel", "sampling_kernel"]


def gaussian_kernel(sigma: float, radius: int | None = None) -> numpy.ndarray:
    """Return a Gaussian sampled on a square grid and normalised to sum 1.

    Parameters
    ----------
    sigma : float
        Standard deviation in pixels, above zero.
    radius : int, optional
        Half width in pixels; ceil(4 sigma) by default, beyond which 6e-5 of the mass of each axis lies.

    Returns
    -------
    ndarray of float64, (2 radius + 1, 2 radius + 1)

    Raises
    ------
    ArgumentError
        If sigma is not above zero.
    """
    if not (is_number(sigma) and 0 < sigma < math.inf):
        raise ArgumentError(f"gaussian_kernel: `sigma` must be a number above zero, in pixels; got {sigma!r}.")
    half = math.ceil(4 * sigma) if radius is None else radius
    profile = numpy.exp(-0.5 * (numpy.arange(-half, half + 1) / sigma) ** 2)
    kernel = numpy.outer(profile, profile)
    return kernel / kernel.sum()


def box_kernel(size: int) -> numpy.ndarray:
    """Return a square of equal weights that sums to 1: a blur by defocus, coarsely.

    Parameters
    ----------
    size : int
        Width in pixels, at least 1.

    Raises
    ------
    ArgumentError
        If the size is below 1.
    """
    if not isinstance(size, int) or size < 1:
        raise ArgumentError(f"box_kernel: `size` must be a whole number of pixels >= 1; got {size!r}.")
    return numpy.full((size, size), 1 / size**2)


def sampling_kernel(scale: int) -> numpy.ndarray:
    """Return the kernel that averages the scale x scale fine pixels inside each coarse one, aligned with x[::scale, ::scale].

    Parameters
    ----------
    scale : int
        Fine pixels a coarse one, at least 1.

    Returns
    -------
    ndarray of float64, (2 scale - 1, 2 scale - 1)
        Its centre is at scale - 1, so that output pixel n reads the inputs n to n + scale - 1.

    Raises
    ------
    ArgumentError
        If the scale is below 1.
    """
    if not isinstance(scale, int) or scale < 1:
        raise ArgumentError(f"sampling_kernel: `scale` must be a whole number >= 1; got {scale!r}.")
    kernel = numpy.zeros((2 * scale - 1, 2 * scale - 1))
    kernel[:scale, :scale] = 1 / scale**2
    return kernel


def read_kernel(path: str | PathLike[str], budget_bytes: int = DEFAULT_BUDGET_BYTES, number: int = 1) -> numpy.ndarray:
    """Read a blur kernel from a grey image, an array file or a MATLAB file, and normalise it to sum 1.

    Parameters
    ----------
    path : path
        PNG, JPEG, TIFF, npy, or .mat of version 7.3 (HDF5, which needs h5py); the centre is at height // 2, width // 2.
    budget_bytes : int
        Largest decoded size.
    number : int
        Which kernel of a .mat file, from 1; the other files hold one.

    Returns
    -------
    ndarray of float64, (height, width)

    Raises
    ------
    FileError
        If it cannot be read, is not a single grey image, holds negative values or sums to zero, or has no kernel of that number.
    ArgumentError
        If the number is below 1.
    MissingExtraError
        If a .mat file is given and h5py is not installed.
    """
    if is_hdf5(path):
        kernel = read_matlab_kernel(path, number)
    else:
        if number != 1:
            raise FileError(f"{path} holds one kernel; there is no kernel {number}.")
        measurement = read(path, budget_bytes=budget_bytes)
        if measurement.axes != "YX":
            raise FileError(f"{path}: a kernel must be one grey image (height, width); this file has axes {measurement.axes}.")
        kernel = measurement.data.astype(numpy.float64)
    if not numpy.isfinite(kernel).all():
        raise FileError(f"{path}: a kernel must be finite; this one holds NaN or infinite values.")
    if kernel.min() < 0 or not kernel.sum() > 0:
        raise FileError(f"{path}: a kernel must be non-negative with a sum above zero; its minimum is {kernel.min():.4g}.")
    return kernel / kernel.sum()
