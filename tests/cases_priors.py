"""Priors and fidelities of the register beyond the basic ones; cases.py joins them."""

from __future__ import annotations

import math

import torch
from case_types import COMPLEX_IMAGE, EVERY, FunctionalCase, OperatorCase, randn
from torch import Tensor

from apheleia.core import VECTOR, Space
from apheleia.functionals import (
    L0,
    ExpectedPatchLogLikelihood,
    FusedLasso,
    GaussianMixture,
    GroupL1,
    L1Ball,
    LeastSquares,
    LInfinity,
    LowRank,
    MinimaxConcavePenalty,
    NuclearNorm,
    OverlappingGroupL1,
    PixelNuclearNorm,
    RegularizationByDenoising,
    RidgeRegularizer,
    SmoothlyClippedAbsoluteDeviation,
    SortedL1,
    SquaredKSupportNorm,
    TopK,
    TotalGeneralizedVariation,
    TotalVariation,
    TransmissionPoisson,
    VectorialTotalVariation,
    sliding_windows,
)
from apheleia.operators import (
    BlindConvolution,
    ChannelBlocks,
    Convolution,
    Duplication,
    Identity,
    LinearOperator,
    MatrixProduct,
    Segment,
    SymmetrizedDifferences,
)


def _counts(shape: tuple[int, ...]) -> Tensor:
    counts = torch.poisson(4 * torch.ones(shape, dtype=torch.float64), generator=torch.Generator().manual_seed(4))
    counts.view(-1)[0] = 0
    return counts


def _ridge(weak_convexity: float, levels: object = 0.2, channels: int = 1) -> RidgeRegularizer:
    """A ridge regulariser with small random filters; the middle of its potentials is met by signals of size one."""
    return RidgeRegularizer(
        randn(4, channels, 3, 3, seed=5),
        -0.5 + 0.3 * randn(2, 4, seed=6),
        0.5 + 0.3 * randn(4, seed=7),
        torch.tensor([-0.1, 0.2], dtype=torch.float64),
        weak_convexity,
        (0.1, 0.4),
        levels,  # type: ignore[arg-type]
    )


def _smoother(x: Tensor, noise_std: Tensor) -> Tensor:
    """A linear denoiser with a symmetric matrix: homogeneous, so that its gradient is one."""
    kernel = torch.tensor([[1.0, 2, 1], [2, 4, 2], [1, 2, 1]], dtype=x.dtype) / 16
    return x + noise_std[..., None, None, None] * (Convolution(kernel, "reflect")._forward(x) - x)


def _falling(shape: tuple[int, ...]) -> Tensor:
    return torch.linspace(1.2, 0, math.prod(shape), dtype=torch.float64)


def _mixture(components: int) -> GaussianMixture:
    factors = 0.4 * randn(components, 4, 4, seed=6)
    weights = torch.linspace(1, 2, components, dtype=torch.float64)
    return GaussianMixture(
        weights / weights.sum(),
        0.3 * randn(components, 4, seed=5),
        factors @ factors.mT + 0.2 * torch.eye(4, dtype=torch.float64),
    )


def _tgv(term: int) -> LinearOperator:
    return TotalGeneralizedVariation().auxiliary.terms[term][1]


OPERATORS = [
    OperatorCase("channel blocks", lambda: ChannelBlocks(3, [2, 0]), (6, 2, 3)),
    OperatorCase("segment", lambda: Segment(9, 2, Space((2, 3))), (9,)),
    OperatorCase("segment, complex", lambda: Segment(5, 3, Space((2,), is_complex=True)), (5,)),
    OperatorCase("segment: all", lambda: Segment(6, 0, Space((1, 2, 3))), (6,)),
    OperatorCase(
        "matrix product in one factor",
        lambda: MatrixProduct(4, 2, 2, 3).partial(1, randn(20, seed=15)),
        (2, 2, 3),
    ),
    OperatorCase(
        "matrix product in one factor, one a sample",
        lambda index=EVERY: MatrixProduct(4, 2, 3).partial(0, randn(3, 14, seed=16)[index]),
        (4, 2),
        batch=(3,),
    ),
    OperatorCase(
        "blind convolution in the scene",
        lambda: BlindConvolution((2, 3, 4), (2, 3)).partial(0, randn(54, seed=17)),
        (2, 4, 6),
        "upper",
    ),
    OperatorCase(
        "blind convolution in the kernel",
        lambda: BlindConvolution((2, 3, 4), (2, 3)).partial(1, randn(54, seed=18)),
        (2, 3),
        "upper",
    ),
    OperatorCase("channel blocks: all, permuted", lambda: ChannelBlocks(2, [1, 0]), (4, 2, 3)),
    OperatorCase("symmetrised differences", SymmetrizedDifferences, (2, 2, 4, 3), "upper"),
    OperatorCase("symmetrised differences of one row", SymmetrizedDifferences, (2, 1, 1, 4), "upper"),
    OperatorCase("symmetrised differences, complex", lambda: SymmetrizedDifferences(True), (2, 1, 3, 3), "upper"),
    OperatorCase("duplication", lambda: Duplication([[0, 1, 2], [2, 3], [2]], Space((5,))), (5,)),
    OperatorCase("duplication of windows", lambda: Duplication(sliding_windows((3, 3), (2, 2)), Space((3, 3))), (3, 3)),
    OperatorCase("remainder of the slopes", lambda: _tgv(0), (6, 4, 3), "upper"),
    OperatorCase("strain of the auxiliary field", lambda: _tgv(1), (3, 3, 4), "upper"),
]

FUNCTIONALS = [
    FunctionalCase("group L1 over channels and rows", lambda s: GroupL1(axis=(-3, -1)), (2, 2, 3), (2, 1, 2)),
    FunctionalCase(
        "total variation, anisotropic", lambda s: TotalVariation(isotropic=False), (2, 3, 3), (1, 2, 2), prox_tol=1e-4
    ),
    FunctionalCase("vectorial total variation", lambda s: VectorialTotalVariation(), (3, 3, 3), (2, 1, 2), prox_tol=1e-4),
    FunctionalCase(
        "vectorial total variation, complex",
        lambda s: VectorialTotalVariation(is_complex=True),
        (2, 3, 2),
        (1, 1, 2),
        prox_tol=1e-4,
    ),
    FunctionalCase(
        "vectorial total variation, nuclear", lambda s: VectorialTotalVariation("nuclear"), (3, 3, 3), (2, 1, 2), prox_tol=1e-4
    ),
    FunctionalCase("total generalised variation", lambda s: TotalGeneralizedVariation(), (1, 2, 3), is_slow=True),
    FunctionalCase(
        "lifted least squares",
        lambda s: LeastSquares(Identity(), randn(s[0] // 3, *s[1:], seed=11)) @ ChannelBlocks(3, [0]),
        (3, 2, 2),
        (3, 1, 1),
    ),
    FunctionalCase("pixel nuclear norm", lambda s: PixelNuclearNorm(), (2, 3, 2, 2), (2, 2, 1, 1)),
    FunctionalCase("pixel nuclear norm of one channel", lambda s: PixelNuclearNorm(), (2, 1, 2, 2), (2, 1, 1, 1)),
    FunctionalCase("nuclear norm", lambda s: NuclearNorm(), (3, 2, 3), (2, 1, 2)),
    FunctionalCase("nuclear norm of tall matrices", lambda s: NuclearNorm((-2,), Space((None, None))), (4, 2), (2, 2)),
    FunctionalCase("nuclear norm, complex", lambda s: NuclearNorm((-3, -2), COMPLEX_IMAGE), (2, 2, 3)),
    FunctionalCase("low rank", lambda s: LowRank(1), (3, 2, 2)),
    FunctionalCase("low rank, complex", lambda s: LowRank(2, (-2,), Space((None, None), True)), (3, 4)),
    FunctionalCase("top k", lambda s: TopK(3), (2, 2, 3)),
    FunctionalCase("top k a pixel, complex", lambda s: TopK(2, -3, COMPLEX_IMAGE), (4, 2, 2)),
    FunctionalCase("L0", lambda s: L0(), (2, 2, 3)),
    FunctionalCase("L0, complex", lambda s: L0(COMPLEX_IMAGE), (1, 2, 3)),
    FunctionalCase("minimax concave penalty", lambda s: MinimaxConcavePenalty(1.2), (2, 2, 3)),
    FunctionalCase("minimax concave penalty, complex", lambda s: MinimaxConcavePenalty(0.7, COMPLEX_IMAGE), (1, 2, 3)),
    FunctionalCase("clipped absolute deviation", lambda s: SmoothlyClippedAbsoluteDeviation(0.4), (2, 2, 3)),
    FunctionalCase(
        "overlapping group L1",
        lambda s: OverlappingGroupL1(sliding_windows(s, (1, 2, 2)), Space(s)),
        (1, 3, 3),
        (1, 2, 2),
        prox_tol=1e-4,
    ),
    FunctionalCase("ball of L1", lambda s: L1Ball(1.5), (2, 2, 2), (1, 1, 3)),
    FunctionalCase("ball of L1, complex", lambda s: L1Ball(0.8, COMPLEX_IMAGE), (1, 2, 2), (1, 1, 2)),
    FunctionalCase("largest modulus", lambda s: LInfinity(), (2, 2, 2), (1, 1, 3)),
    FunctionalCase("largest modulus, complex", lambda s: LInfinity(COMPLEX_IMAGE), (1, 2, 2), (1, 1, 2)),
    FunctionalCase("squared k-support norm", lambda s: SquaredKSupportNorm(2, space=VECTOR), (6,), (3,)),
    FunctionalCase("squared k-support norm of pixels", lambda s: SquaredKSupportNorm(1.5, axis=-3), (2, 2, 2), (2, 1, 2)),
    FunctionalCase(
        "squared k-support norm with costs",
        lambda s: SquaredKSupportNorm(2.0, costs=0.5 + randn(*s, seed=3).abs(), space=Space(s, True)),
        (5,),
        (2,),
    ),
    FunctionalCase("transmission", lambda s: TransmissionPoisson(Identity(), _counts(s), 7.0), (1, 2, 3)),
    FunctionalCase(
        "transmission's distance", lambda s: TransmissionPoisson(Identity(), _counts(s), 7.0).loss, (1, 2, 3), (1, 1, 3)
    ),
    FunctionalCase(
        "transmission's distance, a blank scan a pixel",
        lambda s: TransmissionPoisson(Identity(), _counts(s), 5 + 3 * randn(*s).abs()).loss,
        (1, 2, 3),
        (1, 1, 2),
    ),
    FunctionalCase("transmission with background", lambda s: TransmissionPoisson(Identity(), _counts(s), 7.0, 0.5), (1, 2, 3)),
    FunctionalCase("convex ridge", lambda s: _ridge(0.0), (1, 4, 3)),
    FunctionalCase("weakly convex ridge", lambda s: _ridge(0.9), (1, 4, 3)),
    FunctionalCase(
        "weakly convex ridge of colour, a level an image",
        lambda s, index=EVERY: _ridge(0.9, torch.tensor([0.05, 0.2, 0.9], dtype=torch.float64)[index], 3),  # type: ignore[index]
        (3, 3, 2),
        batch=(3,),
    ),
    FunctionalCase("fused lasso", lambda s: FusedLasso(0.7, 0.4, VECTOR), (7,), (4,)),
    FunctionalCase("fused lasso of rows", lambda s: FusedLasso(), (2, 2, 4), (1, 2, 2)),
    FunctionalCase("total variation of rows", lambda s: FusedLasso(0.8, 0.0), (1, 3, 5), (1, 1, 3)),
    FunctionalCase("sorted L1", lambda s: SortedL1(_falling(s), VECTOR), (6,), (3,)),
    FunctionalCase("sorted L1, complex", lambda s: SortedL1(_falling(s), COMPLEX_IMAGE), (1, 2, 3), (1, 1, 2)),
    FunctionalCase("patches of one Gaussian", lambda s: ExpectedPatchLogLikelihood(_mixture(1)), (2, 3, 4)),
    FunctionalCase("patches of a mixture", lambda s: ExpectedPatchLogLikelihood(_mixture(3)), (2, 3, 4)),
    FunctionalCase("patches of a mixture, with their means", lambda s: ExpectedPatchLogLikelihood(_mixture(2), False), (1, 3, 3)),
    FunctionalCase("regularization by denoising", lambda s: RegularizationByDenoising(_smoother, 0.5), (2, 3, 4)),
]
