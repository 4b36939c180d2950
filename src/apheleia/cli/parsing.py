"""Words of the command line as numbers and kernels, each mistake with its sentence."""

from __future__ import annotations

import math

import numpy

from apheleia.core.errors import ArgumentError
from apheleia.imaging import box_kernel, gaussian_kernel

__all__ = ["LARGEST_BLUR", "parse_blur", "parse_number"]

LARGEST_BLUR = 100.0
"""Largest width of a blur in pixels; beyond it nothing can be restored, and kernels grow absurd."""


def parse_blur(words: str) -> numpy.ndarray:
    """Return the kernel of "gaussian:SIGMA" or "box:SIZE", which sums to 1.

    Raises
    ------
    ArgumentError
        If the words are of another form or the width is out of range.
    """
    kind, _, width = words.partition(":")
    try:
        value = float(width)
    except ValueError:
        value = math.nan
    if kind not in ("gaussian", "box") or not 0 < value <= LARGEST_BLUR or (kind == "box" and value != int(value)):
        raise ArgumentError(
            f"--blur must be gaussian:SIGMA (above 0, at most {LARGEST_BLUR:g} pixels) or box:SIZE (a whole number of pixels); "
            f"got {words!r}."
        )
    return gaussian_kernel(value) if kind == "gaussian" else box_kernel(int(value))


def parse_number(words: str, flag: str, *, zero: bool) -> float | None:
    """Return the number of an option, or None for "auto".

    Parameters
    ----------
    words : str
        What the user wrote.
    flag : str
        The option, for the sentence.
    zero : bool
        Whether zero is allowed.

    Raises
    ------
    ArgumentError
        If it is neither "auto" nor a number in range.
    """
    if words == "auto":
        return None
    try:
        value = float(words)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or value < 0 or (value == 0 and not zero):
        raise ArgumentError(f"{flag} must be auto or a number {'of at least' if zero else 'above'} zero; got {words!r}.")
    return value
