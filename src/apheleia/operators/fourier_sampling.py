"""Fourier transforms at arbitrary frequencies: visibilities of an interferometer, non-Cartesian k-space, by direct sums."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from apheleia.core.bound import Bound
from apheleia.core.errors import ArgumentError, ShapeError
from apheleia.core.interop import ArrayLike, as_tensor, is_floating
from apheleia.core.space import Space, as_size
from apheleia.operators.linear import LinearOperator
from apheleia.operators.operator import register

__all__ = ["FourierSampling", "ToeplitzGram", "toeplitz_kernel"]


@final
class FourierSampling(LinearOperator):
    """x -> y_j = sum_{m, n} x[m, n] exp(-2 pi i (f_j1 (m - h // 2) + f_j2 (n - w // 2))), the spectrum at frequencies f_j.

    Exact for any frequencies; for more than some thousands of them bridges.NonuniformFourierTransform is faster.

    Parameters
    ----------
    frequencies : Tensor or ndarray, (*batch, m, 2)
        Along rows and columns, in cycles a pixel: f = k / n for the frequency k of a grid of n pixels; for a baseline of u
        wavelengths and pixels of p radians f = u p. A Parameter is learned.
    size : (int, int)
        Height h and width w of the images in pixels.
    is_complex : bool, default False
        Whether images are complex.

    Raises
    ------
    ShapeError
        If the frequencies are complex, or are no pairs.
    ArgumentError
        If a frequency is not finite.

    Notes
    -----
    The domain is (channel, h, w), the codomain (channel, m) complex. Without normalisation: all m = h w frequencies of the grid
    make sqrt(h w) times a unitary map.
    Certificate: norm by the eigenvalues of a circulant operator of size 2h x 2w of which A^H A is a part, upper.
    Complexity: O(h w m) an application, h m numbers of memory a channel; A^H A, when prepared, is a Toeplitz operator and takes
    one pair of transforms of size 2h x 2w however many frequencies there are.
    Source: J. Fessler, S. Lee, V. Olafsson, H. Shi, D. Noll, IEEE Transactions on Signal Processing 53 (2005),
    doi:10.1109/TSP.2005.853152, for the Toeplitz form.

    Examples
    --------
    >>> A = FourierSampling(torch.tensor([[0.0, 0.0], [0.5, 0.0]]), (2, 3))
    >>> A(torch.tensor([[[1.0, 2, 3], [4, 5, 6]]])).real
    tensor([[21.,  9.]])
    """

    frequencies: Tensor

    def __init__(self, frequencies: ArrayLike, size: tuple[int, int], is_complex: bool = False) -> None:
        f = checked_frequencies(frequencies, "FourierSampling")
        size = as_size(size, "FourierSampling", "size")
        super().__init__(Space((None, *size), is_complex), Space((None, f.shape[-2]), is_complex=True))
        register(self, "frequencies", f)
        self.size = size

    def _forward(self, x: Tensor) -> Tensor:
        return self._prepared(x.dtype.to_complex())._forward(x)

    def _adjoint(self, y: Tensor) -> Tensor:
        return self._prepared(y.dtype)._adjoint(y)

    def prepared(self, shape: tuple[int, ...], dtype: torch.dtype) -> LinearOperator:
        """Return the same operator with its exponentials and the Toeplitz form of A^H A computed once."""
        ready = self._prepared(dtype.to_complex())
        ready.ready_gram = self._toeplitz(dtype)
        return ready

    def _prepared(self, dtype: torch.dtype) -> _PreparedSampling:
        rows, columns = _exponentials(self.frequencies, self.size)
        return _PreparedSampling(self, rows.to(dtype), columns.to(dtype))

    def _kernel(self) -> Tensor:
        """Return sum_j exp(2 pi i f_j k) for -h < k1 < h and -w < k2 < w, (*batch, 2h, 2w), difference zero first."""
        twice = tuple(2 * n for n in self.size)
        rows, columns = _exponentials(self.frequencies, twice)
        # the adjoint of ones, summed over the two axes apart
        return torch.fft.ifftshift((rows.conj().mT @ columns.conj()), dim=(-2, -1))

    def _toeplitz(self, dtype: torch.dtype) -> ToeplitzGram:
        return ToeplitzGram(toeplitz_kernel(self._kernel(), self.size).to(dtype.to_real()), self.domain)

    def _norm(self, shape: tuple[int, ...] | None) -> Bound:
        return self._toeplitz(torch.float64).norm().root()

    def _output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (shape[0], self.frequencies.shape[-2])

    def _input_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (shape[0], *self.size)


@final
class _PreparedSampling(LinearOperator):
    """The two factors of every exponential, E_r (m, h) and E_c (m, w)."""

    rows: Tensor
    columns: Tensor

    def __init__(self, original: FourierSampling, rows: Tensor, columns: Tensor) -> None:
        super().__init__(original.domain, original.codomain)
        self.original = original
        register(self, "rows", rows[..., None, :, :])
        register(self, "columns", columns[..., None, :, :])
        self.ready_gram: LinearOperator | None = None

    def _forward(self, x: Tensor) -> Tensor:
        dtype = x.dtype.to_complex()
        along_columns = x.to(dtype) @ self.columns.to(dtype).mT
        return (self.rows.to(dtype) * along_columns.mT).sum(-1)

    def _adjoint(self, y: Tensor) -> Tensor:
        spread = self.rows.to(y.dtype).mH * y[..., None, :]
        image = spread @ self.columns.to(y.dtype).conj()
        return image if self.domain.is_complex else image.real

    def _norm(self, shape: tuple[int, ...] | None) -> Bound:
        return self.original._norm(shape)

    def _gram(self) -> LinearOperator:
        return super()._gram() if self.ready_gram is None else self.ready_gram

    def _output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return self.original._output_shape(shape)

    def _input_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return self.original._input_shape(shape)


@final
class ToeplitzGram(LinearOperator):
    """x -> t * x on h x w images, with a kernel t of differences up to h - 1 and w - 1: a part of a circulant of size 2h x 2w.

    Parameters
    ----------
    eigenvalues : Tensor, (*batch, 2h, 2w)
        Real eigenvalues of the circulant.
    space : Space
        Images (channel, h, w), real or complex.
    """

    eigenvalues: Tensor

    def __init__(self, eigenvalues: Tensor, space: Space) -> None:
        super().__init__(space, space)
        register(self, "eigenvalues", eigenvalues[..., None, :, :])

    def _forward(self, x: Tensor) -> Tensor:
        height, width = self.eigenvalues.shape[-2:]
        spectrum = self.eigenvalues.to(x.real.dtype) * torch.fft.fft2(x, s=(height, width))
        image = torch.fft.ifft2(spectrum)[..., : height // 2, : width // 2]
        return image if self.domain.is_complex else image.real

    def _adjoint(self, y: Tensor) -> Tensor:
        return self._forward(y)

    def _norm(self, shape: tuple[int, ...] | None) -> Bound:
        value = self.eigenvalues.abs().double().amax((-3, -2, -1))
        return Bound(value, "upper", "largest eigenvalue of a circulant operator that contains A^H A")


def checked_frequencies(frequencies: ArrayLike, who: str) -> Tensor:
    """Return frequencies as a real tensor (*batch, m, 2).

    Raises
    ------
    ShapeError
        If they are complex, or are no pairs.
    ArgumentError
        If one is not finite.
    """
    f = as_tensor(frequencies, who, "frequencies")
    if f.ndim < 2 or f.shape[-1] != 2 or 0 in f.shape or f.is_complex():
        raise ShapeError(f"{who}: `frequencies` must be real, (*batch, m, 2), in cycles a pixel; got {f.dtype} {tuple(f.shape)}.")
    if not bool(f.isfinite().all()):
        raise ArgumentError(f"{who}: `frequencies` must be finite.")
    return f if is_floating(f) else f.double()


def toeplitz_kernel(kernel: Tensor, size: tuple[int, int]) -> Tensor:
    """Return the eigenvalues of the circulant with a Hermitian kernel of differences, (*batch, 2h, 2w), difference zero first.

    The differences h and w, which no two pixels have, are set to zero: their value is free.
    """
    height, width = size
    keep = torch.ones(2 * height, 2 * width, dtype=torch.float64, device=kernel.device)
    keep[height] = 0
    keep[:, width] = 0
    return torch.fft.fft2(keep * kernel).real


def _exponentials(frequencies: Tensor, size: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Return exp(-2 pi i f (m - n // 2)), 0 <= m < n, along rows and along columns, (*batch, m, n) each, in complex128."""
    factors = []
    for axis, n in enumerate(size):
        position = torch.arange(n, dtype=torch.float64, device=frequencies.device) - n // 2
        angle = -2 * torch.pi * frequencies[..., axis, None].double() * position
        factors.append(torch.polar(torch.ones_like(angle), angle))
    return factors[0], factors[1]
