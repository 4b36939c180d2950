"""Penalties between l1 and l0: they shrink small entries and leave large ones alone."""

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

__all__ = ["MinimaxConcavePenalty", "SmoothlyClippedAbsoluteDeviation"]


class _ModulusPenalty(Functional):
    """x -> sum of a penalty of the modulus; a subclass writes it, and a minimiser on each of its pieces."""

    is_proximable = True
    has_exact_prox = True

    @abstractmethod
    def _penalty(self, t: Tensor) -> Tensor:
        """Return the penalty of moduli t."""

    @abstractmethod
    def _candidates(self, t: Tensor, step: Tensor | float) -> tuple[Tensor, ...]:
        """Return points, beside t itself, among which the minimiser of step * penalty(u) + (u - t)^2 / 2 is."""

    def _value(self, x: Tensor) -> Tensor:
        return self._penalty(x.abs()).sum(self.space.axes)

    def _prox(self, x: Tensor, step: Tensor | float) -> Tensor:
        size, wide = x.abs(), per_sample(step, x, self.space.rank)
        best = size
        least = wide * self._penalty(size)
        for candidate in self._candidates(size, wide):
            energy = wide * self._penalty(candidate) + 0.5 * (candidate - size) ** 2
            best, least = torch.where(energy < least, candidate, best), torch.minimum(energy, least)
        return x * torch.where(best == size, 1.0, best / torch.where(size > 0, size, 1.0))


@final
class MinimaxConcavePenalty(_ModulusPenalty):
    """x -> sum of |x_i| - |x_i|^2 / (2 width) up to |x_i| = width, and width / 2 beyond; not convex.

    The penalty of Zhang with weight c and gamma is c * MinimaxConcavePenalty(gamma * c).

    Parameters
    ----------
    width : float
        Modulus beyond which entries are not shrunk, above zero, in the units of x.
    space : Space, default images of any size
        Where x lives.

    Raises
    ------
    ArgumentError
        If the width is not above zero.

    Notes
    -----
    Certificate: adding |x|^2 / (2 width) makes it convex. The proximal map is a global minimiser: firm thresholding for a step
    below the width, where it is continuous, hard thresholding at sqrt(step width) above.
    Source: C.-H. Zhang, Annals of Statistics 38 (2010), doi:10.1214/09-AOS729.
    """

    def __init__(self, width: float, space: Space = IMAGE) -> None:
        if not (is_number(width) and width > 0 and math.isfinite(width)):
            raise ArgumentError(f"MinimaxConcavePenalty: `width` must be a finite number above zero; got {width!r}.")
        super().__init__(space)
        self.width = float(width)

    @property
    def formula(self) -> str:
        """The term as a reader writes it."""
        return f"MCP(x; {self.width:.4g})"

    def _penalty(self, t: Tensor) -> Tensor:
        inside = t.clamp(max=self.width)
        return inside - inside**2 / (2 * self.width)

    def _candidates(self, t: Tensor, step: Tensor | float) -> tuple[Tensor, ...]:
        curvature = 1 - torch.as_tensor(step, dtype=t.dtype, device=t.device) / self.width
        firm = (t - step).clamp(min=0) / torch.where(curvature > 0, curvature, 1.0)
        # beyond the width, or where the piece is concave, the entry itself and zero are left
        return (torch.where(curvature > 0, torch.minimum(firm, t), 0.0 * t),)


@final
class SmoothlyClippedAbsoluteDeviation(_ModulusPenalty):
    """x -> sum of |x_i| up to `knee`, a parabola up to shape * knee, and knee (shape + 1) / 2 beyond; not convex.

    The penalty of Fan and Li with weight c is c * SmoothlyClippedAbsoluteDeviation(c).

    Parameters
    ----------
    knee : float
        Modulus up to which it is the l1 norm, above zero, in the units of x.
    shape : float, default 3.7
        Above 2 in the literature, above 1 here.
    space : Space, default images of any size
        Where x lives.

    Raises
    ------
    ArgumentError
        If the knee is not above zero, or the shape not above 1.

    Notes
    -----
    Certificate: adding |x|^2 / (2 (shape - 1) knee) makes it convex. The proximal map is a global minimiser for any step; it is
    continuous for steps below (shape - 1) knee.
    Source: J. Fan, R. Li, Journal of the American Statistical Association 96 (2001), doi:10.1198/016214501753382273.
    """

    def __init__(self, knee: float, shape: float = 3.7, space: Space = IMAGE) -> None:
        if not (is_number(knee) and knee > 0 and math.isfinite(knee)):
            raise ArgumentError(f"SmoothlyClippedAbsoluteDeviation: `knee` must be a finite number above zero; got {knee!r}.")
        if not (is_number(shape) and shape > 1 and math.isfinite(shape)):
            raise ArgumentError(f"SmoothlyClippedAbsoluteDeviation: `shape` must be a finite number above 1; got {shape!r}.")
        super().__init__(space)
        self.knee = float(knee)
        self.shape = float(shape)

    @property
    def formula(self) -> str:
        """The term as a reader writes it."""
        return f"SCAD(x; {self.knee:.4g}, {self.shape:.4g})"

    def _penalty(self, t: Tensor) -> Tensor:
        knee, a = self.knee, self.shape
        middle = t.clamp(knee, a * knee)
        return t.clamp(max=knee) + ((2 * a * knee * middle - middle**2 - knee**2) / (2 * (a - 1) * knee) - knee)

    def _candidates(self, t: Tensor, step: Tensor | float) -> tuple[Tensor, ...]:
        knee, a = self.knee, self.shape
        soft = (t - step).clamp(0, knee)
        curvature = 1 - torch.as_tensor(step, dtype=t.dtype, device=t.device) / ((a - 1) * knee)
        middle = ((t - step * (a / (a - 1))) / torch.where(curvature > 0, curvature, 1.0)).clamp(knee, a * knee)
        # where the middle piece is concave its minimum lies at an end, which the other pieces cover
        return soft, torch.where(curvature > 0, middle, soft)
