"""Least absolute deviations: the fidelity for impulse noise."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from apheleia.core.interop import ArrayLike
from apheleia.core.space import Space
from apheleia.functionals.fidelities.fidelity import DataLoss, Fidelity, data_space
from apheleia.functionals.functional import is_within
from apheleia.operators.operator import Operator

__all__ = ["AbsoluteDistance", "LeastAbsoluteDeviations"]


@final
class AbsoluteDistance(DataLoss):
    """z -> |z - y|_1.

    Parameters
    ----------
    y : Tensor or ndarray, (*batch, *space)
        The data.
    space : Space
        Where they live.
    """

    is_convex = True
    is_proximable = True
    has_exact_prox = True
    coupled_axes = ()
    has_conjugate = True

    def __init__(self, y: ArrayLike, space: Space) -> None:
        super().__init__(y, space, "LeastAbsoluteDeviations")

    def _value(self, x: Tensor) -> Tensor:
        return (x - self._data(x)).abs().sum(self.space.axes)

    def _entrywise_prox(self, x: Tensor, steps: Tensor | float) -> Tensor:
        residual = x - self._data(x)
        size = residual.abs()
        shrunk = (size - steps).clamp(min=0) / torch.where(size > 0, size, 1.0)
        return self._data(x) + shrunk * residual

    def _conjugate(self, u: Tensor) -> Tensor:
        inside = is_within(u.abs().amax(self.space.axes))
        return torch.where(inside, self.space.inner(u, self._data(u)), torch.inf)

    def _dual_scale(self, u: Tensor) -> Tensor:
        return 1 / u.abs().amax(self.space.axes).clamp(min=1.0)


@final
class LeastAbsoluteDeviations(Fidelity):
    """x -> |A x - y|_1: for impulse noise, salt and pepper, and gross outliers.

    Parameters
    ----------
    A : Operator
        How data are formed.
    y : Tensor or ndarray, (*batch, *codomain)
        The data.

    Notes
    -----
    Not smooth: solvers take its split (z -> |z - y|_1, A).
    """

    def __init__(self, A: Operator, y: ArrayLike) -> None:
        super().__init__(A, y, AbsoluteDistance(y, data_space(A, "LeastAbsoluteDeviations")))

    @property
    def formula(self) -> str:
        """The term as a reader writes it."""
        return "|A x - y|₁"
