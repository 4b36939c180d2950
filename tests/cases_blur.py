"""Blurs of every kind, their boundaries, and least squares under operators without a closed form."""

from __future__ import annotations

import torch
from case_types import EVERY, FunctionalCase, OperatorCase, randn

from apheleia.functionals import LeastSquares
from apheleia.operators import Convolution, UnknownBoundaryConvolution

KERNEL = torch.tensor([[1.0, 2, 0], [3, 4, 1], [0, 1, 1]], dtype=torch.float64) / 13
"""A small blur without symmetry."""


def _levels(index: object = EVERY) -> torch.Tensor:
    return torch.tensor([0.3, 1.0, 4.0], dtype=torch.float64)[index]  # type: ignore[index]


BLUR_OPERATORS = [
    OperatorCase("unknown boundary", lambda: UnknownBoundaryConvolution(KERNEL), (2, 5, 6), "upper"),
    OperatorCase(
        "unknown boundary, even kernel a channel",
        lambda: UnknownBoundaryConvolution(randn(2, 4, 2, seed=3), (2, 3, 4)),
        (2, 6, 5),
        "upper",
    ),
]

BLUR_FUNCTIONALS = [
    FunctionalCase(
        "least squares, reflect",
        lambda s: LeastSquares(Convolution(KERNEL, "reflect"), randn(*s, seed=11), 0.4),
        (2, 3, 4),
        (1, 1, 2),
    ),
    FunctionalCase(
        "least squares, replicate, a noise level a sample",
        lambda s, index=EVERY: LeastSquares(Convolution(KERNEL, "replicate"), randn(*s, seed=11), _levels(index)),
        (1, 3, 4),
        batch=(3,),
    ),
    FunctionalCase(
        "least squares, unknown boundary",
        lambda s: LeastSquares(UnknownBoundaryConvolution(KERNEL), randn(s[0], s[1] - 2, s[2] - 2, seed=11)),
        (1, 4, 5),
    ),
    FunctionalCase(
        "least squares, zero, prepared",
        lambda s: LeastSquares(Convolution(KERNEL, "zero"), randn(*s, seed=11)).prepared(s, torch.float64),
        (1, 4, 3),
        (1, 1, 3),
    ),
]
