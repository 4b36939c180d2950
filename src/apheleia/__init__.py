"""Apheleia: trainable algorithms. State a model, solve it, trust the answer.

>>> import torch, apheleia as ap
>>> kernel = torch.ones(3, 3) / 9
>>> y = torch.rand(1, 16, 16, generator=torch.Generator().manual_seed(0))
>>> A = ap.operators.Convolution(kernel, boundary="reflect")
>>> f = ap.LeastSquares(A, y, noise_std=None)
>>> x, report = ap.solve(ap.Problem(f, 1e-2 * ap.TotalVariation()))
>>> report.status.name
'CONVERGED'
"""

from apheleia import bridges, data, imaging, io, metrics, operators
from apheleia.algorithms import (
    ADMM,
    FISTA,
    LBFGS,
    AcceleratedGradient,
    ChambollePock,
    CondatVu,
    ConjugateGradient,
    GaussNewton,
    Gradient,
    HalfQuadraticSplitting,
    LevenbergMarquardt,
    ProximalGradient,
    Truncated,
    Unrolled,
    duality_gap,
    solve,
)
from apheleia.core import (
    IMAGE,
    VECTOR,
    ApheleiaError,
    ArgumentError,
    Bound,
    CapabilityError,
    Certificate,
    CheckError,
    FileError,
    MissingExtraError,
    NotConverged,
    Report,
    ShapeError,
    Space,
    Status,
)
from apheleia.functionals import (
    L1,
    Ball,
    Box,
    GroupL1,
    HuberLoss,
    KullbackLeibler,
    LeastAbsoluteDeviations,
    LeastSquares,
    NonNegativity,
    QuadraticSmoothness,
    Simplex,
    SmoothedVariation,
    TotalVariation,
    VectorialTotalVariation,
    WaveletL1,
    check_gradient,
    check_prox,
)
from apheleia.operators import check_adjoint, check_derivative, check_linear, check_norm
from apheleia.problem import Problem

__version__ = "0.1.0"

__all__ = [
    "ADMM",
    "FISTA",
    "IMAGE",
    "L1",
    "LBFGS",
    "VECTOR",
    "AcceleratedGradient",
    "ApheleiaError",
    "ArgumentError",
    "Ball",
    "Bound",
    "Box",
    "CapabilityError",
    "Certificate",
    "ChambollePock",
    "CheckError",
    "CondatVu",
    "ConjugateGradient",
    "FileError",
    "GaussNewton",
    "Gradient",
    "GroupL1",
    "HalfQuadraticSplitting",
    "HuberLoss",
    "KullbackLeibler",
    "LeastAbsoluteDeviations",
    "LeastSquares",
    "LevenbergMarquardt",
    "MissingExtraError",
    "NonNegativity",
    "NotConverged",
    "Problem",
    "ProximalGradient",
    "QuadraticSmoothness",
    "Report",
    "ShapeError",
    "Simplex",
    "SmoothedVariation",
    "Space",
    "Status",
    "TotalVariation",
    "Truncated",
    "Unrolled",
    "VectorialTotalVariation",
    "WaveletL1",
    "bridges",
    "check_adjoint",
    "check_derivative",
    "check_gradient",
    "check_linear",
    "check_norm",
    "check_prox",
    "data",
    "duality_gap",
    "imaging",
    "io",
    "metrics",
    "operators",
    "solve",
]
