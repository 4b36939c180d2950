"""Priors and fidelities of the register beyond the basic ones; cases.py joins them."""

from __future__ import annotations

from case_types import FunctionalCase, OperatorCase, randn

from apheleia.functionals import (
    GroupL1,
    LeastSquares,
    PixelNuclearNorm,
    TotalGeneralizedVariation,
    TotalVariation,
    VectorialTotalVariation,
)
from apheleia.functionals.lifted import Lifted
from apheleia.operators import ChannelBlocks, Identity, LinearOperator, SymmetrizedDifferences


def _tgv(term: int) -> LinearOperator:
    return TotalGeneralizedVariation().auxiliary.terms[term][1]


OPERATORS = [
    OperatorCase("channel blocks", lambda: ChannelBlocks(3, [2, 0]), (6, 2, 3)),
    OperatorCase("channel blocks: all, permuted", lambda: ChannelBlocks(2, [1, 0]), (4, 2, 3)),
    OperatorCase("symmetrised differences", SymmetrizedDifferences, (2, 2, 4, 3), "upper"),
    OperatorCase("symmetrised differences of one row", SymmetrizedDifferences, (2, 1, 1, 4), "upper"),
    OperatorCase("symmetrised differences, complex", lambda: SymmetrizedDifferences(True), (2, 1, 3, 3), "upper"),
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
    FunctionalCase("total generalised variation", lambda s: TotalGeneralizedVariation(), (1, 2, 3)),
    FunctionalCase(
        "lifted least squares",
        lambda s: Lifted(LeastSquares(Identity(), randn(s[0] // 3, *s[1:], seed=11)), 3),
        (3, 2, 2),
        (3, 1, 1),
    ),
    FunctionalCase("pixel nuclear norm", lambda s: PixelNuclearNorm(), (2, 3, 2, 2), (2, 2, 1, 1)),
    FunctionalCase("pixel nuclear norm of one channel", lambda s: PixelNuclearNorm(), (2, 1, 2, 2), (2, 1, 1, 1)),
]
