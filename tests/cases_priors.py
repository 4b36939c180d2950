"""Priors and fidelities of the register beyond the basic ones; cases.py joins them."""

from __future__ import annotations

from case_types import FunctionalCase

from apheleia.functionals import GroupL1, PixelNuclearNorm, TotalVariation, VectorialTotalVariation

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
    FunctionalCase("pixel nuclear norm", lambda s: PixelNuclearNorm(), (2, 3, 2, 2), (2, 2, 1, 1)),
    FunctionalCase("pixel nuclear norm of one channel", lambda s: PixelNuclearNorm(), (2, 1, 2, 2), (2, 1, 1, 1)),
]
