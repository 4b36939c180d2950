"""Transforms in which blurs, differences and identities are diagonal, so that sums of them have a closed-form inverse."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal, final

import torch
from torch import Tensor

__all__ = ["RANK", "Basis", "CosineTransform", "FourierTransform", "Transform", "by_frequency", "cosine_layout", "transform"]

Basis = Literal["fourier", "cosine"]
"""The Fourier basis diagonalises circular filters; the cosine basis (DCT-II) symmetric ones that reflect at the edge."""

RANK: dict[Basis, int] = {"fourier": 3, "cosine": 4}
"""Number of axes of the coefficients of one image, its channels included."""


class Transform(ABC):
    """An invertible transform of real images of one size; a filter multiplies its coefficients by eigenvalues laid out alike."""

    @abstractmethod
    def analyse(self, x: Tensor) -> Tensor:
        """Return the coefficients of images (*batch, channel, height, width)."""

    @abstractmethod
    def synthesise(self, coefficients: Tensor) -> Tensor:
        """Return the images that have these coefficients."""


def transform(basis: Basis, size: tuple[int, int]) -> Transform:
    """Return the transform of a basis for images of a height and width."""
    return CosineTransform(size) if basis == "cosine" else FourierTransform(size)


@final
class FourierTransform(Transform):
    """The real Fourier transform; coefficients (*batch, channel, height, width // 2 + 1), complex.

    Parameters
    ----------
    size : (int, int)
        Height and width.
    """

    def __init__(self, size: tuple[int, int]) -> None:
        self.size = size

    def analyse(self, x: Tensor) -> Tensor:
        """Return the coefficients of images (*batch, channel, height, width)."""
        return torch.fft.rfft2(x)

    def synthesise(self, coefficients: Tensor) -> Tensor:
        """Return the images that have these coefficients."""
        return torch.fft.irfft2(coefficients, s=self.size)


@final
class CosineTransform(Transform):
    """The cosine transform of type 2, C[k, l] = sum x[m, n] cos(pi k (2m + 1) / 2h) cos(pi l (2n + 1) / 2w), for h x w images.

    It costs one real Fourier transform, of the image with its even rows and columns first and the odd ones backwards behind.
    Coefficients (*batch, channel, h, w // 2 + 1, 2), real: [..., k, l, 0] is C[k, l] and [..., k, l, 1] is -C[k, w - l], zero
    for l = 0.

    Parameters
    ----------
    size : (int, int)
        Height and width.

    Notes
    -----
    Source: J. Makhoul, IEEE Transactions on Acoustics, Speech and Signal Processing 28 (1980), doi:10.1109/TASSP.1980.1163351.
    """

    def __init__(self, size: tuple[int, int]) -> None:
        self.size = size
        self._opposite = -torch.arange(size[0]) % size[0]
        height, width = (torch.exp(-0.5j * torch.pi * torch.arange(n, dtype=torch.float64) / n) for n in size)
        self._turns = (height[:, None], width[: size[1] // 2 + 1])

    def _turns_like(self, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
        height, width = self._turns
        return height.to(device, dtype.to_complex()), width.to(device, dtype.to_complex())

    def analyse(self, x: Tensor) -> Tensor:
        """Return the coefficients of images (*batch, channel, height, width)."""
        height, width = self._turns_like(x.dtype, x.device)
        turned = torch.fft.rfft2(_evens_first(_evens_first(x, -2), -1)) * width
        # the real and the imaginary part are two halves of the frequencies along the width; along the height both transform alike
        mirrored = turned.index_select(-2, self._opposite.to(x.device))
        return torch.view_as_real(torch.addcmul(height * turned, height.conj(), mirrored)).mul(0.5)

    def synthesise(self, coefficients: Tensor) -> Tensor:
        """Return the images that have these coefficients."""
        height, width = self._turns_like(coefficients.dtype, coefficients.device)
        halves = torch.view_as_complex(coefficients)
        # row 0 would meet frequency h, which is zero
        mirrored = torch.cat((torch.zeros_like(halves[..., :1, :]), halves[..., 1:, :].flip(-2)), -2)
        spectrum = (halves - 1j * mirrored) * height.conj() * width.conj()
        return _interleaved(_interleaved(torch.fft.irfft2(spectrum, s=self.size), -1), -2)


def cosine_layout(eigenvalues: Tensor) -> Tensor:
    """Return eigenvalues (..., h, w), by frequency, in the layout of the coefficients of `CosineTransform`."""
    count = eigenvalues.shape[-1] // 2 + 1
    # the place of frequency w holds a zero whatever its eigenvalue: frequency 0 fills it
    above = torch.cat((eigenvalues[..., :1], eigenvalues.flip(-1)), -1)[..., :count]
    return torch.stack((eigenvalues[..., :count], above), -1)


def by_frequency(laid_out: Tensor, size: tuple[int, int]) -> Tensor:
    """Undo `cosine_layout`: return eigenvalues (..., h, w)."""
    below, above = laid_out.unbind(-1)
    return torch.cat((below, above[..., 1 : size[1] - below.shape[-1] + 1].flip(-1)), -1)


def _evens_first(x: Tensor, dim: int) -> Tensor:
    """Return the even entries along an axis, and the odd ones backwards behind them."""
    every = [slice(None)] * -dim
    even, odd = ((..., slice(start, None, 2), *every[1:]) for start in (0, 1))
    return torch.cat((x[even], x[odd].flip(dim)), dim)


def _interleaved(x: Tensor, dim: int) -> Tensor:
    """Undo `_evens_first`."""
    half = (x.shape[dim] + 1) // 2
    out = torch.empty_like(x)
    every = [slice(None)] * -dim
    out[(..., slice(0, None, 2), *every[1:])] = x.narrow(dim, 0, half)
    out[(..., slice(1, None, 2), *every[1:])] = x.narrow(dim, half, x.shape[dim] - half).flip(dim)
    return out
