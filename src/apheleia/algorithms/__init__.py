"""Algorithms: one `solve`, the steps behind it, and what they prove."""

from apheleia.algorithms.accelerated_gradient import AcceleratedGradient
from apheleia.algorithms.admm import ADMM
from apheleia.algorithms.algorithm import Algorithm, State
from apheleia.algorithms.certify import duality_gap
from apheleia.algorithms.chambolle_pock import ChambollePock
from apheleia.algorithms.choose import ALGORITHMS, choose
from apheleia.algorithms.condat_vu import CondatVu
from apheleia.algorithms.conjugate_gradient import ConjugateGradient
from apheleia.algorithms.differentiate import Truncated, Unrolled
from apheleia.algorithms.douglas_rachford import DouglasRachford
from apheleia.algorithms.fista import FISTA
from apheleia.algorithms.gauss_newton import GaussNewton
from apheleia.algorithms.gradient import Gradient
from apheleia.algorithms.half_quadratic_splitting import HalfQuadraticSplitting
from apheleia.algorithms.lbfgs import LBFGS
from apheleia.algorithms.levenberg_marquardt import LevenbergMarquardt
from apheleia.algorithms.lsqr import LSQR
from apheleia.algorithms.mirror_descent import MirrorDescent
from apheleia.algorithms.osem import OSEM
from apheleia.algorithms.palm import PALM
from apheleia.algorithms.preconditioned_primal_dual import PreconditionedPrimalDual
from apheleia.algorithms.proximal_gradient import ProximalGradient
from apheleia.algorithms.richardson_lucy import RichardsonLucy
from apheleia.algorithms.sirt import SIRT
from apheleia.algorithms.solve import solve
from apheleia.algorithms.stochastic_primal_dual import StochasticPrimalDual

__all__ = [
    "MirrorDescent",
    "StochasticPrimalDual",
    "PreconditionedPrimalDual",
    "DouglasRachford",
    "LSQR",
    "SIRT",
    "RichardsonLucy",
    "OSEM",
    "ADMM",
    "ALGORITHMS",
    "FISTA",
    "LBFGS",
    "PALM",
    "AcceleratedGradient",
    "Algorithm",
    "ChambollePock",
    "CondatVu",
    "ConjugateGradient",
    "GaussNewton",
    "Gradient",
    "HalfQuadraticSplitting",
    "LevenbergMarquardt",
    "ProximalGradient",
    "State",
    "Truncated",
    "Unrolled",
    "choose",
    "duality_gap",
    "solve",
]
