"""Douglas-Rachford: two proximal maps in turn, no gradient and no step to fear."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import final

import torch
from torch import Tensor

from apheleia.algorithms.algorithm import Algorithm, State
from apheleia.algorithms.optimality import Reference, optimality_residual, reference
from apheleia.core.certificate import Certificate
from apheleia.core.errors import ArgumentError
from apheleia.core.interop import is_number
from apheleia.core.space import as_wide
from apheleia.functionals.functional import Functional
from apheleia.operators.identity import Identity
from apheleia.problem import Problem

__all__ = ["DouglasRachford"]

RELAXATION = 1.5
"""Factor of the correction of z, between 0 and 2."""

_SOURCE = "Lions and Mercier 1979, doi:10.1137/0716071; Eckstein and Bertsekas 1992, doi:10.1007/BF01581204"


@dataclass(frozen=True, eq=False)
class _State(State):
    """The point prox_F(z), z itself, and the step, (*batch,)."""

    z: Tensor
    step: Tensor
    scale: Reference


@final
class DouglasRachford(Algorithm):
    """x = prox_{s F}(z); y = prox_{s G}(2 x - z); z+ = z + 1.5 (y - x).

    For two parts on x itself with exact proximal maps: a mask, an identity or a circular blur with a sparse prior or a
    constraint; or two such priors.

    Parameters
    ----------
    step : float, optional
        s, above zero; convergence is proved for each. By default |x| over |grad f|, both of the size that the data suggest.

    Raises
    ------
    ArgumentError
        If the step is not above zero.

    Notes
    -----
    Certificate: convergence is proved for convex parts with exact proximal maps, for every step.
    Complexity: two proximal maps a step.
    Source: P.-L. Lions, B. Mercier, SIAM Journal on Numerical Analysis 16 (1979), doi:10.1137/0716071.
    """

    requires = "exactly two parts on x itself, both with exact proximal maps"

    def __init__(self, step: float | None = None) -> None:
        super().__init__()
        if step is not None and not (is_number(step) and step > 0):
            raise ArgumentError(f"DouglasRachford: `step` must be above zero; got {step!r}. Leave it out and it is chosen.")
        self.fixed_step = step

    def obstacle(self, problem: Problem) -> str | None:
        """Return why this algorithm cannot solve the problem, or None where it can."""
        if not problem.is_convex:
            return "needs a convex objective"
        rest = [h.name for h, K in problem.split_terms if not isinstance(K, Identity)]
        if rest:
            return f"takes no terms h(K x); this problem has {', '.join(rest)}"
        parts = _parts(problem)
        if len(parts) != 2:
            return f"takes exactly two parts; this problem has {len(parts)}: " + ", ".join(p.name for p in parts)
        inexact = [part.name for part in parts if not part.has_exact_prox]
        return f"needs exact proximal maps; {', '.join(inexact)} has none" if inexact else None

    def init(self, problem: Problem, x0: Tensor) -> _State:
        scale = reference(problem, x0)
        known = (scale.point > 0) & (scale.gradient > 0)
        step = torch.where(known, scale.point, 1.0) / torch.where(known, scale.gradient, 1.0)
        step = step if self.fixed_step is None else torch.full_like(step, self.fixed_step)
        first, _ = _parts(problem)
        duals = tuple(torch.zeros_like(x0) for _ in problem.split_terms)
        return _State(0, first._prox(x0, step), duals, x0, step, scale)

    def step(self, problem: Problem, state: _State) -> _State:
        first, second = _parts(problem)
        ahead = 2 * state.x - state.z
        y = second._prox(ahead, state.step)
        z = state.z + RELAXATION * (y - state.x)
        # the second part's subgradient at y, which is the dual where that part is a term
        duals = tuple((ahead - y) / as_wide(state.step, y, problem.space.rank) for _ in problem.split_terms)
        return replace(state, k=state.k + 1, x=first._prox(z, state.step), duals=duals, z=z)

    def residual(self, problem: Problem, state: _State) -> Tensor:
        return optimality_residual(problem, state.x, state.duals, state.scale)

    def certify(self, problem: Problem, state: _State) -> tuple[Certificate, ...]:
        why = "convex parts with exact proximal maps, for every step"
        return (Certificate("convergence", "proved", None, why, _SOURCE),)


def _parts(problem: Problem) -> tuple[Functional, ...]:
    """Return the parts, the one whose proximal point is returned first: a constraint on x, where there is one."""
    simple = () if problem.simple is None else (problem.simple,)
    return (*simple, *problem.smooth, *(h for h, _ in problem.split_terms))
