"""Impulses, salt and pepper: a pixel is replaced with some probability."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import final

import torch
from torch import Tensor

from apheleia.core.space import IMAGE, Space
from apheleia.noise.noise_model import Level, NoiseModel, draw_uniform

__all__ = ["Impulse"]


@final
@dataclass(frozen=True, eq=False)
class Impulse(NoiseModel):
    """y = x, or with probability `fraction` one of the extremes: dead and hot pixels, transmission errors, salt and pepper.

    Parameters
    ----------
    fraction : float, Tensor or ndarray, (*batch,)
        Probability that a number is replaced, 0 to 1; each channel by itself.
    salt : float, Tensor or ndarray, (*batch,), default 0.5
        Share of `high` among the replaced, 0 to 1.
    low, high : float, default 0 and 1
        What replaces: pepper and salt, in data units.
    space : Space, default images of any size
        Where the data live; real.

    Raises
    ------
    ArgumentError
        If a share lies outside of [0, 1], or low is above high.
    ShapeError
        If the space is complex.

    Notes
    -----
    The fidelity that matches is LeastAbsoluteDeviations(A, y); where the impulses can be seen, a mask (Diagonal) is better.

    Examples
    --------
    >>> y = Impulse(0.25).sample(torch.full((1, 100, 100), 0.5), torch.Generator().manual_seed(0))
    >>> y.unique()
    tensor([0.0000, 0.5000, 1.0000])
    """

    fraction: Level
    salt: Level = 0.5
    low: float = 0.0
    high: float = 1.0
    space: Space = field(default=IMAGE, kw_only=True)

    def __post_init__(self) -> None:
        self._require("fraction", self.fraction, 0.0, 1.0, strict=False)
        self._require("salt", self.salt, 0.0, 1.0, strict=False)
        self._require("low", self.low, float("-inf"), self.high)
        self._require("high", self.high, float("-inf"))
        self._require_real()

    def _levels(self) -> tuple[Level, ...]:
        return (self.fraction, self.salt)

    def _sample(self, x: Tensor, levels: tuple[Tensor, ...], generator: torch.Generator | None) -> Tensor:
        fraction, salt = levels
        struck, which = draw_uniform(x, generator) < fraction, draw_uniform(x, generator) < salt
        return torch.where(struck, torch.where(which, x.new_tensor(self.high), x.new_tensor(self.low)), x)

    def _moment(self, levels: tuple[Tensor, ...], power: int) -> Tensor:
        return levels[1] * self.high**power + (1 - levels[1]) * self.low**power

    def _mean(self, x: Tensor, levels: tuple[Tensor, ...]) -> Tensor:
        return (1 - levels[0]) * x + levels[0] * self._moment(levels, 1)

    def _variance(self, x: Tensor, levels: tuple[Tensor, ...]) -> Tensor:
        square = (1 - levels[0]) * x**2 + levels[0] * self._moment(levels, 2)
        return (square - self._mean(x, levels) ** 2).clamp(min=0)
