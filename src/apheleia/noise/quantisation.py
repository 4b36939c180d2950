"""Quantisation, y = step round(x / step), with or without dither."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import final

import torch
from torch import Tensor

from apheleia.core.space import IMAGE, Space
from apheleia.noise.noise_model import Level, NoiseModel, draw_uniform

__all__ = ["Quantisation"]


@final
@dataclass(frozen=True, eq=False)
class Quantisation(NoiseModel):
    """y = step round(x / step + u): the digits of a converter, with dither u uniform on [-1/2, 1/2) or without, u = 0.

    Parameters
    ----------
    step : float, Tensor or ndarray, (*batch,)
        Distance of two levels in data units, above zero: full scale / (2^bits - 1).
    dithered : bool, default False
        Whether u is drawn; then E[y] = x and Var[y] = step^2 f (1 - f) with the fraction f of x / step. Without, y is
        determined by x, and its variance is zero.
    space : Space, default images of any size
        Where the data live; real.

    Raises
    ------
    ArgumentError
        If `step` is not above zero.
    ShapeError
        If the space is complex.

    Notes
    -----
    The fidelity that matches is LeastSquares(A, y, noise_std=step / sqrt(12)), where x runs over many levels.
    Source: R. Gray, D. Neuhoff, IEEE Transactions on Information Theory 44 (1998), doi:10.1109/18.720541.

    Examples
    --------
    >>> Quantisation(0.5).sample(torch.tensor([[[0.2, 0.3, 1.1]]]))
    tensor([[[0.0000, 0.5000, 1.0000]]])
    """

    step: Level
    dithered: bool = False
    space: Space = field(default=IMAGE, kw_only=True)

    def __post_init__(self) -> None:
        self._require("step", self.step, 0.0)
        self._require_real()

    def _levels(self) -> tuple[Level, ...]:
        return (self.step,)

    def _sample(self, x: Tensor, levels: tuple[Tensor, ...], generator: torch.Generator | None) -> Tensor:
        # floor(t + u) with u on [0, 1) is round(t + u - 1/2) without its rule for halves
        ratio = x / levels[0]
        return levels[0] * (torch.floor(ratio + draw_uniform(x, generator)) if self.dithered else torch.round(ratio))

    def _mean(self, x: Tensor, levels: tuple[Tensor, ...]) -> Tensor:
        return x.clone() if self.dithered else levels[0] * torch.round(x / levels[0])

    def _variance(self, x: Tensor, levels: tuple[Tensor, ...]) -> Tensor:
        fraction = x / levels[0] - torch.floor(x / levels[0])
        return levels[0] ** 2 * fraction * (1 - fraction) if self.dithered else torch.zeros_like(x)
