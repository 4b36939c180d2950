"""The sorted l1 norm: larger entries pay more, so that entries of a like size become equal."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from apheleia.core.errors import ArgumentError, ShapeError
from apheleia.core.interop import ArrayLike, as_tensor
from apheleia.core.space import IMAGE, Space, as_wide
from apheleia.functionals.functional import Functional, is_within
from apheleia.functionals.priors.pooling import pool_decreasing
from apheleia.operators.operator import register

__all__ = ["SortedL1"]


@final
class SortedL1(Functional):
    """x -> sum_i w_i |x|_(i), |x|_(1) the largest modulus, |x|_(2) the next; known as SLOPE and OWL.

    Equal weights give the l1 norm, the weights (1, 0, 0, ...) the largest modulus, and weights that fall linearly OSCAR, which
    groups correlated entries.

    Parameters
    ----------
    weights : Tensor or ndarray, (n,)
        w, at least zero, the first above zero, none larger than the one before; n is the number of entries of x.
    space : Space, default images of any size
        Where x lives.

    Raises
    ------
    ArgumentError
        If the weights are no such sequence.
    ShapeError
        At first use, if x has not n entries.

    Notes
    -----
    The proximal map sorts the moduli, takes the weights away, pools what is then in the wrong order, and cuts off at zero.

    Certificate: the proximal map is exact up to rounding; the conjugate is the indicator of
    sum of the k largest |u| <= w_1 + ... + w_k for every k.
    Complexity: O(n log n) to sort, and O(n) for each round of pooling, of which there are few in practice.
    Source: M. Bogdan, E. van den Berg, C. Sabatti, W. Su, E. Candes, Annals of Applied Statistics 9 (2015),
    doi:10.1214/15-AOAS842; X. Zeng, M. Figueiredo (2014), arXiv:1409.4271.

    Examples
    --------
    >>> SortedL1([2.0, 1.0, 0.0], Space((None,))).prox(torch.tensor([3.0, -2.5, 0.5]), 1.0)
    tensor([ 1.2500, -1.2500,  0.5000])
    """

    weights: Tensor
    is_convex = True
    is_proximable = True
    has_exact_prox = True
    has_conjugate = True

    def __init__(self, weights: ArrayLike, space: Space = IMAGE) -> None:
        values = as_tensor(weights, "SortedL1", "weights")
        if values.ndim != 1 or values.is_complex() or len(values) == 0 or not bool(values.isfinite().all()):
            raise ArgumentError(f"SortedL1: `weights` must be finite real numbers (n,); got shape {tuple(values.shape)}.")
        if bool((values.diff() > 0).any()) or values[-1] < 0 or values[0] <= 0:
            raise ArgumentError("SortedL1: `weights` must never increase, start above zero and end at zero or above; sort them.")
        super().__init__(space)
        register(self, "weights", values)

    @property
    def formula(self) -> str:
        """The term as a reader writes it."""
        return "Σ wᵢ |x|₍ᵢ₎"

    def _sizes(self, x: Tensor) -> Tensor:
        """Return the moduli in one row a sample, (*batch, n)."""
        size = x.abs().flatten(x.ndim - self.space.rank)
        if size.shape[-1] != len(self.weights):
            raise ShapeError(f"SortedL1: there are {len(self.weights)} weights; x has {size.shape[-1]} entries a sample.")
        return size

    def _value(self, x: Tensor) -> Tensor:
        size = self._sizes(x).sort(dim=-1, descending=True).values
        return (self.weights.to(size.dtype) * size).sum(-1)

    def _prox(self, x: Tensor, step: Tensor | float) -> Tensor:
        size = self._sizes(x)
        ordered, order = size.sort(dim=-1, descending=True, stable=True)
        wide = as_wide(torch.as_tensor(step, dtype=size.dtype, device=size.device), size, 1)
        shrunk = pool_decreasing(ordered - wide * self.weights.to(size.dtype)).clamp(min=0)
        back = order.argsort(dim=-1).expand_as(shrunk)
        shape = x.shape[x.ndim - self.space.rank :]
        size, new = size.unflatten(-1, shape), shrunk.gather(-1, back).unflatten(-1, shape)
        return x * (new / torch.where(size > 0, size, 1.0))

    def _limits(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Return the sums of the k largest moduli and the limits they have in the conjugate's domain, for every k."""
        size = self._sizes(u).sort(dim=-1, descending=True).values
        return size.cumsum(-1), self.weights.to(size.dtype).cumsum(-1)

    def _conjugate(self, u: Tensor) -> Tensor:
        sums, limits = self._limits(u)
        return torch.where(is_within((sums / limits).amax(-1)), 0.0, torch.inf).to(sums.dtype)

    def _dual_scale(self, u: Tensor) -> Tensor:
        sums, limits = self._limits(u)
        return 1 / (sums / limits).amax(-1).clamp(min=1.0)
