"""The squared k-support norm, with costs: the convex envelope of energy under a budget of entries or groups."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from apheleia.core.errors import ArgumentError
from apheleia.core.interop import ArrayLike, as_tensor, is_number
from apheleia.core.space import IMAGE, Space, as_wide
from apheleia.functionals.functional import Functional
from apheleia.operators.operator import register

__all__ = ["SquaredKSupportNorm"]


@final
class SquaredKSupportNorm(Functional):
    """x -> min { 1/2 sum_g |x_g|^2 / u_g : 0 <= u <= 1, sum_g d_g u_g <= k }: the envelope of 1/2 |x|^2 + [cost of support <= k].

    Parameters
    ----------
    k : float
        The budget, above zero; with costs of one, the number of groups.
    axis : int, optional
        The axis inside a group, counted from the end, such as -3 for the channels of a pixel; each entry is a group by
        default.
    costs : Tensor or ndarray, optional
        d, above zero, one a group: broadcasts with the groups' sizes, whose axis inside a group has size 1. One by default.
    space : Space, default images of any size
        Where x lives.

    Raises
    ------
    ArgumentError
        If k or a cost is not above zero, or the axis is no signal axis.

    Notes
    -----
    The proximal map is x_g = u_g / (u_g + step) v_g with u_g = clip(theta |v_g| / sqrt(d_g) - step, 0, 1), theta such that the
    budget is spent: bisection finds which u_g are strictly between 0 and 1, and theta follows from them in closed form.

    Certificate: the proximal map and the value are exact up to rounding; the conjugate is 1/2 of the largest sum of u_g |v_g|^2
    that the budget buys, the k largest squares for costs of one.
    Complexity: O(n) for each of 100 bisections.
    Source: A. Argyriou, R. Foygel, N. Srebro, NIPS (2012), arXiv:1204.5043; A. McDonald, M. Pontil, D. Stamos, Journal of
    Machine Learning Research 17 (2016).

    Examples
    --------
    >>> SquaredKSupportNorm(1)(torch.tensor([[[3.0, -4.0]]]))
    tensor(24.5000)
    """

    costs: Tensor
    is_convex = True
    is_proximable = True
    has_exact_prox = True
    has_conjugate = True

    def __init__(self, k: float, axis: int | None = None, costs: ArrayLike | float = 1.0, space: Space = IMAGE) -> None:
        if not (is_number(k) and k > 0):
            raise ArgumentError(f"SquaredKSupportNorm: `k` must be above zero; got {k!r}.")
        if axis is not None and axis not in space.axes:
            raise ArgumentError(f"SquaredKSupportNorm: `axis` must lie between {-space.rank} and -1; got {axis!r}.")
        values = as_tensor(costs, "SquaredKSupportNorm", "costs")
        if not bool((values > 0).all() and values.isfinite().all()):
            raise ArgumentError("SquaredKSupportNorm: `costs` must be finite numbers above zero.")
        super().__init__(space)
        self.k = float(k)
        self.axis = axis
        register(self, "costs", values)

    @property
    def formula(self) -> str:
        """The term as a reader writes it."""
        return f"1/2 |x|²_sup({self.k:.4g})"

    def _sizes(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the sizes of the groups and their costs, both (*batch, groups)."""
        if self.axis is None:
            size = x.abs()
        else:
            square = (x.abs() ** 2).sum(self.axis, keepdim=True)
            size = torch.where(square > 0, torch.where(square > 0, square, 1.0).sqrt(), 0.0)
        costs = self.costs.to(size.dtype).expand_as(size)
        rank = self.space.rank
        return size.flatten(size.ndim - rank), costs.flatten(size.ndim - rank)

    def _shares(self, size: Tensor, costs: Tensor, shift: Tensor) -> Tensor:
        """Return u = clip(theta size / sqrt(d) - shift, 0, 1) that spends the budget; one where the budget buys all."""
        slope = size / costs.sqrt()
        with torch.no_grad():
            # in logarithms: theta between where nothing is free and where all that can be is one
            positive = torch.where(slope > 0, slope, torch.inf)
            low = torch.zeros_like(shift)
            high = (1 + shift) / torch.where(positive.isfinite(), positive, 1.0).amin(-1, keepdim=True)
            for _ in range(100):
                middle = 0.5 * (low + high)
                over = (costs * (middle * slope - shift).clamp(0, 1)).sum(-1, keepdim=True) > self.k
                low, high = torch.where(over, low, middle), torch.where(over, middle, high)
            u = low * slope - shift
            one, free = u >= 1, (u > 0) & (u < 1)
            plenty = (costs * (slope > 0)).sum(-1, keepdim=True) <= self.k
        spent = (costs * one).sum(-1, keepdim=True)
        weight = (costs * slope * free).sum(-1, keepdim=True)
        some = weight > 0
        theta = (self.k - spent + shift * (costs * free).sum(-1, keepdim=True)) / torch.where(some, weight, 1.0)
        shares = torch.where(free & some, theta * slope - shift, one.to(size.dtype))
        return torch.where(plenty, 1.0, shares.clamp(0, 1))

    def _value(self, x: Tensor) -> Tensor:
        size, costs = self._sizes(x)
        u = self._shares(size, costs, torch.zeros_like(size[..., :1]))
        return 0.5 * (size**2 / torch.where(u > 0, u, 1.0)).sum(-1)

    def _prox(self, x: Tensor, step: Tensor | float) -> Tensor:
        size, costs = self._sizes(x)
        shift = as_wide(torch.as_tensor(step, dtype=size.dtype, device=size.device), size, 1)
        u = self._shares(size, costs, shift)
        factor = torch.where(shift > 0, u / (u + torch.where(shift > 0, shift, 1.0)), 1.0)
        shape = list(x.shape[x.ndim - self.space.rank :])
        if self.axis is not None:
            shape[self.axis] = 1
        return x * factor.unflatten(-1, shape)

    def _conjugate(self, u: Tensor) -> Tensor:
        size, costs = self._sizes(u)
        # a knapsack that may be cut: the best ratio of square to cost first
        order = (size**2 / costs).argsort(dim=-1, descending=True)
        square, price = (size**2).gather(-1, order), costs.gather(-1, order)
        before = price.cumsum(-1) - price
        return 0.5 * (square * ((self.k - before) / price).clamp(0, 1)).sum(-1)
