"""The fused lasso: sparse signals that are piecewise constant along their last axis."""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor

from apheleia.core.errors import ArgumentError
from apheleia.core.interop import is_number
from apheleia.core.space import IMAGE, Space, as_wide
from apheleia.functionals.functional import Functional, is_within
from apheleia.functionals.priors.pooling import shrink_variation

__all__ = ["FusedLasso"]


@final
class FusedLasso(Functional):
    """x -> sparsity sum |x_i| + variation sum |x_{i+1} - x_i|, the second along the last axis: spectra, traces, time series.

    Parameters
    ----------
    variation : float
        Weight of the jumps, at least zero.
    sparsity : float
        Weight of the entries, at least zero; 0 leaves the total variation of every row, with an exact proximal map.
    space : Space, default images of any size
        Where x lives, real; all its axes but the last hold separate signals.

    Raises
    ------
    ArgumentError
        If a weight is negative or not finite, both are zero, or the space is complex.

    Notes
    -----
    The proximal map of the jumps, by dynamic programming, followed by soft thresholding.

    Certificate: the proximal map is exact up to rounding, and so are its derivatives, which average over the constant pieces.
    With sparsity above zero the conjugate is the indicator of |sum of u over an interval| <= sparsity times its length plus
    variation times its ends inside the signal, for every interval: the extreme signals of one unit of energy are intervals.
    Complexity: proximal map O(n) a signal, n passes over all signals at once; conjugate O(n^2) a signal.
    Source: J. Friedman, T. Hastie, H. Höfling, R. Tibshirani, Annals of Applied Statistics 1 (2007), doi:10.1214/07-AOAS131;
    N. Johnson, Journal of Computational and Graphical Statistics 22 (2013), doi:10.1080/10618600.2012.681238.

    Examples
    --------
    >>> FusedLasso(space=Space((None,))).prox(torch.tensor([0.0, 0.0, 5.0, 5.0]), 1.0)
    tensor([0.0000, 0.0000, 3.5000, 3.5000])
    """

    is_convex = True
    is_proximable = True
    has_exact_prox = True

    def __init__(self, variation: float = 1.0, sparsity: float = 1.0, space: Space = IMAGE) -> None:
        for name, weight in (("variation", variation), ("sparsity", sparsity)):
            if not (is_number(weight) and weight >= 0 and math.isfinite(weight)):
                raise ArgumentError(f"FusedLasso: `{name}` must be a finite number of at least zero; got {weight!r}.")
        if variation == 0 and sparsity == 0:
            raise ArgumentError("FusedLasso: `variation` and `sparsity` are both zero; give one of them a weight.")
        if space.is_complex or space.rank == 0:
            raise ArgumentError(f"FusedLasso: the space must be real, with one axis or more; got ({space}).")
        super().__init__(space)
        self.variation = float(variation)
        self.sparsity = float(sparsity)
        # without sparsity the domain of the conjugate is flat, and rounding alone leaves it
        self.has_conjugate = self.sparsity > 0

    @property
    def formula(self) -> str:
        """The term as a reader writes it."""
        return f"{self.sparsity:.4g} |x|₁ + {self.variation:.4g} |Dx|₁"

    def _value(self, x: Tensor) -> Tensor:
        return self.sparsity * x.abs().sum(self.space.axes) + self.variation * x.diff(dim=-1).abs().sum(self.space.axes)

    def _prox(self, x: Tensor, step: Tensor | float) -> Tensor:
        wide = as_wide(torch.as_tensor(step, dtype=x.dtype, device=x.device), x, self.space.rank)
        rows = torch.broadcast_shapes(x.shape, wide.shape)
        fused = shrink_variation(x.expand(rows), (self.variation * wide[..., 0]).expand(rows[:-1]))
        excess = (fused.abs() - self.sparsity * wide).clamp(min=0)
        return torch.where(excess > 0, fused.sign() * excess, 0.0)

    def _gauge(self, u: Tensor) -> Tensor:
        """Return the largest <x, u> over intervals x of one unit of energy, (*batch,); the conjugate is finite up to 1."""
        sums = torch.nn.functional.pad(u.cumsum(-1), (1, 0))
        n = u.shape[-1]
        largest = torch.zeros_like(u[..., 0])
        for length in range(1, n + 1):
            totals = (sums[..., length:] - sums[..., : n + 1 - length]).abs()
            ends = torch.full_like(totals[(0,) * (totals.ndim - 1)], 2.0)
            ends[0] -= 1
            ends[-1] -= 1
            largest = torch.maximum(largest, (totals / (self.sparsity * length + self.variation * ends)).amax(-1))
        return largest.amax(self.space.axes[1:]) if self.space.rank > 1 else largest

    def _conjugate(self, u: Tensor) -> Tensor:
        return torch.where(is_within(self._gauge(u)), 0.0, torch.inf).to(u.dtype)

    def _dual_scale(self, u: Tensor) -> Tensor:
        return 1 / self._gauge(u).clamp(min=1.0) if self.has_conjugate else super()._dual_scale(u)
