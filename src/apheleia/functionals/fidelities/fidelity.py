"""Fidelity: how far A x is from the data, as a loss on the data's side composed with the data formation."""

from __future__ import annotations

import numpy
import torch
from torch import Tensor

from apheleia.core.bound import Bound
from apheleia.core.errors import ArgumentError, ShapeError
from apheleia.core.interop import ArrayLike, as_tensor
from apheleia.core.space import Space, expand_batch, per_sample
from apheleia.functionals.functional import Functional
from apheleia.operators.bilinear_map import BilinearMap
from apheleia.operators.linear import LinearOperator
from apheleia.operators.operator import Operator, register
from apheleia.operators.segment import Segment

__all__ = ["DataLoss", "Fidelity", "data_space"]


def data_space(A: Operator, who: str) -> Space:
    """Return where the data of an operator live.

    Raises
    ------
    ArgumentError
        If A is no operator.
    """
    if not isinstance(A, Operator):
        hint = "A matrix is operators.Matrix(M)." if isinstance(A, numpy.ndarray | Tensor) else "Derive one from Operator."
        raise ArgumentError(f"{who}: `A` must be an operator, {who}(A, y); got {type(A).__name__}. {hint}")
    return A.codomain


class DataLoss(Functional):
    """A loss z -> loss(z, y) on the data's side; a subclass writes its value, and where it can its proximal map and conjugate.

    Parameters
    ----------
    y : Tensor or ndarray, (*batch, *codomain)
        The data, floating-point and finite.
    space : Space
        The codomain of the data formation; the data fix the sizes that it leaves open.
    who : str
        The fidelity, for messages.

    Raises
    ------
    ShapeError
        If the data do not live in the space, or hold numbers that are not finite.
    """

    y: Tensor

    def __init__(self, y: ArrayLike, space: Space, who: str) -> None:
        values = space.check(as_tensor(y, who, "y"), who, "y")
        if not bool(values.detach().isfinite().all()):
            bad = int((~values.detach().isfinite()).sum())
            raise ShapeError(f"{who}: `y` must be finite; got {bad} NaN or infinite values. Mask them with operators.Diagonal.")
        super().__init__(Space(tuple(values.shape[values.ndim - space.rank :]), space.is_complex))
        register(self, "y", values)

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """Batch axes of its own parameters."""
        return self.space.batch_shape(self.y)

    def _target(self) -> Tensor:
        """Return about where the loss is least, (*batch, *space): the data, where they have the units of z."""
        return self.y

    def _data(self, z: Tensor) -> Tensor:
        """Return y in the precision of z."""
        return self.y.to(z.dtype if self.y.is_complex() or not z.is_complex() else z.real.dtype)


class Fidelity(Functional):
    """x -> loss(A x, y), called (A, y, ...); a subclass gives its loss and its text.

    Parameters
    ----------
    A : Operator
        How data are formed; a non-linear one makes the fidelity non-convex.
    y : Tensor or ndarray, (*batch, *codomain)
        The data.
    loss : DataLoss
        The loss on the data's side.
    """

    def __init__(self, A: Operator, y: ArrayLike, loss: DataLoss) -> None:
        # the data fix the sizes, so that a signal of another size is refused and never broadcast
        super().__init__(Space(A.input_shape(tuple(loss.y.shape[loss.y.ndim - loss.space.rank :])), A.domain.is_complex))
        self.A = A
        self.loss = loss
        self._from_numpy = not isinstance(y, Tensor)
        self.is_convex = isinstance(A, LinearOperator) and loss.is_convex
        self.is_smooth = isinstance(A, LinearOperator) and loss.is_smooth

    @property
    def y(self) -> Tensor:
        """The data, (*batch, *codomain)."""
        return self.loss.y

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """Batch axes of its own parameters."""
        return self.loss.batch_shape

    @property
    def is_from_numpy(self) -> bool:
        """Whether it was made from ndarrays."""
        return self._from_numpy

    @property
    def is_differentiable(self) -> bool:
        """Whether it has a gradient everywhere, as its loss has; Lipschitz only where A is linear."""
        return self.loss.is_differentiable

    @property
    def has_linearised_hessian(self) -> bool:
        """Whether its loss is a convex quadratic, for any A."""
        return self.loss.has_linearised_hessian

    @property
    def split(self) -> tuple[Functional, LinearOperator] | None:
        """The pair (h, K) with value h(K x)."""
        return (self.loss, self.A) if isinstance(self.A, LinearOperator) and self.loss.is_proximable else None

    @property
    def blocks(self) -> tuple[Segment, ...]:
        """The two factors of a bilinear A, where the loss is smooth."""
        return self.A.blocks if isinstance(self.A, BilinearMap) and self.loss.is_smooth else ()

    @property
    def signal_shape(self) -> tuple[int, ...]:
        """Signal shape of x, without batch axes, as the data and the operator have it."""
        return self._fixed(None)

    def _value(self, x: Tensor) -> Tensor:
        return self.loss._value(self.A._forward(x))

    def _grad(self, x: Tensor) -> Tensor:
        return self.A._vjp(x, self.loss._grad(self.A._forward(x)))

    def _restricted(self, block: Segment, x: Tensor) -> Functional:
        if not isinstance(self.A, BilinearMap):
            return super()._restricted(block, x)
        index = [own.place for own in self.A.blocks].index(block.place)
        return self.loss @ (self.A._partial(index, x) @ self.A.blocks[index].shaping)

    def _linearised_hessian(self, x: Tensor) -> LinearOperator:
        J = self.A.linearize(x)
        return J.H @ self.loss._hessian(self.A.output_shape(tuple(x.shape[x.ndim - self.space.rank :]))) @ J

    def _smoothness(self, shape: tuple[int, ...]) -> Bound:
        inner = self.loss._smoothness(self.A.output_shape(shape))
        return Bound.product([inner, self._linear().norm(shape).squared()], "product")

    def _strong_convexity(self, shape: tuple[int, ...]) -> Bound:
        inner = self.loss._strong_convexity(self.A.output_shape(shape))
        return Bound.product([inner, self._linear().smallest_singular_value(shape).squared()], "product", side="lower")

    def _linear(self) -> LinearOperator:
        if not isinstance(self.A, LinearOperator):
            raise ShapeError(f"{self.name}: this needs a linear A; {self.A.name} is not.")
        return self.A

    def start(self, shape: tuple[int, ...] | None = None) -> Tensor | None:
        """Return the back-projection A^H y with the scale that fits the data best, (*batch, *space)."""
        if not isinstance(self.A, LinearOperator):
            return None
        y = expand_batch(self.loss._target(), self.batch_shape, self.A.codomain.rank)
        A = self.A.prepared(self.signal_shape, y.dtype)
        x = A._adjoint(y)
        image = A._forward(x)
        energy = self.A.codomain.inner(image, image)
        scale = self.A.codomain.inner(image, y) / torch.where(energy > 0, energy, 1.0)
        return per_sample(scale, x, self.space.rank) * x
