"""The non-uniform fast Fourier transform of FINUFFT as a differentiable linear operator."""

from __future__ import annotations

import importlib
from typing import Any, final

import torch
from torch import Tensor

from apheleia.core.bound import Bound
from apheleia.core.errors import ArgumentError, MissingExtraError, ShapeError
from apheleia.core.interop import ArrayLike
from apheleia.core.space import Space, as_size
from apheleia.operators.foreign import linear_map
from apheleia.operators.fourier_sampling import ToeplitzGram, checked_frequencies, toeplitz_kernel
from apheleia.operators.linear import LinearOperator

__all__ = ["NonuniformFourierTransform"]

_FINE = 1e-14
"""Tolerance of the transform that a norm is bounded by."""


@final
class NonuniformFourierTransform(LinearOperator):
    """x -> y_j = sum_{m, n} x[m, n] exp(-2 pi i (f_j1 (m - h // 2) + f_j2 (n - w // 2))), to a tolerance, in O(N log N + m).

    The same map as operators.FourierSampling, for many frequencies: radial and spiral MRI, large arrays of telescopes.

    Parameters
    ----------
    frequencies : Tensor or ndarray, (m, 2)
        Along rows and columns, in cycles a pixel.
    size : (int, int)
        Height h and width w of the images in pixels.
    tol : float, default 1e-6
        Relative accuracy of the transforms, in (0, 1); single precision reaches about 1e-6.
    is_complex : bool, default True
        Whether images are complex.

    Raises
    ------
    ShapeError
        If the frequencies are complex, are no pairs, or have batch axes.
    ArgumentError
        If the tolerance is not between 0 and 1, or the frequencies are not finite or want a gradient.
    MissingExtraError
        If finufft is not installed.

    Notes
    -----
    The adjoint is the transform of type 1 with the same tolerance; derivatives of every order with respect to x follow from the
    two. FINUFFT computes on the CPU, with torch's number of threads: signals on another device are copied there and back.
    Certificate: norm by the eigenvalues of a circulant operator of which A^H A is a part, upper, with room for
    the tolerance: its errors are taken to be at most tol |x|_1.
    Source: A. Barnett, J. Magland, L. af Klinteberg, SIAM Journal on Scientific Computing 41 (2019), doi:10.1137/18M120885X.
    """

    frequencies: Tensor

    def __init__(self, frequencies: ArrayLike, size: tuple[int, int], tol: float = 1e-6, is_complex: bool = True) -> None:
        who = "NonuniformFourierTransform"
        f = checked_frequencies(frequencies, who)
        if f.ndim != 2:
            raise ShapeError(f"{who}: `frequencies` must be (m, 2), one set for all images; got {tuple(f.shape)}.")
        if f.requires_grad:
            raise ArgumentError(f"{who}: `frequencies` get no gradient here. Use operators.FourierSampling to learn them.")
        if not 0 < tol < 1:
            raise ArgumentError(f"{who}: `tol` must lie between 0 and 1; got {tol!r}.")
        size = as_size(size, who, "size")
        _finufft()
        super().__init__(Space((None, *size), is_complex), Space((None, f.shape[0]), is_complex=True))
        self.register_buffer("frequencies", f)
        self.size = size
        self.tol = tol

    def _forward(self, x: Tensor) -> Tensor:
        return linear_map(x.to(x.dtype.to_complex()), self._evaluate, self._spread)

    def _adjoint(self, y: Tensor) -> Tensor:
        image = linear_map(y, self._spread, self._evaluate)
        return image if self.domain.is_complex else image.real

    def _evaluate(self, x: Tensor) -> Tensor:
        """Return the transform of type 2 of complex images, (..., m)."""
        return self._transformed(x, self.size, (self.frequencies.shape[0],), "nufft2d2", self.tol)

    def _spread(self, y: Tensor) -> Tensor:
        """Return the transform of type 1 of complex data, (..., h, w)."""
        return self._transformed(y, (self.frequencies.shape[0],), self.size, "nufft2d1", self.tol)

    def _transformed(self, x: Tensor, before: tuple[int, ...], after: tuple[int, ...], kind: str, tol: float) -> Tensor:
        outer = tuple(x.shape[: x.ndim - len(before)])
        stacked = x.detach().cpu().resolve_conj().reshape(-1, *before).contiguous().numpy()
        rows, columns = (2 * torch.pi * self.frequencies.double().cpu()).remainder(2 * torch.pi).to(x.real.dtype).T.contiguous()
        finufft, threads = _finufft(), torch.get_num_threads()
        # asked for more than the precision holds, it warns
        eps = max(tol, 8 * torch.finfo(x.dtype).eps)
        if kind == "nufft2d2":
            out = finufft.nufft2d2(rows.numpy(), columns.numpy(), stacked, isign=-1, eps=eps, nthreads=threads)
        else:
            out = finufft.nufft2d1(rows.numpy(), columns.numpy(), stacked, after, isign=1, eps=eps, nthreads=threads)
        return torch.from_numpy(out).reshape(*outer, *after).to(x.device)

    def prepared(self, shape: tuple[int, ...], dtype: torch.dtype) -> LinearOperator:
        """Return the same operator with the Toeplitz form of A^H A: two transforms of twice the size, however many data."""
        return _PreparedTransform(self, self._toeplitz(dtype, self.tol))

    def _toeplitz(self, dtype: torch.dtype, tol: float) -> ToeplitzGram:
        twice = (2 * self.size[0], 2 * self.size[1])
        ones = torch.ones(1, self.frequencies.shape[0], dtype=torch.complex128, device=self.frequencies.device)
        kernel = self._transformed(ones, (self.frequencies.shape[0],), twice, "nufft2d1", tol)[0]
        eigenvalues = toeplitz_kernel(torch.fft.ifftshift(kernel, dim=(-2, -1)), self.size)
        return ToeplitzGram(eigenvalues.to(dtype.to_real()), self.domain)

    def _norm(self, shape: tuple[int, ...] | None) -> Bound:
        # FINUFFT's errors are at most tol |x|_1 <= tol sqrt(h w) |x| a frequency, where |A|^2 is at least their number; those of
        # the 4 h w eigenvalues are in the same way at most 4 h w tol of the largest
        pixels = self.size[0] * self.size[1]
        bound = self._toeplitz(torch.float64, _FINE).norm().root()
        return bound.scaled((1 + self.tol * pixels**0.5) * (1 + 4 * pixels * _FINE) ** 0.5, "with room for the tolerance")

    def _output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (shape[0], self.frequencies.shape[0])

    def _input_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (shape[0], *self.size)


@final
class _PreparedTransform(LinearOperator):
    """The transform with its Gram operator in closed form."""

    def __init__(self, original: NonuniformFourierTransform, gram: ToeplitzGram) -> None:
        super().__init__(original.domain, original.codomain)
        self.original = original
        self.ready_gram = gram

    def _forward(self, x: Tensor) -> Tensor:
        return self.original._forward(x)

    def _adjoint(self, y: Tensor) -> Tensor:
        return self.original._adjoint(y)

    def _norm(self, shape: tuple[int, ...] | None) -> Bound:
        return self.original._norm(shape)

    def _gram(self) -> LinearOperator:
        return self.ready_gram

    def _output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return self.original._output_shape(shape)

    def _input_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return self.original._input_shape(shape)


def _finufft() -> Any:
    try:
        return importlib.import_module("finufft")
    except ImportError:
        raise MissingExtraError("NonuniformFourierTransform", "finufft", "nufft") from None
