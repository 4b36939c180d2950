"""Which algorithm for which problem, from the problem's structure alone."""

from __future__ import annotations

import torch

from apheleia.algorithms.accelerated_gradient import AcceleratedGradient
from apheleia.algorithms.admm import ADMM
from apheleia.algorithms.algorithm import Algorithm
from apheleia.algorithms.chambolle_pock import ChambollePock
from apheleia.algorithms.condat_vu import CondatVu
from apheleia.algorithms.conjugate_gradient import ConjugateGradient
from apheleia.algorithms.diagonal_system import common_basis, diagonal_system
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
from apheleia.algorithms.quadratic_update import partition
from apheleia.algorithms.richardson_lucy import RichardsonLucy
from apheleia.algorithms.sirt import SIRT
from apheleia.algorithms.stochastic_primal_dual import StochasticPrimalDual
from apheleia.core.errors import CapabilityError
from apheleia.functionals.functional import Functional
from apheleia.operators.transforms import Basis
from apheleia.problem import Problem

__all__ = ["ALGORITHMS", "alternatives", "choose"]

ALGORITHMS: tuple[type[Algorithm], ...] = (
    ConjugateGradient,
    Gradient,
    AcceleratedGradient,
    FISTA,
    ProximalGradient,
    ChambollePock,
    CondatVu,
    ADMM,
    HalfQuadraticSplitting,
    LevenbergMarquardt,
    GaussNewton,
    LBFGS,
    PALM,
    RichardsonLucy,
    OSEM,
    SIRT,
    LSQR,
    DouglasRachford,
    StochasticPrimalDual,
    PreconditionedPrimalDual,
    MirrorDescent,
)
"""All algorithms, the more specific first."""


def choose(problem: Problem) -> tuple[Algorithm, str]:
    """Return the algorithm for a problem, and why.

    Parameters
    ----------
    problem : Problem
        The problem.

    Returns
    -------
    Algorithm, str
        With its steps chosen by the library, and the reason in words.

    Raises
    ------
    CapabilityError
        If none can: the objective is not convex and has several non-smooth parts.
    """
    if problem.unbounded:
        return _without_lipschitz_constant(problem)
    if not problem.is_convex:
        for candidate in (Gradient(), ProximalGradient(), HalfQuadraticSplitting()):
            if candidate.obstacle(problem) is None:
                return candidate, "the objective is not convex"
        raise CapabilityError("solve: no algorithm takes a non-convex objective with several such parts. Smooth all but one.")
    if not problem.split_terms and problem.simple is None:
        if all(part.is_quadratic for part in problem.smooth):
            return ConjugateGradient(), "the objective is quadratic"
        return Gradient(), "the objective is smooth"
    if not problem.split_terms:
        if problem.smooth:
            return FISTA(), "smooth plus a part with an exact proximal map"
        return ProximalGradient(), "one proximable part"
    basis = _useful_basis(problem)
    if basis is not None:
        return ADMM(), f"terms h(K x), and a linear system that has a closed form in the {basis} basis"
    if ChambollePock().obstacle(problem) is None:
        own = [*problem.smooth, *([] if problem.simple is None else [problem.simple])]
        which = f"{own[0].name} has a closed-form proximal map" if own else "no part acts on x itself"
        return ChambollePock(), f"terms h(K x), and {which}"
    return CondatVu(), "terms h(K x) with a gradient or a proximal map on x"


def _without_lipschitz_constant(problem: Problem) -> tuple[Algorithm, str]:
    """Return the algorithm for a problem with a part whose gradient is not known to be Lipschitz."""
    name = problem.unbounded[0].name
    if LevenbergMarquardt().obstacle(problem) is None:
        return LevenbergMarquardt(), f"{name} of a map that is not linear"
    if LBFGS().obstacle(problem) is not None and PALM().obstacle(problem) is None:
        return PALM(), f"{name} is smooth in each block of unknowns, and the priors act on single ones"
    for candidate in (LBFGS(), ProximalGradient()):
        if candidate.obstacle(problem) is None:
            return candidate, f"the gradient of {name} has no known Lipschitz constant"
    raise CapabilityError(
        f"solve: no algorithm takes {name}, whose gradient is not known to be Lipschitz, together with "
        f"{', '.join(problem.non_smooth_names)}. Take one prior with a proximal map, or smooth ones such as SmoothedVariation."
    )


def _useful_basis(problem: Problem) -> Basis | None:
    """Return the basis in which ADMM's updates are closed, or None; where A is the identity, cheaper methods do as well."""
    if ADMM().obstacle(problem) is not None or not problem.smooth:
        return None
    parts, terms = partition(problem)
    if parts == problem.smooth and not any(_is_no_identity(part) for part in parts):
        return None
    basis = common_basis(parts, terms, problem.space, majorants=True)
    if basis is None or any(basis not in part.hessian_bases for part in parts):
        # a majorant is positive, and perhaps dear to compute: it waits for the run
        return basis
    x = torch.empty([size or 1 for size in problem.space.shape], dtype=torch.float64)
    system = diagonal_system(parts, terms, x, problem.space, majorants=True)
    return None if system is None else system.basis


def _is_no_identity(part: Functional) -> bool:
    # a multiple of the identity is diagonal in every basis, and as a majorant it is nothing but a gradient step
    return len(part.hessian_bases) == 1 or len(part.hessian_majorants) == 1


def alternatives(problem: Problem) -> tuple[str, ...]:
    """Return the names of the algorithms that can solve a problem, the one that would be chosen first, at most three."""
    able = [kind.__name__ for kind in ALGORITHMS if kind().obstacle(problem) is None]
    chosen = type(choose(problem)[0]).__name__ if able else ""
    return tuple(sorted(able, key=lambda name: name != chosen)[:3])
