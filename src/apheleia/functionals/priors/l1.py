"""The l1 norm, which makes signals sparse."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from apheleia.core.space import IMAGE, Space, per_sample
from apheleia.functionals.functional import Functional, is_within

__all__ = ["L1"]


@final
class L1(Functional):
    """x -> |x|_1 = sum |x_i|, for real or complex signals.

    Parameters
    ----------
    space : Space, default images of any size
        Where x lives; `VECTOR` for vectors.

    Notes
    -----
    Certificate: the proximal map, soft thresholding, is exact; the conjugate is the indicator of |u_i| <= 1.
    Source: R. Tibshirani, Journal of the Royal Statistical Society B 58 (1996), doi:10.1111/j.2517-6161.1996.tb02080.x.

    Examples
    --------
    >>> L1().prox(torch.tensor([[[3.0, -0.5]]]), 1.0)
    tensor([[[2., -0.]]])
    """

    is_convex = True
    is_proximable = True
    has_exact_prox = True
    coupled_axes = ()
    has_conjugate = True

    def __init__(self, space: Space = IMAGE) -> None:
        super().__init__(space)

    @property
    def formula(self) -> str:
        """The term as a reader writes it."""
        return "|x|₁"

    def _value(self, x: Tensor) -> Tensor:
        return x.abs().sum(self.space.axes)

    def _entrywise_prox(self, x: Tensor, steps: Tensor | float) -> Tensor:
        size = x.abs()
        shrunk = (size - steps).clamp(min=0)
        return x * (shrunk / torch.where(size > 0, size, 1.0))

    def _entrywise_conj_prox(self, u: Tensor, steps: Tensor | float, weight: Tensor | float) -> Tensor:
        wide = per_sample(weight, u, self.space.rank)
        size = u.abs()
        return torch.where(size > wide, u * (wide / torch.where(size > 0, size, 1.0)), u)

    def _conjugate(self, u: Tensor) -> Tensor:
        return torch.where(is_within(u.abs().amax(self.space.axes)), 0.0, torch.inf).to(u.real.dtype)

    def _dual_scale(self, u: Tensor) -> Tensor:
        return 1 / u.abs().amax(self.space.axes).clamp(min=1.0)
