"""The x-update that ADMM and half-quadratic splitting share: minimise a quadratic plus weighted distances to targets."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor

from apheleia.algorithms.conjugate_gradient import quadratic_hessian
from apheleia.algorithms.diagonal_system import DiagonalSystem, diagonal_system
from apheleia.algorithms.step_sizes import safe_value
from apheleia.core.bound import Bound
from apheleia.core.space import as_wide
from apheleia.operators.identity import Identity
from apheleia.operators.inverse import conjugate_gradient
from apheleia.problem import Problem, Term

__all__ = [
    "QuadraticSystem",
    "all_terms",
    "balanced_penalty",
    "quadratic_obstacle",
    "quadratic_system",
    "quadratic_update",
]


def all_terms(problem: Problem) -> tuple[Term, ...]:
    """Return the terms together with the proximable part, as one with K = identity."""
    own: tuple[Term, ...] = () if problem.simple is None else ((problem.simple, Identity(problem.space)),)
    return own + problem.split_terms


def quadratic_obstacle(problem: Problem) -> str | None:
    """Return why the x-update would not be a linear system, or None."""
    rest = [part.name for part in problem.smooth if not part.is_quadratic]
    if rest:
        return f"needs quadratic smooth parts; {', '.join(rest)} is not"
    return None if all_terms(problem) else "needs a proximable part or a term (h, K); this problem has none"


def _is_proximal(problem: Problem, terms: tuple[Term, ...]) -> bool:
    single = len(terms) == 1 and isinstance(terms[0][1], Identity)
    return single and len(problem.smooth) == 1 and problem.smooth[0].has_exact_prox


def balanced_penalty(problem: Problem, x0: Tensor, share: float) -> Tensor:
    """Return `share` times L / sum |K_i|^2, which would give both halves of the linear system one size, (*batch,)."""
    shape, batch = tuple(x0.shape[x0.ndim - problem.space.rank :]), problem.space.batch_shape(x0)
    smoothness = safe_value(problem.smoothness(shape), x0, batch)
    load = safe_value(Bound.sum([K.norm(shape).squared() for _, K in all_terms(problem)]), x0, batch)
    known = (smoothness > 0) & (load > 0)
    return share * torch.where(known, smoothness, 1.0) / torch.where(known, load, 1.0)


@dataclass(frozen=True, eq=False)
class QuadraticSystem:
    """What stays the same in all x-updates of a run.

    Attributes
    ----------
    force : Tensor, (*batch, *space)
        -grad f(0), the right-hand side's own part.
    diagonal : DiagonalSystem or None
        The closed form of the linear system, where it has one.
    is_closed : bool
        Whether the x-update needs no iterations: that closed form, or one exact proximal map.
    """

    force: Tensor
    diagonal: DiagonalSystem | None
    is_closed: bool

    @property
    def has_centre(self) -> bool:
        """Whether the x-update has a proximal term around the point before."""
        return self.diagonal is not None and bool(self.diagonal.majorised or self.diagonal.curved)


def quadratic_system(problem: Problem, x0: Tensor, majorants: bool) -> QuadraticSystem:
    """Return the system of the x-updates for images like `x0`, which may take a proximal term (`majorants`) to be closed."""
    terms = all_terms(problem)
    proximal = _is_proximal(problem, terms)
    diagonal = None if proximal else diagonal_system(problem, terms, x0, majorants)
    return QuadraticSystem(-problem.smooth_grad(torch.zeros_like(x0)), diagonal, proximal or diagonal is not None)


def quadratic_update(
    problem: Problem, system: QuadraticSystem, x: Tensor, targets: tuple[Tensor, ...], weight: Tensor, tol: float
) -> Tensor:
    """Return argmin_x f(x) + weight/2 sum_i |K_i x - target_i|^2, from the start `x`, to a relative tolerance.

    Parameters
    ----------
    problem : Problem
        With quadratic f.
    system : QuadraticSystem
        What `quadratic_system` found.
    x : Tensor, (*batch, *space)
        The point before: a warm start, or the centre of the proximal term.
    targets : tuple of Tensor
        One a term, (*batch, *codomain).
    weight : Tensor, (*batch,)
        Above zero.
    tol : float
        Relative tolerance of the conjugate gradients at most, where there is no closed form.
    """
    terms, rank = all_terms(problem), problem.space.rank
    if _is_proximal(problem, terms):
        return problem.smooth[0]._prox(targets[0], 1 / weight)
    wide = as_wide(weight, x, rank)
    pulls = [K._adjoint(target) for (_, K), target in zip(terms, targets, strict=True)]
    rhs = torch.addcmul(system.force, wide, reduce(torch.add, pulls))
    if system.diagonal is not None:
        return system.diagonal.solve(rhs, weight, x)
    hessian = quadratic_hessian(problem, tuple(x.shape[x.ndim - rank :])) if problem.smooth else None

    def apply(v: Tensor) -> Tensor:
        curved = wide * reduce(torch.add, [K.gram._forward(v) for _, K in terms])
        return curved if hessian is None else curved + hessian._forward(v)

    with torch.no_grad():
        # never less exact than a tenth of what the warm start is off, so that the linear systems do not hold the method up
        size = problem.space.norm(rhs)
        off = problem.space.norm(rhs - apply(x)) / torch.where(size > 0, size, 1.0)
        exact = (0.1 * off).clamp(max=tol).clamp(min=30 * torch.finfo(x.real.dtype).eps)
    return conjugate_gradient(apply, rhs, problem.space, x0=x, tol=exact, max_steps=100)[0]
