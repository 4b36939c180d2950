"""The Wright omega function, Lambert's W of an exponential, without overflow."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

__all__ = ["wright_omega"]

TINY = -36.0
"""Below, w = exp(t) up to rounding in float64."""


class _WrightOmega(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, t: Tensor) -> Tensor:
        safe = t.clamp(min=TINY)
        # both starts lie below the solution, from where Newton's method on the concave w + log w - t rises to it
        large = safe.clamp(min=1)
        w = torch.where(safe > 1, large - large.log(), (safe.clamp(max=1) - safe.clamp(max=1).exp()).exp())
        for _ in range(8):
            w = w * (1 + safe - w.log()) / (1 + w)
        w = torch.where(t > TINY, w, t.clamp(max=TINY).exp())
        ctx.save_for_backward(w)
        return w

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (w,) = ctx.saved_tensors
        # differentiate w + log w = t
        return grads[0] * w / (1 + w)


def wright_omega(t: Tensor) -> Tensor:
    """Return the w > 0 with w + log w = t, which is Lambert's W(exp(t)), for any real t.

    Parameters
    ----------
    t : Tensor
        Any real numbers.

    Notes
    -----
    Certificate: exact up to rounding: Newton's method from below converges monotonically, eight steps suffice.
    Source: R. Corless, D. Jeffrey, The Wright omega function, AISC (2002), doi:10.1007/3-540-45470-5_10.

    Examples
    --------
    >>> wright_omega(torch.tensor([1.0, -100.0]))
    tensor([1.0000e+00, 3.7835e-44])
    """
    return _WrightOmega.apply(t)  # type: ignore[return-value]
