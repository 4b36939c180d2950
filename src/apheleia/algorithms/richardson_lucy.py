"""Richardson-Lucy, also known as MLEM: the multiplicative update for Poisson counts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import final

import torch
from torch import Tensor

from apheleia.algorithms.algorithm import Algorithm, State
from apheleia.algorithms.optimality import Reference, optimality_residual, reference
from apheleia.core.certificate import Certificate
from apheleia.core.space import as_wide
from apheleia.functionals.calculus import Scaled
from apheleia.functionals.fidelities.kullback_leibler import PoissonDistance
from apheleia.functionals.functional import Functional
from apheleia.functionals.priors.indicators import NonNegativity
from apheleia.problem import Problem

__all__ = ["RichardsonLucy"]

FLOOR = 1e-3
"""Least first value of a pixel, as a share of the flat image that explains all counts: what begins at zero stays there."""

_SOURCE = "Vardi, Shepp, Kaufman 1985, doi:10.1080/01621459.1985.10477119; Csiszár and Tusnády 1984, Statistics and Decisions"


@dataclass(frozen=True, eq=False)
class _State(State):
    """The point, its dual, A x, and A^T 1, (*batch, *space)."""

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
        names = [h.name for h, _ in problem.split_terms if not isinstance(_bare(h), PoissonDistance)]
        names += [part.name for part in problem.smooth]
        if names or len(problem.split_terms) != 1:
            rest = f"; this problem has {', '.join(names)}" if names else ""
            return f"needs one KullbackLeibler and NonNegativity, and no other part{rest}"
        if problem.simple is None or not isinstance(_bare(problem.simple), NonNegativity):
            return "needs NonNegativity as the prior"
        K = problem.split_terms[0][1]
        return None if K.is_non_negative else f"needs an A with non-negative entries; {K.name} is not known to have them"

    def init(self, problem: Problem, x0: Tensor) -> _State:
        space, (h, K) = problem.space, problem.split_terms[0]
        shape = tuple(x0.shape[x0.ndim - space.rank :])
        ones = torch.ones((*problem.space.batch_shape(x0), *K.output_shape(shape)), dtype=x0.dtype, device=x0.device)
        sensitivity = K._adjoint(ones)
        loss = _loss(h)
        total = (loss._data(ones) - loss.background).clamp(min=0).sum(h.space.axes)
        seen = sensitivity.sum(space.axes)
        seen = torch.where(seen > 0, seen, 1.0)
        own = (sensitivity * x0.clamp(min=0)).sum(space.axes).nan_to_num(posinf=0.0)
        flat = (FLOOR * torch.maximum(total, own) / seen).clamp(min=torch.finfo(x0.dtype).tiny ** 0.5)
        # an image that is not finite stays so, and is reported
        x = torch.where(x0.isfinite(), torch.maximum(x0, as_wide(flat, x0, space.rank)), x0)
        image = K._forward(x)
        return _State(0, x, (h._grad(image),), image, sensitivity, reference(problem, x0))

    def step(self, problem: Problem, state: _State) -> _State:
        h, K = problem.split_terms[0]
        loss = _loss(h)
        expected = state.image + loss.background
        ratio = torch.where(expected > 0, loss._data(expected) / torch.where(expected > 0, expected, 1.0), 0.0)
        seen = state.sensitivity > 0
        # a pixel that no data see stays as it is
        factor = torch.where(seen, K._adjoint(ratio) / torch.where(seen, state.sensitivity, 1.0), 1.0)
        x = state.x * factor.clamp(min=0)
        image = K._forward(x)
        return replace(state, k=state.k + 1, x=x, duals=(h._grad(image),), image=image)

    def residual(self, problem: Problem, state: _State) -> Tensor:
        return optimality_residual(problem, state.x, state.duals, state.scale)

    def certify(self, problem: Problem, state: _State) -> tuple[Certificate, ...]:
        why = "non-negative A and a positive start: the objective falls at every step and tends to its minimum"
        return (Certificate("convergence", "proved", None, why, _SOURCE),)


def _bare(functional: Functional) -> Functional:
    """Return F of c F."""
    return functional.functional if isinstance(functional, Scaled) else functional


def _loss(h: Functional) -> PoissonDistance:
    loss = _bare(h)
    assert isinstance(loss, PoissonDistance), "checked by `obstacle`"
    return loss
