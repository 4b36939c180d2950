"""The stationary wavelet transform: undecimated, the same wherever the image is shifted to, and a tight frame."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from apheleia.core.bound import Bound
from apheleia.core.errors import ArgumentError, ShapeError
from apheleia.core.space import Space
from apheleia.operators.filters import FourierFilter
from apheleia.operators.identity import Identity
from apheleia.operators.linear import LinearOperator
from apheleia.operators.transforms import Basis
from apheleia.operators.wavelet import scaling_filter

__all__ = ["StationaryWaveletTransform"]


@final
class StationaryWaveletTransform(LinearOperator):
    """x -> (W_b x)_b, wavelet bands of the image's own size, for every shift of the grid at once; W^H W = I.

    Bands: the coarsest approximation first, unless it is left out, then horizontal, vertical and diagonal details from the
    coarsest level to the finest. Periodic ends, any size. For a prior: `L1(W.codomain) @ W` with `details_only`.

    Parameters
    ----------
    wavelet : str, default "haar"
        An orthogonal family, as for `WaveletTransform`.
    levels : int, default 3
        Number of scales.
    details_only : bool, default False
        Whether to leave out the approximation, which holds the image's mean; then W^H W = I less its part.

    Raises
    ------
    ArgumentError
        If levels < 1.

    Notes
    -----
    Certificate: norm 1, exact up to the rounding of the tabulated filter (2e-11); so is the smallest singular value with the
    approximation. W^H W is diagonal in the Fourier basis either way.
    Complexity: O(N log N): one real FFT of the image and one a band, 3 levels + 1.
    Source: R. Coifman, D. Donoho, Translation-invariant de-noising, Lecture Notes in Statistics 103 (1995),
    doi:10.1007/978-1-4612-2544-7_9.

    Examples
    --------
    >>> W = StationaryWaveletTransform("haar", 2)
    >>> x = torch.arange(12.0).reshape(1, 3, 4)
    >>> W(x).shape, torch.allclose(W.adjoint(W(x)), x, atol=1e-5)
    (torch.Size([7, 1, 3, 4]), True)
    """

    gram_bases = ("fourier",)
    has_gram_solve = True

    def __init__(self, wavelet: str = "haar", levels: int = 3, details_only: bool = False) -> None:
        if not isinstance(levels, int) or levels < 1:
            raise ArgumentError(f"StationaryWaveletTransform: `levels` must be a whole number >= 1; got {levels!r}.")
        bands = 3 * levels + (not details_only)
        super().__init__(Space((None, None, None)), Space((bands, None, None, None)))
        self.wavelet = wavelet
        self.levels = levels
        self.details_only = details_only
        self.low = scaling_filter(wavelet)

    def _transfer(self, height: int, width: int) -> Tensor:
        """Return the transfer functions of all bands, (bands, 1, height, width // 2 + 1), in double precision."""
        smooth = torch.ones((), dtype=torch.complex128)
        details = []
        for level in range(self.levels):
            (low_rows, high_rows), (low, high) = (
                _responses(self.low, 2**level, n, count) for n, count in ((height, height), (width, width // 2 + 1))
            )
            pairs = ((low_rows, high), (high_rows, low), (high_rows, high))
            details.append(torch.stack([smooth * rows[:, None] * columns for rows, columns in pairs]))
            smooth = smooth * low_rows[:, None] * low
        bands = [*([] if self.details_only else [smooth[None]]), *reversed(details)]
        return torch.cat(bands)[:, None]

    def _forward(self, x: Tensor) -> Tensor:
        return self.prepared(tuple(x.shape[-3:]), x.dtype)._forward(x)

    def _adjoint(self, y: Tensor) -> Tensor:
        return self.prepared(tuple(y.shape[-3:]), y.dtype)._adjoint(y)

    def prepared(self, shape: tuple[int, ...], dtype: torch.dtype) -> LinearOperator:
        """Return the same object with all that depends only on shape and precision computed once."""
        transfer = self._transfer(shape[-2], shape[-1])
        return _Prepared(transfer, Space(shape), Space((transfer.shape[0], *shape)), self.details_only)

    def _gram_eigenvalues(self, basis: Basis, shape: tuple[int, ...]) -> Tensor:
        return _energy(self._transfer(shape[-2], shape[-1]))

    def _norm(self, shape: tuple[int, ...] | None) -> Bound | None:
        if not self.details_only:
            return Bound(1.0, "exact", "tight frame")
        return Bound(1.0, "upper", "part of a tight frame") if shape is None else self.prepared(shape, torch.float64)._norm(shape)

    def _smallest_singular_value(self, shape: tuple[int, ...]) -> Bound | None:
        return Bound(1.0, "exact", "tight frame") if not self.details_only else None

    def _output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (int(self.codomain.shape[0] or 0), *shape)

    def _input_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        if len(shape) != 4:
            raise ShapeError(f"StationaryWaveletTransform: coefficients are (bands, channel, height, width); got {shape}.")
        return shape[1:]


@final
class _Prepared(LinearOperator):
    """The same for images of one size."""

    transfer: Tensor
    gram_bases = ("fourier",)
    has_gram_solve = True

    def __init__(self, transfer: Tensor, domain: Space, codomain: Space, details_only: bool) -> None:
        super().__init__(domain, codomain)
        self.register_buffer("transfer", transfer)
        self.size = (int(domain.shape[1] or 0), int(domain.shape[2] or 0))
        self.details_only = details_only

    def _like(self, x: Tensor) -> Tensor:
        return self.transfer.to(x.device, x.dtype.to_complex())

    def _forward(self, x: Tensor) -> Tensor:
        return torch.fft.irfft2(self._like(x) * torch.fft.rfft2(x).unsqueeze(-4), s=self.size)

    def _adjoint(self, y: Tensor) -> Tensor:
        return torch.fft.irfft2((self._like(y).conj() * torch.fft.rfft2(y)).sum(-4), s=self.size)

    def _gram(self) -> LinearOperator:
        return FourierFilter(_energy(self.transfer), self.domain) if self.details_only else Identity(self.domain)

    def _gram_eigenvalues(self, basis: Basis, shape: tuple[int, ...]) -> Tensor:
        return _energy(self.transfer)

    def _norm(self, shape: tuple[int, ...] | None) -> Bound:
        return Bound(_energy(self.transfer).amax().sqrt() if self.details_only else 1.0, "exact", "tight frame")

    def _smallest_singular_value(self, shape: tuple[int, ...]) -> Bound | None:
        return Bound(1.0, "exact", "tight frame") if not self.details_only else None


def _energy(transfer: Tensor) -> Tensor:
    """Return the eigenvalues of W^H W, (1, height, width // 2 + 1)."""
    return (transfer.abs() ** 2).sum(0)


def _responses(low: tuple[float, ...], dilation: int, size: int, count: int) -> tuple[Tensor, Tensor]:
    """Return the low-pass and the high-pass response, their squares summing to one, at the first `count` frequencies."""
    taps = torch.tensor(low, dtype=torch.float64)
    mirrored = taps.flip(0) * torch.tensor([(-1.0) ** k for k in range(len(low))], dtype=torch.float64)
    # the angles are reduced as whole numbers, so that long dilations stay exact
    turns = torch.outer(torch.arange(count), dilation * torch.arange(len(low))) % size
    waves = torch.exp(2j * torch.pi * turns.double() / size)
    return waves @ (taps / 2**0.5).to(waves), waves @ (mirrored / 2**0.5).to(waves)
