"""Indicators of convex sets: zero inside, +inf outside; their proximal map is the projection."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import final

import torch
from torch import Tensor

from apheleia.core.errors import ArgumentError
from apheleia.core.interop import is_number
from apheleia.core.space import IMAGE, Space, per_sample
from apheleia.functionals.functional import Functional
from apheleia.functionals.priors.simplex_threshold import simplex_threshold

__all__ = ["Ball", "Box", "Indicator", "NonNegativity", "Simplex"]

_SLACK = 1e-6
"""Relative violation that counts as rounding: a projection in float32 lands this close to its set."""


class Indicator(Functional):
    """0 inside a closed convex set, +inf outside; a subclass writes the projection, the violation and the support function."""

    is_convex = True
    is_proximable = True
    has_exact_prox = True
    has_conjugate = True

    @abstractmethod
    def _project(self, x: Tensor) -> Tensor:
        """Return the nearest point of the set."""

    def _value(self, x: Tensor) -> Tensor:
        distance = self.space.norm(x - self._project(x))
        return torch.where(distance <= _SLACK * self.space.norm(x).clamp(min=1.0), 0.0, torch.inf).to(x.real.dtype)

    def _entrywise_prox(self, x: Tensor, steps: Tensor | float) -> Tensor:
        projected = self._project(x)
        # a step of zero, from a weight of zero, takes the constraint away, as it does in the energy
        return torch.where(steps > 0, projected, x) if isinstance(steps, Tensor) else projected

    def _prox(self, x: Tensor, step: Tensor | float) -> Tensor:
        return self._entrywise_prox(x, per_sample(step, x, self.space.rank))


def _real(space: Space, who: str) -> Space:
    if space.is_complex:
        raise ArgumentError(f"{who}: complex numbers have no order; give a real space.")
    return space


@final
class Box(Indicator):
    """x -> 0 where lower <= x_i <= upper for all i, else +inf.

    A bounded box gives every problem a finite duality gap.

    Parameters
    ----------
    lower, upper : float
        Ends, lower < upper; infinite ones are legal.
    space : Space, default images of any size
        Where x lives; real.

    Raises
    ------
    ArgumentError
        If lower >= upper, or the space is complex.
    """

    def __init__(self, lower: float = 0.0, upper: float = 1.0, space: Space = IMAGE) -> None:
        if not (is_number(lower) and is_number(upper) and lower < upper):
            raise ArgumentError(f"Box: `lower` must be below `upper`; got {lower!r} and {upper!r}.")
        super().__init__(_real(space, "Box"))
        self.coupled_axes = ()
        self.lower = float(lower)
        self.upper = float(upper)

    @property
    def formula(self) -> str:
        """The term as a reader writes it."""
        return f"[{self.lower:.4g} ≤ x ≤ {self.upper:.4g}]"

    def _project(self, x: Tensor) -> Tensor:
        return x.clamp(self.lower, self.upper)

    def _conjugate(self, u: Tensor) -> Tensor:
        # sup over the box; an infinite end answers only to a zero or an opposite slope
        above = torch.where(u > 0, u * self.upper, 0.0) if math.isfinite(self.upper) else torch.where(u > 0, torch.inf, 0.0)
        below = torch.where(u < 0, u * self.lower, 0.0) if math.isfinite(self.lower) else torch.where(u < 0, torch.inf, 0.0)
        return (above + below).sum(self.space.axes).to(u.dtype)

    def _dual_scale(self, u: Tensor) -> Tensor:
        # where an end is infinite the slopes form a cone: one either lies in it or only zero does
        return torch.where(self._conjugate(u).isfinite(), 1.0, 0.0).to(u.dtype)


@final
class NonNegativity(Indicator):
    """x -> 0 where x_i >= 0 for all i, else +inf.

    Parameters
    ----------
    space : Space, default images of any size
        Where x lives; real.

    Raises
    ------
    ArgumentError
        If the space is complex.
    """

    def __init__(self, space: Space = IMAGE) -> None:
        super().__init__(_real(space, "NonNegativity"))
        self.coupled_axes = ()

    @property
    def formula(self) -> str:
        """The term as a reader writes it."""
        return "[x ≥ 0]"

    def _project(self, x: Tensor) -> Tensor:
        return x.clamp(min=0.0)

    def _conjugate(self, u: Tensor) -> Tensor:
        return torch.where(u.amax(self.space.axes) <= 0, 0.0, torch.inf).to(u.dtype)

    def _dual_scale(self, u: Tensor) -> Tensor:
        # a cone: a slope either lies in it or only zero does
        return torch.where(u.amax(self.space.axes) <= 0, 1.0, 0.0).to(u.dtype)


@final
class Ball(Indicator):
    """x -> 0 where |x|_2 <= radius, else +inf.

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
    """

    def __init__(self, radius: float = 1.0, space: Space = IMAGE) -> None:
        if not (is_number(radius) and radius > 0 and math.isfinite(radius)):
            raise ArgumentError(f"Ball: `radius` must be a finite number above zero; got {radius!r}.")
        super().__init__(space)
        self.radius = float(radius)

    @property
    def formula(self) -> str:
        """The term as a reader writes it."""
        return f"[|x| ≤ {self.radius:.4g}]"

    def _project(self, x: Tensor) -> Tensor:
        size = self.space.norm(x)
        return per_sample(self.radius / size.clamp(min=self.radius), x, self.space.rank) * x

    def _conjugate(self, u: Tensor) -> Tensor:
        return self.radius * self.space.norm(u)


@final
class Simplex(Indicator):
    """x -> 0 where x >= 0 and sum along one axis is `total`, else +inf: abundances, probabilities.

    Parameters
    ----------
    total : float, default 1
        The sum, above zero.
    axis : int, default -3
        The axis that sums up, counted from the end; -3 is the channel.
    space : Space, default images of any size
        Where x lives; real.

    Raises
    ------
    ArgumentError
        If total is not above zero, the axis is not a signal axis, or the space is complex.

    Notes
    -----
    Certificate: the projection is exact, by sorting. Complexity O(n log n) along the axis.
    Source: M. Held, P. Wolfe, H. Crowder, Mathematical Programming 6 (1974), doi:10.1007/BF01580223.
    """

    def __init__(self, total: float = 1.0, axis: int = -3, space: Space = IMAGE) -> None:
        if not (is_number(total) and total > 0 and math.isfinite(total)):
            raise ArgumentError(f"Simplex: `total` must be a finite number above zero; got {total!r}.")
        if axis not in space.axes:
            raise ArgumentError(f"Simplex: `axis` must lie between {-space.rank} and -1; got {axis!r}.")
        super().__init__(_real(space, "Simplex"))
        self.coupled_axes = (axis,)
        self.total = float(total)
        self.axis = axis

    @property
    def formula(self) -> str:
        """The term as a reader writes it."""
        return f"[x ≥ 0, Σx = {self.total:.4g}]"

    def _project(self, x: Tensor) -> Tensor:
        threshold = simplex_threshold(x.movedim(self.axis, -1), self.total).movedim(-1, self.axis)
        return (x - threshold).clamp(min=0.0)

    def _conjugate(self, u: Tensor) -> Tensor:
        return self.total * u.amax(self.axis, keepdim=True).sum(self.space.axes)
