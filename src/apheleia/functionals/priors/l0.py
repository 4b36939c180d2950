"""The number of entries that differ from zero."""

from __future__ import annotations

from typing import final

from torch import Tensor

from apheleia.core.space import IMAGE, Space, per_sample
from apheleia.functionals.functional import Functional

__all__ = ["L0"]


@final
class L0(Functional):
    """x -> |x|_0, the number of entries that differ from zero; not convex.

    Parameters
    ----------
    space : Space, default images of any size
        Where x lives.

    Notes
    -----
    Certificate: the proximal map, hard thresholding at sqrt(2 step), is a global minimiser; where the modulus is the threshold
    zero is taken.
    Source: D. Donoho, I. Johnstone, Biometrika 81 (1994), doi:10.1093/biomet/81.3.425.

    Examples
    --------
    >>> import torch
    >>> L0().prox(torch.tensor([[[3.0, -1.0]]]), 2.0)
    tensor([[[3., -0.]]])
    """

    is_proximable = True
    has_exact_prox = True

    def __init__(self, space: Space = IMAGE) -> None:
        super().__init__(space)

    @property
    def formula(self) -> str:
        """The term as a reader writes it."""
        return "|x|₀"

    def _value(self, x: Tensor) -> Tensor:
        return (x != 0).sum(self.space.axes).to(x.real.dtype)

    def _prox(self, x: Tensor, step: Tensor | float) -> Tensor:
        return x * (x.abs() ** 2 > 2 * per_sample(step, x, self.space.rank))
