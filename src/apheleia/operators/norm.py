"""Norms of linear operators: safe bounds where structure gives one, a power iteration, always an estimate, where not."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from apheleia.core.bound import Bound
from apheleia.core.space import Space, per_sample

__all__ = ["perron_bound", "power_iteration", "schur_bound"]


def power_iteration(
    gram: Callable[[Tensor], Tensor], space: Space, device: torch.device | None, *, max_steps: int = 200, tol: float = 1e-6
) -> Bound:
    """Estimate |A| from x -> A^H A x by power iteration; deterministic, because its start is fixed.

    The value approaches |A| from below and may miss a direction altogether, so its kind is always "estimate".

    Parameters
    ----------
    gram : callable
        x -> A^H A x for x of shape (*batch, *space).
    space : Space
        The domain of A, with fixed sizes.
    device : torch.device or None
        Where to run.
    max_steps : int
        Applications of the Gram operator at most.
    tol : float
        Stop when the estimate moves by less than this, relative.

    Returns
    -------
    Bound
        The estimate of |A|, (*batch,), in float64.
    """
    generator = torch.Generator().manual_seed(0)
    x = space.randn(generator=generator, dtype=torch.float64).to(device)
    x = x / space.norm(x)
    value = torch.zeros((), dtype=torch.float64, device=device)
    with torch.no_grad():
        for _ in range(max_steps):
            x = gram(x)
            size = space.norm(x)
            # a zero operator has no direction to follow; the safe operand keeps 0/0 out
            x = x / per_sample(torch.where(size > 0, size, 1.0), x, space.rank)
            previous, value = value, size.sqrt()
            if bool(((value - previous).abs() <= tol * value).all()):
                break
    return Bound(value, "estimate", "power iteration")


def schur_bound(row_sums: Tensor, column_sums: Tensor, space_in: Space, space_out: Space) -> Bound:
    """Bound |A| by sqrt(|A|_1 |A|_inf) from the row and column sums of |A_ij|.

    For an operator with non-negative entries these are A(1) and A^H(1).

    Parameters
    ----------
    row_sums : Tensor
        Sums over the domain, in the codomain, (*batch, *codomain).
    column_sums : Tensor
        Sums over the codomain, in the domain, (*batch, *domain).
    space_in, space_out : Space
        Domain and codomain of A.

    Returns
    -------
    Bound
        An upper bound, (*batch,).

    Notes
    -----
    Source: I. Schur, Journal für die reine und angewandte Mathematik 140 (1911), the test with unit weights.
    """
    value = (row_sums.amax(space_out.axes) * column_sums.amax(space_in.axes)).sqrt()
    return Bound(value, "upper", "sqrt of maximal row sum times maximal column sum")


def perron_bound(gram: Callable[[Tensor], Tensor], space: Space, device: torch.device | None, steps: int) -> Bound:
    """Bound |A| for an operator with non-negative entries: |A|^2 <= max_i (A^H A v)_i / v_i for every positive v.

    The vectors are those of a power iteration from all ones, kept away from zero; the least of the bounds counts.

    Parameters
    ----------
    gram : callable
        v -> A^H A v for v of shape (*space).
    space : Space
        The domain of A, with fixed sizes.
    device : torch.device or None
        Where to run.
    steps : int
        Applications of A^H A.

    Returns
    -------
    Bound
        An upper bound, scalar, in float64.

    Notes
    -----
    Source: L. Collatz, Mathematische Zeitschrift 48 (1942), doi:10.1007/BF01180013.
    """
    v = torch.ones([size or 1 for size in space.shape], dtype=torch.float64, device=device)
    best = torch.full((), torch.inf, dtype=torch.float64, device=device)
    with torch.no_grad():
        for _ in range(steps):
            image = gram(v)
            best = torch.minimum(best, (image / v).amax())
            v = (image / torch.where(image.amax() > 0, image.amax(), 1.0)).clamp(min=1e-3)
    # room for the rounding of the sums
    return Bound((best * (1 + 1e-12)).sqrt(), "upper", "max (A^H A v) / v over positive v")
