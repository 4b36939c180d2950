"""Filters of images of one size, diagonal in the Fourier or in the cosine basis: closed-form inverses, exact norms."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from apheleia.core.bound import Bound
from apheleia.core.errors import ShapeError
from apheleia.core.space import Space, per_sample
from apheleia.operators.linear import LinearOperator
from apheleia.operators.operator import register
from apheleia.operators.transforms import Basis, CosineTransform, by_frequency, cosine_layout

__all__ = ["CosineFilter", "FourierFilter"]

_LAID_OUT = (-4, -3, -2, -1)
"""The axes of an image's cosine coefficients."""


@final
class FourierFilter(LinearOperator):
    """x -> F^{-1}(T F x): multiplication of the real two-dimensional spectrum by a transfer function T.

    Parameters
    ----------
    transfer : Tensor, (*batch, channel or 1, height, width // 2 + 1)
        Transfer function on the half spectrum of `torch.fft.rfft2`, of a real filter: T[-k] = conj T[k], which the first and
        (for an even width) the last column must satisfy within themselves. This is not checked.
    space : Space
        Real images (channel, height, width) with height and width fixed.

    Raises
    ------
    ShapeError
        If the transfer function is not that of images of this size.

    Notes
    -----
    Certificate: norm max |T|, exact; smallest singular value min |T| less its rounding, lower.
    """

    transfer: Tensor
    has_gram_solve = True
    gram_bases = ("fourier",)

    def __init__(self, transfer: Tensor, space: Space) -> None:
        height, width = _image_size("FourierFilter", space)
        if tuple(transfer.shape[-2:]) != (height, width // 2 + 1):
            raise ShapeError(f"FourierFilter: `transfer` must end in (height, width // 2 + 1); got {tuple(transfer.shape)}.")
        super().__init__(space, space)
        register(self, "transfer", transfer)
        self.size = (height, width)
        # a real transfer function T >= 0 makes the filter self-adjoint positive semi-definite
        self.has_shifted_solve = not transfer.is_complex() and bool((transfer.detach() >= 0).all())

    @property
    def absolute(self) -> LinearOperator | None:
        """The filter with the absolute value of its impulse response."""
        impulse = torch.fft.irfft2(self.transfer.detach(), s=self.size).abs()
        absolute = FourierFilter(torch.fft.rfft2(impulse), self.domain)
        absolute.is_non_negative = True
        return absolute

    def _filtered(self, x: Tensor, transfer: Tensor) -> Tensor:
        # the signal's own precision wins over that of the transfer function
        transfer = transfer.to(x.dtype.to_complex() if transfer.is_complex() else x.dtype)
        return torch.fft.irfft2(transfer * torch.fft.rfft2(x), s=self.size)

    def _forward(self, x: Tensor) -> Tensor:
        return self._filtered(x, self.transfer)

    def _adjoint(self, y: Tensor) -> Tensor:
        return self._filtered(y, self.transfer.conj())

    def _power(self) -> Tensor:
        """Return |T|^2; the modulus of complex numbers costs many times more, for the sake of numbers that overflow."""
        return self.transfer.real**2 + self.transfer.imag**2 if self.transfer.is_complex() else self.transfer**2

    def _norm(self, shape: tuple[int, ...] | None) -> Bound:
        return Bound(self._power().amax((-3, -2, -1)).sqrt(), "exact", "maximum of the transfer function")

    def _smallest_singular_value(self, shape: tuple[int, ...]) -> Bound | None:
        return _least(self._power().sqrt(), (-3, -2, -1), "minimum of the transfer function")

    def _gram(self) -> LinearOperator:
        return FourierFilter(self._power(), self.domain)

    def _gram_eigenvalues(self, basis: Basis, shape: tuple[int, ...]) -> Tensor:
        return self._power()

    def _shifted_solve(self, rhs: Tensor, shift: Tensor | float) -> Tensor:
        inverse = 1 / (self.transfer.to(rhs.dtype) + per_sample(shift, rhs, 3))
        return self._filtered(rhs, inverse)


@final
class CosineFilter(LinearOperator):
    """x -> C^{-1}(t C x): multiplication of the cosine coefficients (DCT-II) by real eigenvalues; self-adjoint.

    A blur with a kernel that is symmetric in both axes, of images that reflect at their edges, is one.

    Parameters
    ----------
    eigenvalues : Tensor, (*batch, channel or 1, height, width)
        By frequency.
    space : Space
        Real images (channel, height, width) with height and width fixed.

    Raises
    ------
    ShapeError
        If the eigenvalues are not those of images of this size.

    Notes
    -----
    Certificate: norm max |t|, exact; smallest singular value min |t| less its rounding, lower.
    """

    eigenvalues: Tensor
    has_gram_solve = True
    gram_bases = ("cosine",)

    def __init__(self, eigenvalues: Tensor, space: Space) -> None:
        height, width = _image_size("CosineFilter", space)
        if tuple(eigenvalues.shape[-2:]) != tuple(space.shape[-2:]) or eigenvalues.is_complex():
            raise ShapeError(
                f"CosineFilter: `eigenvalues` must be real and end in {space.shape[-2:]}; got {tuple(eigenvalues.shape)}."
            )
        super().__init__(space, space)
        register(self, "eigenvalues", cosine_layout(eigenvalues))
        self.transform = CosineTransform((height, width))
        self.has_shifted_solve = bool((eigenvalues.detach() >= 0).all())

    def _filtered(self, x: Tensor, eigenvalues: Tensor) -> Tensor:
        return self.transform.synthesise(self.transform.analyse(x) * eigenvalues.to(x.dtype))

    def _forward(self, x: Tensor) -> Tensor:
        return self._filtered(x, self.eigenvalues)

    def _adjoint(self, y: Tensor) -> Tensor:
        return self._filtered(y, self.eigenvalues)

    def _norm(self, shape: tuple[int, ...] | None) -> Bound:
        return Bound(self.eigenvalues.abs().amax(_LAID_OUT), "exact", "largest eigenvalue")

    def _smallest_singular_value(self, shape: tuple[int, ...]) -> Bound | None:
        return _least(self.eigenvalues.abs(), _LAID_OUT, "smallest eigenvalue")

    def _gram(self) -> LinearOperator:
        return CosineFilter(by_frequency(self.eigenvalues, self.transform.size) ** 2, self.domain)

    def _gram_eigenvalues(self, basis: Basis, shape: tuple[int, ...]) -> Tensor:
        return self.eigenvalues**2

    def _shifted_solve(self, rhs: Tensor, shift: Tensor | float) -> Tensor:
        return self._filtered(rhs, 1 / (self.eigenvalues.to(rhs.dtype) + per_sample(shift, rhs, 4)))


def _image_size(who: str, space: Space) -> tuple[int, int]:
    """Return height and width of a space of real images, which must be fixed."""
    if space.rank != 3 or space.shape[-1] is None or space.shape[-2] is None or space.is_complex:
        raise ShapeError(f"{who}: give real images with fixed height and width; got ({space}).")
    return space.shape[-2], space.shape[-1]


def _least(size: Tensor, axes: tuple[int, ...], how: str) -> Bound:
    # what rounding could have made of a zero proves nothing
    return Bound((size.amin(axes) - 1e-12 * size.amax(axes)).clamp(min=0), "lower", how)
