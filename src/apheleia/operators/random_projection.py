"""Random projections for compressed sensing, at the price of one Fourier transform."""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor

from apheleia.core.bound import Bound
from apheleia.core.errors import ArgumentError, ShapeError
from apheleia.core.space import Space, check_space, per_sample
from apheleia.operators.identity import Identity
from apheleia.operators.linear import LinearOperator

__all__ = ["RandomProjection"]


@final
class RandomProjection(LinearOperator):
    """x -> (H (s * x))[rows]: random signs s, the orthonormal Hartley transform H of the whole signal, and a random part of it.

    Every measurement mixes all of x with weights of about one size, as a Gaussian matrix (`Matrix`) does, and A A^H = I.

    Parameters
    ----------
    count : int
        Number of measurements m, from 1 to the number n of entries of a signal.
    space : Space
        Real signals with fixed sizes.
    generator : torch.Generator, optional
        Source of the signs and of the rows.

    Raises
    ------
    ShapeError
        If the space is complex or leaves a size open.
    ArgumentError
        If the count lies outside of its range.

    Notes
    -----
    Certificate: norm 1, exact; smallest singular value 1 for m = n and 0 for m < n, exact. A^H A is a projection, so that least
    squares has an exact proximal map.
    Complexity: O(n log n) time and O(n) memory, where a matrix takes m n of both.
    Source: N. Ailon, B. Chazelle, SIAM Journal on Computing 39 (2009), doi:10.1137/060673096.

    Examples
    --------
    >>> A = RandomProjection(5, Space((1, 4, 4)), generator=torch.Generator().manual_seed(0))
    >>> y = torch.arange(5.0)
    >>> torch.allclose(A(A.adjoint(y)), y, atol=1e-6)
    True
    """

    signs: Tensor
    rows: Tensor
    has_gram_solve = True

    def __init__(self, count: int, space: Space, *, generator: torch.Generator | None = None) -> None:
        check_space(space, "RandomProjection", "space")
        if not space.is_fixed or space.is_complex:
            raise ShapeError(f"RandomProjection: give a real space with fixed sizes; got ({space}).")
        size = math.prod(n or 0 for n in space.shape)
        if not isinstance(count, int) or not 1 <= count <= size:
            raise ArgumentError(f"RandomProjection: `count` must lie between 1 and {size}, the size of a signal; got {count!r}.")
        super().__init__(space, Space((count,)))
        device = None if generator is None else generator.device
        bits = torch.randint(2, (size,), generator=generator, device=device)
        self.register_buffer("signs", 2.0 * bits.double() - 1)
        self.register_buffer("rows", torch.randperm(size, generator=generator, device=device)[:count].sort().values)
        self.is_orthonormal = count == size

    def _forward(self, x: Tensor) -> Tensor:
        flat = x.flatten(-self.domain.rank)
        return _hartley(self.signs.to(x.dtype) * flat)[..., self.rows]

    def _adjoint(self, y: Tensor) -> Tensor:
        spread = torch.zeros(*y.shape[:-1], len(self.signs), dtype=y.dtype, device=y.device).index_copy(-1, self.rows, y)
        flat = self.signs.to(y.dtype) * _hartley(spread)
        return flat.reshape(*y.shape[:-1], *(n or 0 for n in self.domain.shape))

    def _norm(self, shape: tuple[int, ...] | None) -> Bound:
        return Bound(1.0, "exact", "rows of an orthonormal transform")

    def _smallest_singular_value(self, shape: tuple[int, ...]) -> Bound:
        if self.is_orthonormal:
            return Bound(1.0, "exact", "orthonormal transform")
        return Bound(0.0, "exact", "fewer measurements than unknowns")

    def _gram(self) -> LinearOperator:
        return Identity(self.domain) if self.is_orthonormal else _Projection(self)

    def _output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (len(self.rows),)


@final
class _Projection(LinearOperator):
    """x -> A^H A x with A A^H = I, an orthogonal projection."""

    has_shifted_solve = True

    def __init__(self, A: RandomProjection) -> None:
        super().__init__(A.domain, A.domain)
        self.A = A

    def _forward(self, x: Tensor) -> Tensor:
        return self.A._adjoint(self.A._forward(x))

    def _adjoint(self, y: Tensor) -> Tensor:
        return self._forward(y)

    def _norm(self, shape: tuple[int, ...] | None) -> Bound:
        return Bound(1.0, "exact", "a projection")

    def _shifted_solve(self, rhs: Tensor, shift: Tensor | float) -> Tensor:
        # (Q + s I)^{-1} is 1 / (1 + s) on the range of Q and 1 / s beside it
        wide = per_sample(shift, rhs, self.domain.rank)
        return (rhs - self._forward(rhs) / (1 + wide)) / wide


def _hartley(x: Tensor) -> Tensor:
    """Return the orthonormal Hartley transform of the last axis, real, symmetric and its own inverse."""
    spectrum = torch.fft.fft(x, norm="ortho")
    return spectrum.real - spectrum.imag
