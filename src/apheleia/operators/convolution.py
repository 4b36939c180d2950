"""Convolution with a point spread function by FFT, for four kinds of boundary, with exact adjoints."""

from __future__ import annotations

from collections.abc import Callable
from typing import final, get_args

import torch
from torch import Tensor
from torch.nn.functional import pad

from apheleia.core.bound import Bound
from apheleia.core.errors import ArgumentError, ShapeError
from apheleia.core.interop import ArrayLike, as_tensor, check_finite, is_floating
from apheleia.core.space import IMAGE, Space, as_wide
from apheleia.operators.boundary import Boundary, extend, fold
from apheleia.operators.filters import CosineFilter, FourierFilter
from apheleia.operators.linear import LinearOperator
from apheleia.operators.norm import schur_bound
from apheleia.operators.operator import register
from apheleia.operators.transfer import fast_length, frequency_response, spectrum, symmetric_autocorrelation
from apheleia.operators.transforms import Basis

__all__ = ["Convolution"]


@final
class Convolution(LinearOperator):
    """x -> k * x, a blur: (k * x)[n] = sum_m k[m] x[n - m + c], c = k // 2, of the same size as x.

    The kernel is used as given (flipped, as convolution means, and not normalised).

    Parameters
    ----------
    kernel : Tensor or ndarray, (kh, kw), (channel, kh, kw) or (*batch, channel or 1, kh, kw)
        One kernel for all, one a channel, or one an image.
    boundary : {"circular", "zero", "reflect", "replicate"}, default "reflect"
        What lies beyond the edge; "reflect" is half-sample symmetric, (d c b a | a b c d).
    space : Space, default images of any size
        Domain and codomain, where sizes are to be fixed.

    Raises
    ------
    ShapeError
        If the kernel has fewer than two axes, an empty one, or complex entries, or if the space is complex or does not fit it.
    ArgumentError
        If the boundary is unknown, or the kernel not finite.

    Notes
    -----
    Certificate: circular, and reflect with a kernel that is symmetric in both axes: norm max |frequency response|, exact. Zero:
    the same maximum on the extended grid, upper. Reflect otherwise, and replicate: sqrt(|A|_1 |A|_inf) of the absolute kernel,
    upper.
    Complexity: O(N log N), two real FFTs an application.

    Examples
    --------
    >>> blur = Convolution(torch.ones(3, 3) / 9, boundary="reflect")
    >>> blur(torch.ones(1, 4, 5)).sum()
    tensor(20.)
    """

    kernel: Tensor

    def __init__(self, kernel: ArrayLike, boundary: Boundary = "reflect", space: Space = IMAGE) -> None:
        k = as_tensor(kernel, "Convolution", "kernel")
        if k.ndim < 2 or 0 in k.shape or k.is_complex():
            raise ShapeError(
                "Convolution: `kernel` must be real, (height, width), (channel, height, width) or with batch axes in front; "
                f"got {k.dtype} {tuple(k.shape)}."
            )
        if boundary not in get_args(Boundary):
            raise ArgumentError(f"Convolution: `boundary` must be one of {', '.join(get_args(Boundary))}; got {boundary!r}.")
        if not is_floating(k):
            k = k.double()
        check_finite(k, "Convolution", "kernel", "Measure it anew, or set what is unknown to zero.")
        if space.is_complex:
            raise ShapeError(f"Convolution: it works on real images; got the space ({space}).")
        channels = k.shape[-3] if k.ndim > 2 and k.shape[-3] > 1 else None
        if not space.accepts((channels, None, None)):
            raise ShapeError(f"Convolution: a kernel of {channels} channels does not fit images ({space}).")
        fixed = Space((space.shape[0] if channels is None else channels, *space.shape[1:]))
        super().__init__(fixed, fixed)
        register(self, "kernel", k)
        self.boundary: Boundary = boundary
        # of a kernel that is learned, the part that is not symmetric counts too, if only by its gradient
        self.is_cosine = boundary == "reflect" and not k.requires_grad and _is_symmetric(k)
        self.has_gram_solve = boundary == "circular" or self.is_cosine
        self.gram_bases = ("fourier",) if boundary == "circular" else ("cosine",) if self.is_cosine else ()
        self.is_non_negative = not k.requires_grad and bool((k >= 0).all())

    def _with_channel(self) -> Tensor:
        return self.kernel if self.kernel.ndim > 2 else self.kernel[None]

    def _forward(self, x: Tensor) -> Tensor:
        return self.prepared(tuple(x.shape[-3:]), x.dtype)._forward(x)

    def _adjoint(self, y: Tensor) -> Tensor:
        return self.prepared(tuple(y.shape[-3:]), y.dtype)._adjoint(y)

    def prepared(self, shape: tuple[int, ...], dtype: torch.dtype) -> LinearOperator:
        """Return the same object with all that depends only on shape and precision computed once."""
        kernel = self._with_channel().to(dtype)
        if self.boundary == "circular":
            ready: LinearOperator = FourierFilter(spectrum(kernel, shape[-2], shape[-1]), Space(shape))
        elif self.is_cosine:
            ready = CosineFilter(frequency_response(kernel, shape[-2], shape[-1]), Space(shape))
        else:
            ready = _BoundaryConvolution(kernel, self.boundary, Space(shape))
        ready.is_non_negative = self.is_non_negative
        return ready

    @property
    def absolute(self) -> LinearOperator | None:
        """The convolution with |kernel|; None where a symmetric kernel of both signs becomes a filter of cosines."""
        if self.is_non_negative or self.is_cosine:
            return self if self.is_non_negative else None
        return Convolution(self.kernel.detach().abs(), self.boundary, self.domain)

    def _gram_eigenvalues(self, basis: Basis, shape: tuple[int, ...]) -> Tensor:
        return self.prepared(shape, torch.float64)._gram_eigenvalues(basis, shape)

    def _norm(self, shape: tuple[int, ...] | None) -> Bound | None:
        kernel = self._with_channel().double()
        total = kernel.abs().sum((-2, -1)).amax(-1)
        if shape is None:
            if self.boundary == "circular" and bool((kernel >= 0).all()):
                return Bound(total, "exact", "sum of a non-negative kernel")
            if self.boundary in ("circular", "zero"):
                return Bound(total, "upper", "sum of |kernel|")
            return None
        return self.prepared(shape, torch.float64)._norm(shape)

    def _smallest_singular_value(self, shape: tuple[int, ...]) -> Bound | None:
        return self.prepared(shape, torch.float64)._smallest_singular_value(shape) if self.has_gram_solve else None


@final
class _BoundaryConvolution(LinearOperator):
    """Convolution of images of one size beyond whose edge something is known: extend, filter on a fast grid, crop."""

    kernel: Tensor

    def __init__(self, kernel: Tensor, boundary: Boundary, space: Space) -> None:
        super().__init__(space, space)
        height, width = (int(size or 0) for size in space.shape[-2:])
        kh, kw = kernel.shape[-2:]
        register(self, "kernel", kernel)
        self.boundary: Boundary = boundary
        # output n reads inputs from n - (kh - 1 - kh // 2) to n + kh // 2
        self.before = (kh - 1 - kh // 2, kw - 1 - kw // 2)
        self.after = (kh // 2, kw // 2)
        self.size = (height, width)
        grid = (fast_length(height + kh - 1), fast_length(width + kw - 1))
        self.grown = (grid[0] - height, grid[1] - width)
        self.beyond = (self.grown[0] - self.before[0], self.grown[1] - self.before[1])
        transfer = spectrum(kernel, *grid)
        self.filter = FourierFilter(transfer, Space((None, *grid)))
        # a conjugate that is made anew each time would cost a fifth of the product
        self.mirrored = FourierFilter(transfer.conj().resolve_conj(), self.filter.domain)

    @property
    def absolute(self) -> LinearOperator | None:
        absolute = _BoundaryConvolution(self.kernel.detach().abs(), self.boundary, self.domain)
        absolute.is_non_negative = True
        return absolute

    def _window(self, x: Tensor) -> Tensor:
        rows, columns = self.before
        return x[..., rows : rows + self.size[0], columns : columns + self.size[1]]

    def _forward(self, x: Tensor) -> Tensor:
        # straight onto the grid: what lies on its margin is not read
        return self._window(self.filter._forward(extend(x, self.before, self.beyond, self.boundary)))

    def _adjoint(self, y: Tensor) -> Tensor:
        rows, columns = self.before
        wide = self.mirrored._forward(pad(y, (columns, self.beyond[1], rows, self.beyond[0])))
        extended = wide[..., : rows + self.size[0] + self.after[0], : columns + self.size[1] + self.after[1]]
        return fold(extended, self.before, self.after, self.boundary)

    def _gram_preconditioner(self, shape: tuple[int, ...], shift: Tensor) -> Callable[[Tensor], Tensor] | None:
        kernel = self.kernel.detach()
        shift = shift.to(kernel.dtype)
        wide = as_wide(shift, kernel, 3)
        if self.boundary == "zero":
            # of the whole plane, where it is a filter, seen through the window
            inverse = FourierFilter(1 / (self.filter.transfer.detach().abs() ** 2 + wide), self.filter.domain)
            return lambda r: inverse._forward(pad(r, (0, self.grown[1], 0, self.grown[0])))[..., : self.size[0], : self.size[1]]
        total = kernel.abs().sum((-2, -1)).amax() ** 2
        steep = bool((shift < 0.1 * total).any())
        symmetric = symmetric_autocorrelation(kernel)
        if symmetric is None or not (steep or self.boundary == "reflect"):
            return None
        # cosines see the mean of |K|^2 over mirrored frequencies only: where the two differ much, no preconditioner is better
        values = frequency_response(symmetric, *self.size).clamp(min=0)
        cosine = CosineFilter(1 / (values + wide), self.domain)
        if self.boundary == "reflect":
            return cosine._forward
        # pixels that repeat beyond the edge count several times
        repeated = self._adjoint(self._forward(torch.ones(*self._channels(), *self.size).to(kernel)))
        scale = ((total + wide) / (repeated.clamp(min=0) + wide)).sqrt()
        return lambda r: scale * cosine._forward(scale * r)

    def _channels(self) -> tuple[int, ...]:
        return (self.domain.shape[0] or self.kernel.shape[-3],)

    def _norm(self, shape: tuple[int, ...] | None) -> Bound | None:
        kernel = self.kernel.double()
        if self.boundary == "zero":
            filtered = FourierFilter(spectrum(kernel, *self.filter.size), self.filter.domain)._norm(None)
            return Bound(filtered.value, "upper", "maximum of the transfer function on the extended grid")
        size = _BoundaryConvolution(kernel.abs(), self.boundary, self.domain)
        channels = self.domain.shape[0] or kernel.shape[-3]
        ones = torch.ones(channels, *self.size, dtype=torch.float64, device=kernel.device)
        return schur_bound(size._forward(ones), size._adjoint(ones), self.domain, self.codomain)


def _is_symmetric(kernel: Tensor) -> bool:
    """Return whether a kernel equals its mirror images along both axes, to rounding, about its centre k // 2."""
    if kernel.shape[-2] % 2 == 0 or kernel.shape[-1] % 2 == 0:
        return False
    tolerance = 4 * torch.finfo(kernel.dtype).eps * kernel.abs().amax()
    return all(bool(((kernel - kernel.flip(axis)).abs() <= tolerance).all()) for axis in (-2, -1))
