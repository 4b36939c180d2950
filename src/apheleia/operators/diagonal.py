"""Multiplication by a diagonal: masks (inpainting), gains, weights."""

from __future__ import annotations

from typing import final

from torch import Tensor

from apheleia.core.bound import Bound
from apheleia.core.errors import ShapeError
from apheleia.core.interop import ArrayLike, as_tensor, check_finite, is_floating
from apheleia.core.space import IMAGE, Space, per_sample
from apheleia.operators.linear import LinearOperator
from apheleia.operators.operator import register
from apheleia.operators.transforms import RANK, Basis

__all__ = ["Diagonal"]


@final
class Diagonal(LinearOperator):
    """x -> d * x, entry by entry; a mask of zeros and ones makes inpainting.

    Parameters
    ----------
    diagonal : Tensor or ndarray
        The factors d, real or (in a complex space) complex, broadcastable to the signals; booleans count as 0 and 1.
        Axes before the signal's ones are batch axes, one diagonal an image.
    space : Space, default images of any size
        Domain and codomain.

    Raises
    ------
    ShapeError
        If d does not fit the space.
    ArgumentError
        If d is not finite.

    Notes
    -----
    Certificate: norm max |d| and smallest singular value min |d|, exact.

    Examples
    --------
    >>> import torch
    >>> mask = torch.tensor([[[1.0, 0.0], [1.0, 1.0]]])
    >>> Diagonal(mask)(torch.ones(1, 2, 2))[0]
    tensor([[1., 0.],
            [1., 1.]])
    """

    diagonal: Tensor
    has_shifted_solve = True
    has_gram_solve = True

    def __init__(self, diagonal: ArrayLike, space: Space = IMAGE) -> None:
        d = as_tensor(diagonal, "Diagonal", "diagonal")
        if not is_floating(d):
            d = d.double()
        check_finite(d, "Diagonal", "diagonal", "Zero masks a number of the signal.")
        if d.is_complex() and not space.is_complex:
            raise ShapeError("Diagonal: complex factors need a complex space; got a real one.")
        own = tuple(d.shape[max(d.ndim - space.rank, 0) :])
        fits = all(a in (1, b) or b is None for a, b in zip(own[::-1], space.shape[::-1], strict=False))
        if not fits:
            raise ShapeError(f"Diagonal: `diagonal` must broadcast to ({space}); got {tuple(d.shape)}.")
        # a factor of size n > 1 fixes that axis of the signals; size 1 leaves it free
        sizes = (1,) * (space.rank - len(own)) + own
        shape = tuple(b if b is not None else (a if a > 1 else None) for a, b in zip(sizes, space.shape, strict=True))
        super().__init__(Space(shape, space.is_complex), Space(shape, space.is_complex))
        register(self, "diagonal", d)
        # max |d|^2 times the identity, which is diagonal in every basis
        self.gram_majorants = ("cosine", "fourier") if self.domain.rank == 3 and not space.is_complex else ()
        self.is_non_negative = not d.is_complex() and not d.requires_grad and bool((d >= 0).all())

    @property
    def absolute(self) -> LinearOperator | None:
        """The multiplication by |d|."""
        return Diagonal(self.diagonal.detach().abs(), self.domain)

    def _values(self, x: Tensor) -> Tensor:
        return self.diagonal.to(x.dtype if self.diagonal.is_complex() else x.real.dtype)  # a complex space: x is complex

    def _forward(self, x: Tensor) -> Tensor:
        return self._values(x) * x

    def _adjoint(self, y: Tensor) -> Tensor:
        return self._values(y).conj() * y

    def _extreme(self, largest: bool, how: str) -> Bound:
        size = self.diagonal.abs()
        axes = tuple(range(-min(size.ndim, self.domain.rank), 0))
        value = size if not axes else size.amax(axes) if largest else size.amin(axes)
        return Bound(value, "exact", how)

    def _norm(self, shape: tuple[int, ...] | None) -> Bound | None:
        return self._extreme(True, "maximum of |d|")

    def _smallest_singular_value(self, shape: tuple[int, ...]) -> Bound | None:
        return self._extreme(False, "minimum of |d|")

    def _gram(self) -> LinearOperator:
        return Diagonal(self.diagonal.abs() ** 2, self.domain)

    def _gram_eigenvalues(self, basis: Basis, shape: tuple[int, ...]) -> Tensor:
        largest = self._extreme(True, "maximum of |d|").value ** 2
        return largest[(...,) + (None,) * RANK[basis]]

    def _add_gram_excess(self, basis: Basis, x: Tensor, weight: Tensor, out: Tensor) -> None:
        squares = self._values(x) ** 2
        largest = self._extreme(True, "maximum of |d|").value ** 2
        out.add_(weight * (largest[(...,) + (None,) * self.domain.rank].to(x.dtype) - squares) * x)

    def _shifted_solve(self, rhs: Tensor, shift: Tensor | float) -> Tensor:
        return rhs / (self._values(rhs) + per_sample(shift, rhs, self.domain.rank))
