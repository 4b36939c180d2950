"""LSQR: least squares by bidiagonalisation, without ever forming A^H A."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import reduce
from typing import final

import torch
from torch import Tensor

from apheleia.algorithms.algorithm import Algorithm, State
from apheleia.algorithms.optimality import Reference, optimality_residual, reference
from apheleia.core.certificate import Certificate
from apheleia.core.space import as_wide
from apheleia.functionals.calculus import Scaled
from apheleia.functionals.fidelities.least_squares import SquaredDistance
from apheleia.functionals.functional import Functional
from apheleia.operators.identity import Identity
from apheleia.operators.linear import LinearOperator
from apheleia.problem import Problem

__all__ = ["LSQR"]

_SOURCE = "Paige and Saunders 1982, doi:10.1145/355984.355989"


@dataclass(frozen=True, eq=False)
class _State(State):
    """The point and what the recurrences of Paige and Saunders carry.

    Attributes
    ----------
    left : tuple of Tensor
        The left vector u, one tensor a quadratic part, (*batch, *codomain).
    right, direction : Tensor
        The right vector v and the direction w, (*batch, *space).
    alpha, rho, phi : Tensor
        The last entry of the bidiagonal matrix, and what its factorisation leaves, (*batch,).
    scale : Reference
        Sizes set by the data.
    """

    left: tuple[Tensor, ...]
    right: Tensor
    direction: Tensor
    alpha: Tensor
    rho: Tensor
    phi: Tensor
    scale: Reference


@final
class LSQR(Algorithm):
    """Minimise sum_j c_j/2 |A_j x - y_j|^2 by Golub and Kahan's bidiagonalisation of the stacked operator (sqrt(c_j) A_j).

    The steps are those of conjugate gradients on the normal equations, in exact arithmetic; rounding enters with the condition of
    A and not with its square. A second part c/2 |x - z|^2, a SquaredDistance, is the damping of Tikhonov's problem.

    Notes
    -----
    Certificate: convergence is proved, in exact arithmetic in at most as many steps as A has distinct singular values.
    Complexity: one application of each A_j and A_j^H a step.
    Source: C. Paige, M. Saunders, ACM Transactions on Mathematical Software 8 (1982), doi:10.1145/355984.355989.
    """

    requires = "least squares of linear operators only: LeastSquares, SquaredDistance, and sums of them"

    def obstacle(self, problem: Problem) -> str | None:
        """Return why this algorithm cannot solve the problem, or None where it can."""
        names = problem.non_smooth_names
        names += [part.name for part in problem.smooth if not isinstance(_squared(part)[0], SquaredDistance)]
        return f"needs squared distances of linear maps; {', '.join(dict.fromkeys(names))} is none" if names else None

    def init(self, problem: Problem, x0: Tensor) -> _State:
        space = problem.space
        parts = _stacked(problem)
        force = tuple(as_wide(root, x0, h.space.rank) * (h._data(x0) - K._forward(x0)) for h, K, root in parts)
        left, beta = _normalised(parts, force)
        pull = _pulled(parts, left)
        alpha = space.norm(pull)
        right = _divided(pull, alpha, space.rank)
        return _State(0, x0, (), left, right, right, alpha, alpha, beta, reference(problem, x0))

    def step(self, problem: Problem, state: _State) -> _State:
        rank = problem.space.rank
        parts = _stacked(problem)
        left = tuple(
            as_wide(root, state.right, h.space.rank) * K._forward(state.right) - as_wide(state.alpha, u, h.space.rank) * u
            for (h, K, root), u in zip(parts, state.left, strict=True)
        )
        left, beta = _normalised(parts, left)
        pull = _pulled(parts, left) - as_wide(beta, state.right, rank) * state.right
        alpha = problem.space.norm(pull)
        right = _divided(pull, alpha, rank)
        # one Givens rotation; a problem that is solved has rho = 0 and stays where it is
        size = torch.linalg.vector_norm(torch.stack([state.rho, beta]), dim=0)
        going = size > 0
        safe = torch.where(going, size, 1.0)
        cosine, sine = torch.where(going, state.rho / safe, 1.0), beta / safe
        x = state.x + as_wide(torch.where(going, cosine * state.phi / safe, 0.0), state.x, rank) * state.direction
        direction = right - as_wide(sine * alpha / safe, right, rank) * state.direction
        return replace(
            state,
            k=state.k + 1,
            x=x,
            left=left,
            right=right,
            direction=direction,
            alpha=alpha,
            rho=-cosine * alpha,
            phi=sine * state.phi,
        )

    def residual(self, problem: Problem, state: _State) -> Tensor:
        return optimality_residual(problem, state.x, (), state.scale)

    def certify(self, problem: Problem, state: _State) -> tuple[Certificate, ...]:
        return (Certificate("convergence", "proved", None, "convex quadratic objective", _SOURCE),)


_Part = tuple[SquaredDistance, LinearOperator, Tensor]


def _squared(part: Functional) -> tuple[Functional, LinearOperator, Tensor | float]:
    """Return h, K and c where the part is c h(K x), h without a weight."""
    h, K = part.split if part.split is not None else (part, Identity(part.space))
    return (h.functional, K, h.weight) if isinstance(h, Scaled) else (h, K, 1.0)


def _stacked(problem: Problem) -> tuple[_Part, ...]:
    """Return the parts as squared distances with the roots of their weights, (*batch,)."""
    parts: list[_Part] = []
    for h, K, weight in map(_squared, problem.smooth):
        assert isinstance(h, SquaredDistance), "checked by `obstacle`"
        square = weight * h.noise_std.double() ** -2
        # the root of a weight of zero has no derivative
        parts.append((h, K, torch.where(square > 0, torch.where(square > 0, square, 1.0).sqrt(), 0.0)))
    return tuple(parts)


def _normalised(parts: tuple[_Part, ...], vectors: tuple[Tensor, ...]) -> tuple[tuple[Tensor, ...], Tensor]:
    """Return the vectors over their joint norm, and that norm, (*batch,)."""
    norms = torch.broadcast_tensors(*(h.space.norm(u) for (h, _, _), u in zip(parts, vectors, strict=True)))
    size = torch.linalg.vector_norm(torch.stack(norms), dim=0)
    return tuple(_divided(u, size, h.space.rank) for (h, _, _), u in zip(parts, vectors, strict=True)), size


def _pulled(parts: tuple[_Part, ...], left: tuple[Tensor, ...]) -> Tensor:
    pulls = [K._adjoint(as_wide(root, u, h.space.rank) * u) for (h, K, root), u in zip(parts, left, strict=True)]
    return reduce(torch.add, pulls)


def _divided(x: Tensor, size: Tensor, rank: int) -> Tensor:
    """Return x / size, and zero where the size is zero."""
    return x / as_wide(torch.where(size > 0, size, 1.0), x, rank)
