"""Speckle, y = x g with gamma-distributed g of mean 1."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import final

import torch
from torch import Tensor

from apheleia.core.space import IMAGE, Space
from apheleia.noise.noise_model import Level, NoiseModel, draw_gamma

__all__ = ["Speckle"]


@final
@dataclass(frozen=True, eq=False)
class Speckle(NoiseModel):
    """y = x g with g ~ Gamma(looks, 1 / looks) of mean 1: intensities of radar, ultrasound or laser light, averaged over looks.

    Parameters
    ----------
    looks : float, Tensor or ndarray, (*batch,), default 1
        Number of independent looks, at least 1; 1 is fully developed speckle. Equivalent numbers of looks may be fractions.
    space : Space, default images of any size
        Where the data live; real.

    Raises
    ------
    ArgumentError
        If `looks` is below 1; from `sample`, if x is negative.
    ShapeError
        If the space is complex.

    Notes
    -----
    Var[y] = x^2 / looks. No fidelity of the library is the exact likelihood; the logarithm turns the noise into an
    additive one, log y = log x + log g with Var[log g] = psi'(looks), for which LeastSquares serves from some ten looks on.
    Source: J. Goodman, Journal of the Optical Society of America 66 (1976), doi:10.1364/JOSA.66.001145.

    Examples
    --------
    >>> print(Speckle(looks=4).std(torch.full((1, 1, 1), 3.0)))
    tensor([[[1.5000]]])
    """

    looks: Level = 1.0
    space: Space = field(default=IMAGE, kw_only=True)

    def __post_init__(self) -> None:
        self._require("looks", self.looks, 1.0, strict=False)
        self._require_real()

    def _check(self, x: Tensor) -> None:
        self._require_at_least(x, 0.0, "Speckle acts on intensities, not on amplitudes with a sign.")

    def _levels(self) -> tuple[Level, ...]:
        return (self.looks,)

    def _sample(self, x: Tensor, levels: tuple[Tensor, ...], generator: torch.Generator | None) -> Tensor:
        return x * draw_gamma(levels[0].expand(x.shape), generator) / levels[0]

    def _mean(self, x: Tensor, levels: tuple[Tensor, ...]) -> Tensor:
        return x.clone()

    def _variance(self, x: Tensor, levels: tuple[Tensor, ...]) -> Tensor:
        return x**2 / levels[0]
