"""Linearization: the derivative of an operator at a point."""

from __future__ import annotations

from typing import final

from torch import Tensor

from apheleia.operators.linear import LinearOperator
from apheleia.operators.operator import Operator

__all__ = ["Linearization"]


@final
class Linearization(LinearOperator):
    """The derivative of an operator at a point, J(x): v -> J(x) v, with the exact adjoint w -> J(x)^H w.

    Parameters
    ----------
    operator : Operator
        The map to linearise.
    x : Tensor, (*batch, *domain)
        Where; its batch axes are those of every argument.
    """

    def __init__(self, operator: Operator, x: Tensor) -> None:
        super().__init__(operator.domain, operator.codomain)
        self.operator = operator
        self.x = x

    def _forward(self, x: Tensor) -> Tensor:
        return self.operator._jvp(self.x.expand_as(x), x)

    def _adjoint(self, y: Tensor) -> Tensor:
        batch = y.shape[: y.ndim - self.codomain.rank]
        x = self.x.expand(*batch, *self.x.shape[self.x.ndim - self.domain.rank :])
        return self.operator._vjp(x, y)

    def _output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return self.operator._output_shape(shape)

    def _input_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(self.x.shape[self.x.ndim - self.domain.rank :])
