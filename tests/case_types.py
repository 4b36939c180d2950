"""The kinds of entries in the register of the suite, and how test signals are drawn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from apheleia.core import Space
from apheleia.functionals import Functional
from apheleia.operators import LinearOperator

COMPLEX_IMAGE = Space((None, None, None), is_complex=True)
EVERY = slice(None)
"""The index that keeps the whole batch of an object's parameters."""


def randn(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    """Draw standard normal numbers from a seed."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def uniform(*shape: int, seed: int = 0, low: float = 0.0, high: float = 1.0) -> Tensor:
    """Draw numbers between `low` and `high` from a seed, in float64."""
    return low + (high - low) * torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def as_dtype(dtype: torch.dtype, is_complex: bool) -> torch.dtype:
    """Return the real precision `dtype`, made complex where the space is."""
    return dtype.to_complex() if is_complex else dtype


@dataclass(frozen=True)
class OperatorCase:
    """One operator: how to make it, a signal shape, and what it claims of itself."""

    name: str
    make: Callable[..., LinearOperator]
    shape: tuple[int, ...]
    norm: str = "exact"
    """The kind of its norm."""
    batch: tuple[int, ...] = ()
    """Batch shape of its own parameters."""

    def x(self, batch: tuple[int, ...] | None = None, *, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
        """Draw a signal of the domain."""
        return draw(self.make().domain, self.shape, self.batch if batch is None else batch, seed, dtype)

    def y(self, batch: tuple[int, ...] | None = None, *, seed: int = 1, dtype: torch.dtype = torch.float64) -> Tensor:
        """Draw data of the codomain."""
        A = self.make()
        return draw(A.codomain, A.output_shape(self.shape), self.batch if batch is None else batch, seed, dtype)


def draw(space: Space, shape: tuple[int, ...], batch: tuple[int, ...], seed: int, dtype: torch.dtype) -> Tensor:
    return randn(*batch, *shape, seed=seed, dtype=as_dtype(dtype, space.is_complex))


@dataclass(frozen=True)
class FunctionalCase:
    """One functional: how to make it for a signal shape, and where to look at it."""

    name: str
    make: Callable[..., Functional]
    """`make(shape)`, or `make(shape, index=i)` for sample i of a batch of parameters."""
    shape: tuple[int, ...]
    tiny: tuple[int, ...] | None = None
    """A shape of at most four numbers, on which a brute-force search minimises."""
    batch: tuple[int, ...] = ()
    """Batch shape of its own parameters."""
    scale: float = 1.0
    """Standard deviation of the points to look at."""
    prox_tol: float = 1e-9
    """Relative accuracy of its proximal map: rounding, or the tolerance of its iterations."""
    is_slow: bool = False
    """Whether its value is the result of many iterations, so that its property tests run with the slow ones."""

    def __call__(self, **index: object) -> Functional:
        """Return a fresh functional."""
        return self.make(self.shape, **index)

    def x(self, batch: tuple[int, ...] | None = None, *, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
        """Draw a signal, which may lie outside of the domain."""
        return self.scale * draw(self().space, self.shape, self.batch if batch is None else batch, seed, dtype)

    def inside(self, batch: tuple[int, ...] | None = None, *, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
        """Draw a signal at which the energy is finite."""
        return _inside(self, self.batch if batch is None else batch, seed, dtype).clone()


@cache
def _inside(case: FunctionalCase, batch: tuple[int, ...], seed: int, dtype: torch.dtype) -> Tensor:
    # some proximal maps are long iterations, and many tests ask for the same point
    x, F = case.x(batch, seed=seed, dtype=dtype), case()
    return F.prox(x, 0.5) if F.is_proximable else x if bool(F(x).isfinite().all()) else x.abs() + 0.1
