"""Rician noise, y = |x + noise_std (n1 + i n2)|."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import final

import torch
from torch import Tensor

from apheleia.core.space import IMAGE, Space
from apheleia.noise.noise_model import Level, NoiseModel, draw_normal

__all__ = ["Rician"]

_STRONG = 100.0
"""Signal-to-noise ratio at which the closed form of the variance and its series agree to some 1e-12."""


@final
@dataclass(frozen=True, eq=False)
class Rician(NoiseModel):
    """y = |x + noise_std (n1 + i n2)|: the magnitude of a complex image with Gaussian noise, as in magnetic resonance.

    Parameters
    ----------
    noise_std : float, Tensor or ndarray, (*batch,)
        Standard deviation of the real and of the imaginary part, above zero, in data units.
    space : Space, default images of any size
        Where the data live; real.

    Raises
    ------
    ArgumentError
        If a standard deviation is not above zero; from `sample`, if x is negative.
    ShapeError
        If the space is complex.

    Notes
    -----
    E[y^2] = x^2 + 2 noise_std^2, and E[y] = noise_std sqrt(pi / 2) L(-x^2 / (2 noise_std^2)) with the Laguerre function
    L(-2 z) = exp(-z) ((1 + 2 z) I0(z) + 2 z I1(z)); the noise floor where x = 0 is noise_std sqrt(pi / 2). Above
    x = 3 noise_std LeastSquares(A, y, noise_std) is a fair fidelity; below it is biased, and data with their phase are better.
    Source: H. Gudbjartsson, S. Patz, Magnetic Resonance in Medicine 34 (1995), doi:10.1002/mrm.1910340618.

    Examples
    --------
    >>> print(Rician(2.0).mean(torch.zeros(1, 1, 1)))
    tensor([[[2.5066]]])
    """

    noise_std: Level
    space: Space = field(default=IMAGE, kw_only=True)

    def __post_init__(self) -> None:
        self._require("noise_std", self.noise_std, 0.0)
        self._require_real()

    def _check(self, x: Tensor) -> None:
        self._require_at_least(x, 0.0, "Take the magnitude first.")

    def _levels(self) -> tuple[Level, ...]:
        return (self.noise_std,)

    def _sample(self, x: Tensor, levels: tuple[Tensor, ...], generator: torch.Generator | None) -> Tensor:
        return torch.hypot(x + levels[0] * draw_normal(x, generator), levels[0] * draw_normal(x, generator))

    def _mean(self, x: Tensor, levels: tuple[Tensor, ...]) -> Tensor:
        # scaled Bessel functions carry the exponential, which would underflow at high signal-to-noise ratios
        z = ((x / levels[0]) ** 2 / 4).double()
        laguerre = (1 + 2 * z) * torch.special.i0e(z) + 2 * z * torch.special.i1e(z)
        return levels[0] * (math.sqrt(math.pi / 2) * laguerre).to(x.dtype)

    def _variance(self, x: Tensor, levels: tuple[Tensor, ...]) -> Tensor:
        # the terms cancel at high signal-to-noise ratios, even in float64: there the series in 1 / ratio^2 takes over
        wide, level = x.double(), levels[0].double()
        ratio = wide / level
        near = ratio.clamp(max=_STRONG)
        exact = near**2 + 2 - self._mean(near, (torch.ones_like(level),)) ** 2
        inverse = 1 / ratio.clamp(min=_STRONG) ** 2
        series = 1 - inverse / 2 - inverse**2 / 2
        return (level**2 * torch.where(ratio > _STRONG, series, exact)).to(x.dtype)
