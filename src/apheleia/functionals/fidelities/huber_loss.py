"""The Huber loss: least squares that outliers cannot carry away."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from apheleia.core.bound import Bound
from apheleia.core.errors import ArgumentError
from apheleia.core.interop import ArrayLike, is_number
from apheleia.core.space import Space
from apheleia.functionals.fidelities.fidelity import DataLoss, Fidelity, data_space
from apheleia.functionals.functional import is_within
from apheleia.operators.operator import Operator

__all__ = ["HuberDistance", "HuberLoss"]


@final
class HuberDistance(DataLoss):
    """z -> sum huber(z - y), huber(r) = r^2 / 2 for |r| <= delta, delta |r| - delta^2 / 2 beyond.

    Parameters
    ----------
    y : Tensor or ndarray, (*batch, *space)
        The data.
    space : Space
        Where they live.
    delta : float
        Where the loss becomes linear, above zero, in the units of y.

    Raises
    ------
    ArgumentError
        If delta is not above zero.
    """

    is_convex = True
    is_smooth = True
    is_proximable = True
    has_exact_prox = True
    coupled_axes = ()
    has_conjugate = True

    def __init__(self, y: ArrayLike, space: Space, delta: float) -> None:
        super().__init__(y, space, "HuberLoss")
        if not (is_number(delta) and delta > 0):
            raise ArgumentError(f"HuberLoss: `delta` must be above zero; got {delta!r}.")
        self.delta = float(delta)

    def _value(self, x: Tensor) -> Tensor:
        size = (x - self._data(x)).abs()
        return torch.where(size <= self.delta, 0.5 * size**2, self.delta * (size - 0.5 * self.delta)).sum(self.space.axes)

    def _grad(self, x: Tensor) -> Tensor:
        residual = x - self._data(x)
        return residual * (self.delta / residual.abs().clamp(min=self.delta))

    def _entrywise_prox(self, x: Tensor, steps: Tensor | float) -> Tensor:
        residual = x - self._data(x)
        # inside: r / (1 + s); outside: r shrunk by s delta; the two meet at |r| = delta (1 + s)
        size = residual.abs()
        factor = torch.where(
            size <= self.delta * (1 + steps), 1 / (1 + steps), 1 - steps * self.delta / size.clamp(min=self.delta)
        )
        return self._data(x) + factor * residual

    def _conjugate(self, u: Tensor) -> Tensor:
        inside = is_within(u.abs().amax(self.space.axes), self.delta)
        value = 0.5 * self.space.inner(u, u) + self.space.inner(u, self._data(u))
        return torch.where(inside, value, torch.inf)

    def _dual_scale(self, u: Tensor) -> Tensor:
        return (self.delta / u.abs().amax(self.space.axes).clamp(min=self.delta)).clamp(max=1.0)

    def _smoothness(self, shape: tuple[int, ...]) -> Bound:
        return Bound(1.0, "exact", "Huber loss")


@final
class HuberLoss(Fidelity):
    """x -> sum huber(A x - y), quadratic up to `delta` and linear beyond: robust to outliers, smooth.

    Parameters
    ----------
    A : Operator
        How data are formed.
    y : Tensor or ndarray, (*batch, *codomain)
        The data.
    delta : float
        Where the loss becomes linear, above zero, in the units of y; twice the noise's standard deviation is usual.

    Notes
    -----
    Certificate: smoothness |A|^2, of the kind of |A|.
    Source: P. Huber, Annals of Mathematical Statistics 35 (1964), doi:10.1214/aoms/1177703732.
    """

    def __init__(self, A: Operator, y: ArrayLike, delta: float) -> None:
        super().__init__(A, y, HuberDistance(y, data_space(A, "HuberLoss"), delta))
        self.delta = float(delta)

    @property
    def formula(self) -> str:
        """The term as a reader writes it."""
        return f"huber(A x - y; {self.delta:.4g})"
