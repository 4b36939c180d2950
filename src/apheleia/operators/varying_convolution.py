"""A blur that varies across the field of view: a grid of point spread functions and weights that fade from one to the next."""

from __future__ import annotations

from typing import Literal, final, get_args

import torch
from torch import Tensor

from apheleia.core.bound import Bound
from apheleia.core.errors import ArgumentError, ShapeError
from apheleia.core.interop import ArrayLike, as_tensor, is_floating
from apheleia.core.space import IMAGE, Space
from apheleia.operators.boundary import Boundary, extend, fold
from apheleia.operators.linear import LinearOperator
from apheleia.operators.norm import schur_bound
from apheleia.operators.operator import register
from apheleia.operators.transfer import fast_length, spectrum

__all__ = ["VaryingConvolution"]

Weights = Literal["bilinear", "smooth"]


@final
class VaryingConvolution(LinearOperator):
    """x -> sum_i k_i * (w_i x): every pixel of the scene spreads by the point spread function of its own place.

    The kernels k_i stand on a regular grid over the image, in the middles of rows x columns equal tiles; the weights w_i are
    non-negative, sum to one at every pixel and fade from one tile's middle to the next.

    Parameters
    ----------
    kernels : Tensor or ndarray, (rows, columns, kh, kw)
        The grid of point spread functions, flipped as convolution means, and used as given.
    boundary : {"circular", "zero", "reflect", "replicate"}, default "reflect"
        What lies beyond the edge, before the blur.
    weights : {"bilinear", "smooth"}, default "bilinear"
        Linear weights between the middles, or with the smooth step 3 t^2 - 2 t^3.

    Raises
    ------
    ShapeError
        If the kernels are not real with four axes, none of them empty.
    ArgumentError
        If the boundary or the weights are unknown.

    Notes
    -----
    Certificate: norm at most sqrt(|A|_1 |A|_inf) of the absolute kernels, upper.
    Complexity: O(n N log N) for n kernels: n + 1 real FFTs an application.
    Source: J. Nagy, D. O'Leary, SIAM Journal on Scientific Computing 19 (1998), doi:10.1137/S106482759528507X;
    L. Denis, E. Thiebaut, F. Soulez, J.-M. Becker, R. Mourya, International Journal of Computer Vision 115 (2015),
    doi:10.1007/s11263-015-0817-x.

    Examples
    --------
    >>> same = torch.ones(2, 2, 3, 3) / 9
    >>> VaryingConvolution(same)(torch.ones(1, 6, 6)).mean()
    tensor(1.)
    """

    kernels: Tensor

    def __init__(self, kernels: ArrayLike, boundary: Boundary = "reflect", weights: Weights = "bilinear") -> None:
        k = as_tensor(kernels, "VaryingConvolution", "kernels")
        if k.ndim != 4 or 0 in k.shape or k.is_complex():
            raise ShapeError(
                f"VaryingConvolution: `kernels` must be real, (rows, columns, height, width); got {k.dtype} {tuple(k.shape)}."
            )
        for name, value, known in (("boundary", boundary, Boundary), ("weights", weights, Weights)):
            if value not in get_args(known):
                raise ArgumentError(f"VaryingConvolution: `{name}` must be one of {', '.join(get_args(known))}; got {value!r}.")
        super().__init__(IMAGE, IMAGE)
        register(self, "kernels", k if is_floating(k) else k.double())
        self.boundary: Boundary = boundary
        self.weights: Weights = weights
        self.is_non_negative = not k.requires_grad and bool((k >= 0).all())

    def _forward(self, x: Tensor) -> Tensor:
        return self.prepared(tuple(x.shape[-3:]), x.dtype)._forward(x)

    def _adjoint(self, y: Tensor) -> Tensor:
        return self.prepared(tuple(y.shape[-3:]), y.dtype)._adjoint(y)

    def prepared(self, shape: tuple[int, ...], dtype: torch.dtype) -> LinearOperator:
        """Return the same object with all that depends only on shape and precision computed once."""
        ready = _Prepared(self.kernels.to(dtype), self.boundary, self.weights, Space(shape))
        ready.is_non_negative = self.is_non_negative
        return ready

    def _norm(self, shape: tuple[int, ...] | None) -> Bound | None:
        return None if shape is None else self.prepared(shape, torch.float64)._norm(shape)


@final
class _Prepared(LinearOperator):
    """The same for images of one size; in double precision the weights of a pixel sum to one up to rounding."""

    kernels: Tensor
    share: Tensor
    transfer: Tensor

    def __init__(self, kernels: Tensor, boundary: Boundary, weights: Weights, space: Space) -> None:
        super().__init__(space, space)
        self.size = (int(space.shape[1] or 0), int(space.shape[2] or 0))
        self.boundary: Boundary = boundary
        self.weights: Weights = weights
        kh, kw = kernels.shape[-2:]
        self.before, self.after = (kh - 1 - kh // 2, kw - 1 - kw // 2), (kh // 2, kw // 2)
        self.grid = (fast_length(self.size[0] + kh - 1), fast_length(self.size[1] + kw - 1))
        ends = zip(self.size, self.before, self.after, kernels.shape[:2], strict=True)
        rows, columns = (_weights(n, left, right, count, weights) for n, left, right, count in ends)
        share = (rows[:, None, :, None] * columns[None, :, None, :]).flatten(0, 1)[:, None]
        register(self, "kernels", kernels)
        register(self, "share", share.to(kernels))
        register(self, "transfer", spectrum(kernels.flatten(0, 1), *self.grid)[:, None])

    def _forward(self, x: Tensor) -> Tensor:
        wide = extend(x, self.before, self.after, self.boundary).unsqueeze(-4)
        spread = torch.fft.rfft2(self.share.to(x) * wide, s=self.grid) * self.transfer.to(x.dtype.to_complex())
        blurred = torch.fft.irfft2(spread.sum(-4), s=self.grid)
        rows, columns = self.before
        return blurred[..., rows : rows + self.size[0], columns : columns + self.size[1]]

    def _adjoint(self, y: Tensor) -> Tensor:
        placed = extend(y, self.before, self.after, "zero")
        back = torch.fft.rfft2(placed, s=self.grid).unsqueeze(-4) * self.transfer.to(y.dtype.to_complex()).conj()
        wide = torch.fft.irfft2(back, s=self.grid)[..., : placed.shape[-2], : placed.shape[-1]]
        return fold((self.share.to(y) * wide).sum(-4), self.before, self.after, self.boundary)

    def _norm(self, shape: tuple[int, ...] | None) -> Bound | None:
        size = _Prepared(self.kernels.detach().double().abs(), self.boundary, self.weights, self.domain)
        ones = torch.ones(int(self.domain.shape[0] or 1), *self.size, dtype=torch.float64, device=self.kernels.device)
        return schur_bound(size._forward(ones), size._adjoint(ones), self.domain, self.codomain)


def _weights(size: int, left: int, right: int, count: int, kind: Weights) -> Tensor:
    """Return weights (count, left + size + right) that sum to one, constant beyond the outer middles."""
    position = (torch.arange(-left, size + right, dtype=torch.float64) + 0.5) * count / size - 0.5
    distance = (position.clamp(0, count - 1) - torch.arange(count, dtype=torch.float64)[:, None]).abs()
    near = (1 - distance).clamp(min=0)
    return near if kind == "bilinear" else near**2 * (3 - 2 * near)
