"""SIRT: the gradient of least squares, each pixel with its own step from the column sums."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import final

import torch
from torch import Tensor

from apheleia.algorithms.algorithm import Algorithm, State
from apheleia.algorithms.conjugate_gradient import quadratic_hessian
from apheleia.algorithms.optimality import Reference, optimality_residual, reference
from apheleia.core.certificate import Certificate
from apheleia.core.errors import ArgumentError
from apheleia.core.interop import is_number
from apheleia.functionals.calculus import Scaled
from apheleia.functionals.priors.indicators import Box, NonNegativity
from apheleia.problem import Problem

__all__ = ["SIRT"]

_SOURCE = "De Pierro 1995, doi:10.1109/42.370409; Gregor and Benson 2008, doi:10.1109/TMI.2008.923696"


@dataclass(frozen=True, eq=False)
class _State(State):
    """The point, and A^T W A 1, which bounds the Hessian A^T W A as a diagonal, (*batch, *space)."""

    metric: Tensor
    scale: Reference


@final
class SIRT(Algorithm):
    """x+ = clip(x + relaxation * C A^T W (y - A x)), C = 1 / (A^T W A 1), W = 1 / noise_std^2, clipped to a box if there is one.

    The simultaneous iterative reconstruction of tomography in its general form. With rows scaled by the root of the row sums,
    `LeastSquares(D @ A, D(y))` with `D = Diagonal(1 / A(1).sqrt())`, C is one over the column sums, the textbook's.

    Parameters
    ----------
    relaxation : float, default 1
        Factor of all steps, between 0 and 2; convergence is proved there.

    Raises
    ------
    ArgumentError
        If the relaxation is not above zero.

    Notes
    -----
    Certificate: convergence is proved for an A with non-negative entries, where C^{-1} is at least the Hessian, and a relaxation
    below 2.
    Complexity: one application of A and A^T a step.
    Source: A. De Pierro, IEEE Transactions on Medical Imaging 14 (1995), doi:10.1109/42.370409; J. Gregor, T. Benson, IEEE
    Transactions on Medical Imaging 27 (2008), doi:10.1109/TMI.2008.923696.
    """

    requires = "least squares of an A with non-negative entries, and Box, NonNegativity or no prior"

    def __init__(self, relaxation: float = 1.0) -> None:
        super().__init__()
        if not (is_number(relaxation) and relaxation > 0):
            raise ArgumentError(f"SIRT: `relaxation` must be above zero; got {relaxation!r}. It is proved to converge below 2.")
        self.relaxation = relaxation

    def obstacle(self, problem: Problem) -> str | None:
        """Return why this algorithm cannot solve the problem, or None where it can."""
        if problem.split_terms:
            return f"takes no terms h(K x); this problem has {', '.join(h.name for h, _ in problem.split_terms)}"
        simple = problem.simple
        bare = simple.functional if isinstance(simple, Scaled) else simple
        if bare is not None and not isinstance(bare, Box | NonNegativity):
            return f"takes Box, NonNegativity or no prior; this problem has {bare.name}"
        if not problem.smooth:
            return "needs least squares; this problem has none"
        for part in problem.smooth:
            split = part.split if part.is_quadratic and part.is_convex else None
            if split is None:
                return f"needs least squares of an A with non-negative entries; {part.name} is not"
            if not split[1].is_non_negative:
                return f"needs an A with non-negative entries; {split[1].name} is not known to have them"
        return None

    def init(self, problem: Problem, x0: Tensor) -> _State:
        hessian = quadratic_hessian(problem, tuple(x0.shape[x0.ndim - problem.space.rank :]))
        return _State(0, x0, (), hessian._forward(torch.ones_like(x0)), reference(problem, x0))

    def step(self, problem: Problem, state: _State) -> _State:
        # a pixel that no data see has no gradient either
        metric = torch.where(state.metric > 0, state.metric, 1.0)
        x = state.x - self.relaxation / metric * problem.smooth_grad(state.x)
        if problem.simple is not None:
            # the projection onto a box is the same in every diagonal metric
            x = problem.simple._prox(x, torch.ones_like(state.scale.point))
        return replace(state, k=state.k + 1, x=x)

    def residual(self, problem: Problem, state: _State) -> Tensor:
        return optimality_residual(problem, state.x, (), state.scale)

    def certify(self, problem: Problem, state: _State) -> tuple[Certificate, ...]:
        if self.relaxation >= 2:
            why = f"relaxation {self.relaxation:.4g} >= 2. Lower `relaxation` or leave it out"
            return (Certificate("convergence", "none", None, why, _SOURCE),)
        why = f"relaxation {self.relaxation:.4g} < 2 and A^T W A <= diag(A^T W A 1) for non-negative A"
        return (Certificate("convergence", "proved", None, why, _SOURCE),)
