"""Primal-dual with diagonal preconditioning: each pixel and each datum has its own step, from the sums of |K|."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import reduce
from typing import final

import torch
from torch import Tensor

from apheleia.algorithms.algorithm import Algorithm, State
from apheleia.algorithms.gradient import bounded_obstacle
from apheleia.algorithms.optimality import Reference, optimality_residual, reference
from apheleia.algorithms.step_sizes import REBALANCE_AT, safe_value, travelled
from apheleia.core.certificate import Certificate
from apheleia.core.space import Space, as_wide, expand_batch
from apheleia.functionals.functional import Functional
from apheleia.problem import Problem, Term

__all__ = ["PreconditionedPrimalDual"]

MARGIN = 1.1
"""How far the primal metric stays above L / 2, as in CondatVu."""

ROOM = 1e-3
"""By what share the inverse primal steps exceed what the duals ask for, so that the metric is positive definite."""

FLOOR = 1e-6
"""Least sum, as a share of the largest: smaller ones may be rounding, and a larger sum is always legal."""

HASTE = 2.0
"""Strength of the dual steps over the ratio of the distances travelled: twice, as in the other primal-dual methods."""

_SOURCE = "Pock and Chambolle 2011, doi:10.1109/ICCV.2011.6126441; Combettes and Vu 2014, doi:10.1080/02331934.2012.733883"


@dataclass(frozen=True, eq=False)
class _State(State):
    """The pair that is returned, the relaxed one that it moves, and the steps.

    Attributes
    ----------
    multipliers, relaxed_multipliers : tuple of Tensor
        The duals of all terms, those of split smooth parts first; as returned, and relaxed.
    relaxed, pull : Tensor
        The relaxed point, and sum_k K_k^H p_k at the relaxed duals, (*batch, *space).
    steps : Tensor
        Primal steps, (*batch, *space), of size 1 along axes that share one.
    dual_steps : tuple of Tensor
        One tensor of steps a term, (*batch, *codomain), likewise.
    rows, columns : tuple of Tensor
        Sums of |K_k| over rows, the largest of those that share a step, and over columns.
    smoothness : Tensor
        Lipschitz constant of the parts taken by their gradient, (*batch,).
    origin : Tensor
        x0.
    scale : Reference
        Sizes set by the data.
    """

    multipliers: tuple[Tensor, ...]
    relaxed_multipliers: tuple[Tensor, ...]
    relaxed: Tensor
    pull: Tensor
    steps: Tensor
    dual_steps: tuple[Tensor, ...]
    rows: tuple[Tensor, ...]
    columns: tuple[Tensor, ...]
    smoothness: Tensor
    origin: Tensor
    scale: Reference


@final
class PreconditionedPrimalDual(Algorithm):
    """x+ = prox_g(x - T (grad f + K^H p)), p+ = prox_h*(p + S K (2 x+ - x)), with diagonal T and S, both relaxed.

    Term k has S = s_k / (|K_k| 1), and T = 1 / (sum_k s_k |K_k|^T 1 + L / 2): a datum of little weight, a ray through few pixels
    or a pixel that few rays cross takes its own long step, where one norm would hold all to the shortest. Fidelities are taken by
    their proximal maps on the data's side; smooth parts that do not split, by their gradient. The s_k follow from the distances
    that x and the duals travel.

    Notes
    -----
    Certificate: convergence is proved with exact proximal maps and, for gradients, a safe bound of L. In the variables T^{-1/2} x
    and S^{-1/2} p it is the method with steps of one for S^{1/2} K T^{1/2}, whose norm is below one by the sums, which are exact
    or upper bounds. The steps change finitely often.
    A proximal map that couples entries takes the shortest of their steps.
    Complexity: one application of each K and K^H a step; once, one of each |K| and |K|^H.
    Source: T. Pock, A. Chambolle, International Conference on Computer Vision (2011), doi:10.1109/ICCV.2011.6126441; with a
    gradient: P. Combettes, B. Vu, Optimization 63 (2014), doi:10.1080/02331934.2012.733883.
    """

    requires = "convex parts h(K x) with proximable h and operators that know |K|, smooth parts, at most one exact proximal map"

    def obstacle(self, problem: Problem) -> str | None:
        """Return why this algorithm cannot solve the problem, or None where it can."""
        if not problem.is_convex:
            return "needs a convex objective"
        if problem.unbounded:
            return bounded_obstacle(problem)
        terms = _terms(problem)
        if not terms:
            return "needs at least one part h(K x); this problem has none"
        unknown = [K.name for _, K in terms if K.absolute is None]
        return f"needs operators that know the sums of |K| over rows and columns; {unknown[0]} does not" if unknown else None

    def init(self, problem: Problem, x0: Tensor) -> _State:
        space, batch = problem.space, problem.space.batch_shape(x0)
        shape, terms = tuple(x0.shape[x0.ndim - space.rank :]), _terms(problem)
        rows, columns = [], []
        for h, K in terms:
            sums = K.absolute_sums(shape)
            assert sums is not None, "checked by `obstacle`"
            over_rows, over_columns = (total.to(x0.real) for total in sums)
            rows.append(expand_batch(_shared(_raised(over_rows, K.codomain), h), batch, K.codomain.rank))
            columns.append(expand_batch(over_columns.clamp(min=0), batch, space.rank))
        duals = tuple(torch.zeros_like(K._forward(x0)) for _, K in terms)
        scale = reference(problem, x0)
        # until distances are known: of the size of x, and of duals whose pulls are as large as the data's force
        known = (scale.point > 0) & (scale.gradient > 0)
        ratio = torch.where(known, scale.gradient, 1.0) / (len(terms) * torch.where(known, scale.point, 1.0))
        means = [total.mean(space.axes) for total in columns]
        strengths = tuple(HASTE * ratio / torch.where(mean > 0, mean, 1.0) for mean in means)
        gradients = [part.smoothness(shape) for part in _by_gradient(problem)]
        constants = [safe_value(bound.scaled(MARGIN), x0, batch) for bound in gradients]
        smoothness = reduce(torch.add, constants, torch.zeros(batch, dtype=x0.real.dtype, device=x0.device))
        state = _State(
            k=0,
            x=x0,
            duals=duals[_by_dual(problem) :],
            multipliers=duals,
            relaxed_multipliers=duals,
            relaxed=x0,
            pull=torch.zeros_like(x0),
            steps=torch.ones_like(columns[0]),
            dual_steps=tuple(rows),
            rows=tuple(rows),
            columns=tuple(columns),
            smoothness=smoothness,
            origin=x0,
            scale=scale,
        )
        return _with_steps(problem, state, strengths)

    def step(self, problem: Problem, state: _State) -> _State:
        force = reduce(torch.add, [part._grad(state.relaxed) for part in _by_gradient(problem)], state.pull)
        x = state.relaxed - state.steps * force
        x = x if problem.simple is None else problem.simple._entrywise_prox(x, state.steps)
        ahead = torch.lerp(state.relaxed, x, 2.0)
        terms = _terms(problem)
        duals = tuple(
            h._entrywise_conj_prox(p + s * K._forward(ahead), s, 1.0)
            for (h, K), p, s in zip(terms, state.relaxed_multipliers, state.dual_steps, strict=True)
        )
        pull = reduce(torch.add, [K._adjoint(p) for (_, K), p in zip(terms, duals, strict=True)])
        relaxation = _relaxation(state)
        wide = as_wide(relaxation, x, problem.space.rank)
        new = replace(
            state,
            k=state.k + 1,
            x=x,
            duals=duals[_by_dual(problem) :],
            multipliers=duals,
            relaxed_multipliers=tuple(
                torch.lerp(old, p, as_wide(relaxation, p, h.space.rank).to(p))
                for (h, _), old, p in zip(terms, state.relaxed_multipliers, duals, strict=True)
            ),
            relaxed=torch.lerp(state.relaxed, x, wide.to(x)),
            pull=torch.lerp(state.pull, pull, wide.to(x)),
        )
        return _rebalanced(problem, new) if new.k in REBALANCE_AT else new

    def residual(self, problem: Problem, state: _State) -> Tensor:
        return optimality_residual(problem, state.x, state.duals, state.scale)

    def certify(self, problem: Problem, state: _State) -> tuple[Certificate, ...]:
        space = problem.space
        shape = tuple(state.x.shape[state.x.ndim - space.rank :])
        # K^H S K <= diag(|K|^T (S |K| 1)), by the inequality of Cauchy and Schwarz in every row
        loads = []
        for (h, _), s, r, c in zip(_terms(problem), state.dual_steps, state.rows, state.columns, strict=True):
            strength = (s.double() * r.double()).amax(h.space.axes)
            loads.append(as_wide(strength, c.double(), space.rank) * c.double())
        room = (1 / state.steps.double() - reduce(torch.add, loads)).amin(space.axes)
        bounds = [part.smoothness(shape) for part in _by_gradient(problem)]
        need = reduce(torch.add, [0.5 * bound.value for bound in bounds], torch.zeros(()))
        words = f"1/T - |K|^T (S |K| 1) >= {room.min().item():.4g} against L/2 = {need.max().item():.4g}"
        if not bool(((room > 0) & ((2 - _relaxation(state).double()) * room > need)).all()):
            return (Certificate("convergence", "none", None, f"{words}: rounding has made the steps too long", _SOURCE),)
        parts = [h for h, _ in _terms(problem)] + ([] if problem.simple is None else [problem.simple])
        inexact = [part.name for part in parts if not part.has_exact_prox]
        if inexact or not all(bound.is_upper for bound in bounds):
            gap = f"the proximal map of {inexact[0]} is computed by iterations" if inexact else "L is only estimated"
            return (Certificate("convergence", "estimated", None, f"{words}, but {gap}", _SOURCE),)
        return (Certificate("convergence", "proved", None, f"{words}, from safe sums", _SOURCE),)


def _splits(part: Functional) -> bool:
    """Return whether a smooth part is h(K x) with an exact proximal map of h."""
    return part.split is not None and part.split[0].has_exact_prox


def _by_gradient(problem: Problem) -> list[Functional]:
    return [part for part in problem.smooth if not _splits(part)]


def _by_dual(problem: Problem) -> int:
    """Return how many smooth parts are taken by a dual."""
    return len(problem.smooth) - len(_by_gradient(problem))


def _terms(problem: Problem) -> tuple[Term, ...]:
    """Return all parts h(K x) that have duals, those of the smooth parts first."""
    own = [part.split for part in problem.smooth if _splits(part)]
    return (*(pair for pair in own if pair is not None), *problem.split_terms)


def _raised(sums: Tensor, space: Space) -> Tensor:
    """Return sums without those that vanish or may be rounding."""
    largest = sums.amax(space.axes, keepdim=True)
    return torch.maximum(sums, FLOOR * torch.where(largest > 0, largest, 1 / FLOOR))


def _shared(sums: Tensor, functional: Functional) -> Tensor:
    """Return the largest of the sums whose entries the functional couples, of size 1 along their axes."""
    axes = functional.space.axes if functional.coupled_axes is None else functional.coupled_axes
    return sums.amax(axes, keepdim=True) if axes else sums


def _relaxation(state: _State) -> Tensor:
    """Return the over-relaxation, (*batch,): legal below 2 - 1 / MARGIN, and below 2 without a gradient."""
    return torch.where(state.smoothness > 0, 0.99 * (2 - 1 / MARGIN), 1.9)


def _with_steps(problem: Problem, state: _State, strengths: tuple[Tensor, ...]) -> _State:
    """Return the state with the steps that belong to the strengths s_k, (*batch,) each."""
    space = problem.space
    loads = [as_wide(s, c, space.rank) * c for s, c in zip(strengths, state.columns, strict=True)]
    total = _raised((1 + ROOM) * reduce(torch.add, loads) + as_wide(0.5 * state.smoothness, state.origin, space.rank), space)
    return replace(
        state,
        steps=1 / (total if problem.simple is None else _shared(total, problem.simple)),
        dual_steps=tuple(
            as_wide(s, r, h.space.rank) / r for (h, _), s, r in zip(_terms(problem), strengths, state.rows, strict=True)
        ),
    )


def _rebalanced(problem: Problem, state: _State) -> _State:
    """Set each s_k to HASTE times the ratio of the distances that its duals and x have travelled, in the metrics of the sums.

    The bound on the distance after many steps, sum_k s_k |x - x0|^2 + |p_k|^2 / s_k, is a sum over terms: each has its ratio.
    """
    space = problem.space
    moved = state.x - state.origin
    distance = space.norm(moved)
    # how much of the distance is believed
    trust = travelled(distance, state.scale.point) / torch.where(distance > 0, distance, 1.0)
    strengths = []
    for (h, _), p, s, r, c in zip(_terms(problem), state.multipliers, state.dual_steps, state.rows, state.columns, strict=True):
        primal, dual = trust * space.norm(c.sqrt() * moved), h.space.norm(r.sqrt() * p)
        legal = (primal > 0) & (dual > 0) & primal.isfinite() & dual.isfinite()
        ratio = HASTE * torch.where(legal, dual, 1.0) / torch.where(legal, primal, 1.0)
        strengths.append(torch.where(legal, ratio, (s * r).amax(h.space.axes)))
    return _with_steps(problem, state, tuple(strengths))
