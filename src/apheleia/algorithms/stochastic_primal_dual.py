"""Stochastic primal-dual hybrid gradient: one of many terms a step, drawn at random."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import reduce
from typing import final

import torch
from torch import Tensor

from apheleia.algorithms.algorithm import Algorithm, State
from apheleia.algorithms.optimality import Reference, optimality_residual, reference
from apheleia.algorithms.step_sizes import safe_value
from apheleia.core.certificate import Certificate
from apheleia.core.errors import ArgumentError
from apheleia.core.space import as_wide
from apheleia.problem import Problem, Term

__all__ = ["StochasticPrimalDual"]

MARGIN = 0.99
"""Root of the share of the room for steps that is used, below 1."""

_SOURCE = "Chambolle, Ehrhardt, Richtárik, Schönlieb 2018, doi:10.1137/17M1134834"


@dataclass(frozen=True, eq=False)
class _State(State):
    """The pair that is returned and what the method carries.

    Attributes
    ----------
    multipliers : tuple of Tensor
        The duals of all terms, those of split quadratics first.
    pull, ahead : Tensor
        sum_i K_i^H p_i, and its extrapolation, (*batch, *space).
    step : Tensor
        Primal step, (*batch,).
    dual_steps : tuple of Tensor
        One dual step a term, (*batch,).
    seed : int
        From which, with the number of the step, the next term is drawn.
    scale : Reference
        Sizes set by the data.
    """

    multipliers: tuple[Tensor, ...]
    pull: Tensor
    ahead: Tensor
    step: Tensor
    dual_steps: tuple[Tensor, ...]
    seed: int
    scale: Reference


@final
class StochasticPrimalDual(Algorithm):
    """x+ = prox_{t g}(x - t z); p_i+ = prox_{s_i h_i^*}(p_i + s_i K_i x+) for one random i; z = sum K^H p + n K_i^H (p_i+ - p_i).

    For data that come in n subsets, f = sum_i f_i(A_i x): a step costs one subset. Least squares and other fidelities are
    taken by their proximal maps on the data's side, as total variation is; constraints on x by theirs.

    Parameters
    ----------
    seed : int, default 0
        From which the terms are drawn; two runs with one seed are the same.

    Raises
    ------
    ArgumentError
        If the seed is not a whole number of at least zero.

    Notes
    -----
    Certificate: convergence, almost surely over the draws, is proved where t s_i |K_i|^2 < 1 / n holds for each term with safe
    bounds of |K_i| and exact proximal maps.
    Complexity: one application of one K_i and K_i^H a step.
    Source: A. Chambolle, M. Ehrhardt, P. Richtárik, C.-B. Schönlieb, SIAM Journal on Optimization 28 (2018),
    doi:10.1137/17M1134834.
    """

    requires = "at least two parts h(K x) with exactly proximable h, and at most one exact proximal map on x"

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        if not isinstance(seed, int) or seed < 0:
            raise ArgumentError(f"StochasticPrimalDual: `seed` must be a whole number >= 0; got {seed!r}.")
        self.seed = seed

    def obstacle(self, problem: Problem) -> str | None:
        """Return why this algorithm cannot solve the problem, or None where it can."""
        if not problem.is_convex:
            return "needs a convex objective"
        for part in problem.smooth:
            if part.split is None or not part.split[0].has_exact_prox:
                return f"needs parts h(K x) with an exact proximal map of h; {part.name} is none"
        count = len(problem.smooth) + len(problem.split_terms)
        return f"needs at least two parts h(K x) to draw from; this problem has {count}" if count < 2 else None

    def init(self, problem: Problem, x0: Tensor) -> _State:
        space, batch = problem.space, problem.space.batch_shape(x0)
        shape, terms = tuple(x0.shape[x0.ndim - space.rank :]), _terms(problem)
        scale = reference(problem, x0)
        norms = [safe_value(K.norm(shape), x0, batch) for _, K in terms]
        norms = [torch.where(n > 0, n, 1.0) for n in norms]
        largest = reduce(torch.maximum, norms)
        # the ratio of the steps is that of the sizes of x and of the duals, as far as the data tell
        known = (scale.point > 0) & (scale.gradient > 0)
        ratio = torch.where(known, scale.gradient, 1.0) / (largest * torch.where(known, scale.point, 1.0) * len(terms) ** 0.5)
        multipliers = tuple(torch.zeros_like(K._forward(x0)) for _, K in terms)
        zero = torch.zeros_like(x0)
        return _State(
            k=0,
            x=x0,
            duals=multipliers[len(problem.smooth) :],
            multipliers=multipliers,
            pull=zero,
            ahead=zero,
            step=MARGIN / (len(terms) * ratio * largest),
            dual_steps=tuple(MARGIN * ratio / n for n in norms),
            seed=self.seed,
            scale=scale,
        )

    def step(self, problem: Problem, state: _State) -> _State:
        terms = _terms(problem)
        generator = torch.Generator().manual_seed(1_000_003 * state.seed + state.k)
        drawn = int(torch.randint(len(terms), (), generator=generator))
        h, K = terms[drawn]
        x = state.x - as_wide(state.step, state.x, problem.space.rank) * state.ahead
        x = x if problem.simple is None else problem.simple._prox(x, state.step)
        old, size = state.multipliers[drawn], state.dual_steps[drawn]
        new = h._conj_prox(old + as_wide(size, old, h.space.rank) * K._forward(x), size, 1.0)
        change = K._adjoint(new - old)
        pull = state.pull + change
        multipliers = tuple(new if i == drawn else p for i, p in enumerate(state.multipliers))
        return replace(
            state,
            k=state.k + 1,
            x=x,
            duals=multipliers[len(problem.smooth) :],
            multipliers=multipliers,
            pull=pull,
            ahead=pull + len(terms) * change,
        )

    def residual(self, problem: Problem, state: _State) -> Tensor:
        return optimality_residual(problem, state.x, state.duals, state.scale)

    def certify(self, problem: Problem, state: _State) -> tuple[Certificate, ...]:
        terms = _terms(problem)
        shape = tuple(state.x.shape[state.x.ndim - problem.space.rank :])
        bounds = [K.norm(shape) for _, K in terms]
        loads = [state.step.double() * s.double() * b.value**2 for s, b in zip(state.dual_steps, bounds, strict=True)]
        most = max(load.max().item() for load in loads)
        words = f"largest t s_i |K_i|^2 = {most:.4g} < 1/n = {1 / len(terms):.4g}"
        parts = [h for h, _ in terms] + ([] if problem.simple is None else [problem.simple])
        inexact = [part.name for part in parts if not part.has_exact_prox]
        if inexact:
            why = f"{words}, but the proximal map of {inexact[0]} is computed by iterations"
            return (Certificate("convergence", "estimated", None, why, _SOURCE),)
        if not all(b.is_upper for b in bounds) or not most < 1 / len(terms):
            return (Certificate("convergence", "estimated", None, f"{words}, but a norm is only estimated", _SOURCE),)
        return (Certificate("convergence", "proved", None, f"almost surely over the draws: {words}, from safe bounds", _SOURCE),)


def _terms(problem: Problem) -> tuple[Term, ...]:
    """Return all parts h(K x), those of the smooth parts first."""
    own = [part.split for part in problem.smooth]
    return (*(pair for pair in own if pair is not None), *problem.split_terms)
