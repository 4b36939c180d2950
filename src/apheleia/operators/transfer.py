"""Transfer functions of kernels on grids: half spectra, cosine responses, and lengths for which an FFT is fast."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["fast_length", "frequency_response", "spectrum", "symmetric_autocorrelation"]


def spectrum(kernel: Tensor, height: int, width: int) -> Tensor:
    """Return the half spectrum of a kernel centred at k // 2, wrapped onto a grid that may be smaller than it."""
    kh, kw = kernel.shape[-2:]
    device = kernel.device
    rows = (torch.arange(kh, device=device) - kh // 2) % height
    columns = (torch.arange(kw, device=device) - kw // 2) % width
    wrapped = torch.zeros(*kernel.shape[:-2], height, kw, dtype=kernel.dtype, device=device).index_add(-2, rows, kernel)
    grid = torch.zeros(*kernel.shape[:-2], height, width, dtype=kernel.dtype, device=device).index_add(-1, columns, wrapped)
    return torch.fft.rfft2(grid)


def symmetric_autocorrelation(kernel: Tensor) -> Tensor | None:
    """Return the autocorrelation of a kernel where it is nearly symmetric in each axis, made so exactly, else None."""
    shape = (2 * kernel.shape[-2] - 1, 2 * kernel.shape[-1] - 1)
    power = torch.fft.rfft2(kernel, s=shape).abs() ** 2
    correlation = torch.fft.fftshift(torch.fft.irfft2(power, s=shape), dim=(-2, -1))
    mirrored = correlation.flip(-1)
    difference, size = torch.linalg.vector_norm(correlation - mirrored), torch.linalg.vector_norm(correlation)
    return 0.5 * (correlation + mirrored) if bool(difference <= 0.05 * size) else None


def frequency_response(kernel: Tensor, height: int, width: int) -> Tensor:
    """Return the eigenvalues of a symmetric kernel on the cosines of an image, (..., height, width)."""
    rows, columns = (
        torch.cos(torch.pi / n * torch.outer(torch.arange(n, dtype=torch.float64), torch.arange(k) - k // 2)).to(kernel)
        for n, k in zip((height, width), kernel.shape[-2:], strict=True)
    )
    return rows @ kernel @ columns.mT


def fast_length(size: int) -> int:
    """Return the smallest length >= `size` for which an FFT is fast: prime factors up to 7, above 64 a multiple of 4."""
    while True:
        rest = size
        for prime in (2, 3, 5, 7):
            while rest % prime == 0:
                rest //= prime
        if rest == 1 and (size <= 64 or size % 4 == 0):
            return size
        size += 1
