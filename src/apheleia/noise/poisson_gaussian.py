"""Photon noise and read noise of a camera, y = gain Poisson(x / gain) + read_std n + offset."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import final

import torch
from torch import Tensor

from apheleia.core.space import IMAGE, Space
from apheleia.noise.noise_model import Level, NoiseModel, draw_normal, draw_poisson

__all__ = ["PoissonGaussian"]


@final
@dataclass(frozen=True, eq=False)
class PoissonGaussian(NoiseModel):
    """y = gain Poisson(x / gain) + read_std n + offset: a camera's photons, its amplifier and its black level.

    Parameters
    ----------
    gain : float, Tensor or ndarray, (*batch,)
        Data units an electron, above zero.
    read_std : float, Tensor or ndarray, (*batch,)
        Standard deviation of the read noise in data units, at least zero.
    offset : float, Tensor or ndarray, (*batch,), default 0
        Black level in data units, without noise of its own.
    space : Space, default images of any size
        Where the data live; real.

    Raises
    ------
    ArgumentError
        If a level is out of range; from `sample`, if x is negative.
    ShapeError
        If the space is complex.

    Notes
    -----
    Var[y] = gain x + read_std^2. There is no fidelity for the exact likelihood, an infinite sum; KullbackLeibler with the
    shifted data y - offset + read_std^2 / gain and background read_std^2 / gain matches mean and variance, where
    these data are at least zero.
    Source: A. Foi, M. Trimeche, V. Katkovnik, K. Egiazarian, IEEE Transactions on Image Processing 17 (2008),
    doi:10.1109/TIP.2008.2001399.

    Examples
    --------
    >>> print(PoissonGaussian(gain=2.0, read_std=3.0, offset=100.0).std(torch.full((1, 1, 1), 8.0)))
    tensor([[[5.]]])
    """

    gain: Level
    read_std: Level
    offset: Level = 0.0
    space: Space = field(default=IMAGE, kw_only=True)

    def __post_init__(self) -> None:
        self._require("gain", self.gain, 0.0)
        self._require("read_std", self.read_std, 0.0, strict=False)
        self._require("offset", self.offset, float("-inf"))
        self._require_real()

    def _check(self, x: Tensor) -> None:
        self._require_at_least(x, 0.0, "Clip it; the black level is `offset` and is added.")

    def _levels(self) -> tuple[Level, ...]:
        return (self.gain, self.read_std, self.offset)

    def _sample(self, x: Tensor, levels: tuple[Tensor, ...], generator: torch.Generator | None) -> Tensor:
        gain, read_std, offset = levels
        return gain * draw_poisson(x / gain, generator) + read_std * draw_normal(x, generator) + offset

    def _mean(self, x: Tensor, levels: tuple[Tensor, ...]) -> Tensor:
        return x + levels[2]

    def _variance(self, x: Tensor, levels: tuple[Tensor, ...]) -> Tensor:
        return levels[0] * x + levels[1] ** 2
