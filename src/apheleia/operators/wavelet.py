"""The orthonormal periodic wavelet transform in two dimensions."""

from __future__ import annotations

import importlib
import math
from functools import reduce
from typing import final

import torch
from torch import Tensor

from apheleia.core.bound import Bound
from apheleia.core.errors import ArgumentError, MissingExtraError, ShapeError
from apheleia.core.space import IMAGE, Space
from apheleia.operators.identity import Identity
from apheleia.operators.linear import LinearOperator

__all__ = ["WaveletTransform", "scaling_filter"]


@final
class WaveletTransform(LinearOperator):
    """x -> W x, orthonormal wavelet coefficients in the image's own shape, the coarsest band in the upper left corner.

    Periodic ends; W^{-1} = W^H, so that |W x| = |x| exactly and the proximal map of |W x|_1 is exact.

    Parameters
    ----------
    wavelet : str, default "db4"
        An orthogonal family of PyWavelets: "haar" (built in), "db1" to "db38", "sym2" to "sym20", "coif1" to "coif17".
    levels : int, default 3
        Number of halvings; height and width must be multiples of 2^levels.
    space : Space, default images of any size
        Domain and codomain.

    Raises
    ------
    ArgumentError
        If the wavelet is not orthogonal, or levels < 1.
    ShapeError
        If an image's size is not a multiple of 2^levels.
    MissingExtraError
        If a wavelet other than Haar is asked for without PyWavelets.

    Notes
    -----
    Certificate: norm and smallest singular value 1, exact up to the rounding of the tabulated filter (2e-11).
    Complexity: O(N L) for filters of length L.
    Source: S. Mallat, IEEE Transactions on Pattern Analysis and Machine Intelligence 11 (1989), doi:10.1109/34.192463.
    """

    is_orthonormal = True
    has_gram_solve = True

    def __init__(self, wavelet: str = "db4", levels: int = 3, space: Space = IMAGE) -> None:
        if not isinstance(levels, int) or levels < 1:
            raise ArgumentError(f"WaveletTransform: `levels` must be a whole number >= 1; got {levels!r}.")
        super().__init__(space, space)
        self.wavelet = wavelet
        self.levels = levels
        self.low = scaling_filter(wavelet)
        # the quadrature mirror filter: alternate signs on the reversed low-pass
        self.high = tuple((-1) ** k * value for k, value in enumerate(reversed(self.low)))

    def _check(self, height: int, width: int) -> None:
        step = 2**self.levels
        if height % step or width % step:
            deepest = max(level for level in range(self.levels + 1) if height % 2**level == 0 and width % 2**level == 0)
            raise ShapeError(
                f"WaveletTransform: height and width must be multiples of 2^levels = {step}; got {height} x {width}. "
                f"This size allows {deepest} levels; or extend the image."
            )

    def _forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        self._check(height, width)
        out = x
        for level in range(self.levels):
            h, w = height >> level, width >> level
            band = _analysis(_analysis(out[..., :h, :w], -1, self.low, self.high), -2, self.low, self.high)
            out = band if level == 0 else _replaced(out, band)
        return out

    def _adjoint(self, y: Tensor) -> Tensor:
        height, width = y.shape[-2:]
        self._check(height, width)
        out = y
        for level in reversed(range(self.levels)):
            h, w = height >> level, width >> level
            band = _synthesis(_synthesis(out[..., :h, :w], -2, self.low, self.high), -1, self.low, self.high)
            out = band if level == 0 else _replaced(out, band)
        return out

    def _norm(self, shape: tuple[int, ...] | None) -> Bound | None:
        return Bound(1.0, "exact", "orthonormal transform")

    def _smallest_singular_value(self, shape: tuple[int, ...]) -> Bound | None:
        return Bound(1.0, "exact", "orthonormal transform")

    def _gram(self) -> LinearOperator:
        return Identity(self.domain)


def scaling_filter(wavelet: str) -> tuple[float, ...]:
    """Return the low-pass filter of an orthogonal wavelet, of even length and unit norm, summing to sqrt(2).

    Parameters
    ----------
    wavelet : str
        "haar", or an orthogonal family of PyWavelets.

    Raises
    ------
    ArgumentError
        If it is unknown or not orthogonal.
    MissingExtraError
        If PyWavelets is needed and not installed.
    """
    if wavelet in ("haar", "db1"):
        return (math.sqrt(0.5), math.sqrt(0.5))
    try:
        pywt = importlib.import_module("pywt")
    except ImportError:
        raise MissingExtraError(f"The wavelet {wavelet!r}", "PyWavelets", "wavelets") from None
    if wavelet not in pywt.wavelist(kind="discrete") or not pywt.Wavelet(wavelet).orthogonal or wavelet == "dmey":
        raise ArgumentError(
            f"WaveletTransform: {wavelet!r} is not an orthogonal wavelet. "
            "Use haar, db2 to db38, sym2 to sym20 or coif1 to coif17."
        )
    return tuple(float(value) for value in pywt.Wavelet(wavelet).rec_lo)


def _replaced(whole: Tensor, corner: Tensor) -> Tensor:
    out = whole.clone()
    out[..., : corner.shape[-2], : corner.shape[-1]] = corner
    return out


def _weighted(terms: list[tuple[float, Tensor]]) -> Tensor:
    """Return the weighted sum of several views without a temporary a term."""
    weight, first = terms[0]
    return reduce(lambda total, term: torch.add(total, term[1], alpha=term[0]), terms[1:], weight * first)


def _analysis(x: Tensor, dim: int, low: tuple[float, ...], high: tuple[float, ...]) -> Tensor:
    """Return (low-pass, high-pass) halves along `dim`: band[n] = sum_k f[k] x[(2 n + k) mod N]."""
    half, taps = x.shape[dim] // 2, len(low) // 2
    phases = [_every_second(x, dim, phase) for phase in (0, 1)]
    wrap = torch.arange(half + taps - 1, device=x.device) % half
    phases = [phase.index_select(dim, wrap) if taps > 1 else phase for phase in phases]
    bands = [
        _weighted([(f[2 * j + phase], phases[phase].narrow(dim, j, half)) for j in range(taps) for phase in (0, 1)])
        for f in (low, high)
    ]
    return torch.cat(bands, dim)


def _synthesis(y: Tensor, dim: int, low: tuple[float, ...], high: tuple[float, ...]) -> Tensor:
    """Return the transpose of `_analysis`: x[2 m + phase] = sum_j sum_bands f[2 j + phase] band[(m - j) mod N/2]."""
    half, taps = y.shape[dim] // 2, len(low) // 2
    wrap = torch.arange(-(taps - 1), half, device=y.device) % half
    bands = [y.narrow(dim, start, half) for start in (0, half)]
    bands = [band.index_select(dim, wrap) if taps > 1 else band for band in bands]
    phases = [
        _weighted(
            [
                (f[2 * j + phase], band.narrow(dim, taps - 1 - j, half))
                for j in range(taps)
                for f, band in zip((low, high), bands, strict=True)
            ]
        )
        for phase in (0, 1)
    ]
    return _interleaved(phases, dim)


def _every_second(x: Tensor, dim: int, phase: int) -> Tensor:
    return x[..., phase::2] if dim == -1 else x[..., phase::2, :]


def _interleaved(phases: list[Tensor], dim: int) -> Tensor:
    """Return the tensor whose even and odd positions along `dim` are the two phases."""
    even, odd = phases
    if dim == -1:
        return torch.stack((even, odd), -1).flatten(-2)
    return torch.stack((even, odd), -2).flatten(-3, -2)
