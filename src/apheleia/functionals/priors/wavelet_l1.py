"""Wavelet l1: sparse detail coefficients in an orthonormal wavelet basis."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from apheleia.core.space import per_sample
from apheleia.functionals.functional import Functional, is_within
from apheleia.operators.wavelet import WaveletTransform

__all__ = ["WaveletL1"]


@final
class WaveletL1(Functional):
    """x -> sum |(W x)_i| over the detail coefficients of an orthonormal wavelet transform W.

    The coarsest approximation, the upper left corner of W x, is not penalised: it holds the image's mean.

    Parameters
    ----------
    wavelet : str, default "db4"
        An orthogonal family; see `WaveletTransform`.
    levels : int, default 3
        Number of halvings; height and width must be multiples of 2^levels.

    Notes
    -----
    Certificate: the proximal map W^H soft(W x, step) is exact, without hidden factors, because W is orthonormal.
    Source: D. Donoho, I. Johnstone, Biometrika 81 (1994), doi:10.1093/biomet/81.3.425.
    """

    is_convex = True
    is_proximable = True
    has_exact_prox = True
    has_conjugate = True

    def __init__(self, wavelet: str = "db4", levels: int = 3) -> None:
        transform = WaveletTransform(wavelet, levels)
        super().__init__(transform.domain)
        self.transform = transform

    @property
    def formula(self) -> str:
        """The term as a reader writes it."""
        return "|details of W x|₁"

    def _details(self, coefficients: Tensor) -> Tensor:
        """Return the coefficients with the approximation set to zero."""
        height, width = (size >> self.transform.levels for size in coefficients.shape[-2:])
        out = coefficients.clone()
        out[..., :height, :width] = 0
        return out

    def _value(self, x: Tensor) -> Tensor:
        return self._details(self.transform._forward(x)).abs().sum(self.space.axes)

    def _prox(self, x: Tensor, step: Tensor | float) -> Tensor:
        wide = per_sample(step, x, self.space.rank)
        details = self._details(self.transform._forward(x))
        # x minus what the threshold takes away leaves the approximation untouched
        size = details.abs()
        taken = torch.where(size > wide, details * (wide / torch.where(size > 0, size, 1.0)), details)
        return x - self.transform._adjoint(taken)

    def _dual_parts(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Return the largest detail, and whether u has no approximation part, up to rounding: only then F^*(u) is finite."""
        coefficients = self.transform._forward(u)
        details = self._details(coefficients)
        # as pure as rounding leaves a small difference of large signals
        slack = max(1e-12, 64 * torch.finfo(u.dtype).eps)
        is_pure = self.space.norm(coefficients - details) <= slack * self.space.norm(coefficients)
        return details.abs().amax(self.space.axes), is_pure

    def _conjugate(self, u: Tensor) -> Tensor:
        largest, is_pure = self._dual_parts(u)
        return torch.where(is_within(largest) & is_pure, 0.0, torch.inf).to(u.dtype)

    def _dual_scale(self, u: Tensor) -> Tensor:
        largest, is_pure = self._dual_parts(u)
        return torch.where(is_pure, 1 / largest.clamp(min=1.0), 0.0)
