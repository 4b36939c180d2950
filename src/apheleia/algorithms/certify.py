"""What can be said of a returned point: the duality gap, the distance to the solution, or that neither is known."""

from __future__ import annotations

from functools import reduce

import torch
from torch import Tensor

from apheleia.core.bound import Bound
from apheleia.core.certificate import Certificate
from apheleia.core.errors import ArgumentError
from apheleia.functionals.functional import Functional
from apheleia.operators.linear import LinearOperator
from apheleia.problem import Problem

__all__ = ["certify_point", "certify_uniqueness", "duality_gap", "has_gap"]

USELESS = 1e3
"""Times the size of x beyond which a bound on the distance says nothing."""

_FENCHEL = "Rockafellar 1970, doi:10.1515/9781400873173, Fenchel duality"


def has_gap(problem: Problem) -> bool:
    """Return whether the problem's structure gives a computable dual objective."""
    return _dual_structure(problem) is not None


def _dual_structure(problem: Problem) -> tuple[Functional, list[tuple[Functional, LinearOperator]]] | None:
    """Return the functional that absorbs the dual residual, and the smooth parts as (loss, A).

    In  sum_j phi_j(A_j x) + F(x) + sum_i h_i(K_i x)  the dual objective at (q, p) is
    -sum_j phi_j^*(q_j) - sum_i h_i^*(p_i) - F^*(-sum_j A_j^H q_j - sum_i K_i^H p_i): F must have a known conjugate.
    """
    smooth = list(problem.smooth)
    if problem.simple is not None:
        absorber = problem.simple
    else:
        absorber = next((part for part in smooth if part.has_conjugate), None)
        smooth = [part for part in smooth if part is not absorber]
    if absorber is None or not absorber.has_conjugate or not all(h.has_conjugate for h, _ in problem.split_terms):
        return None
    pairs = [part.split for part in smooth]
    known = [pair for pair in pairs if pair is not None and pair[0].has_conjugate and pair[0].is_smooth]
    return (absorber, known) if len(known) == len(pairs) else None


def duality_gap(problem: Problem, x: Tensor, duals: tuple[Tensor, ...]) -> Tensor | None:
    """Return objective(x) minus the dual objective at a feasible dual point built from the state, (*batch,).

    The dual point is (grad phi_j(A_j x), duals), scaled into the domain of the conjugates where it lies outside.

    Parameters
    ----------
    problem : Problem
        A convex problem.
    x : Tensor, (*batch, *space)
        The primal point.
    duals : tuple of Tensor
        One dual a term.

    Returns
    -------
    Tensor or None
        An upper bound on objective(x) - minimum, up to rounding in the precision of `x`, which float64 accounts for; +inf where
        the dual point is infeasible; None where no conjugate is known.
    """
    if not isinstance(problem, Problem):
        raise ArgumentError(f"duality_gap: `problem` must be a Problem; got {type(problem).__name__}. Write Problem(f, g).")
    structure = _dual_structure(problem)
    if structure is None or len(duals) != len(problem.split_terms) or not problem.is_convex:
        return None
    absorber, smooth = structure
    rank = problem.space.rank
    pieces: list[tuple[Functional, Tensor]] = [(loss, loss._grad(A._forward(x))) for loss, A in smooth]
    slopes = [A._adjoint(q) for (_, A), (_, q) in zip(smooth, pieces, strict=True)]
    for (h, K), p in zip(problem.split_terms, problem.feasible(duals), strict=True):
        inside = h._dual_scale(p)
        p = inside[(...,) + (None,) * K.codomain.rank] * p
        pieces.append((h, p))
        slopes.append(K._adjoint(p))
    pull = -reduce(torch.add, slopes) if slopes else torch.zeros_like(x)
    scale = absorber._dual_scale(pull)
    wide = scale[(...,) + (None,) * rank]
    terms = [problem.objective(x), absorber._conjugate(wide * pull)]
    for functional, dual in pieces:
        terms.append(functional._conjugate(scale[(...,) + (None,) * functional.space.rank] * dual))
    # the terms cancel: what rounding in float64 may have taken away is put back, so that the bound stays one
    rounding = 16 * torch.finfo(torch.float64).eps * reduce(torch.add, [term.abs() for term in terms])
    total = reduce(torch.add, terms).clamp(min=0) + rounding
    # a scale of zero means that only the trivial dual point is feasible: no information
    return torch.where(scale > 0, total, torch.inf)


def certify_uniqueness(problem: Problem, modulus: Bound) -> Certificate:
    """Return whether the minimiser is unique, from the modulus of strong convexity."""
    if not problem.is_convex:
        return Certificate("uniqueness", "none", None, "the objective is not convex")
    if modulus.is_positive and modulus.is_lower:
        return Certificate("uniqueness", "proved", modulus, "the objective is strongly convex with this modulus")
    return Certificate("uniqueness", "none", None, "the objective is convex and no part of it is known to be strongly convex")


def certify_point(problem: Problem, x: Tensor, gap: Tensor | None, modulus: Bound) -> tuple[Certificate, ...]:
    """Return the certificates of a returned point: objective gap and distance to the minimiser.

    The problem is evaluated in the precision of `x`; pass float64 for numbers free of rounding.
    """
    if not problem.is_convex:
        why = "the objective is not convex: a stationary point is all that can be aimed at"
        return (Certificate("objective_gap", "none", None, why), Certificate("distance", "none", None, why))
    certificates = [_gap_certificate(problem, gap)]
    strong = modulus.is_positive and modulus.is_lower
    finite = gap is not None and bool(gap.isfinite().all())
    if strong and finite and gap is not None:
        # strong convexity: mu/2 |x - x*|^2 <= objective gap
        value = Bound((2 * gap.double() / modulus.value).sqrt(), "upper", "sqrt(2 gap / modulus of strong convexity)")
        certificates.append(_distance(value, problem.space.norm(x), "strong convexity and the duality gap", _FENCHEL))
    elif strong and problem.simple is None and not problem.split_terms:
        size = problem.space.norm(problem.smooth_grad(x)).double()
        value = Bound(size / modulus.value, "upper", "|gradient| / modulus of strong convexity")
        certificates.append(_distance(value, problem.space.norm(x), "strong convexity: |x - x*| <= |gradient| / modulus", ""))
    else:
        why = "no modulus of strong convexity is known" if not strong else "no finite duality gap at this point"
        certificates.append(Certificate("distance", "none", None, why))
    return tuple(certificates)


def _distance(bound: Bound, size: Tensor, why: str, source: str) -> Certificate:
    if bool(((bound.value > USELESS * size) & (size > 0)).any()):
        return Certificate(
            "distance", "none", None, "strongly convex, but so weakly that the bound exceeds the image many times over"
        )
    return Certificate("distance", "proved", bound, why, source)


def _gap_certificate(problem: Problem, gap: Tensor | None) -> Certificate:
    if gap is not None and bool(gap.isfinite().all()):
        value = Bound(gap, "upper", "duality gap at the returned point")
        return Certificate("objective_gap", "proved", value, "weak duality: the minimum lies at most this far below", _FENCHEL)
    if gap is None and problem.simple is None and problem.split_terms:
        why = "x is unbounded and A has no known inverse: no finite duality gap exists; add Box(lower, upper) as g for one"
    elif gap is None:
        why = "a part of the objective has no known conjugate; the residual stands"
    else:
        why = "the dual point is not feasible for every image; the residual stands"
    return Certificate("objective_gap", "none", None, why)
