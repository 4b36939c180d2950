"""The weight of the prior by the discrepancy principle: as much prior as the noise allows, and no more."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from apheleia.algorithms import solve
from apheleia.core.report import Status
from apheleia.imaging.model import PRIORS, ImagingModel

__all__ = ["choose_crops", "discrepancy_weight"]

_SWEEPS = (7, 4)
"""Weights of the first and of the second sweep, which find the weight to a few per cent."""

_CROP, _LEAST = 192, 32
"""Side of a crop in pixels of the image sought, and its least side in pixels of the data."""


def choose_crops(height: int, width: int, size: int) -> list[tuple[slice, slice]]:
    """Return up to three windows along the diagonal, where the weight is sought instead of on the whole image."""
    h, w = min(size, height), min(size, width)
    if 4 * h * w >= height * width:
        return [(slice(0, height), slice(0, width))]
    corners = [(int(f * (height - h)), int(f * (width - w))) for f in (0.15, 0.5, 0.85)]
    return [(slice(top, top + h), slice(left, left + w)) for top, left in corners]


def discrepancy_weight(model: ImagingModel, y: Tensor, mask: Tensor | None, noise_std: float) -> tuple[float, str]:
    """Find the weight at which the residual A x - y is as large as the noise, by two sweeps, each one batch.

    Parameters
    ----------
    model : ImagingModel
        Blur, sampling and prior.
    y : Tensor, (channel, height, width)
        The data.
    mask : Tensor, (1 or channel, height, width), optional
        Non-zero where pixels were measured.
    noise_std : float
        Standard deviation of the noise, in the units of y.

    Returns
    -------
    float, str
        The weight, and how it was found, in words.

    Notes
    -----
    Source: V. Morozov, Soviet Mathematics Doklady 7 (1966), the discrepancy principle.
    """
    choice = PRIORS[model.prior]
    unit = noise_std**-choice.exponent
    windows = choose_crops(*y.shape[-2:], size=max(_LEAST, _CROP // model.scale))
    # one channel speaks for all: they have one noise, one blur and one weight
    middle = slice(len(y) // 2, len(y) // 2 + 1)
    crops = torch.stack([y[middle, rows, columns] for rows, columns in windows])
    masks = None
    if mask is not None:
        masks = torch.stack([mask.expand_as(y)[middle, rows, columns] for rows, columns in windows])
    low, high = math.log(choice.lowest), math.log(choice.highest)
    for count in _SWEEPS:
        grid = torch.linspace(low, high, count, dtype=torch.float64)
        ratios, near = _ratios(model, crops, masks, noise_std, unit * grid.exp())
        above = (ratios >= 1).nonzero().flatten()
        if len(above) == 0:
            return unit * math.exp(high), "the largest weight tried: even there the residual is below the noise"
        if int(above[0]) == 0:
            return unit * math.exp(low), "the smallest weight tried: even there the residual exceeds the noise"
        right = int(above[0])
        low, high = float(grid[right - 1]), float(grid[right])
    # linear in the logarithm between the two last neighbours
    below, over = float(ratios[right - 1]), float(ratios[right])
    share = (1 - below) / max(over - below, 1e-12)
    how = "discrepancy principle: the residual is as large as the noise" + ("" if len(y) == 1 else " in the middle channel")
    how += "" if near else ", approximately"
    return unit * math.exp(low + share * (high - low)), how


def _ratios(model: ImagingModel, crops: Tensor, masks: Tensor | None, noise_std: float, weights: Tensor) -> tuple[Tensor, bool]:
    """Return |A x - y|^2 / (N noise_std^2) for each weight, and whether all solves reached their tolerance; one batch."""
    problem = model.problem(crops, masks, noise_std, weights[:, None])
    x, report = solve(problem, tol=3e-3, max_steps=200, throw=False)
    A = model.operator(tuple(crops.shape[-3:]), masks)
    residual = A(x) - (crops if masks is None else masks * crops)
    known = crops.numel() if masks is None else float((masks.expand_as(crops) != 0).sum())
    ratios = residual.double().square().sum((1, 2, 3, 4)) / (known * noise_std**2)
    return ratios, report.status is Status.CONVERGED
