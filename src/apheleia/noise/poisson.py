"""Poisson noise, y = gain Poisson((x + background) / gain)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import final

import torch
from torch import Tensor

from apheleia.core.space import IMAGE, Space
from apheleia.noise.noise_model import Level, NoiseModel, draw_poisson

__all__ = ["Poisson"]


@final
@dataclass(frozen=True, eq=False)
class Poisson(NoiseModel):
    """y = gain Poisson((x + background) / gain): counted photons, electrons or events, in data units.

    Parameters
    ----------
    gain : float, Tensor or ndarray, (*batch,), default 1
        Data units a count, above zero: a small gain means many counts and little noise.
    background : float, default 0
        Expected data where the signal is dark, at least zero, in data units; it stays in y.
    space : Space, default images of any size
        Where the data live; real.

    Raises
    ------
    ArgumentError
        If gain or background are out of range; from `sample`, if x lies below -background.
    ShapeError
        If the space is complex.

    Notes
    -----
    The fidelity that matches is KullbackLeibler(A, y, gain=gain, background=background). Var[y] = gain (x + background).

    Examples
    --------
    >>> y = Poisson(gain=0.5).sample(torch.full((1, 100, 100), 8.0), torch.Generator().manual_seed(0))
    >>> round(float(y.var()))
    4
    """

    gain: Level = 1.0
    background: float = 0.0
    space: Space = field(default=IMAGE, kw_only=True)

    def __post_init__(self) -> None:
        self._require("gain", self.gain, 0.0)
        self._require("background", self.background, 0.0, strict=False)
        self._require_real()

    def _check(self, x: Tensor) -> None:
        self._require_at_least(x, 0.0 - float(self.background), "Clip it, or give the `background` that was subtracted.")

    def _levels(self) -> tuple[Level, ...]:
        return (self.gain,)

    def _sample(self, x: Tensor, levels: tuple[Tensor, ...], generator: torch.Generator | None) -> Tensor:
        return levels[0] * draw_poisson((x + self.background) / levels[0], generator)

    def _mean(self, x: Tensor, levels: tuple[Tensor, ...]) -> Tensor:
        return x + self.background

    def _variance(self, x: Tensor, levels: tuple[Tensor, ...]) -> Tensor:
        return levels[0] * (x + self.background)
