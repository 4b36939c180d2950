"""Ordered subsets expectation maximisation: Richardson-Lucy on a part of the data at a time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import reduce
from typing import final

import torch
from torch import Tensor

from apheleia.algorithms.algorithm import Algorithm, State
from apheleia.algorithms.optimality import Reference, optimality_residual, reference
from apheleia.algorithms.richardson_lucy import (
    back_projected_ratio,
    counts_obstacle,
    sensitivity,
    updated,
    with_floor,
)
from apheleia.core.certificate import Certificate
from apheleia.core.errors import ArgumentError
from apheleia.problem import Problem

__all__ = ["OSEM"]

_SOURCE = "Hudson and Larkin 1994, doi:10.1109/42.363108; Vardi, Shepp, Kaufman 1985, doi:10.1080/01621459.1985.10477119"


@dataclass(frozen=True, eq=False)
class _State(State):
    """The point, its duals, and c_i A_i^T 1 of each subset, c_i its weight over its gain, (*batch, *space)."""

    sensitivities: tuple[Tensor, ...]
    scale: Reference


@final
class OSEM(Algorithm):
    """x <- x / (A_i^T 1) * A_i^T(y_i / (A_i x + background)) for each subset i in turn: one step is one pass over all data.

    For Poisson counts in n subsets, f = sum_i KullbackLeibler(A_i, y_i): `A.interleaved(n)` makes those of a tomograph. The
    first passes gain about n times what a step of Richardson-Lucy (MLEM) does. Subsets of noisy counts disagree, so
    that passes end in a cycle between their answers; after `passes` of them all data are taken at once, as MLEM does.

    Parameters
    ----------
    passes : int or None, default 10
        How many passes take the subsets in turn; None for all of them.

    Raises
    ------
    ArgumentError
        If the passes are not a whole number of at least 1.

    Notes
    -----
    Certificate: none for passes over subsets, which end in a cycle and not at the maximum of the likelihood. After `passes`
    of them each pixel is made positive and the steps are those of MLEM, for which convergence is proved.
    Complexity: one application of A and A^T a step.
    Source: H. Hudson, R. Larkin, IEEE Transactions on Medical Imaging 13 (1994), doi:10.1109/42.363108.
    """

    requires = "at least two KullbackLeibler of an A with non-negative entries, subsets of the data, and NonNegativity"

    def __init__(self, passes: int | None = 10) -> None:
        super().__init__()
        if passes is not None and (not isinstance(passes, int) or passes < 1):
            raise ArgumentError(f"OSEM: `passes` must be a whole number >= 1, or None for all; got {passes!r}.")
        self.passes = passes

    def obstacle(self, problem: Problem) -> str | None:
        """Return why this algorithm cannot solve the problem, or None where it can."""
        reason = counts_obstacle(problem)
        if reason is not None or len(problem.split_terms) > 1:
            return reason
        return "needs at least two KullbackLeibler, one a subset of the data; this problem has one"

    def init(self, problem: Problem, x0: Tensor) -> _State:
        sensitivities = tuple(sensitivity(h, K, x0) for h, K in problem.split_terms)
        x = with_floor(problem, x0, reduce(torch.add, sensitivities))
        duals = tuple(h._grad(K._forward(x)) for h, K in problem.split_terms)
        return _State(0, x, duals, sensitivities, reference(problem, x0))

    def step(self, problem: Problem, state: _State) -> _State:
        if self.passes is not None and state.k >= self.passes:
            return self._together(problem, state)
        x, duals = state.x, []
        for (h, K), seen in zip(problem.split_terms, state.sensitivities, strict=True):
            image = K._forward(x)
            duals.append(h._grad(image))
            x = updated(x, back_projected_ratio(h, K, image), seen)
        # the duals are those on the way: a forward projection more would be half a pass
        return replace(state, k=state.k + 1, x=x, duals=tuple(duals))

    def _together(self, problem: Problem, state: _State) -> _State:
        """Return the step of MLEM, from a point that is positive where a subset without counts has left zeros."""
        total = reduce(torch.add, state.sensitivities)
        x = with_floor(problem, state.x, total) if state.k == self.passes else state.x
        images = [K._forward(x) for _, K in problem.split_terms]
        terms = list(zip(problem.split_terms, images, strict=True))
        back = reduce(torch.add, [back_projected_ratio(h, K, image) for (h, K), image in terms])
        duals = tuple(h._grad(image) for (h, _), image in terms)
        return replace(state, k=state.k + 1, x=updated(x, back, total), duals=duals)

    def residual(self, problem: Problem, state: _State) -> Tensor:
        return optimality_residual(problem, state.x, state.duals, state.scale)

    def certify(self, problem: Problem, state: _State) -> tuple[Certificate, ...]:
        if self.passes is None:
            why = "subsets in turn end in a cycle between their answers; give `passes`, after which all data count at once"
            return (Certificate("convergence", "none", None, why, _SOURCE),)
        why = f"after {self.passes} passes over subsets the objective falls and tends to its minimum, for a non-negative A"
        return (Certificate("convergence", "proved", None, why, _SOURCE),)
