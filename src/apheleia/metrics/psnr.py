"""Peak signal-to-noise ratio."""

from __future__ import annotations

import torch

from apheleia.core.errors import ArgumentError, ShapeError
from apheleia.core.interop import ArrayLike, as_tensor, is_number

__all__ = ["psnr"]


def psnr(x: ArrayLike, truth: ArrayLike, full_scale: float = 1.0) -> float:
    """Return 10 log10(full_scale^2 / mean(|x - truth|^2)) in decibels, over all entries.

    Parameters
    ----------
    x, truth : Tensor or ndarray, any shape, the same for both
        The answer and the truth.
    full_scale : float, default 1
        The value of white, above zero: 1 for images in units of full scale, 255 for bytes.

    Returns
    -------
    float
        A number in dB; +inf where the two agree exactly. The mean is taken in float64.

    Raises
    ------
    ShapeError
        If the shapes differ.
    ArgumentError
        If the full scale is not above zero.

    Examples
    --------
    >>> round(psnr(torch.tensor([0.1]), torch.tensor([0.0])), 3)
    20.0
    """
    first, second = as_tensor(x, "psnr", "x"), as_tensor(truth, "psnr", "truth")
    if not (is_number(full_scale) and full_scale > 0):
        raise ArgumentError(f"psnr: `full_scale` must be above zero, 255 for bytes; got {full_scale!r}.")
    if first.shape != second.shape:
        raise ShapeError(f"psnr: `x` and `truth` must have one shape; got {tuple(first.shape)} and {tuple(second.shape)}.")
    wide = torch.promote_types(torch.promote_types(first.dtype, second.dtype), torch.float64)
    error = (first.to(wide) - second.to(wide)).abs().square().mean()
    return float(10 * torch.log10(full_scale**2 / error))
