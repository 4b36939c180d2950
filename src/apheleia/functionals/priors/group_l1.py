"""The group l1 norm: the sum of Euclidean norms of groups along one axis."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from apheleia.core.errors import ArgumentError
from apheleia.core.space import IMAGE, Space, per_sample
from apheleia.functionals.functional import Functional, is_within

__all__ = ["GroupL1"]


@final
class GroupL1(Functional):
    """x -> sum over groups |x_group|_2, the groups running along one signal axis or several.

    Parameters
    ----------
    axis : int or tuple of int, default -3
        The axes inside a group, counted from the end: -3 joins the channels of a pixel.
    space : Space, default images of any size
        Where x lives.

    Raises
    ------
    ArgumentError
        If an axis is not a negative signal axis, or comes twice.

    Notes
    -----
    Certificate: the proximal map, group soft thresholding, is exact; the conjugate is the indicator of |u_group| <= 1.
    Source: M. Yuan, Y. Lin, Journal of the Royal Statistical Society B 68 (2006), doi:10.1111/j.1467-9868.2005.00532.x.

    Examples
    --------
    >>> GroupL1()(torch.tensor([3.0, 4.0]).reshape(2, 1, 1))
    tensor(5.)
    """

    is_convex = True
    is_proximable = True
    has_exact_prox = True
    has_conjugate = True

    def __init__(self, axis: int | tuple[int, ...] = -3, space: Space = IMAGE) -> None:
        super().__init__(space)
        axes = (axis,) if isinstance(axis, int) else tuple(axis)
        if not axes or len(set(axes)) < len(axes) or not set(axes) <= set(space.axes):
            raise ArgumentError(f"GroupL1: `axis` must lie between {-space.rank} and -1; got {axis!r}. Name each axis once.")
        self.axes = axes
        self.coupled_axes = axes

    @property
    def formula(self) -> str:
        """The term as a reader writes it."""
        return "|x|₂,₁"

    def _squares(self, x: Tensor) -> Tensor:
        # a sum of few slices is a hundred times faster than the general norm along a leading axis
        axis, *others = self.axes
        slices = x.unbind(axis) if not x.is_complex() else (*x.real.unbind(axis), *x.imag.unbind(axis))
        total = slices[0] * slices[0]
        for part in slices[1:]:
            total = torch.addcmul(total, part, part)
        total = total.unsqueeze(axis)
        return total.sum(others, keepdim=True) if others else total

    def _sizes(self, x: Tensor) -> Tensor:
        total = self._squares(x)
        if torch.is_grad_enabled() and total.requires_grad:
            # a zero group has the zero subgradient, where the root alone would have none
            zero = total == 0
            return torch.where(zero, 0.0, torch.where(zero, 1.0, total).sqrt())
        return total.sqrt()

    def _value(self, x: Tensor) -> Tensor:
        return self._sizes(x).sum(self.space.axes)

    def _entrywise_prox(self, x: Tensor, steps: Tensor | float) -> Tensor:
        return (1 - self._shrink(x, steps)) * x

    def _entrywise_conj_prox(self, u: Tensor, steps: Tensor | float, weight: Tensor | float) -> Tensor:
        return self._shrink(u, per_sample(weight, u, self.space.rank)) * u

    def _shrink(self, u: Tensor, radius: Tensor | float) -> Tensor:
        """Return min(1, radius / |u_group|), which projects onto |u_group| <= radius, one a group."""
        square = torch.as_tensor(radius, dtype=u.real.dtype, device=u.device) ** 2
        # a radius of zero projects onto zero: the tiny floor keeps 0/0 out
        return (self._squares(u) / square.clamp(min=torch.finfo(u.dtype).tiny)).clamp_(min=1).rsqrt_()

    def _conjugate(self, u: Tensor) -> Tensor:
        return torch.where(is_within(self._sizes(u).amax(self.space.axes)), 0.0, torch.inf).to(u.real.dtype)

    def _dual_scale(self, u: Tensor) -> Tensor:
        return 1 / self._sizes(u).amax(self.space.axes).clamp(min=1.0)
