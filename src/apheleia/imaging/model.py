"""The imaging model: which blur, mask, sampling, noise and prior, and the problem that they state."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy
import torch
from torch import Tensor

from apheleia.core.errors import ArgumentError
from apheleia.functionals import (
    Box,
    Functional,
    LeastSquares,
    QuadraticSmoothness,
    SmoothedVariation,
    TotalVariation,
    WaveletL1,
)
from apheleia.imaging.kernels import sampling_kernel
from apheleia.operators import Convolution, Crop, Decimation, Diagonal, Identity
from apheleia.operators.boundary import Boundary, extend
from apheleia.operators.linear import LinearOperator
from apheleia.problem import Problem

__all__ = ["PRIORS", "ImagingModel", "PriorChoice"]

_LEVELS = 3
"""Halvings of the wavelet transform."""

_MARGIN = 96
"""Unknown pixels beyond the edges, since the transform is periodic: twice the 48 that the coarsest wavelets reach, so that
opposite edges do not feel each other."""


@dataclass(frozen=True)
class PriorChoice:
    """A prior that `restore` offers: how it is made, in which unit its weight is sought, and what it means.

    Attributes
    ----------
    make : callable
        noise_std -> Functional.
    exponent : int
        The weight is sought among c / noise_std^exponent.
    lowest, highest : float
        The range of c.
    meaning : str
        In words.
    """

    make: Callable[[float], Functional]
    exponent: int
    lowest: float
    highest: float
    meaning: str


PRIORS: dict[str, PriorChoice] = {
    "tv": PriorChoice(
        lambda noise_std: TotalVariation(), 1, 0.02, 4.0, "total variation: piecewise smooth images with sharp edges"
    ),
    "smoothed-tv": PriorChoice(
        lambda noise_std: SmoothedVariation(noise_std), 1, 0.02, 4.0, "smoothed total variation: fewer stair steps than tv"
    ),
    "wavelet": PriorChoice(
        lambda noise_std: WaveletL1("db4", _LEVELS), 1, 0.02, 8.0, "sparse wavelet details: textures and soft shapes"
    ),
    "quadratic": PriorChoice(
        lambda noise_std: QuadraticSmoothness(),
        2,
        1e-3,
        100.0,
        "quadratic smoothness (Tikhonov): smooth images, fast, soft edges",
    ),
}
"""The priors of `restore`, by name."""


@dataclass(frozen=True, eq=False)
class ImagingModel:
    """y = mask * (kernel blur of x, sampled every `scale` pixels) + noise, and a prior on x.

    Parameters
    ----------
    kernel : ndarray, (kh, kw), optional
        Blur on x's grid, used as given; none by default.
    scale : int, default 1
        x is this many times larger than y, at least 1; each pixel of y averages scale x scale of x.
    boundary : {"reflect", "replicate", "zero", "circular"}
        What lies beyond the edge of x.
    prior : str
        A name in `PRIORS`.
    bounds : (float, float), optional
        Known range of x, such as (0, 1) for photographs; it makes the duality gap finite.

    Raises
    ------
    ArgumentError
        If the prior is unknown or the scale below 1.
    """

    kernel: numpy.ndarray | None = None
    scale: int = 1
    boundary: Boundary = "reflect"
    prior: str = "tv"
    bounds: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if self.prior not in PRIORS:
            raise ArgumentError(f"restore: `prior` must be one of {', '.join(PRIORS)}; got {self.prior!r}.")
        if not isinstance(self.scale, int) or self.scale < 1:
            raise ArgumentError(f"restore: `scale` must be a whole number >= 1; got {self.scale!r}.")

    @property
    def full_kernel(self) -> numpy.ndarray | None:
        """The blur together with the averaging of the sampling, or None where x is seen as it is."""
        if self.scale == 1:
            return self.kernel
        sampling = sampling_kernel(self.scale)
        return sampling if self.kernel is None else _convolved(self.kernel, sampling)

    @property
    def reach(self) -> int:
        """Half the width of the whole blur, in pixels of y, rounded up."""
        kernel = self.full_kernel
        return 0 if kernel is None else -(-max(kernel.shape) // (2 * self.scale))

    def operator(self, shape: tuple[int, ...], mask: Tensor | None) -> LinearOperator:
        """Return A for data of `shape` (channel, height, width); its domain is x, extended where wavelets need it."""
        kernel = self.full_kernel
        A: LinearOperator = Identity() if kernel is None else Convolution(kernel, self.boundary)
        if self.scale > 1:
            A = Decimation(self.scale) @ A
        if mask is not None:
            A = Diagonal(mask) if isinstance(A, Identity) else Diagonal(mask) @ A
        if self.prior == "wavelet":
            height, width = shape[1] * self.scale, shape[2] * self.scale
            window = Crop((shape[0], _extended(height), _extended(width)), (height, width))
            A = window if isinstance(A, Identity) else A @ window
        return A

    def problem(self, y: Tensor, mask: Tensor | None, noise_std: float, weight: float | Tensor) -> Problem:
        """Return the problem for data `y`, (*batch, channel, height, width); a weight an image makes a sweep."""
        A = self.operator(tuple(y.shape[-3:]), mask)
        f = LeastSquares(A, y if mask is None else mask * y, noise_std)
        g = weight * PRIORS[self.prior].make(noise_std)
        # where A is the identity, strong convexity already gives a finite gap; wavelets are faster without the box
        bounded = self.bounds is not None and self.prior == "tv" and not isinstance(A, Identity)
        return Problem(f, g + Box(*self.bounds) if bounded and self.bounds is not None else g)

    def start(self, y: Tensor) -> Tensor:
        """Return where every window begins: the data, each pixel repeated `scale` times, extended as x is."""
        x = y.repeat_interleave(self.scale, -2).repeat_interleave(self.scale, -1)
        if self.prior != "wavelet":
            return x
        # beyond each of two opposite edges, which meet in the periodic transform, the image's own reflection
        height, width = (_extended(size) - size for size in x.shape[-2:])
        x = extend(x, (height // 2, width // 2), (height - height // 2, width - width // 2), "reflect")
        return x.roll((-(height // 2), -(width // 2)), (-2, -1))

    def formula(self, noise_std: float, weight: float, has_mask: bool) -> str:
        """Return the model as a reader writes it."""
        shape = (1, 2**_LEVELS, 2**_LEVELS)
        mask = torch.ones(shape) if has_mask else None
        return self.problem(torch.zeros(shape), mask, noise_std, weight).formula

    def legend(self, has_mask: bool) -> tuple[tuple[str, str], ...]:
        """Return each symbol of the formula with its meaning."""
        steps = ["the window that was observed"] if self.prior == "wavelet" else []
        if self.kernel is not None:
            steps.append(f"blur by a kernel of {self.kernel.shape[0]} x {self.kernel.shape[1]} pixels, {self.boundary} boundary")
        if self.scale > 1:
            steps.append(f"averages of {self.scale} x {self.scale} pixels")
        if has_mask:
            steps.append("a mask of measured pixels")
        lines = [("y", "the observed image, in units of full scale"), ("x", "the image sought")]
        if steps:
            lines.append(("A", "data formation: " + ", then ".join(steps)))
        prior = {"tv": "TV(x)", "smoothed-tv": "TV(x; ...)", "wavelet": "|details of W x|₁", "quadratic": "1/2 |∇x|²"}[self.prior]
        lines.append((prior, PRIORS[self.prior].meaning))
        if self.bounds is not None and self.prior == "tv" and steps:
            lines.append((f"[{self.bounds[0]:.4g} ≤ x ≤ {self.bounds[1]:.4g}]", "every pixel lies in this range"))
        return tuple(lines)


def _extended(size: int) -> int:
    """Return the size on which wavelets work: with the margin, and a multiple of 2^levels."""
    step = 2**_LEVELS
    return -(-(size + _MARGIN) // step) * step


def _convolved(first: numpy.ndarray, second: numpy.ndarray) -> numpy.ndarray:
    """Return the full convolution of two kernels, padded so that its centre size // 2 is the sum of theirs."""
    shape = [a + b - 1 for a, b in zip(first.shape, second.shape, strict=True)]
    full = numpy.fft.irfft2(numpy.fft.rfft2(first, shape) * numpy.fft.rfft2(second, shape), shape)
    full[numpy.abs(full) < 1e-15] = 0
    centre = [a // 2 + b // 2 for a, b in zip(first.shape, second.shape, strict=True)]
    # a size of 2c or 2c + 1 has its centre at c; zeros behind or before bring it there
    before = [max(0, size - 1 - 2 * c) for size, c in zip(shape, centre, strict=True)]
    after = [max(0, 2 * c - size) for size, c in zip(shape, centre, strict=True)]
    return numpy.pad(full, [(b, a) for b, a in zip(before, after, strict=True)])
