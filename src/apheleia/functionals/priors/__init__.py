"""Priors: what is known of the answer."""

from apheleia.functionals.priors.group_l1 import GroupL1
from apheleia.functionals.priors.indicators import Ball, Box, NonNegativity, Simplex
from apheleia.functionals.priors.l1 import L1
from apheleia.functionals.priors.pixel_nuclear_norm import PixelNuclearNorm
from apheleia.functionals.priors.quadratic_smoothness import QuadraticSmoothness
from apheleia.functionals.priors.smoothed_variation import SmoothedVariation
from apheleia.functionals.priors.total_generalized_variation import TotalGeneralizedVariation
from apheleia.functionals.priors.total_variation import TotalVariation
from apheleia.functionals.priors.vectorial_total_variation import VectorialTotalVariation
from apheleia.functionals.priors.wavelet_l1 import WaveletL1

__all__ = [
    "L1",
    "Ball",
    "Box",
    "GroupL1",
    "NonNegativity",
    "PixelNuclearNorm",
    "QuadraticSmoothness",
    "Simplex",
    "SmoothedVariation",
    "TotalGeneralizedVariation",
    "TotalVariation",
    "VectorialTotalVariation",
    "WaveletL1",
]
