"""The nuclear norm of a small matrix at each pixel: two rows by any number of channels, in closed form."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from apheleia.core.space import Space, as_wide
from apheleia.functionals.functional import Functional, is_within

__all__ = ["PixelNuclearNorm"]


@final
class PixelNuclearNorm(Functional):
    """J -> sum over pixels of s_1 + s_2, the singular values of the 2 x channel matrix J[:, :, i, j]; J real (2, channel, h, w).

    Notes
    -----
    The two rows span a triangle [[a, 0], [c, b]] with orthonormal directions: s_1 + s_2 = hypot(a + b, c) and
    s_1 - s_2 = hypot(a - b, c), which do not cancel. The proximal map multiplies J by a symmetric 2 x 2 matrix from the left.

    Certificate: the proximal map is exact; the conjugate is the indicator of s_1 <= 1 at every pixel.
    Complexity: a few passes over J, no singular value decomposition.
    Source: J. Duran, M. Moeller, C. Sbert, D. Cremers, SIAM Journal on Imaging Sciences 9 (2016), doi:10.1137/15M102873X.

    Examples
    --------
    >>> PixelNuclearNorm()(torch.tensor([[3.0, 0.0], [0.0, 4.0]]).reshape(2, 2, 1, 1))
    tensor(7.)
    """

    is_convex = True
    is_proximable = True
    has_exact_prox = True
    has_conjugate = True

    def __init__(self) -> None:
        super().__init__(Space((2, None, None, None)))

    @property
    def formula(self) -> str:
        """The term as a reader writes it."""
        return "Σ|x[i, j]|_*"

    def _singular_values(self, J: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return s_1, s_2, s_1 + s_2 and s_1 - s_2 at each pixel, (*batch, 1, h, w)."""
        first, second = J[..., 0, :, :, :], J[..., 1, :, :, :]
        square = (first * first).sum(-3, keepdim=True)
        a = _root(square)
        product = (first * second).sum(-3, keepdim=True)
        # what the second row has besides the first
        rest = second - product / _positive(square) * first
        b, c = _root((rest * rest).sum(-3, keepdim=True)), product / _positive(a)
        total, difference = _root((a + b) ** 2 + c**2), _root((a - b) ** 2 + c**2)
        large = 0.5 * (total + difference)
        # the small one from the determinant, because the half difference cancels
        return large, a * b / _positive(large), total, difference

    def _value(self, x: Tensor) -> Tensor:
        return self._singular_values(x)[2].sum((-3, -2, -1))

    def _largest(self, u: Tensor) -> Tensor:
        return self._singular_values(u)[0].amax((-3, -2, -1))

    def _prox(self, x: Tensor, step: Tensor | float) -> Tensor:
        return x - self._conj_prox(x, 1.0, step)

    def _conj_prox(self, u: Tensor, step: Tensor | float, weight: Tensor | float) -> Tensor:
        """Return f(J J^T) J with f = min(1, weight / s), which projects onto s_1 <= weight."""
        large, small, total, difference = self._singular_values(u)
        first, second = u[..., 0, :, :, :], u[..., 1, :, :, :]
        radius = as_wide(torch.as_tensor(weight, dtype=u.dtype, device=u.device), first, 3)
        f_large = torch.where(large > radius, radius / _positive(large), 1.0)
        f_small = torch.where(small > radius, radius / _positive(small), 1.0)
        # the divided difference of f over s^2, by the case: both cut, one cut, none
        both = -radius / _positive(large * small * total)
        # (radius - s_1) / (s_1 - s_2) lies in [-1, 0] where only the large one is cut
        one = ((radius - large) / _positive(difference)).clamp(-1, 0) / _positive(large * total)
        slope = torch.where(small > radius, both, torch.where(large > radius, one, 0.0))
        a, d = (first * first).sum(-3, keepdim=True), (second * second).sum(-3, keepdim=True)
        off, half = (first * second).sum(-3, keepdim=True), 0.5 * (a - d)
        mean = 0.5 * (f_large + f_small)
        top = (mean + slope * half) * first + slope * off * second
        bottom = slope * off * first + (mean - slope * half) * second
        return torch.stack([top, bottom], dim=-4)

    def _conjugate(self, u: Tensor) -> Tensor:
        return torch.where(is_within(self._largest(u)), 0.0, torch.inf).to(u.dtype)

    def _dual_scale(self, u: Tensor) -> Tensor:
        return 1 / self._largest(u).clamp(min=1.0)


def _root(square: Tensor) -> Tensor:
    """Return the root with the zero subgradient at zero."""
    zero = square <= 0
    return torch.where(zero, 0.0, torch.where(zero, 1.0, square).sqrt())


def _positive(size: Tensor) -> Tensor:
    return torch.where(size > 0, size, 1.0)
