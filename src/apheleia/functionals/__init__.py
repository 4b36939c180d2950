"""Functionals: the terms of an objective, with predicates that propagate through their calculus."""

from apheleia.functionals.calculus import Composition, Scaled, Sum
from apheleia.functionals.check import check_gradient, check_prox
from apheleia.functionals.fidelities import Fidelity, HuberLoss, KullbackLeibler, LeastAbsoluteDeviations, LeastSquares
from apheleia.functionals.functional import Functional
from apheleia.functionals.priors import (
    L1,
    Ball,
    Box,
    GroupL1,
    NonNegativity,
    PixelNuclearNorm,
    QuadraticSmoothness,
    Simplex,
    SmoothedVariation,
    TotalGeneralizedVariation,
    TotalVariation,
    VectorialTotalVariation,
    WaveletL1,
)

__all__ = [
    "L1",
    "Ball",
    "Box",
    "Composition",
    "Fidelity",
    "Functional",
    "GroupL1",
    "HuberLoss",
    "KullbackLeibler",
    "LeastAbsoluteDeviations",
    "LeastSquares",
    "NonNegativity",
    "PixelNuclearNorm",
    "QuadraticSmoothness",
    "Scaled",
    "Simplex",
    "SmoothedVariation",
    "Sum",
    "TotalGeneralizedVariation",
    "TotalVariation",
    "VectorialTotalVariation",
    "WaveletL1",
    "check_gradient",
    "check_prox",
]
