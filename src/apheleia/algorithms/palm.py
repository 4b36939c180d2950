"""PALM and inertial PALM: proximal gradient steps in one block of unknowns after the other.

Why the objective falls. In block i the smooth part h, the other blocks fixed, has a gradient with constant L; f is the block's
prior, D the last change of the block, and the step goes from y = u + a D with the gradient at z = u + b D to
u+ = prox_{f / t}(y - grad h(z) / t), d = u+ - u. By the definition of the proximal map
f(u+) <= f(u) - <grad h(z), d> - (s t / 2) |d|^2 + t a <d, D>, s = 1, and s = 2 for convex f; by the descent lemma
h(u+) <= h(u) + <grad h(u), d> + (L / 2) |d|^2; and |grad h(u) - grad h(z)| <= b L |D|. Together, with F = h + f,

    F(u+) + (e / 2) |d|^2 <= F(u) + (c / 2) |D|^2,    e = t (s - a) - L (1 + b),    c = b L + t a.

So F + sum_i (e_i / 2) |D_i|^2 falls where c is below the e of the step before. Each step lends e to the next one, whose momentum
is cut to what was lent: that needs no bound on all L that a run will meet. For constant L it never cuts, where t is above
L (1 + 2 b) / (1 - 2 a), or L (1 + 2 b) / (2 (1 - a)) for convex f, the steps of Pock and Sabach.

Growing momentum is not covered by that. There, a step is taken only if F falls by a share of sum_i L_i |d_i|^2, and one without
momentum otherwise, for which the above promises that. Either way sum_i L_i |d_i|^2 is summable where F is bounded from below.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import reduce
from typing import NamedTuple, final

import torch
from torch import Tensor

from apheleia.algorithms.algorithm import Algorithm, State
from apheleia.core.bound import Bound
from apheleia.core.certificate import Certificate, CertificateStatus
from apheleia.core.errors import ArgumentError
from apheleia.core.space import VECTOR, as_wide
from apheleia.functionals.calculus import Sum
from apheleia.functionals.functional import Functional
from apheleia.operators.segment import Segment
from apheleia.problem import Problem

__all__ = ["PALM", "block_residual"]

MARGIN = 1e-2
"""Share by which steps are shorter than the longest ones for which the objective would not rise."""

DECREASE = 0.5 * MARGIN
"""Share of sum_i L_i |d_i|^2 / 2 by which the objective must fall in a step with growing momentum."""

FLOOR = 1e-6
"""Least Lipschitz constant of a block, as a share of the one at x0: no step is endless where the other blocks vanish."""

_SOURCE = "Bolte, Sabach, Teboulle 2014, doi:10.1007/s10107-013-0701-9; Pock and Sabach 2016, doi:10.1137/16M1064064"


class _Block(NamedTuple):
    """One block of unknowns, the smooth parts that depend on it, and its prior."""

    segment: Segment
    smooth: tuple[Functional, ...]
    simple: Functional | None

    def of(self, x: Tensor) -> Tensor:
        return x[..., self.segment.start : self.segment.stop]

    def smooth_at(self, x: Tensor) -> Functional:
        """Return the smooth parts as a functional of this block, the others fixed as in x."""
        parts = [part._restricted(self.segment, x) for part in self.smooth]
        return parts[0] if len(parts) == 1 else Sum(parts)

    def prior_at(self, x: Tensor) -> Functional | None:
        return None if self.simple is None else self.simple._restricted(self.segment, x)

    @property
    def is_convex(self) -> bool:
        return self.simple is None or self.simple.is_convex

    @property
    def has_exact_prox(self) -> bool:
        return self.simple is None or self.simple.has_exact_prox


@dataclass(frozen=True, eq=False)
class _State(State):
    """The point, the one before, and for each block what the last step lends to momentum and the least constant."""

    previous: Tensor
    lent: tuple[Tensor, ...]
    floors: tuple[Tensor, ...]
    age: Tensor
    value: Tensor


@final
class PALM(Algorithm):
    """u+ = prox_f(y - grad_u H(z, v) / t, 1 / t), y = u + a D, z = u + b D, D the last change of u; then v with the new u.

    For a smooth part that couples blocks of unknowns, such as least squares of a `BilinearMap` B, and priors with a proximal map
    on single blocks, `prior @ B.blocks[0]`: matrix factorisation, blind deconvolution. The steps follow from the norm of B in
    each block, anew at every step. The objective is not convex: where a run ends depends on `x0`.

    Parameters
    ----------
    inertia : float, optional
        a = b, in [0, 1/2): 0 is PALM, more is inertial PALM with steps that are shorter to match. By default the momentum grows,
        a = b = (k - 1) / (k + 2) with the steps of PALM, and a step that does not lower the objective enough is done without.

    Raises
    ------
    ArgumentError
        If the inertia is not in [0, 1/2).

    Notes
    -----
    Certificate: descent, of the objective plus what the momentum holds of it, is proved where the norms are exact or upper
    bounds and the proximal maps exact; else estimated. Convergence to a stationary point is estimated: it follows if the points
    stay bounded and the objective is semi-algebraic, which are not checked. Nothing is said of the global minimum.
    Complexity: one application of B and its adjoint a block and step, and one more of B where the momentum grows.
    Source: J. Bolte, S. Sabach, M. Teboulle, Mathematical Programming 146 (2014), doi:10.1007/s10107-013-0701-9; T. Pock,
    S. Sabach, SIAM Journal on Imaging Sciences 9 (2016), doi:10.1137/16M1064064.
    """

    requires = "smooth parts that couple blocks of unknowns, and at most one proximable part on each block"

    def __init__(self, inertia: float | None = None) -> None:
        super().__init__()
        if inertia is not None and not 0 <= inertia < 0.5:
            raise ArgumentError(f"PALM: `inertia` must be in [0, 1/2); got {inertia!r}. Leave it out and it grows.")
        self.inertia = inertia

    def obstacle(self, problem: Problem) -> str | None:
        """Return why this algorithm cannot solve the problem, or None where it can."""
        if problem.term_names:
            return f"takes no terms h(K x); this problem has {', '.join(problem.term_names)}"
        coupled = [part for part in problem.smooth if len(part.blocks) > 1]
        if not coupled:
            return "needs a part that is smooth in several blocks, such as LeastSquares of a BilinearMap; this problem has none"
        places = [block.place for block in coupled[0].blocks]
        if any([block.place for block in part.blocks] != places for part in coupled):
            return "needs all parts that couple blocks to couple the same ones"
        priors = [p for part in problem.non_smooth for p in part.parts]
        single = [*priors, *(part for part in problem.smooth if part not in coupled)]
        stray = [part.name for part in single if [block.place for block in part.blocks] not in [[place] for place in places]]
        if stray:
            return f"needs every other part to act on one block, prior @ B.blocks[0]; {', '.join(stray)} does not"
        unbounded = [part.name for part in problem.unbounded if part not in coupled]
        if unbounded:
            return f"needs a Lipschitz constant of the gradient; that of {', '.join(unbounded)} is not known"
        stubborn = [part.name for part in priors if not part.is_proximable]
        if stubborn:
            return f"needs priors to be proximable; {', '.join(stubborn)} is not"
        owners = [part.blocks[0].place for part in priors]
        if len(set(owners)) < len(owners):
            return "takes one non-smooth part a block; this problem has " + ", ".join(part.name for part in priors)
        return None

    def init(self, problem: Problem, x0: Tensor) -> _State:
        batch = problem.space.batch_shape(x0)
        floors = []
        for block in _blocks(problem):
            steep = _safe(_smoothness(block, x0), x0).detach().expand(batch)
            floors.append(FLOOR * torch.where(steep > 0, steep, 1.0))
        ones = torch.ones(batch, dtype=x0.real.dtype, device=x0.device)
        lent = tuple(torch.full_like(ones, torch.inf) for _ in floors)
        with torch.no_grad():
            value = problem.objective(x0)
        return _State(0, x0, (), x0, lent, tuple(floors), ones, value)

    def step(self, problem: Problem, state: _State) -> _State:
        if self.inertia is not None:
            x, lent = _inertial(problem, state, self.inertia)
            return replace(state, k=state.k + 1, x=x, previous=state.x, lent=lent)
        x, falls = _growing(problem, state, (state.age - 1) / (state.age + 2))
        with torch.no_grad():
            value = problem.objective(x)
            # rounding in the objective must not read as an increase
            slack = 10 * torch.finfo(value.dtype).eps * state.value.abs()
            refused = ~(value <= state.value - 0.5 * DECREASE * falls + slack)
        if bool(refused.any()):
            plain, _ = _growing(problem, state, torch.zeros_like(state.age))
            x = torch.where(refused[..., None], plain, x)
            with torch.no_grad():
                value = problem.objective(x)
        age = torch.where(refused, 2.0, state.age + 1)
        return replace(state, k=state.k + 1, x=x, previous=state.x, age=age, value=value)

    def residual(self, problem: Problem, state: _State) -> Tensor:
        return block_residual(problem, state.x)

    def certify(self, problem: Problem, state: _State) -> tuple[Certificate, ...]:
        blocks = _blocks(problem)
        bounds = [_smoothness(block, state.x) for block in blocks]
        inexact = [block.simple.name for block in blocks if block.simple is not None and not block.has_exact_prox]
        status: CertificateStatus = "proved"
        held = "" if self.inertia == 0 or self.inertia is None else ", plus what the momentum holds of it,"
        why = f"the objective{held} falls at every step: all step sizes follow from exact norms or upper bounds"
        if inexact:
            status, why = "estimated", f"the objective falls, if the proximal map of {', '.join(inexact)} is exact enough"
        if not all(bound.is_upper for bound in bounds):
            status, why = "estimated", "the objective falls, if no Lipschitz constant is above its estimate"
        limit = (
            "a stationary point, no more: not convex; it follows if the points stay bounded and the objective is semi-algebraic "
            "and bounded from below, which is not checked"
        )
        return Certificate("descent", status, None, why, _SOURCE), Certificate("convergence", "estimated", None, limit, _SOURCE)


def _blocks(problem: Problem) -> list[_Block]:
    """Return the blocks that the smooth parts couple, each with what acts on it."""
    priors = [p for part in problem.non_smooth for p in part.parts]
    coupled = next(part for part in problem.smooth if len(part.blocks) > 1)

    def on(segment: Segment, parts: tuple[Functional, ...] | list[Functional]) -> tuple[Functional, ...]:
        return tuple(part for part in parts if segment.place in [block.place for block in part.blocks])

    return [_Block(seg, on(seg, problem.smooth), next(iter(on(seg, priors)), None)) for seg in coupled.blocks]


def _smoothness(block: _Block, x: Tensor) -> Bound:
    return block.smooth_at(x)._smoothness((block.segment.stop - block.segment.start,))


def _safe(bound: Bound, x: Tensor) -> Tensor:
    """Return a constant for step sizes in the precision of x, no lower after rounding; an estimate is raised by 5 %.

    Unlike a constant that is made before the run, it depends on x, and so do its derivatives.
    """
    value = bound.value if bound.is_upper else 1.05 * bound.value
    return value.to(x.device, x.real.dtype) * (1 + 2 * torch.finfo(x.real.dtype).eps)


def _moved(block: _Block, state: _State, x: Tensor, L: Tensor, curvature: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Return x after one step of a block, and L |change of the block|^2, (*batch,)."""
    u, prior = block.of(x), block.prior_at(x)
    y = u + as_wide(weight, x, 1) * (u - block.of(state.previous))
    moved = y - block.smooth_at(x)._grad(y) / as_wide(curvature, x, 1)
    new = moved if prior is None else prior._prox(moved, 1 / curvature)
    return block.segment.replaced(x, new), L * VECTOR.norm((new - u).detach()) ** 2


def _growing(problem: Problem, state: _State, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Return the point after a step of all blocks with steps of PALM and this momentum, and sum_i L_i |d_i|^2."""
    x, falls = state.x, torch.zeros_like(state.age)
    for block, floor in zip(_blocks(problem), state.floors, strict=True):
        L = torch.maximum(_safe(_smoothness(block, x), x), floor)
        x, fall = _moved(block, state, x, L, (1 + MARGIN) * L, weight)
        falls = falls + fall
    return x, falls


def _inertial(problem: Problem, state: _State, inertia: float) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Return the point after a step of all blocks, the momentum cut to what was lent, and what is lent to the next one."""
    x, left = state.x, []
    for block, floor, lent in zip(_blocks(problem), state.floors, state.lent, strict=True):
        L = torch.maximum(_safe(_smoothness(block, x), x), floor)
        sharp = 2 if block.is_convex else 1
        needed = (1 + 2 * inertia) / (2 * (1 - inertia) if block.is_convex else 1 - 2 * inertia)
        curvature = (1 + MARGIN) * max(1.0, needed) * L
        cost, offered = inertia * (L + curvature), (1 - 0.1 * MARGIN) * lent
        cut = offered < cost
        share = torch.where(cut, torch.where(cut, offered, 0.0) / torch.where(cut, cost, 1.0), 1.0)
        x, _ = _moved(block, state, x, L, curvature, inertia * share)
        left.append(curvature * (sharp - inertia * share) - L * (1 + inertia * share))
    return x, tuple(left)


def block_residual(problem: Problem, x: Tensor) -> Tensor:
    """Return the largest relative distance that a proximal step of natural length moves one of the coupled blocks.

    Parameters
    ----------
    problem : Problem
        One that `PALM` takes.
    x : Tensor, (*batch, *space)
        The point that is measured.

    Returns
    -------
    Tensor, (*batch,)
        The largest of |u - prox_{s f}(u - s grad)| / |u| with s = |u| / G, G the larger of |grad| here and where the block is
        zero; |grad| / G without a prior. Each block has its own sizes: a kernel is small beside an image.
    """
    return reduce(torch.maximum, [_distance(block, x) for block in _blocks(problem)])


def _distance(block: _Block, x: Tensor) -> Tensor:
    """Return what `block_residual` is the largest of, (*batch,)."""
    u, smooth, prior = block.of(x), block.smooth_at(x), block.prior_at(x)
    gradient = smooth._grad(u)
    slope = torch.maximum(VECTOR.norm(gradient), VECTOR.norm(smooth._grad(torch.zeros_like(u))))
    slope = torch.where(slope > 0, slope, 1.0)
    if prior is None:
        return VECTOR.norm(gradient) / slope
    size = VECTOR.norm(u)
    size = torch.where(size > 0, size, 1.0)
    point, gap = prior._prox_and_gap(u - as_wide(size / slope, x, 1) * gradient, size / slope, 1e-8)
    # a map computed by iterations may be off by sqrt(2 gap), which counts as residual
    return (VECTOR.norm(u - point) + (2 * gap).sqrt()) / size
