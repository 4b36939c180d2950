"""Linear maps computed outside of torch, differentiable any number of times: the derivative of a linear map is itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, final

import torch
from torch import Tensor

__all__ = ["linear_map"]

Map = Callable[[Tensor], Tensor]


def linear_map(x: Tensor, forward: Map, adjoint: Map) -> Tensor:
    """Return forward(x), a linear map that torch cannot see into, with the derivatives of every order, forwards and backwards.

    Parameters
    ----------
    x : Tensor, (*batch, *domain)
        The signal.
    forward, adjoint : callable
        x -> A x and y -> A^H y, on tensors that carry no gradient; any number of batch axes. Real signals have real adjoints.
        Parameters of A get no gradient.
    """
    return _LinearMap.apply(x, forward, adjoint)  # type: ignore[return-value]


@final
class _LinearMap(torch.autograd.Function):
    @staticmethod
    def forward(x: Tensor, forward: Map, adjoint: Map) -> Tensor:
        return forward(x.detach())

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Map, Map], output: Tensor) -> None:
        _, ctx.direct, ctx.transposed = inputs

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        # torch's gradient of a real function of complex numbers makes the backward pass of A exactly A^H
        return linear_map(gradient, ctx.transposed, ctx.direct), None, None

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, *_: None) -> Tensor:
        return linear_map(tangent, ctx.direct, ctx.transposed)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], x: Tensor, forward: Map, adjoint: Map) -> tuple[Tensor, int]:
        # a mapped axis is one more batch axis
        return linear_map(x.movedim(in_dims[0] or 0, 0), forward, adjoint), 0
