"""Gaussian noise, y = x + noise_std n."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import final

import torch
from torch import Tensor

from apheleia.core.space import IMAGE, Space
from apheleia.noise.noise_model import Level, NoiseModel, draw_normal

__all__ = ["Gaussian"]


@final
@dataclass(frozen=True, eq=False)
class Gaussian(NoiseModel):
    """y = x + noise_std n with standard normal n: thermal noise, and the sum of many small disturbances.

    Parameters
    ----------
    noise_std : float, Tensor or ndarray, (*batch,)
        Standard deviation in the units of the data, at least zero; of complex data that of the real and of the imaginary part.
    space : Space, default images of any size
        Where the data live; real or complex.

    Raises
    ------
    ArgumentError
        If a standard deviation is negative.

    Notes
    -----
    The fidelity that matches is LeastSquares(A, y, noise_std).

    Examples
    --------
    >>> y = Gaussian(0.1).sample(torch.zeros(1, 64, 64), torch.Generator().manual_seed(0))
    >>> round(float(y.std()), 2)
    0.1
    """

    noise_std: Level
    space: Space = field(default=IMAGE, kw_only=True)

    def __post_init__(self) -> None:
        self._require("noise_std", self.noise_std, 0.0, strict=False)

    def _levels(self) -> tuple[Level, ...]:
        return (self.noise_std,)

    def _sample(self, x: Tensor, levels: tuple[Tensor, ...], generator: torch.Generator | None) -> Tensor:
        return x + levels[0] * draw_normal(x, generator)

    def _mean(self, x: Tensor, levels: tuple[Tensor, ...]) -> Tensor:
        return x.clone()

    def _variance(self, x: Tensor, levels: tuple[Tensor, ...]) -> Tensor:
        return (levels[0] ** 2).expand(x.shape).clone()
