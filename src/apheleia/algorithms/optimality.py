"""How far a point is from the optimality conditions, measured at exactly that point, whatever algorithm produced it."""

from __future__ import annotations

from functools import reduce

import torch
from torch import Tensor

from apheleia.core.space import per_sample
from apheleia.functionals.functional import Functional
from apheleia.problem import Problem

__all__ = ["Reference", "optimality_residual"]

Reference = tuple[Tensor, tuple[Tensor, ...]]
"""Sizes that residuals are held against, |grad f| and one |K_i x| a term, (*batch,)."""


def reference(problem: Problem, x0: Tensor) -> Reference:
    """Measure the sizes that later residuals are relative to, where the data put them, lest an absurd `x0` loosen the tolerance.

    The gradient at zero, which is A^H y for least squares, or at `x0` where that vanishes; K_i x where the fidelity begins.
    """
    hint = problem.f.start()
    point = x0 if hint is None else hint.to(x0)
    still, own = (problem.space.norm(problem.smooth_grad(x)) for x in (torch.zeros_like(x0), x0))
    images = (K.codomain.norm(K._forward(point)).expand(own.shape) for _, K in problem.split_terms)
    return torch.where(still > 0, still, own), tuple(images)


def optimality_residual(
    problem: Problem,
    x: Tensor,
    duals: tuple[Tensor, ...],
    step: Tensor,
    dual_steps: tuple[Tensor, ...],
    scale: Reference,
    simple: Functional | None = None,
) -> Tensor:
    """Return the larger of the normalised primal and dual residuals of  0 in grad f + dg + sum K^H p,  K x in dh^*(p).

    Primal: (x - prox_g(x - step * d, step)) / step with d = grad f(x) + sum_i K_i^H p_i, which is d itself without g; over the
    largest of |grad f(0)|, |grad f(x)|, |K_i^H p_i|. Dual: (p_i - prox_{h_i^*}(p_i + s_i K_i x, s_i)) / s_i, over the larger of
    |K_i A^H y| and |K_i x|. Both vanish exactly at a saddle point.

    Parameters
    ----------
    problem : Problem
        The problem.
    x, duals
        The point that is measured, (*batch, *space), and one dual a term.
    step : Tensor, (*batch,)
        Primal step of the proximal map, above zero.
    dual_steps : tuple of Tensor, (*batch,)
        One dual step a term, above zero.
    scale : Reference
        What `reference` measured.
    simple : Functional, optional
        The proximable part, where it is not the problem's own.

    Returns
    -------
    Tensor, (*batch,)
        The normalised residual, 0 at a solution.
    """
    space = problem.space
    simple = problem.simple if simple is None else simple
    # a method without duals takes the split part whole, by its own proximal map
    terms = problem.split_terms if duals else ()
    gradient = problem.smooth_grad(x)
    pulls = [K._adjoint(p) for (_, K), p in zip(terms, duals, strict=True)]
    direction = reduce(torch.add, pulls, gradient)
    sizes = [scale[0], space.norm(gradient), *(space.norm(pull) for pull in pulls)]
    if simple is None:
        residual = space.norm(direction)
    else:
        wide = per_sample(step, x, space.rank)
        point, gap = simple._prox_and_gap(x - wide * direction, step, 1e-8)
        # a map computed by iterations may be off by sqrt(2 gap), which counts as residual
        residual = (space.norm(x - point) + (2 * gap).sqrt()) / step
        # a constraint balances the gradient by its normal cone, whose size is what the gradient's is
        sizes.append(space.norm(direction))
    # below this, a difference of gradients is rounding
    floor = torch.finfo(x.real.dtype).eps ** 0.5
    result = residual / _positive(torch.stack(torch.broadcast_tensors(*sizes)).amax(0), floor * space.norm(x) / step)
    for (h, K), p, s, size in zip(terms, duals, dual_steps, scale[1][: len(terms)], strict=True):
        image = K._forward(x)
        wide = per_sample(s, p, h.space.rank)
        distance = h.space.norm(p - h._conj_prox(p + wide * image, s, 1.0)) / s
        size = torch.maximum(size, h.space.norm(image))
        result = torch.maximum(result, distance / _positive(size, floor * h.space.norm(p) / s))
    return result


def _positive(size: Tensor, floor: Tensor) -> Tensor:
    size = torch.maximum(size, floor)
    return torch.where(size > 0, size, 1.0)
