"""Convolution of an unknown image with an unknown kernel."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from apheleia.core.bound import Bound
from apheleia.core.errors import ArgumentError
from apheleia.core.space import Space
from apheleia.operators.bilinear_map import BilinearMap
from apheleia.operators.transfer import fast_length

__all__ = ["BlindConvolution"]


@final
class BlindConvolution(BilinearMap):
    """(x, k) -> the part of k * x that depends on nothing beyond x: a scene and a kernel to the blurred picture.

    As `UnknownBoundaryConvolution`, with an unknown kernel: the scene is larger than the picture, by kh - 1 rows and kw - 1
    columns, and nothing is assumed of what lies beyond the edge.

    Parameters
    ----------
    shape : (int, int, int)
        Shape of the picture, (channel, height, width).
    kernel_shape : (int, int)
        Shape of the kernel, (kh, kw), the same for all channels.

    Raises
    ------
    ArgumentError
        If a size is below 1.

    Notes
    -----
    Certificate: the norm in the scene is at most the largest absolute frequency response of the kernel; that in the kernel at
    most sqrt(kh kw) |x|, by the inequalities of Young and Cauchy; both upper.
    Complexity: O(N log N), three real FFTs an application.

    Examples
    --------
    >>> B = BlindConvolution((1, 4, 5), (3, 3))
    >>> B(B.join(torch.ones(1, 6, 7), torch.ones(3, 3) / 9)).sum().round()
    tensor(20.)
    """

    def __init__(self, shape: tuple[int, int, int], kernel_shape: tuple[int, int]) -> None:
        channels, height, width = shape
        kh, kw = kernel_shape
        if min(channels, height, width, kh, kw) < 1:
            raise ArgumentError(f"BlindConvolution: all sizes must be at least 1; got {shape} and {kernel_shape}.")
        scene = (channels, height + kh - 1, width + kw - 1)
        super().__init__(Space(scene), Space(kernel_shape), Space(shape))
        self.reach = kernel_shape
        # no longer than the scene: what wraps around lies outside of the part that is kept
        self.grid = (fast_length(scene[1]), fast_length(scene[2]))

    def _spectrum(self, signal: Tensor) -> Tensor:
        return torch.fft.rfft2(signal, s=self.grid)

    def _product(self, u: Tensor, v: Tensor) -> Tensor:
        full = torch.fft.irfft2(self._spectrum(u) * self._spectrum(v[..., None, :, :]), s=self.grid)
        (kh, kw), (_, height, width) = self.reach, self.codomain.shape
        return full[..., kh - 1 : kh - 1 + int(height or 0), kw - 1 : kw - 1 + int(width or 0)]

    def _partial_adjoint(self, index: int, other: Tensor, w: Tensor) -> Tensor:
        kh, kw = self.reach
        shifted = torch.nn.functional.pad(w, (kw - 1, 0, kh - 1, 0))
        if index == 0:
            correlated = torch.fft.irfft2(self._spectrum(shifted) * self._spectrum(other[..., None, :, :]).conj(), s=self.grid)
            _, height, width = self.blocks[0].codomain.shape
            return correlated[..., :height, :width]
        product = (self._spectrum(shifted) * self._spectrum(other).conj()).sum(-3)
        return torch.fft.irfft2(product, s=self.grid)[..., :kh, :kw]

    def _partial_norm(self, index: int, other: Tensor) -> Bound | None:
        other = other.double()
        if index == 0:
            power = torch.view_as_real(self._spectrum(other)).square().sum(-1).amax((-2, -1))
            return Bound(_root(power), "upper", "maximum of |frequency response of the kernel|")
        kh, kw = self.reach
        return Bound(_root(kh * kw * other.square().sum((-3, -2, -1))), "upper", "sqrt(kernel size) times |scene|")


def _root(square: Tensor) -> Tensor:
    # the root has no slope at zero
    return torch.where(square > 0, torch.where(square > 0, square, 1.0).sqrt(), 0.0)
