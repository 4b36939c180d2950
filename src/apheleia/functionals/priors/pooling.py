"""Piecewise constant least squares along the last axis: one-dimensional total variation and isotonic regression, exactly."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["pool_decreasing", "shrink_variation"]


def _block_means(x: Tensor, is_start: Tensor) -> Tensor:
    """Return x with every block replaced by its mean, (*batch, n); `is_start` marks where blocks begin after the first."""
    block = torch.nn.functional.pad(is_start, (1, 0)).to(torch.long).cumsum(-1)
    sums = torch.zeros_like(x).scatter_add(-1, block, x)
    sizes = torch.zeros_like(x).scatter_add(-1, block, torch.ones_like(x))
    return (sums / sizes.clamp(min=1)).gather(-1, block)


def pool_decreasing(x: Tensor) -> Tensor:
    """Return the nearest sequences that never increase, argmin 1/2 |p - x|^2 over p_1 >= p_2 >= ..., (*batch, n).

    Pools adjacent blocks while a mean exceeds the one before, all at once: blocks in the wrong order are equal in the answer.
    Where the answer is differentiable, so is this.
    """
    is_start = torch.ones_like(x[..., 1:], dtype=torch.bool)
    means = x.detach()
    while bool((rises := is_start & (means[..., 1:] > means[..., :-1])).any()):
        is_start = is_start & ~rises
        means = _block_means(x.detach(), is_start)
    return _block_means(x, is_start)


def shrink_variation(x: Tensor, amount: Tensor) -> Tensor:
    """Return argmin_p 1/2 |p - x|^2 + amount sum_i |p_{i+1} - p_i|, (*batch, n), for an amount (*batch,) of at least zero.

    Dynamic programming finds where p jumps and in which direction. Given those, p is the mean over each constant piece of
    x - amount D^T s, D the differences and s the signs of the jumps: evaluated so, derivatives are exact as well.
    """
    signs = _minimum(x.detach().double(), amount.detach().double()).diff(dim=-1).sign().to(x.dtype)
    # D^T s, with nothing before the first and after the last entry
    pull = -torch.diff(torch.nn.functional.pad(signs, (1, 1)), dim=-1)
    return _block_means(x - amount[..., None] * pull, signs != 0)


def _minimum(x: Tensor, amount: Tensor) -> Tensor:
    """Return the minimiser by the messages of N. Johnson (2013), (*batch, n), signal by signal but all at once.

    The derivative of the best energy of the first k entries, as a function of the k-th, is piecewise linear and increasing.
    Passing it on cuts it off at -amount and amount. It is kept as knots with what slope and intercept change there, in a queue
    with two ends: cutting removes knots from the ends and adds one at either, so that each knot is removed once.
    """
    batch, n = x.shape[:-1], x.shape[-1]
    if n == 1:
        return x
    flat, limit = x.reshape(-1, n), amount.expand(batch).reshape(-1)
    rows = torch.arange(len(flat), device=x.device)
    knots, slopes, intercepts = (x.new_zeros(len(flat), 2 * n + 1) for _ in range(3))
    left, right = torch.full_like(rows, n), torch.full_like(rows, n - 1)
    lows, highs = [], []
    for k in range(n):
        # from either side: outside of the knots the message is -limit or limit, and the new entry adds z - x_k
        ends = []
        last = k == n - 1
        for direction, end in ((1, left), (-1, right)):
            slope = torch.ones_like(limit)
            intercept = -flat[:, k] - (direction * limit if k else 0)
            level = torch.zeros_like(limit) if last else -direction * limit
            while True:
                there = end.clamp(0, 2 * n)
                below = direction * (slope * knots[rows, there] + intercept - level) <= 0
                moves = (left <= end) & (end <= right) & below
                if not bool(moves.any()):
                    break
                slope = slope + torch.where(moves, direction * slopes[rows, there], 0.0)
                intercept = intercept + torch.where(moves, direction * intercepts[rows, there], 0.0)
                end = end + direction * moves
            ends.append((end, slope, intercept, (level - intercept) / slope))
            if last:
                break
            # what one side has removed is not there for the other
            left = torch.maximum(left, end) if direction == 1 else left
        if last:
            break
        (first, *_), (final, *_) = ends
        left, right = first - 1, final + 1
        for sign, place, (_, slope, intercept, root) in ((1, left, ends[0]), (-1, right, ends[1])):
            knots[rows, place] = root
            slopes[rows, place] = sign * slope
            # beyond the cut the message is constant
            intercepts[rows, place] = sign * intercept + limit
        lows.append(ends[0][3])
        highs.append(ends[1][3])
    answer = [ends[0][3]]
    for low, high in zip(reversed(lows), reversed(highs), strict=True):
        answer.append(torch.minimum(torch.maximum(answer[-1], low), high))
    return torch.stack(answer[::-1], dim=-1).reshape(*batch, n)
