"""Operator: how data are formed, x -> A(x), possibly non-linear, with derivatives of both kinds."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from apheleia.core.errors import ShapeError
from apheleia.core.interop import accepts_numpy
from apheleia.core.space import Space, as_shape, check_space

if TYPE_CHECKING:
    from apheleia.operators.linear import LinearOperator

__all__ = ["Operator", "register"]


class Operator(nn.Module, ABC):
    """A map between two spaces; a subclass writes `_forward` and has derivatives of both kinds for free.

    Parameters
    ----------
    domain, codomain : Space
        Where its argument and its value live; sizes may be None for any.

    Raises
    ------
    ArgumentError
        If one of them is no Space.
    """

    def __init__(self, domain: Space, codomain: Space) -> None:
        super().__init__()
        for arg, space in (("domain", domain), ("codomain", codomain)):
            check_space(space, type(self).__name__, arg)
        self.domain = domain
        self.codomain = codomain

    @property
    def name(self) -> str:
        """The name that messages and formulas use."""
        return type(self).__name__

    @abstractmethod
    def _forward(self, x: Tensor) -> Tensor:
        """Return A(x) for a checked tensor (*batch, *domain)."""

    @accepts_numpy
    def forward(self, x: Tensor) -> Tensor:
        """Return A(x), shape (*batch, *codomain), in the precision of `x`.

        Raises
        ------
        ShapeError
            If `x` does not live in the domain.
        """
        return self._forward(self.domain.check(x, self.name, "x"))

    @accepts_numpy
    def jvp(self, x: Tensor, v: Tensor) -> Tensor:
        """Return the derivative of A at `x` in the direction `v`, J(x) v, shape (*batch, *codomain)."""
        x, v = self.domain.check(x, f"{self.name}.jvp", "x"), self.domain.check(v, f"{self.name}.jvp", "v")
        return self._jvp(x, v)

    @accepts_numpy
    def vjp(self, x: Tensor, w: Tensor) -> Tensor:
        """Return J(x)^H w, shape (*batch, *domain), exact for the real inner product Re<., .>."""
        x, w = self.domain.check(x, f"{self.name}.vjp", "x"), self.codomain.check(w, f"{self.name}.vjp", "w")
        return self._vjp(x, w)

    def _jvp(self, x: Tensor, v: Tensor) -> Tensor:
        # w -> J(x)^H w is linear and its adjoint is J(x): reverse mode twice, for which every operation has a rule
        image, pullback = torch.func.vjp(self._forward, x)[:2]
        return torch.func.vjp(lambda w: pullback(w)[0], torch.zeros_like(image))[1](v)[0]

    def _vjp(self, x: Tensor, w: Tensor) -> Tensor:
        return torch.func.vjp(self._forward, x)[1](w)[0]

    @accepts_numpy
    def linearize(self, x: Tensor) -> LinearOperator:
        """Return the derivative J(x) as a linear operator with its exact adjoint.

        Parameters
        ----------
        x : Tensor, (*batch, *domain)
            Where; its batch axes are those of what J(x) is applied to.
        """
        # an operator and the type of its derivative know one another; the import waits so that the modules do not
        from apheleia.operators.linearization import Linearization

        return Linearization(self, self.domain.check(x, f"{self.name}.linearize", "x"))

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the signal shape of A(x) for x of signal `shape`, without batch axes."""
        shape = as_shape(shape, self.name, "shape")
        if not self.domain.accepts(shape):
            raise ShapeError(f"{self.name}: signals must have shape ({self.domain}); got {shape}.")
        return self._output_shape(shape)

    def input_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the signal shape of x for data A(x) of signal `shape`, without batch axes."""
        shape = as_shape(shape, self.name, "shape")
        if not self.codomain.accepts(shape):
            raise ShapeError(f"{self.name}: data must have shape ({self.codomain}); got {shape}.")
        return self._input_shape(shape)

    def _output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return _fixed_or_same(self.codomain, shape, self.name)

    def _input_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return _fixed_or_same(self.domain, shape, self.name)


def _fixed_or_same(space: Space, shape: tuple[int, ...], who: str) -> tuple[int, ...]:
    """Return the sizes that the space fixes, or those of the other side where the two have the same rank."""
    if space.is_fixed:
        return tuple(size for size in space.shape if size is not None)
    if space.rank != len(shape):
        raise ShapeError(f"{who}: its sizes are not known; fix them with a Space.")
    return tuple(own if own is not None else other for own, other in zip(space.shape, shape, strict=True))


def register(module: nn.Module, name: str, value: Tensor) -> None:
    """Keep `value` on `module`: a Parameter stays one and is learned, anything else is a buffer and moves with `.to`."""
    if isinstance(value, nn.Parameter):
        module.register_parameter(name, value)
    else:
        module.register_buffer(name, value)
