"""Least squares: the negative log-likelihood of Gaussian noise."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from apheleia.core.bound import Bound
from apheleia.core.errors import ArgumentError
from apheleia.core.interop import ArrayLike, as_tensor
from apheleia.core.space import Space, as_wide, batch_shape, expand_batch, per_sample
from apheleia.functionals.fidelities.fidelity import DataLoss, Fidelity, data_space
from apheleia.functionals.fidelities.regularised_system import RegularisedSystem
from apheleia.functionals.functional import Functional
from apheleia.operators.identity import Identity
from apheleia.operators.linear import LinearOperator
from apheleia.operators.operator import Operator, register
from apheleia.operators.transforms import RANK, Basis

__all__ = ["LeastSquares", "SquaredDistance"]


@final
class SquaredDistance(DataLoss):
    """z -> 1/2 |z - y|^2 / noise_std^2.

    Parameters
    ----------
    y : Tensor or ndarray, (*batch, *space)
        The data.
    space : Space
        Where they live.
    noise_std : float or Tensor, (*batch,), optional
        Standard deviation of the noise, above zero, in the units of y; 1 by default.

    Raises
    ------
    ArgumentError
        If a standard deviation is not above zero.
    """

    noise_std: Tensor
    is_convex = True
    is_smooth = True
    is_quadratic = True
    is_proximable = True
    has_exact_prox = True
    coupled_axes = ()
    has_conjugate = True
    is_strongly_convex = True

    def __init__(self, y: ArrayLike, space: Space, noise_std: float | ArrayLike | None = None) -> None:
        super().__init__(y, space, "LeastSquares")
        value = as_tensor(1.0 if noise_std is None else noise_std, "LeastSquares", "noise_std")
        if not bool((value.detach() > 0).all() and value.detach().isfinite().all()):
            raise ArgumentError(f"LeastSquares: `noise_std` must be above zero; got {noise_std!r}. Leave it out for weight 1.")
        register(self, "noise_std", value)

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """Batch axes of its own parameters."""
        return batch_shape(self.space.batch_shape(self.y), tuple(self.noise_std.shape), who="LeastSquares")

    def precision(self, z: Tensor) -> Tensor:
        """Return 1 / noise_std^2 in the precision of z, (*batch,)."""
        return self.noise_std.to(z.real.dtype) ** -2

    def _wide(self, z: Tensor) -> Tensor | float:
        return per_sample(self.precision(z), z, self.space.rank)

    def _value(self, x: Tensor) -> Tensor:
        residual = x - self._data(x)
        return 0.5 * self.precision(x) * self.space.inner(residual, residual)

    def _grad(self, x: Tensor) -> Tensor:
        return self._wide(x) * (x - self._data(x))

    def _entrywise_prox(self, x: Tensor, steps: Tensor | float) -> Tensor:
        ratio = steps * self._wide(x)
        return (x + ratio * self._data(x)) / (1 + ratio)

    def _conjugate(self, u: Tensor) -> Tensor:
        return 0.5 * self.space.inner(u, u) / self.precision(u) + self.space.inner(u, self._data(u))

    def _constant(self, kind_how: str) -> Bound:
        return Bound(self.noise_std.detach().double() ** -2, "exact", kind_how)

    def _smoothness(self, shape: tuple[int, ...]) -> Bound:
        return self._constant("1 / noise_std^2")

    def _strong_convexity(self, shape: tuple[int, ...]) -> Bound:
        return self._constant("1 / noise_std^2")

    def _hessian(self, shape: tuple[int, ...]) -> LinearOperator:
        return self.noise_std.double() ** -2 * Identity(self.space)


@final
class LeastSquares(Fidelity):
    """x -> 1/2 |A x - y|^2 / noise_std^2, the negative log-likelihood of Gaussian noise.

    Parameters
    ----------
    A : Operator
        How data are formed.
    y : Tensor or ndarray, (*batch, *codomain)
        The data.
    noise_std : float or Tensor, (*batch,), optional
        Standard deviation of the noise, above zero, in the units of y; without one the term is 1/2 |A x - y|^2.

    Notes
    -----
    Certificate: smoothness |A|^2 / noise_std^2 of the kind of |A|; strong convexity min |A x|^2 / |x|^2 / noise_std^2.
    Exact proximal map where A has a closed-form Gram inverse (identity, diagonal, orthonormal, circular convolution); for any
    other linear A by preconditioned conjugate gradients from x, until their residual is 1e-10 of the first (1e-5 in float32)
    or after 1000 steps: `prox_and_gap` bounds what is missing. Its derivatives are those of the exact map.

    Examples
    --------
    >>> from apheleia.operators import Identity
    >>> LeastSquares(Identity(), torch.zeros(1, 2, 2), noise_std=2.0)(torch.ones(1, 2, 2))
    tensor(0.5000)
    """

    def __init__(self, A: Operator, y: ArrayLike, noise_std: float | ArrayLike | None = None) -> None:
        loss = SquaredDistance(y, data_space(A, "LeastSquares"), noise_std)
        super().__init__(A, y, loss)
        self.squared_distance = loss
        linear = isinstance(A, LinearOperator)
        self.is_quadratic = linear
        self.is_proximable = linear
        self.has_exact_prox = isinstance(A, LinearOperator) and A.has_gram_solve
        if isinstance(A, LinearOperator):
            self.hessian_bases = A.gram_bases
            self.hessian_majorants = A.gram_majorants
            self.has_proved_majorants = A.has_proved_majorants
            self.is_strongly_convex = A.smallest_singular_value(self.signal_shape).is_positive
        # only a well-conditioned inverse makes the conjugate on x's side a number worth having
        self.has_conjugate = isinstance(A, LinearOperator) and A.is_orthonormal

    @property
    def formula(self) -> str:
        """The term as a reader writes it."""
        std = self.squared_distance.noise_std.detach()
        divisor = "" if std.ndim == 0 and float(std) == 1 else f" / {float(std):.4g}²" if std.numel() == 1 else " / σ²"
        return f"1/2 |{'' if self.A.name == 'Identity' else 'A '}x - y|²{divisor}"

    def _prox(self, x: Tensor, step: Tensor | float) -> Tensor:
        if self.has_exact_prox:
            return self._prepared(self.signal_shape, x.dtype)._prox(x, step)
        # for one map alone the force A^H (y - A x) comes cheaper than by the Gram operator
        A = self._linear().prepared(self.signal_shape, x.dtype)
        ratio, shift = _ratio_and_shift(self.squared_distance, x, step)
        force = A._adjoint(self.loss._data(x) - A._forward(x))
        moved = x + RegularisedSystem(A, A.gram, shift, self.signal_shape).solve(force)
        return torch.where(as_wide(ratio, x, self.space.rank) > 0, moved, x)

    def _prox_and_gap(self, x: Tensor, step: Tensor | float, tol: float) -> tuple[Tensor, Tensor]:
        return self._prepared(self.signal_shape, x.dtype)._prox_and_gap(x, step, tol)

    def _conjugate(self, u: Tensor) -> Tensor:
        # A^H A = I: sup_x <x, u> - 1/2 |x - A^H y|^2 / s^2 - rest, where the rest is what A cannot reach of y
        inner = self._linear()._forward(u)
        return self.loss._conjugate(inner)

    def _hessian(self, shape: tuple[int, ...]) -> LinearOperator:
        return self.squared_distance.noise_std.double() ** -2 * self._linear().gram

    def _hessian_eigenvalues(self, basis: Basis, shape: tuple[int, ...]) -> Tensor:
        values = self._linear()._gram_eigenvalues(basis, shape)
        return as_wide(self.squared_distance.noise_std**-2, values, RANK[basis]) * values

    def prepared(self, shape: tuple[int, ...], dtype: torch.dtype) -> Functional:
        """Return the same object with all that depends only on shape and precision computed once."""
        return self._prepared(shape, dtype) if isinstance(self.A, LinearOperator) else self

    def _prepared(self, shape: tuple[int, ...], dtype: torch.dtype) -> _PreparedLeastSquares:
        return _PreparedLeastSquares(self, self._linear().prepared(shape, dtype), dtype)


@final
class _PreparedLeastSquares(Functional):
    """Least squares for signals of one shape, with its Gram operator and A^H y computed once."""

    backprojection: Tensor
    is_convex = True
    is_smooth = True
    is_quadratic = True

    def __init__(self, original: LeastSquares, A: LinearOperator, dtype: torch.dtype) -> None:
        super().__init__(A.domain)
        self.original = original
        self.A = A
        self.gram = A.gram
        # bounds are only as good as the precision they are computed in
        self.exact = A if dtype == torch.float64 else original._linear()
        self.loss = original.squared_distance
        self.is_proximable = original.is_proximable
        self.has_exact_prox = original.has_exact_prox
        self.has_conjugate = original.has_conjugate
        self.is_strongly_convex = original.is_strongly_convex
        self.hessian_bases = original.hessian_bases
        self.hessian_majorants = original.hessian_majorants
        self.has_proved_majorants = original.has_proved_majorants
        register(self, "backprojection", A._adjoint(original.y))

    @property
    def name(self) -> str:
        return self.original.name

    @property
    def formula(self) -> str:
        return self.original.formula

    @property
    def batch_shape(self) -> tuple[int, ...]:
        return self.original.batch_shape

    @property
    def split(self) -> tuple[Functional, LinearOperator] | None:
        return (self.loss, self.A)

    def _value(self, x: Tensor) -> Tensor:
        # through the residual itself: 1/2 <x, Q x> - <b, x> + c would cancel in float32
        return self.loss._value(self.A._forward(x))

    def _grad(self, x: Tensor) -> Tensor:
        residual = self.gram._forward(x) - self.backprojection.to(x.dtype)
        return per_sample(self.loss.precision(x), x, self.space.rank) * residual

    def _prox(self, x: Tensor, step: Tensor | float) -> Tensor:
        ratio, shift = _ratio_and_shift(self.loss, x, step)
        if not self.has_exact_prox:
            system = RegularisedSystem(self.A, self.gram, shift, self.original.signal_shape)
            moved = x + system.solve(self.backprojection.to(x.dtype) - self.gram._forward(x))
        else:
            rhs = torch.addcmul(self.backprojection.to(x.dtype), as_wide(shift, x, self.space.rank), x)
            moved = self.gram._shifted_solve(rhs, shift)
        return torch.where(as_wide(ratio, x, self.space.rank) > 0, moved, x)

    def _prox_and_gap(self, x: Tensor, step: Tensor | float, tol: float) -> tuple[Tensor, Tensor]:
        if self.has_exact_prox:
            return super()._prox_and_gap(x, step, tol)
        ratio, shift = _ratio_and_shift(self.loss, x, step)
        system = RegularisedSystem(self.A, self.gram, shift, self.original.signal_shape)
        force = self.backprojection.to(x.dtype) - self.gram._forward(x)
        width = step.to(x.real.dtype) if isinstance(step, Tensor) else step

        def accuracy(move: Tensor) -> tuple[Tensor, Tensor]:
            # |ratio residual| is the slope of step * F(u) + 1/2 |u - x|^2, which is 1-strongly convex: the gap is half its square
            gap = 0.5 * (ratio * self.space.norm(force - system.apply(move))) ** 2
            value = width * self._value(x + move) + 0.5 * self.space.inner(move, move)
            return torch.where(ratio > 0, gap, 0.0), value

        move, gap = system.solve_to_gap(force, accuracy, tol)
        return torch.where(as_wide(ratio, x, self.space.rank) > 0, x + move, x), gap

    def _conjugate(self, u: Tensor) -> Tensor:
        return self.original._conjugate(u)

    def _smoothness(self, shape: tuple[int, ...]) -> Bound:
        return Bound.product([self.loss._smoothness(shape), self.exact.norm(shape).squared()], "product")

    def _strong_convexity(self, shape: tuple[int, ...]) -> Bound:
        inner = self.loss._strong_convexity(shape)
        return Bound.product([inner, self.exact.smallest_singular_value(shape).squared()], "product", side="lower")

    def _hessian(self, shape: tuple[int, ...]) -> LinearOperator:
        return self.loss.noise_std.double() ** -2 * self.gram

    def _hessian_eigenvalues(self, basis: Basis, shape: tuple[int, ...]) -> Tensor:
        values = self.A._gram_eigenvalues(basis, shape)
        return as_wide(self.loss.noise_std**-2, values, RANK[basis]) * values

    def start(self, shape: tuple[int, ...] | None = None) -> Tensor | None:
        # as `Fidelity.start`, by the Gram operator: <A b, y> = |b|^2 and |A b|^2 = <b, Q b> for b = A^H y
        b = expand_batch(self.backprojection, self.batch_shape, self.space.rank)
        energy, square = self.space.inner(b, self.gram._forward(b)), self.space.inner(b, b)
        return per_sample(square / torch.where(energy > 0, energy, 1.0), b, self.space.rank) * b


def _ratio_and_shift(loss: SquaredDistance, x: Tensor, step: Tensor | float) -> tuple[Tensor, Tensor]:
    """Return step / noise_std^2 and its inverse s: the map solves (Q + s I) u = A^H y + s x, and leaves x at step zero."""
    ratio = (step * loss.precision(x)).to(x.real.dtype)
    return ratio, 1 / torch.where(ratio > 0, ratio, 1.0)
