"""Convolution of a scene that is larger than its picture: nothing is assumed of what lies beyond the edge."""

from __future__ import annotations

from collections.abc import Callable
from typing import final

import torch
from torch import Tensor
from torch.nn.functional import pad

from apheleia.core.bound import Bound
from apheleia.core.errors import ShapeError
from apheleia.core.interop import ArrayLike, as_tensor, is_floating
from apheleia.core.space import IMAGE, Space, as_wide
from apheleia.operators.filters import FourierFilter
from apheleia.operators.linear import LinearOperator
from apheleia.operators.operator import register
from apheleia.operators.transfer import fast_length, spectrum

__all__ = ["UnknownBoundaryConvolution"]


@final
class UnknownBoundaryConvolution(LinearOperator):
    """x -> the part of k * x that depends on nothing beyond x: (height + kh - 1, width + kw - 1) pixels to (height, width).

    The picture is observed; the scene behind it, which the blur mixes in from beyond the edge, is an unknown like the rest.
    Restore the larger scene and cut out `window`, or show all of it: its margins are extrapolated by the prior.

    Parameters
    ----------
    kernel : Tensor or ndarray, (kh, kw) or (channel, kh, kw)
        One kernel for all channels or one a channel, flipped as convolution means, and used as given.
    shape : (int, int, int), optional
        Shape of the picture, (channel, height, width), where sizes are to be fixed.

    Raises
    ------
    ShapeError
        If the kernel is not real with two or three axes, none of them empty, or does not fit the shape.

    Notes
    -----
    Certificate: norm at most the maximum of |frequency response| on a grid that holds the scene, upper.
    Complexity: O(N log N), two real FFTs an application. Least squares are solved with the inverse filter as preconditioner.
    Source: M. Almeida, M. Figueiredo, IEEE Transactions on Image Processing 22 (2013), doi:10.1109/TIP.2013.2258354.

    Examples
    --------
    >>> A = UnknownBoundaryConvolution(torch.ones(3, 3) / 9, shape=(1, 4, 5))
    >>> A.domain.shape, A(torch.ones(1, 6, 7)).shape
    ((1, 6, 7), torch.Size([1, 4, 5]))
    """

    kernel: Tensor

    def __init__(self, kernel: ArrayLike, shape: tuple[int, int, int] | None = None) -> None:
        k = as_tensor(kernel, "UnknownBoundaryConvolution", "kernel")
        if k.ndim not in (2, 3) or 0 in k.shape or k.is_complex():
            raise ShapeError(
                "UnknownBoundaryConvolution: `kernel` must be real, (height, width) or (channel, height, width); "
                f"got {k.dtype} {tuple(k.shape)}."
            )
        kh, kw = k.shape[-2:]
        channels = k.shape[0] if k.ndim == 3 and k.shape[0] > 1 else None
        picture = Space((channels, None, None) if shape is None else shape)
        if not IMAGE.accepts(picture.shape) or not picture.accepts((channels, None, None)):
            raise ShapeError(
                f"UnknownBoundaryConvolution: `shape` must be (channel, height, width) and fit {channels or 'any number of'} "
                f"channels of the kernel; got {shape}."
            )
        grown = tuple(None if n is None else n + m - 1 for n, m in zip(picture.shape[1:], (kh, kw), strict=True))
        super().__init__(Space((picture.shape[0], *grown)), picture)
        register(self, "kernel", k if is_floating(k) else k.double())
        self.is_non_negative = not k.requires_grad and bool((k >= 0).all())
        # of the full extent, what lies at the end of the kernel's reach comes first
        self.start = (kh - 1 - kh // 2, kw - 1 - kw // 2)

    @property
    def window(self) -> tuple[slice, slice]:
        """Rows and columns of the scene that lie behind the picture: x[..., *A.window] has the picture's size."""
        kh, kw = self.kernel.shape[-2:]
        return slice(self.start[0], -(kh // 2) or None), slice(self.start[1], -(kw // 2) or None)

    def _output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        kh, kw = self.kernel.shape[-2:]
        if shape[-2] < kh or shape[-1] < kw:
            raise ShapeError(f"{self.name}: the scene must hold the kernel, at least ({kh}, {kw}) pixels; got {shape[-2:]}.")
        return (shape[0], shape[1] - kh + 1, shape[2] - kw + 1)

    def _input_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        kh, kw = self.kernel.shape[-2:]
        return (shape[0], shape[1] + kh - 1, shape[2] + kw - 1)

    def _forward(self, x: Tensor) -> Tensor:
        return self.prepared(tuple(x.shape[-3:]), x.dtype)._forward(x)

    def _adjoint(self, y: Tensor) -> Tensor:
        return self.prepared(self._input_shape(tuple(y.shape[-3:])), y.dtype)._adjoint(y)

    def prepared(self, shape: tuple[int, ...], dtype: torch.dtype) -> LinearOperator:
        """Return the same object with all that depends only on shape and precision computed once."""
        kernel = self.kernel if self.kernel.ndim > 2 else self.kernel[None]
        ready = _Prepared(kernel.to(dtype), self.start, Space(shape), Space(self._output_shape(shape)))
        ready.is_non_negative = self.is_non_negative
        return ready

    def _norm(self, shape: tuple[int, ...] | None) -> Bound | None:
        if shape is None:
            return Bound(self.kernel.detach().double().abs().sum((-2, -1)).amax(), "upper", "sum of |kernel|")
        return self.prepared(shape, torch.float64)._norm(shape)

    def _smallest_singular_value(self, shape: tuple[int, ...]) -> Bound | None:
        return Bound(0.0, "lower", "there are more unknowns than data") if self.kernel.shape[-2:] != (1, 1) else None


@final
class _Prepared(LinearOperator):
    """The same for scenes of one size: filter on a fast grid that holds the scene, then cut."""

    def __init__(self, kernel: Tensor, start: tuple[int, int], domain: Space, codomain: Space) -> None:
        super().__init__(domain, codomain)
        self.size = (int(domain.shape[1] or 0), int(domain.shape[2] or 0))
        self.observed = (int(codomain.shape[1] or 0), int(codomain.shape[2] or 0))
        self.start = start
        grid = (fast_length(self.size[0]), fast_length(self.size[1]))
        self.filter = FourierFilter(spectrum(kernel, *grid), Space((None, *grid)))

    def _on_grid(self, x: Tensor, rows: int, columns: int) -> Tensor:
        height, width = self.filter.size
        return pad(x, (columns, width - columns - x.shape[-1], rows, height - rows - x.shape[-2]))

    def _forward(self, x: Tensor) -> Tensor:
        rows, columns = self.start
        wide = self.filter._forward(self._on_grid(x, 0, 0))
        return wide[..., rows : rows + self.observed[0], columns : columns + self.observed[1]]

    def _adjoint(self, y: Tensor) -> Tensor:
        return self.filter._adjoint(self._on_grid(y, *self.start))[..., : self.size[0], : self.size[1]]

    def _norm(self, shape: tuple[int, ...] | None) -> Bound | None:
        return Bound(self.filter._norm(None).value, "upper", "maximum of the transfer function on the whole grid")

    def _gram_preconditioner(self, shape: tuple[int, ...], shift: Tensor) -> Callable[[Tensor], Tensor] | None:
        transfer = self.filter.transfer.detach().abs() ** 2
        inverse = FourierFilter(1 / (transfer + as_wide(shift, transfer, 3)), self.filter.domain)
        return lambda r: inverse._forward(self._on_grid(r, 0, 0))[..., : self.size[0], : self.size[1]]
