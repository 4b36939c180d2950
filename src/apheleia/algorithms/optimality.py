"""How far a point is from the optimality conditions, measured at exactly that point, whatever algorithm produced it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor

from apheleia.algorithms.step_sizes import safe_value
from apheleia.core.space import as_wide
from apheleia.functionals.functional import Functional
from apheleia.operators.linear import LinearOperator
from apheleia.problem import Problem

__all__ = ["Reference", "optimality_residual", "reference", "slope"]


@dataclass(frozen=True, eq=False)
class Reference:
    """Sizes that residuals are held against, set by the data and not by x0, lest an absurd x0 loosen the tolerance; (*batch,).

    Attributes
    ----------
    point : Tensor
        |x| where the fidelity begins, or |x0| where it suggests nothing or zero.
    gradient : Tensor
        |grad f(0)|, which is |A^H y| for least squares; where that vanishes, the least |K_i^H grad h_i|, or |grad f(x0)|, or
        f(0) / |x0| if that is less and f has no known Lipschitz constant.
    images : tuple of Tensor
        One |K_i x| a term, where the fidelity begins, and no less than a thousandth of |K_i| |x|: below that, K_i x is zero.
    norms : tuple of Tensor
        One |K_i| a term.
    """

    point: Tensor
    gradient: Tensor
    images: tuple[Tensor, ...]
    norms: tuple[Tensor, ...]


def reference(problem: Problem, x0: Tensor, force: Tensor | None = None) -> Reference:
    """Measure the sizes that later residuals of a run from `x0` are relative to; `force` is -grad f(0), where it is known."""
    space, batch = problem.space, problem.space.batch_shape(x0)
    shape = tuple(x0.shape[x0.ndim - space.rank :])
    hint = problem.f.start()
    point = x0 if hint is None else hint.to(x0)
    still = space.norm(problem.smooth_grad(torch.zeros_like(x0)) if force is None else force)
    size = space.norm(point).expand(batch)
    size = torch.where(size > 0, size, space.norm(x0))
    norms = tuple(safe_value(K.norm(shape), x0, batch) for _, K in problem.split_terms)
    images = [K.codomain.norm(K._forward(point)) for _, K in problem.split_terms]
    images = tuple(_largest(image.expand(batch), 1e-3 * n * size) for image, n in zip(images, norms, strict=True))
    if not bool((still > 0).all()):
        own = space.norm(problem.smooth_grad(x0))
        if problem.unbounded:
            # a non-linear map whose derivative vanishes at 0: neither a start near there nor one far away may set the size
            fall = problem.smooth_value(torch.zeros_like(x0)) / _positive(size)
            own = torch.where(own > 0, torch.minimum(own, fall), fall)
        forces = [_force(h, K, point, x0).expand(batch) for h, K in problem.split_terms]
        least = torch.stack([*forces, torch.full_like(own, torch.inf)]).amin(0)
        still = torch.where(still > 0, still, torch.where(least.isfinite(), least, own))
    return Reference(size, still, images, norms)


def slope(h: Functional, image: Tensor) -> Tensor:
    """Return the gradient of h at half of `image`, off the kinks at zero and at the data; h need not be smooth.

    The proximal map of h^* for a long step is that gradient, smoothed no more than rounding does.
    """
    steep = 1 / torch.finfo(image.real.dtype).eps
    return h._conj_prox(0.5 * steep * image, steep, 1.0)


def _force(h: Functional, K: LinearOperator, *points: Tensor) -> Tensor:
    """Return |K^H grad h(K x / 2)| at the first point where it is neither zero nor infinite, +inf if there is none."""
    sizes = []
    for x in points:
        image = K._forward(x)
        pull = slope(h, image)
        # outside of a constraint the slope is no more than an echo of its own long step
        echo = h.space.norm(pull) > 1e-2 / torch.finfo(image.real.dtype).eps * h.space.norm(image)
        sizes.append(torch.where(echo, 0.0, K.domain.norm(K._adjoint(pull))))
    force = reduce(lambda first, other: torch.where(first > 0, first, other), torch.broadcast_tensors(*sizes))
    return torch.where(force > 0, force, torch.inf)


def optimality_residual(
    problem: Problem, x: Tensor, duals: tuple[Tensor, ...], scale: Reference, simple: Functional | None = None
) -> Tensor:
    """Return how far (x, p) is from  0 in grad f(x) + dg(x) + sum_i K_i^H p_i,  K_i x in dh_i^*(p_i),  relative.

    The largest of the relative distances that a proximal step of natural length moves x and each p_i:
    |x - prox_{t g}(x - t d)| / X with d = grad f(x) + sum_i K_i^H p_i and t = X / G, which is |d| / G without g, and
    |p_i - prox_{s h_i^*}(p_i + s K_i x)| / P_i with s = P_i / Y_i. The sizes are the larger of those at the point and those of
    the reference: X of x, G of the gradient and of K_i^H p_i, Y_i of K_i x, P_i of p_i and G / |K_i|. All vanish at a saddle
    point only.

    Parameters
    ----------
    problem : Problem
        The problem.
    x, duals
        The point that is measured, (*batch, *space), and one dual a term.
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
    slopes = _positive(_largest(scale.gradient, space.norm(gradient), *(space.norm(pull) for pull in pulls)))
    size = _positive(_largest(scale.point, space.norm(x)))
    if simple is None:
        result = space.norm(direction) / slopes
    else:
        step = size / slopes
        point, gap = simple._prox_and_gap(x - as_wide(step, x, space.rank) * direction, step, 1e-8)
        # a map computed by iterations may be off by sqrt(2 gap), which counts as residual
        result = (space.norm(x - point) + (2 * gap).sqrt()) / size
    for (h, K), p, image_size, norm in zip(terms, duals, scale.images, scale.norms, strict=False):
        image = K._forward(x)
        dual_size = _largest(h.space.norm(p), slopes / _positive(norm))
        step = dual_size / _positive(_largest(image_size, h.space.norm(image)))
        moved = p - h._conj_prox(p + as_wide(step, p, h.space.rank) * image, step, 1.0)
        result = torch.maximum(result, h.space.norm(moved) / dual_size)
    return result


def _largest(*sizes: Tensor) -> Tensor:
    return reduce(torch.maximum, sizes)


def _positive(size: Tensor) -> Tensor:
    return torch.where(size > 0, size, 1.0)
