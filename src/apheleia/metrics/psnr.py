"""Peak signal-to-noise ratio."""

from __future__ import annotations

import torch
from torch import Tensor

from apheleia.core.errors import ShapeError
from apheleia.core.interop import accepts_numpy

__all__ = ["psnr"]


@accepts_numpy
def psnr(x: Tensor, truth: Tensor, full_scale: float = 1.0) -> Tensor:
    """Return 10 log10(full_scale^2 / mean((x - truth)^2)) in decibels, over all entries.

    Parameters
    ----------
    x, truth : Tensor or ndarray, any shape, the same for both
        The answer and the truth.
    full_scale : float, default 1
        The value of white, above zero: 1 for images in units of full scale, 255 for bytes.

    Returns
    -------
    Tensor
        A number in dB; +inf where the two agree exactly. The mean is taken in float64.

    Raises
    ------
    ShapeError
        If the shapes differ.

    Examples
    --------
    >>> round(psnr(torch.tensor([0.1]), torch.tensor([0.0])).item(), 3)
    20.0
    """
    if x.shape != truth.shape:
        raise ShapeError(f"psnr: `x` and `truth` must have one shape; got {tuple(x.shape)} and {tuple(truth.shape)}.")
    error = (x.double() - truth.double()).square().mean()
    return 10 * torch.log10(full_scale**2 / error)
