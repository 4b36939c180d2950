"""The mosaic of colour filters in front of a camera's sensor: each pixel sees one colour of three."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from apheleia.core.bound import Bound
from apheleia.core.errors import ArgumentError
from apheleia.core.space import Space
from apheleia.operators.diagonal import Diagonal
from apheleia.operators.linear import LinearOperator
from apheleia.operators.operator import register

__all__ = ["BayerMosaic"]

PATTERNS = ("RGGB", "BGGR", "GRBG", "GBRG")


@final
class BayerMosaic(LinearOperator):
    """x -> the one colour that each pixel's filter lets through: (3, height, width) in red, green, blue to (1, height, width).

    Parameters
    ----------
    pattern : {"RGGB", "BGGR", "GRBG", "GBRG"}
        Colours of the upper left 2 x 2 pixels, row by row.

    Raises
    ------
    ArgumentError
        If the pattern is unknown.

    Notes
    -----
    Certificate: norm 1, exact. The Gram operator is a mask, so that least squares have a closed-form proximal map.
    Source: B. Bayer, United States patent 3971065 (1976).

    Examples
    --------
    >>> x = torch.stack([torch.full((2, 2), value) for value in (1.0, 2.0, 3.0)])
    >>> BayerMosaic("RGGB")(x)
    tensor([[[1., 2.],
             [2., 3.]]])
    """

    is_non_negative = True
    has_gram_solve = True

    def __init__(self, pattern: str = "RGGB") -> None:
        if pattern not in PATTERNS:
            raise ArgumentError(f"BayerMosaic: `pattern` must be one of {', '.join(PATTERNS)}; got {pattern!r}.")
        super().__init__(Space((3, None, None)), Space((1, None, None)))
        self.pattern = pattern

    def _forward(self, x: Tensor) -> Tensor:
        return self.prepared(tuple(x.shape[-3:]), x.dtype)._forward(x)

    def _adjoint(self, y: Tensor) -> Tensor:
        return self.prepared(self._input_shape(tuple(y.shape[-3:])), y.dtype)._adjoint(y)

    def prepared(self, shape: tuple[int, ...], dtype: torch.dtype) -> LinearOperator:
        """Return the same object with all that depends only on shape and precision computed once."""
        mask = torch.zeros(shape, dtype=dtype)
        for place, colour in enumerate(self.pattern):
            mask["RGB".index(colour), place // 2 :: 2, place % 2 :: 2] = 1
        return _Prepared(mask)

    def _norm(self, shape: tuple[int, ...] | None) -> Bound | None:
        return Bound(1.0, "exact", "selection of values")

    def _smallest_singular_value(self, shape: tuple[int, ...]) -> Bound | None:
        return Bound(0.0, "exact", "one value of three")

    def _output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (1, *shape[1:])

    def _input_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (3, *shape[1:])


@final
class _Prepared(LinearOperator):
    """The same for images of one size."""

    mask: Tensor
    is_non_negative = True
    has_gram_solve = True

    def __init__(self, mask: Tensor) -> None:
        super().__init__(Space(tuple(mask.shape)), Space((1, *mask.shape[1:])))
        register(self, "mask", mask)

    def _forward(self, x: Tensor) -> Tensor:
        return (self.mask.to(x) * x).sum(-3, keepdim=True)

    def _adjoint(self, y: Tensor) -> Tensor:
        return self.mask.to(y) * y

    def _gram(self) -> LinearOperator:
        return Diagonal(self.mask, self.domain)

    def _norm(self, shape: tuple[int, ...] | None) -> Bound | None:
        return Bound(1.0, "exact", "selection of values")

    def _smallest_singular_value(self, shape: tuple[int, ...]) -> Bound | None:
        return Bound(0.0, "exact", "one value of three")
