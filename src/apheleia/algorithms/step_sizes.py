"""Step sizes that the library chooses, so that nobody has to: safe ones from bounds, balanced ones from the course of a run."""

from __future__ import annotations

import torch
from torch import Tensor

from apheleia.core.bound import Bound

__all__ = ["REBALANCE_AT", "balanced_steps", "safe_value", "travelled"]

REBALANCE_AT = (5, 10, 20, 40, 80, 160, 320, 640, 1280, 2560, 5120)
"""Steps at which a primal-dual method balances its two steps anew; finitely many, so that its convergence proof holds after."""


def safe_value(bound: Bound, x: Tensor, batch: tuple[int, ...]) -> Tensor:
    """Return a constant for step sizes in the precision of `x`, (*batch,), rounded up where that precision cannot hold it.

    An estimate is raised by 5 %, because it errs low.
    """
    value = (bound.value if bound.is_upper else 1.05 * bound.value).to(x.device)
    near = value.to(x.real.dtype)
    above = torch.nextafter(near.detach(), torch.full_like(near, torch.inf))
    return torch.where(near.double() < value, above, near).expand(batch)


def travelled(distance: Tensor, size: Tensor) -> Tensor:
    """Return a distance from x0 that is believed only between a twentieth and the whole of the `size` that the data suggest.

    From the solution itself, or from an absurd point, it says nothing of the solution's size.
    """
    return torch.where(size > 0, torch.minimum(torch.maximum(distance, 0.05 * size), size), distance)


def balanced_steps(weight: Tensor, smoothness: Tensor) -> tuple[Tensor, Tensor]:
    """Return primal and dual steps (tau, sigma) with tau / sigma near weight^2 and 1 / tau - sigma = smoothness / 2.

    That equality is the limit of convergence of the Condat-Vu method for |K| = 1; without a smooth part it is tau sigma = 1.
    The primal step stays below 1.5 / smoothness, so that the dual keeps a step too.

    Parameters
    ----------
    weight : Tensor, (*batch,)
        Ratio of the distance x travels to the distance the duals travel, above zero.
    smoothness : Tensor, (*batch,)
        Lipschitz constant of the smooth part's gradient, at least zero.

    Notes
    -----
    The ratio of travelled distances as a primal weight: D. Applegate et al., NeurIPS 2021, arXiv:2106.04756.
    """
    half = 0.5 * smoothness
    tau = 2 / (half + (half**2 + 4 / weight**2).sqrt())
    tau = torch.where(smoothness > 0, torch.minimum(tau, 1.5 / torch.where(smoothness > 0, smoothness, 1.0)), tau)
    return tau, 1 / tau - half
