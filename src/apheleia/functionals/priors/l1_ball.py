"""The l1 ball and the norm that is dual to it, the largest modulus."""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor

from apheleia.core.errors import ArgumentError
from apheleia.core.interop import is_number
from apheleia.core.space import IMAGE, Space, as_wide
from apheleia.functionals.functional import Functional, is_within
from apheleia.functionals.priors.indicators import Indicator
from apheleia.functionals.priors.simplex_threshold import simplex_threshold

__all__ = ["L1Ball", "LInfinity"]


def _nearest(x: Tensor, radius: Tensor, rank: int) -> Tensor:
    """Return the projection on |x|_1 <= radius, radius (*batch,) or a number."""
    size = x.abs()
    flat = size.flatten(size.ndim - rank)
    # a point of the ball is its own projection: no threshold below zero
    level = as_wide(simplex_threshold(flat, radius[..., None]).squeeze(-1).clamp(min=0), x, rank)
    return x * ((size - level).clamp(min=0) / torch.where(size > 0, size, 1.0))


@final
class L1Ball(Indicator):
    """x -> 0 where |x|_1 <= radius, else +inf.

    Parameters
    ----------
    radius : float
        Above zero, in the units of x.
    space : Space, default images of any size
        Where x lives.

    Raises
    ------
    ArgumentError
        If the radius is not above zero.

    Notes
    -----
    Certificate: the projection is exact, by sorting; the conjugate is radius times the largest modulus.
    Complexity: O(n log n).
    Source: J. Duchi, S. Shalev-Shwartz, Y. Singer, T. Chandra, ICML (2008), doi:10.1145/1390156.1390191.
    """

    def __init__(self, radius: float = 1.0, space: Space = IMAGE) -> None:
        if not (is_number(radius) and radius > 0 and math.isfinite(radius)):
            raise ArgumentError(f"L1Ball: `radius` must be a finite number above zero; got {radius!r}.")
        super().__init__(space)
        self.radius = float(radius)

    @property
    def formula(self) -> str:
        """The term as a reader writes it."""
        return f"[|x|₁ ≤ {self.radius:.4g}]"

    def _project(self, x: Tensor) -> Tensor:
        return _nearest(x, torch.tensor(self.radius, dtype=x.real.dtype, device=x.device), self.space.rank)

    def _conjugate(self, u: Tensor) -> Tensor:
        return self.radius * u.abs().amax(self.space.axes)


@final
class LInfinity(Functional):
    """x -> max |x_i|, the largest modulus.

    Parameters
    ----------
    space : Space, default images of any size
        Where x lives.

    Notes
    -----
    Certificate: the proximal map, x less its projection on the l1 ball of radius step, is exact; the conjugate is the
    indicator of |u|_1 <= 1.
    Complexity: O(n log n).
    Source: N. Parikh, S. Boyd, Foundations and Trends in Optimization 1 (2014), doi:10.1561/2400000003.

    Examples
    --------
    >>> LInfinity().prox(torch.tensor([[[3.0, 1.0]]]), 1.0)
    tensor([[[2., 1.]]])
    """

    is_convex = True
    is_proximable = True
    has_exact_prox = True
    has_conjugate = True

    def __init__(self, space: Space = IMAGE) -> None:
        super().__init__(space)

    @property
    def formula(self) -> str:
        """The term as a reader writes it."""
        return "|x|_∞"

    def _value(self, x: Tensor) -> Tensor:
        return x.abs().amax(self.space.axes)

    def _prox(self, x: Tensor, step: Tensor | float) -> Tensor:
        return x - self._conj_prox(x, 1.0, step)

    def _conj_prox(self, u: Tensor, step: Tensor | float, weight: Tensor | float) -> Tensor:
        return _nearest(u, torch.as_tensor(weight, dtype=u.real.dtype, device=u.device), self.space.rank)

    def _conjugate(self, u: Tensor) -> Tensor:
        return torch.where(is_within(u.abs().sum(self.space.axes)), 0.0, torch.inf).to(u.real.dtype)

    def _dual_scale(self, u: Tensor) -> Tensor:
        return 1 / u.abs().sum(self.space.axes).clamp(min=1.0)
