"""The orthonormal periodic wavelet transform in two dimensions."""

from __future__ import annotations

import importlib
import math
from typing import Literal, final, get_args

import torch
from torch import Tensor

from apheleia.core.bound import Bound
from apheleia.core.errors import ArgumentError, MissingExtraError, ShapeError
from apheleia.core.space import IMAGE, Space
from apheleia.operators.boundary import extend, fold
from apheleia.operators.diagonal import Diagonal
from apheleia.operators.filter_bank import FilterBank
from apheleia.operators.foreign import linear_map
from apheleia.operators.identity import Identity
from apheleia.operators.linear import LinearOperator

__all__ = ["Extension", "WaveletTransform", "scaling_filter"]


Extension = Literal["reflect", "zero"]


@final
class WaveletTransform(LinearOperator):
    """x -> W x, orthonormal wavelet coefficients in the image's own shape, the coarsest band in the upper left corner.

    Periodic ends; W^{-1} = W^H, so that |W x| = |x| exactly and the proximal map of |W x|_1 is exact. With an `extension`, E,
    it is W E for images of any one size: an analysis operator with more coefficients than pixels, no longer orthonormal.

    Parameters
    ----------
    wavelet : str, default "db4"
        An orthogonal family of PyWavelets: "haar" (built in), "db1" to "db38", "sym2" to "sym20", "coif1" to "coif17".
    levels : int, default 3
        Number of halvings; without extension height and width must be multiples of 2^levels.
    space : Space, default images of any size
        Domain, and codomain without extension, where sizes are to be fixed; with an extension height and width must be.
    extension : {"reflect", "zero"}, optional
        How images are continued below and to the right, to the next multiples of 2^levels.

    Raises
    ------
    ArgumentError
        If the wavelet is not orthogonal, levels < 1, or the extension is unknown.
    ShapeError
        If an image's size is not a multiple of 2^levels, or is too small for them to be extended to.
    MissingExtraError
        If a wavelet other than Haar is asked for without PyWavelets.

    Notes
    -----
    Certificate: norm and smallest singular value 1, exact up to the rounding of the tabulated filter (2e-11); with reflection
    the norm is the root of how often a pixel is repeated at most, exact.
    Complexity: O(N L) for filters of length L.
    Source: S. Mallat, IEEE Transactions on Pattern Analysis and Machine Intelligence 11 (1989), doi:10.1109/34.192463.
    """

    def __init__(self, wavelet: str = "db4", levels: int = 3, space: Space = IMAGE, extension: Extension | None = None) -> None:
        if not isinstance(levels, int) or levels < 1:
            raise ArgumentError(f"WaveletTransform: `levels` must be a whole number >= 1; got {levels!r}.")
        if extension not in (None, *get_args(Extension)):
            raise ArgumentError(f"WaveletTransform: `extension` must be one of reflect, zero or None; got {extension!r}.")
        margin = (0, 0) if extension is None else _margin(space, levels)
        super().__init__(space, _grown(space, margin))
        self.wavelet = wavelet
        self.levels = levels
        self.margin = margin
        self.extension: Extension | None = extension if any(margin) else None
        self.is_orthonormal = self.extension is None
        self.has_gram_solve = self.extension != "reflect"
        low = scaling_filter(wavelet)
        # the quadrature mirror filter: alternate signs on the reversed low-pass
        self.bank = FilterBank(low, tuple((-1) ** k * value for k, value in enumerate(reversed(low))))

    def _check(self, height: int, width: int) -> None:
        step = 2**self.levels
        if height % step or width % step:
            deepest = max(level for level in range(self.levels + 1) if height % 2**level == 0 and width % 2**level == 0)
            raise ShapeError(
                f"WaveletTransform: height and width must be multiples of 2^levels = {step}; got {height} x {width}. "
                f'This size allows {deepest} levels; or extend the image: extension="reflect" and a space of its size.'
            )

    def _forward(self, x: Tensor) -> Tensor:
        if self.extension is not None:
            x = extend(x, (0, 0), self.margin, self.extension)
        self._check(*x.shape[-2:])
        return linear_map(x, self._analyse, self._synthesise)

    def _adjoint(self, y: Tensor) -> Tensor:
        self._check(*y.shape[-2:])
        x = linear_map(y, self._synthesise, self._analyse)
        return x if self.extension is None else fold(x, (0, 0), self.margin, self.extension)

    def _output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (shape[0], shape[1] + self.margin[0], shape[2] + self.margin[1])

    def _input_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (shape[0], shape[1] - self.margin[0], shape[2] - self.margin[1])

    def _analyse(self, x: Tensor) -> Tensor:
        """Return W x, without gradients; the corner is replaced level by level in one buffer."""
        planes = _planes(x)
        out, rows = torch.empty_like(planes), torch.empty_like(planes)
        for level in range(self.levels):
            h, w = planes.shape[-2] >> level, planes.shape[-1] >> level
            part = rows[:, :h, :w]
            self.bank.analyse_rows(planes if level == 0 else out[:, :h, :w], part)
            self.bank.analyse_columns(part, out[:, :h, :w])
        return _restored(out, x)

    def _synthesise(self, y: Tensor) -> Tensor:
        """Return W^H y, without gradients."""
        planes = _planes(y)
        out, columns = planes.clone(), torch.empty_like(planes)
        for level in reversed(range(self.levels)):
            h, w = planes.shape[-2] >> level, planes.shape[-1] >> level
            part = columns[:, :h, :w]
            self.bank.synthesise_columns(out[:, :h, :w], part)
            self.bank.synthesise_rows(part, out[:, :h, :w])
        return _restored(out, y)

    def _norm(self, shape: tuple[int, ...] | None) -> Bound | None:
        if self.extension != "reflect":
            return Bound(1.0, "exact", "orthonormal transform")
        return Bound(float(self._repeated().amax()) ** 0.5, "exact", "how often a pixel is repeated at most")

    def _smallest_singular_value(self, shape: tuple[int, ...]) -> Bound | None:
        return Bound(1.0, "exact", "orthonormal transform")

    def _repeated(self) -> Tensor:
        """Return how often the extension shows each pixel, (1, height, width)."""
        ones = torch.ones(1, *self.codomain.shape[1:], dtype=torch.float64)  # type: ignore[arg-type]
        return fold(ones, (0, 0), self.margin, "reflect")

    def _gram(self) -> LinearOperator:
        return Diagonal(self._repeated(), self.domain) if self.extension == "reflect" else Identity(self.domain)


def _margin(space: Space, levels: int) -> tuple[int, int]:
    """Return the rows and columns that are missing to multiples of 2^levels."""
    height, width = space.shape[-2:] if space.rank == 3 else (None, None)
    if height is None or width is None:
        raise ShapeError(
            f"WaveletTransform: an extension needs a fixed height and width, as in space=Space((None, 511, 300)); got ({space})."
        )
    if 2**levels > 2 * min(height, width):
        deepest = min(height, width).bit_length()
        raise ShapeError(f"WaveletTransform: {height} x {width} pixels allow at most {deepest} levels; got {levels}.")
    return -height % 2**levels, -width % 2**levels


def _grown(space: Space, margin: tuple[int, int]) -> Space:
    if not any(margin):
        return space
    return Space((space.shape[0], (space.shape[1] or 0) + margin[0], (space.shape[2] or 0) + margin[1]), space.is_complex)


def _planes(x: Tensor) -> Tensor:
    """Return images as real planes, (n, height, width), the real and the imaginary parts of complex ones apart."""
    parts = torch.stack((x.real, x.imag)) if x.is_complex() else x
    return parts.reshape(-1, *x.shape[-2:]).contiguous()


def _restored(planes: Tensor, like: Tensor) -> Tensor:
    if not like.is_complex():
        return planes.reshape(like.shape)
    return torch.complex(*planes.reshape(2, *like.shape))


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
