"""The x-update that ADMM and half-quadratic splitting share: minimise a quadratic plus weighted distances to targets."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import reduce

import torch
from torch import Tensor

from apheleia.algorithms.diagonal_system import DiagonalSystem, common_basis, diagonal_system
from apheleia.algorithms.step_sizes import safe_value
from apheleia.core.bound import Bound
from apheleia.core.space import Space, as_wide
from apheleia.functionals.functional import Functional
from apheleia.operators.identity import Identity
from apheleia.operators.inverse import conjugate_gradient
from apheleia.problem import Problem, Term

__all__ = [
    "QuadraticSystem",
    "all_terms",
    "balanced_penalty",
    "partition",
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


def partition(problem: Problem) -> tuple[tuple[Functional, ...], tuple[Term, ...]]:
    """Return the quadratic parts that the x-update takes whole, and all terms, those on x itself first.

    A part that is diagonal in no basis but has an exact proximal map, as data behind a mask, becomes a term on x itself where
    the linear system of the others is diagonal then.
    """
    own, rest = all_terms(problem)[: -len(problem.split_terms) or None], problem.split_terms
    kept = tuple(part for part in problem.smooth if part.hessian_bases or not part.has_exact_prox)
    moved = tuple((part, Identity(problem.space)) for part in problem.smooth if part not in kept)
    terms = (*own, *moved, *rest)
    if moved and rest and common_basis(kept, terms, problem.space, majorants=True) is not None:
        return kept, terms
    return problem.smooth, all_terms(problem)


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
    parts : tuple of Functional
        The quadratic parts that the x-update takes whole.
    terms : tuple of (Functional, LinearOperator)
        The others, those that act on x itself first.
    force : Tensor, (*batch, *space)
        -grad f(0) of those parts, the right-hand side's own part.
    diagonal : DiagonalSystem or None
        The closed form of the linear system, where it has one.
    """

    parts: tuple[Functional, ...]
    terms: tuple[Term, ...]
    force: Tensor
    diagonal: DiagonalSystem | None

    @property
    def is_proximal(self) -> bool:
        """Whether the x-update is one exact proximal map."""
        single = len(self.terms) == 1 and isinstance(self.terms[0][1], Identity)
        return single and len(self.parts) == 1 and self.parts[0].has_exact_prox

    @property
    def is_closed(self) -> bool:
        """Whether the x-update needs no iterations."""
        return self.is_proximal or self.diagonal is not None

    @property
    def has_centre(self) -> bool:
        """Whether the x-update has a proximal term around the point before."""
        return self.diagonal is not None and bool(self.diagonal.majorised or self.diagonal.curved)


def quadratic_system(
    parts: tuple[Functional, ...], terms: tuple[Term, ...], x0: Tensor, space: Space, *, majorants: bool
) -> QuadraticSystem:
    """Return the system of the x-updates for images like `x0`, which may take a proximal term (`majorants`) to be closed."""
    force = reduce(torch.sub, [part._grad(torch.zeros_like(x0)) for part in parts], torch.zeros_like(x0))
    system = QuadraticSystem(parts, terms, force, None)
    return (
        system if system.is_proximal else replace(system, diagonal=diagonal_system(parts, terms, x0, space, majorants=majorants))
    )


def quadratic_update(
    system: QuadraticSystem, x: Tensor, forces: tuple[Tensor, ...], weights: tuple[Tensor, ...], space: Space, tol: float
) -> Tensor:
    """Return argmin_x f(x) + sum_i c_i/2 |K_i x|^2 - <force_i, K_i x>, from the start `x`, to a relative tolerance.

    Parameters
    ----------
    system : QuadraticSystem
        What `quadratic_system` found: f and the K_i.
    x : Tensor, (*batch, *space)
        The point before: a warm start, or the centre of the proximal term.
    forces : tuple of Tensor
        One a term, (*batch, *codomain): c_i times what K_i x is drawn to.
    weights : tuple of Tensor
        One c_i a term, (*batch,), above zero.
    space : Space
        Where x lives.
    tol : float
        Relative tolerance of the conjugate gradients at most, where there is no closed form.
    """
    wide = [as_wide(weight, x, space.rank) for weight in weights]
    if system.is_proximal:
        return system.parts[0]._prox(forces[0] / wide[0], 1 / weights[0])
    rhs = reduce(torch.add, [K._adjoint(force) for (_, K), force in zip(system.terms, forces, strict=True)], system.force)
    if system.diagonal is not None:
        return system.diagonal.solve(rhs, weights, x)
    hessians = [part._hessian(tuple(x.shape[x.ndim - space.rank :])) for part in system.parts]

    def apply(v: Tensor) -> Tensor:
        curved = [c * K.gram._forward(v) for (_, K), c in zip(system.terms, wide, strict=True)]
        return reduce(torch.add, curved + [hessian._forward(v) for hessian in hessians])

    with torch.no_grad():
        # never less exact than a tenth of what the warm start is off, so that the linear systems do not hold the method up
        size = space.norm(rhs)
        off = space.norm(rhs - apply(x)) / torch.where(size > 0, size, 1.0)
        exact = (0.1 * off).clamp(max=tol).clamp(min=30 * torch.finfo(x.real.dtype).eps)
    return conjugate_gradient(apply, rhs, space, x0=x, tol=exact, max_steps=100)[0]
