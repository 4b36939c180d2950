"""Wavelet l1: sparse detail coefficients in an orthonormal wavelet basis."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from apheleia.core.space import IMAGE, Space, per_sample
from apheleia.functionals.functional import Functional, is_within
from apheleia.operators.linear import LinearOperator
from apheleia.operators.wavelet import Extension, WaveletTransform

__all__ = ["DetailL1", "WaveletL1"]


@final
class DetailL1(Functional):
    """c -> sum |c_i| over wavelet coefficients outside of the upper left corner, which holds the coarsest approximation.

    Parameters
    ----------
    levels : int
        The corner has height / 2^levels rows and width / 2^levels columns.
    space : Space, default images of any size
        Coefficients as `operators.WaveletTransform` gives them.
    """

    is_convex = True
    is_proximable = True
    has_exact_prox = True
    has_conjugate = True

    def __init__(self, levels: int, space: Space = IMAGE) -> None:
        super().__init__(space)
        self.levels = levels

    @property
    def formula(self) -> str:
        """The term as a reader writes it."""
        return "|details of x|₁"

    def details(self, x: Tensor) -> Tensor:
        """Return the coefficients with the approximation set to zero."""
        out = x.clone()
        out[..., : x.shape[-2] >> self.levels, : x.shape[-1] >> self.levels] = 0
        return out

    def _value(self, x: Tensor) -> Tensor:
        return self.details(x).abs().sum(self.space.axes)

    def taken(self, x: Tensor, step: Tensor | float) -> Tensor:
        """Return what the proximal map takes away: details of at most `step`, and nothing of the approximation."""
        wide = per_sample(step, x, self.space.rank)
        details = self.details(x)
        if not details.is_complex():
            return torch.clamp(details, -wide, wide) if isinstance(wide, float | int) else details.clamp(min=-wide, max=wide)
        size = details.abs()
        return torch.where(size > wide, details * (wide / torch.where(size > 0, size, 1.0)), details)

    def _prox(self, x: Tensor, step: Tensor | float) -> Tensor:
        return x - self.taken(x, step)

    def dual_parts(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Return the largest detail, and whether u has no approximation part, up to rounding: only then F^*(u) is finite."""
        details = self.details(u)
        # as pure as rounding leaves a small difference of large signals
        slack = max(1e-12, 64 * torch.finfo(u.dtype).eps)
        is_pure = self.space.norm(u - details) <= slack * self.space.norm(u)
        return details.abs().amax(self.space.axes), is_pure

    def _conjugate(self, u: Tensor) -> Tensor:
        largest, is_pure = self.dual_parts(u)
        return torch.where(is_within(largest) & is_pure, 0.0, torch.inf).to(u.real.dtype)

    def _dual_scale(self, u: Tensor) -> Tensor:
        largest, is_pure = self.dual_parts(u)
        return torch.where(is_pure, 1 / largest.clamp(min=1.0), 0.0)


@final
class WaveletL1(Functional):
    """x -> sum |(W x)_i| over the detail coefficients of an orthonormal wavelet transform W.

    The coarsest approximation, the upper left corner of W x, is not penalised: it holds the image's mean.

    Parameters
    ----------
    wavelet : str, default "db4"
        An orthogonal family; see `WaveletTransform`.
    levels : int, default 3
        Number of halvings; without extension height and width must be multiples of 2^levels.
    space : Space, default images of any size
        Where x lives; an extension needs its height and width.
    extension : {"reflect", "zero"}, optional
        Continues images whose sizes are no such multiples; their proximal map has no closed form, and solvers take the split
        (l1 norm of details, W E), with nothing approximated.

    Notes
    -----
    Certificate: the proximal map W^H soft(W x, step) is exact, without hidden factors, because W is orthonormal; there is none
    with an extension that adds pixels.
    Source: D. Donoho, I. Johnstone, Biometrika 81 (1994), doi:10.1093/biomet/81.3.425.

    Examples
    --------
    >>> WaveletL1("haar", 1)(torch.tensor([[[0.0, 2.0], [0.0, 2.0]]]))
    tensor(2.0000)
    """

    is_convex = True

    def __init__(self, wavelet: str = "db4", levels: int = 3, space: Space = IMAGE, extension: Extension | None = None) -> None:
        transform = WaveletTransform(wavelet, levels, space, extension)
        super().__init__(transform.domain)
        self.transform = transform
        self.norm = DetailL1(levels, transform.codomain)
        self.is_proximable = self.has_exact_prox = self.has_conjugate = transform.is_orthonormal

    @property
    def formula(self) -> str:
        """The term as a reader writes it."""
        return "|details of W x|₁"

    @property
    def split(self) -> tuple[Functional, LinearOperator] | None:
        """The pair (h, K) with value h(K x), where the proximal map is not exact."""
        return None if self.has_exact_prox else (self.norm, self.transform)

    def _value(self, x: Tensor) -> Tensor:
        return self.norm._value(self.transform._forward(x))

    def _prox(self, x: Tensor, step: Tensor | float) -> Tensor:
        # x minus what the threshold takes away leaves the approximation untouched
        return x - self.transform._adjoint(self.norm.taken(self.transform._forward(x), step))

    def _conjugate(self, u: Tensor) -> Tensor:
        return self.norm._conjugate(self.transform._forward(u))

    def _dual_scale(self, u: Tensor) -> Tensor:
        return self.norm._dual_scale(self.transform._forward(u))
