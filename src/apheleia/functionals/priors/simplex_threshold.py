"""The number that brings the positive parts of a row to a given sum: the heart of projections on the simplex and the l1 ball."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["simplex_threshold"]


def simplex_threshold(x: Tensor, total: Tensor | float) -> Tensor:
    """Return the t with sum max(x - t, 0) = total along the last axis, (..., 1).

    Parameters
    ----------
    x : Tensor, (..., n)
        Real rows.
    total : float or Tensor, (..., 1)
        At least zero.

    Notes
    -----
    Complexity: O(n log n), by sorting.
    Source: M. Held, P. Wolfe, H. Crowder, Mathematical Programming 6 (1974), doi:10.1007/BF01580223.
    """
    ordered = x.sort(dim=-1, descending=True).values
    count = torch.arange(1, x.shape[-1] + 1, device=x.device, dtype=x.dtype)
    thresholds = (ordered.cumsum(-1) - total) / count
    support = (ordered > thresholds).sum(-1, keepdim=True).clamp(min=1)
    return thresholds.gather(-1, support - 1)
