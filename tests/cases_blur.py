"""Blurs of every kind, their boundaries, and least squares under operators without a closed form."""

from __future__ import annotations

import torch
from case_types import EVERY, FunctionalCase, OperatorCase, randn, uniform

from apheleia.core import Space
from apheleia.functionals import LeastSquares, WaveletL1
from apheleia.functionals.priors.wavelet_l1 import DetailL1
from apheleia.operators import (
    BayerMosaic,
    Convolution,
    ConvolutionBank,
    SpectralMixing,
    StationaryWaveletTransform,
    UnknownBoundaryConvolution,
    VaryingConvolution,
    VolumeConvolution,
    Warp,
    WaveletTransform,
)

KERNEL = torch.tensor([[1.0, 2, 0], [3, 4, 1], [0, 1, 1]], dtype=torch.float64) / 13
"""A small blur without symmetry."""


def _levels(index: object = EVERY) -> torch.Tensor:
    return torch.tensor([0.3, 1.0, 4.0], dtype=torch.float64)[index]  # type: ignore[index]


AFFINE = torch.eye(2, 3, dtype=torch.float64) + uniform(3, 2, 3, seed=4, low=-0.3, high=0.3)
HOMOGRAPHY = [[1.1, 0.1, -0.3], [-0.1, 0.9, 0.2], [0.02, -0.05, 1.0]]

BLUR_OPERATORS = [
    OperatorCase("unknown boundary", lambda: UnknownBoundaryConvolution(KERNEL), (2, 5, 6), "upper"),
    OperatorCase(
        "unknown boundary, even kernel a channel",
        lambda: UnknownBoundaryConvolution(randn(2, 4, 2, seed=3), (2, 3, 4)),
        (2, 6, 5),
        "upper",
    ),
    OperatorCase("Bayer mosaic", lambda: BayerMosaic("GRBG"), (3, 3, 4)),
    OperatorCase("spectral mixing", lambda: SpectralMixing(uniform(4, 3)), (3, 2, 3)),
    OperatorCase("spectral mixing a sample", lambda index=EVERY: SpectralMixing(randn(3, 4, 2)[index]), (2, 2, 3), batch=(3,)),
    OperatorCase("varying convolution", lambda: VaryingConvolution(uniform(2, 3, 3, 4)), (1, 5, 6), "upper"),
    OperatorCase(
        "varying convolution, zero, smooth", lambda: VaryingConvolution(randn(2, 2, 3, 3), "zero", "smooth"), (2, 4, 5), "upper"
    ),
    OperatorCase("convolution bank", lambda: ConvolutionBank(randn(4, 1, 3, 3)), (1, 5, 4), "upper"),
    OperatorCase("convolution bank, two channels", lambda: ConvolutionBank(randn(3, 2, 2, 2)), (2, 3, 4), "upper"),
    OperatorCase("volume convolution, circular", lambda: VolumeConvolution(randn(2, 3, 3), "circular"), (1, 2, 4, 3)),
    OperatorCase("volume convolution, zero", lambda: VolumeConvolution(randn(2, 3, 3), "zero"), (1, 2, 4, 3), "upper"),
    OperatorCase("volume convolution, reflect", lambda: VolumeConvolution(randn(2, 3, 2, 3), "reflect"), (2, 2, 3, 3), "upper"),
    OperatorCase("warp, affine an image", lambda index=EVERY: Warp(AFFINE[index]), (2, 4, 5), "upper", batch=(3,)),
    OperatorCase("warp, homography", lambda: Warp(torch.tensor(HOMOGRAPHY).double(), "homography"), (1, 5, 4), "upper"),
    OperatorCase("warp, flow", lambda: Warp(1.5 * randn(2, 4, 5), "flow"), (2, 4, 5), "upper"),
    OperatorCase("wavelets, reflected", lambda: WaveletTransform("db2", 2, Space((2, 5, 6)), "reflect"), (2, 5, 6)),
    OperatorCase("wavelets, extended by zero", lambda: WaveletTransform("haar", 1, Space((None, 5, 4)), "zero"), (1, 5, 4)),
    OperatorCase("stationary wavelets", lambda: StationaryWaveletTransform("db2", 2), (2, 5, 6)),
    OperatorCase("stationary wavelets, details", lambda: StationaryWaveletTransform("haar", 1, True), (1, 4, 5)),
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
    FunctionalCase("least squares, mosaic", lambda s: LeastSquares(BayerMosaic(), randn(1, *s[1:], seed=11)), (3, 2, 3)),
    FunctionalCase(
        "least squares, mixing", lambda s: LeastSquares(SpectralMixing(randn(3, 2)), randn(3, *s[1:], seed=11)), (2, 2, 3)
    ),
    FunctionalCase("details l1", lambda s: DetailL1(1), (1, 4, 4), (1, 2, 2)),
    FunctionalCase("wavelet L1, reflected", lambda s: WaveletL1("haar", 1, Space(s), "reflect"), (1, 3, 5)),
    FunctionalCase(
        "least squares, zero, prepared",
        lambda s: LeastSquares(Convolution(KERNEL, "zero"), randn(*s, seed=11)).prepared(s, torch.float64),
        (1, 4, 3),
        (1, 1, 3),
    ),
]
