"""Richardson-Lucy, also known as MLEM: the multiplicative update for Poisson counts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import reduce
from typing import final

import torch
from torch import Tensor

from apheleia.algorithms.algorithm import Algorithm, State
from apheleia.algorithms.optimality import Reference, optimality_residual, reference
from apheleia.core.certificate import Certificate
from apheleia.core.space import as_wide, per_sample
from apheleia.functionals.calculus import Scaled
from apheleia.functionals.fidelities.kullback_leibler import PoissonDistance
from apheleia.functionals.functional import Functional
from apheleia.functionals.priors.indicators import NonNegativity
from apheleia.operators.linear import LinearOperator
from apheleia.problem import Problem

__all__ = ["RichardsonLucy", "back_projected_ratio", "counts_obstacle", "sensitivity", "updated", "with_floor"]

FLOOR = 1e-3
"""Least first value of a pixel, as a share of the flat image that explains all counts: what begins at zero stays there."""

ROUNDING = 64
"""Units of rounding of the largest sensitivity below which a pixel counts as not seen."""

_SOURCE = "Vardi, Shepp, Kaufman 1985, doi:10.1080/01621459.1985.10477119; Csiszár and Tusnády 1984, Statistics and Decisions"


@dataclass(frozen=True, eq=False)
class _State(State):
    """The point, its dual, A x, and c A^T 1, (*batch, *space)."""

    image: Tensor
    sensitivity: Tensor
    scale: Reference


@final
class RichardsonLucy(Algorithm):
    """x+ = x / (A^T 1) * A^T(y / (A x + background)): expectation maximisation for Poisson counts, MLEM in tomography.

    Notes
    -----
    Certificate: the objective falls at every step and tends to its minimum, proved for an A with non-negative entries; the start
    is made positive. The residual is that of the optimality conditions of the Poisson problem. It is slow near the end, where
    stopping early is often meant as a prior: state a prior instead, and let `solve` choose.
    Complexity: one application of A and A^T a step.
    Source: W. Richardson, Journal of the Optical Society of America 62 (1972), doi:10.1364/JOSA.62.000055; L. Lucy, Astronomical
    Journal 79 (1974), doi:10.1086/111605; L. Shepp, Y. Vardi, IEEE Transactions on Medical Imaging 1 (1982),
    doi:10.1109/TMI.1982.4307558.
    """

    requires = "KullbackLeibler of an A with non-negative entries, and NonNegativity"

    def obstacle(self, problem: Problem) -> str | None:
        """Return why this algorithm cannot solve the problem, or None where it can."""
        reason = counts_obstacle(problem)
        if reason is not None or len(problem.split_terms) == 1:
            return reason
        return "needs one KullbackLeibler; this problem has several, the subsets of OSEM"

    def init(self, problem: Problem, x0: Tensor) -> _State:
        h, K = problem.split_terms[0]
        seen = sensitivity(h, K, x0)
        x = with_floor(problem, x0, seen)
        image = K._forward(x)
        return _State(0, x, (h._grad(image),), image, seen, reference(problem, x0))

    def step(self, problem: Problem, state: _State) -> _State:
        h, K = problem.split_terms[0]
        x = updated(state.x, back_projected_ratio(h, K, state.image), state.sensitivity)
        image = K._forward(x)
        return replace(state, k=state.k + 1, x=x, duals=(h._grad(image),), image=image)

    def residual(self, problem: Problem, state: _State) -> Tensor:
        return optimality_residual(problem, state.x, state.duals, state.scale)

    def certify(self, problem: Problem, state: _State) -> tuple[Certificate, ...]:
        why = "non-negative A and a positive start: the objective falls at every step and tends to its minimum"
        return (Certificate("convergence", "proved", None, why, _SOURCE),)


def counts_obstacle(problem: Problem) -> str | None:
    """Return why a problem is not that of Poisson counts of a non-negative image and no more, or None where it is."""
    names = [h.name for h, _ in problem.split_terms if not isinstance(_bare(h), PoissonDistance)]
    names += [part.name for part in problem.smooth]
    if names or not problem.split_terms:
        rest = f"; this problem has {', '.join(names)}" if names else ""
        return f"needs one KullbackLeibler and NonNegativity, and no other part{rest}"
    if problem.simple is None or not isinstance(_bare(problem.simple), NonNegativity):
        return "needs NonNegativity as the prior"
    unknown = [K.name for _, K in problem.split_terms if not K.is_non_negative]
    return f"needs an A with non-negative entries; {unknown[0]} is not known to have them" if unknown else None


def sensitivity(h: Functional, K: LinearOperator, x: Tensor) -> Tensor:
    """Return c K^T 1, c the weight of the counts over their gain, (*batch, *space)."""
    shape = (*K.domain.batch_shape(x), *K.output_shape(tuple(x.shape[x.ndim - K.domain.rank :])))
    ones = torch.ones(shape, dtype=x.dtype, device=x.device)
    seen = K._adjoint(_wide(h, ones) * ones)
    # what rounding alone has seen would be divided by itself
    return torch.where(seen > ROUNDING * torch.finfo(seen.dtype).eps * seen.amax(K.domain.axes, keepdim=True), seen, 0.0)


def back_projected_ratio(h: Functional, K: LinearOperator, image: Tensor) -> Tensor:
    """Return c K^T(y / (K x + background)), (*batch, *space), given K x."""
    loss = _loss(h)
    expected = image + loss.background
    ratio = torch.where(expected > 0, loss._data(expected) / torch.where(expected > 0, expected, 1.0), 0.0)
    return K._adjoint(_wide(h, ratio) * ratio)


def updated(x: Tensor, back: Tensor, seen: Tensor) -> Tensor:
    """Return x times the back-projected ratio over the sensitivity; a pixel that no data see stays as it is."""
    is_seen = seen > 0
    return x * torch.where(is_seen, back / torch.where(is_seen, seen, 1.0), 1.0).clamp(min=0)


def with_floor(problem: Problem, x: Tensor, seen: Tensor) -> Tensor:
    """Return x made positive: no pixel below a share of the flat image that explains all counts, given c K^T 1 of all data."""
    space = problem.space
    total = reduce(torch.add, [_signal(h, x) for h, _ in problem.split_terms])
    whole = seen.sum(space.axes)
    own = (seen * x.clamp(min=0)).sum(space.axes).nan_to_num(posinf=0.0)
    flat = FLOOR * torch.maximum(total, own) / torch.where(whole > 0, whole, 1.0)
    flat = flat.clamp(min=torch.finfo(x.dtype).tiny ** 0.5)
    # an image that is not finite stays so, and is reported
    return torch.where(x.isfinite(), torch.maximum(x, as_wide(flat, x, space.rank)), x)


def _signal(h: Functional, x: Tensor) -> Tensor:
    """Return the sum of c (y - background) where that is positive, (*batch,), in the precision of x."""
    loss = _loss(h)
    above = (loss._data(x) - loss.background).clamp(min=0)
    return (_wide(h, above) * above).sum(h.space.axes)


def _wide(h: Functional, y: Tensor) -> Tensor | float:
    """Return the weight of the counts over their gain, ready to multiply data."""
    weight = per_sample(h.weight, y, h.space.rank) if isinstance(h, Scaled) else 1.0
    return weight / _loss(h).gain


def _bare(functional: Functional) -> Functional:
    """Return F of c F."""
    return functional.functional if isinstance(functional, Scaled) else functional


def _loss(h: Functional) -> PoissonDistance:
    loss = _bare(h)
    assert isinstance(loss, PoissonDistance), "checked by `obstacle`"
    return loss
