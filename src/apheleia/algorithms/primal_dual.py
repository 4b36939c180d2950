"""What the primal-dual methods share: their state, their balanced steps, and their residual."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import reduce

import torch
from torch import Tensor

from apheleia.algorithms.algorithm import State
from apheleia.algorithms.optimality import Reference, optimality_residual, reference
from apheleia.algorithms.step_sizes import REBALANCE_AT, balanced_steps, safe_value, travelled
from apheleia.core.bound import Bound
from apheleia.core.certificate import Certificate
from apheleia.core.space import as_wide, per_sample
from apheleia.functionals.functional import Functional
from apheleia.problem import Problem

__all__ = ["PrimalDualState", "primal_dual_certificate", "primal_dual_init", "primal_dual_residual", "primal_dual_step"]


@dataclass(frozen=True, eq=False)
class PrimalDualState(State):
    """The returned pair (x, duals), the relaxed pair it moves, and the steps.

    Attributes
    ----------
    relaxed : Tensor
        The relaxed primal point, (*batch, *space).
    relaxed_duals : tuple of Tensor
        The relaxed duals.
    pull : Tensor
        sum_i K_i^H p_i at the relaxed duals, (*batch, *space).
    step : Tensor
        Primal step tau, (*batch,).
    dual_steps : tuple of Tensor
        One dual step a term, (*batch,).
    smoothness : Tensor
        Lipschitz constant of the part taken by its gradient, (*batch,).
    modulus : Tensor
        Modulus of strong convexity that an accelerated method makes use of, else zero, (*batch,).
    origin : Tensor
        x0.
    scale : Reference
        Sizes at x0.
    """

    relaxed: Tensor
    relaxed_duals: tuple[Tensor, ...]
    pull: Tensor
    step: Tensor
    dual_steps: tuple[Tensor, ...]
    smoothness: Tensor
    modulus: Tensor
    origin: Tensor
    scale: Reference


def primal_dual_init(problem: Problem, x0: Tensor, smoothness: Bound, step: float | None) -> PrimalDualState:
    """Return the state at `x0` with zero duals and first steps; `step`, where given, fixes tau."""
    space, batch = problem.space, problem.space.batch_shape(x0)
    shape = tuple(x0.shape[x0.ndim - space.rank :])
    duals = tuple(torch.zeros_like(K._forward(x0)) for _, K in problem.split_terms)
    constant = safe_value(smoothness, x0, batch)
    scale = reference(problem, x0)
    # a first guess: the step of the gradient method, or the signal's own size where there is no gradient
    rms = space.norm(x0) / max(1, x0[(0,) * len(batch)].numel()) ** 0.5
    parts = problem.smooth
    guess = safe_value(problem.smoothness(shape), x0, batch) if parts else torch.zeros_like(rms)
    weight = torch.where(guess > 0, 1 / torch.where(guess > 0, guess, 1.0), torch.where(rms > 0, rms, 1.0))
    tau, sigma = balanced_steps(weight, constant)
    if step is not None:
        tau = torch.full_like(tau, step)
        sigma = (1 / tau - 0.5 * constant).clamp(min=1e-3 / step)
    return PrimalDualState(
        k=0,
        x=x0,
        duals=duals,
        relaxed=x0,
        relaxed_duals=duals,
        pull=torch.zeros_like(x0),
        step=tau,
        dual_steps=_spread(sigma, scale.norms),
        smoothness=constant,
        modulus=torch.zeros_like(constant),
        origin=x0,
        scale=scale,
    )


def primal_dual_step(
    problem: Problem, state: PrimalDualState, primal: Callable[[Tensor, Tensor], Tensor], relaxation: Tensor, adapt: bool
) -> PrimalDualState:
    """Return the next state, given x -> primal(x, pull), the method's own primal update."""
    rank = problem.space.rank
    x = primal(state.relaxed, state.pull)
    ahead = torch.lerp(state.relaxed, x, 2.0)
    duals = tuple(
        h._conj_prox(torch.addcmul(p, as_wide(s, p, h.space.rank), K._forward(ahead)), s, 1.0)
        for (h, K), p, s in zip(problem.split_terms, state.relaxed_duals, state.dual_steps, strict=True)
    )
    pull = reduce(torch.add, [K._adjoint(p) for (_, K), p in zip(problem.split_terms, duals, strict=True)])
    wide = per_sample(relaxation, x, rank)
    new = replace(
        state,
        k=state.k + 1,
        x=x,
        duals=duals,
        relaxed=torch.lerp(state.relaxed, x, wide),
        relaxed_duals=tuple(
            torch.lerp(old, p, per_sample(relaxation, p, h.space.rank))
            for (h, _), old, p in zip(problem.split_terms, state.relaxed_duals, duals, strict=True)
        ),
        pull=torch.lerp(state.pull, pull, wide),
    )
    return _rebalanced(problem, new) if adapt and new.k in REBALANCE_AT else new


def primal_dual_certificate(
    problem: Problem, state: PrimalDualState, smoothness: Bound, relaxation: Tensor, own: Functional | None, source: str
) -> Certificate:
    """Return convergence: (2 - relaxation) (1 / tau - sum_i sigma_i |K_i|^2) > L / 2, or neither below zero, exact proximal maps.

    That is relaxation < 2 - (L / 2) / (1 / tau - sum_i sigma_i |K_i|^2), Theorems 3.1 and 3.3 of Condat (2013). Steps that are
    balanced anew later meet it too, by `balanced_steps`, and are so finitely often.
    """
    shape = tuple(state.x.shape[state.x.ndim - problem.space.rank :])
    norms = [K.norm(shape) for _, K in problem.split_terms]
    room = 1 / state.step.double() - sum(s.double() * b.value**2 for s, b in zip(state.dual_steps, norms, strict=True))
    need = 0.5 * smoothness.value
    words = f"1/tau - sum sigma|K|^2 = {room.min().item():.4g} against L/2 = {need.max().item():.4g}"
    legal = ((2 - relaxation.double()) * room > need) | ((need == 0) & (room >= 0))
    if not bool(legal.all()):
        return Certificate("convergence", "none", None, f"{words}: the step is too long. Leave `step` out", source)
    inexact = [f.name for f in (own, *(h for h, _ in problem.split_terms)) if f is not None and not f.has_exact_prox]
    if inexact:
        why = f"{words}, but the proximal map of {inexact[0]} is computed by iterations"
        return Certificate("convergence", "estimated", None, why, source)
    if not (smoothness.is_upper and all(b.is_upper for b in norms)):
        return Certificate("convergence", "estimated", None, f"{words}, but a norm is only estimated", source)
    return Certificate("convergence", "proved", None, f"{words}, from safe bounds", source)


def primal_dual_residual(problem: Problem, state: PrimalDualState) -> Tensor:
    """Return the optimality residual at (x, duals), (*batch,)."""
    return optimality_residual(problem, state.x, state.duals, state.scale)


def _spread(sigma: Tensor, norms: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Return one dual step a term so that sum_i s_i |K_i|^2 = sigma, less what rounding could add."""
    safe = (1 - 8 * torch.finfo(sigma.dtype).eps) * sigma
    return tuple(safe / (len(norms) * torch.where(n > 0, n, 1.0) ** 2) for n in norms)


def _rebalanced(problem: Problem, state: PrimalDualState) -> PrimalDualState:
    """Set the ratio of the steps to that of the distances travelled from the origin, image by image."""
    primal = travelled(problem.space.norm(state.x - state.origin), state.scale.point)
    norms = state.scale.norms
    terms = zip(problem.split_terms, state.duals, norms, strict=True)
    squares = [len(norms) * (n * h.space.norm(p)) ** 2 for (h, _), p, n in terms]
    square = reduce(torch.add, squares)
    moved = (primal > 0) & (square > 0) & primal.isfinite() & square.isfinite()
    # half the ratio: the returned objective depends on the duals' accuracy first (measured on deblurring)
    weight = 0.5 * torch.where(moved, primal, 1.0) / torch.where(moved, square, 1.0).sqrt()
    tau, sigma = balanced_steps(weight, state.smoothness)
    steps = _spread(sigma, norms)
    return replace(
        state,
        step=torch.where(moved, tau, state.step),
        dual_steps=tuple(torch.where(moved, new, old) for new, old in zip(steps, state.dual_steps, strict=True)),
    )
