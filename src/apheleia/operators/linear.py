"""LinearOperator and its lazy algebra: A @ B, A + B, c * A, A.H, A.gram, stack, dense."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial, reduce
from typing import final

import numpy
import torch
from torch import Tensor, nn

from apheleia.core.bound import Bound
from apheleia.core.errors import ArgumentError, CapabilityError, ShapeError
from apheleia.core.interop import ArrayLike, accepts_numpy, as_tensor
from apheleia.core.space import Space, as_shape, as_wide, per_sample
from apheleia.operators.norm import power_iteration, schur_bound
from apheleia.operators.operator import Operator, register
from apheleia.operators.transforms import RANK, Basis, transform

__all__ = ["LinearOperator", "stack"]


class LinearOperator(Operator):
    """A linear map A; a subclass writes `_forward`, and the exact adjoint follows unless it brings a faster one.

    Hooks that a subclass may add: `_adjoint(y)`, `_norm(shape)`, `_smallest_singular_value(shape)`, `_gram()`,
    `_shifted_solve(rhs, shift)` with `has_shifted_solve`, `_gram_eigenvalues(basis, shape)` with `gram_bases`,
    `_add_gram_excess(basis, x, weight, out)` with `gram_majorants`, `_gram_preconditioner(shape, shift)`,
    `_output_shape(shape)`, `_input_shape(shape)`, `absolute` and `prepared(shape, dtype)`.
    """

    is_orthonormal: bool = False
    """Whether A^H A = A A^H = I."""

    has_orthonormal_rows: bool = False
    """Whether A A^H = I: a selection, such as a crop. An orthonormal operator has them too and need not say so."""

    is_non_negative: bool = False
    """Whether every entry of the matrix is non-negative, which gives a safe bound on the norm."""

    has_shifted_solve: bool = False
    """Whether (A + s I)^{-1} has a closed form, for a self-adjoint positive semi-definite A."""

    has_gram_solve: bool = False
    """Whether `prepared(...).gram` has a closed-form shifted inverse: then |A x - y|^2 has an exact proximal map."""

    gram_bases: tuple[Basis, ...] = ()
    """Bases of real images in which A^H A is diagonal, with the eigenvalues that `_gram_eigenvalues` returns."""

    gram_majorants: tuple[Basis, ...] = ()
    """Bases in which A^H A is not diagonal but at most a diagonal M, with `_gram_eigenvalues` of M, all above zero where A^H A
    is not zero, and `_add_gram_excess` where it is cheap."""

    has_proved_majorants: bool = True
    """Whether A^H A <= M is proved; else M was measured."""

    def _gram_eigenvalues(self, basis: Basis, shape: tuple[int, ...]) -> Tensor:
        """Return the eigenvalues of A^H A, or of M, for images of `shape`, broadcasting with the coefficients of that basis."""
        raise CapabilityError(f"{self.name} declares to be diagonal and does not write `_gram_eigenvalues`.")

    def _add_gram_excess(self, basis: Basis, x: Tensor, weight: Tensor, out: Tensor) -> None:
        """Add weight (M - A^H A) x, which is positive semi-definite, to `out` in place; weight broadcasts with x."""
        change = transform(basis, (x.shape[-2], x.shape[-1]))
        above = change.synthesise(self._gram_eigenvalues(basis, tuple(x.shape[-3:])).to(x.real.dtype) * change.analyse(x))
        out.add_(weight * (above - self.gram._forward(x)))

    def _gram_preconditioner(self, shape: tuple[int, ...], shift: Tensor) -> Callable[[Tensor], Tensor] | None:
        """Return r -> P r, self-adjoint positive definite and near (A^H A + shift I)^{-1}, shift of shape (*batch,), or None."""
        return None

    def _adjoint(self, y: Tensor) -> Tensor:
        shape = self._input_shape(tuple(y.shape[y.ndim - self.codomain.rank :]))
        batch = y.shape[: y.ndim - self.codomain.rank]
        dtype = y.dtype.to_complex() if self.domain.is_complex else y.real.dtype
        # a linear map equals its derivative, so its vector-Jacobian product anywhere, here at 0, is the adjoint
        return torch.func.vjp(self._forward, torch.zeros(*batch, *shape, dtype=dtype, device=y.device))[1](y)[0]

    def _norm(self, shape: tuple[int, ...] | None) -> Bound | None:
        """Return an exact norm or a safe bound for signals of `shape`, or None where none is known."""
        return None

    def _smallest_singular_value(self, shape: tuple[int, ...]) -> Bound | None:
        return None

    def _gram(self) -> LinearOperator:
        return _Composition(self.H, self)

    def _shifted_solve(self, rhs: Tensor, shift: Tensor | float) -> Tensor:
        raise CapabilityError(f"{self.name} has no closed-form shifted inverse. Use operators.conjugate_gradient.")

    def prepared(self, shape: tuple[int, ...], dtype: torch.dtype) -> LinearOperator:
        """Return the same operator with all that depends only on the signal's shape and precision computed once."""
        return self

    @final
    @accepts_numpy
    def adjoint(self, y: Tensor) -> Tensor:
        """Return A^H y, shape (*batch, *domain): <A x, y> = <x, A^H y> for the inner product Re<., .>.

        Raises
        ------
        ShapeError
            If `y` does not live in the codomain.
        """
        return self._adjoint(self.codomain.check(y, f"{self.name}.adjoint", "y"))

    def _jvp(self, x: Tensor, v: Tensor) -> Tensor:
        return self._forward(v)

    def _vjp(self, x: Tensor, w: Tensor) -> Tensor:
        return self._adjoint(w)

    def linearize(self, x: Tensor) -> LinearOperator:
        """Return the derivative at `x`: a linear operator is its own, everywhere."""
        return self

    @property
    def H(self) -> LinearOperator:
        """The adjoint operator; A.H.H is A."""
        return _Adjoint(self)

    @property
    def gram(self) -> LinearOperator:
        """The self-adjoint positive semi-definite operator A^H A."""
        return self._gram()

    @property
    def absolute(self) -> LinearOperator | None:
        """An operator with real entries of at least |A_ij|: those themselves, unless A is a sum, a composition or folds at edges.

        None where none is known.
        """
        return self if self.is_non_negative else None

    def absolute_sums(self, shape: tuple[int, ...]) -> tuple[Tensor, Tensor] | None:
        """Return the sums of |A_ij| over rows, (*batch, *codomain), and over columns, (*batch, *domain), for signals of `shape`.

        In float64, without derivatives; upper bounds where `absolute` is one, and None where that is.
        """
        absolute = self.absolute
        if absolute is None:
            return None
        with torch.no_grad():
            sides = ((shape, self.domain), (self._output_shape(shape), self.codomain))
            ones, image = (
                torch.ones(size, dtype=torch.complex128 if space.is_complex else torch.float64, device=self._device())
                for size, space in sides
            )
            return absolute._forward(ones).real, absolute._adjoint(image).real

    @final
    def norm(self, shape: tuple[int, ...] | None = None) -> Bound:
        """Return |A|, the largest singular value, with its pedigree; deterministic and not cached.

        Parameters
        ----------
        shape : tuple of int, optional
            Signal shape of the domain, without batch axes, where the operator works on any size.

        Returns
        -------
        Bound
            Exact or upper where structure gives one; otherwise the estimate of a power iteration, which proves nothing.

        Raises
        ------
        ArgumentError
            If the norm depends on a size that is not known.
        """
        shape = self._known_shape(shape)
        bound = self._norm(shape)
        if bound is not None:
            return bound
        if shape is None:
            raise ArgumentError(f"{self.name}.norm: the norm depends on the image size; give shape=({self.domain}).")
        space = Space(shape, self.domain.is_complex)
        sums = self.absolute_sums(shape) if self.is_non_negative else None
        if sums is not None:
            return schur_bound(*sums, space, self.codomain)
        return power_iteration(lambda x: self._adjoint(self._forward(x)), space, self._device())

    @final
    def smallest_singular_value(self, shape: tuple[int, ...] | None = None) -> Bound:
        """Return a lower bound of min |A x| / |x|; zero, which is always safe, where nothing better is known."""
        shape = self._known_shape(shape)
        bound = None if shape is None else self._smallest_singular_value(shape)
        return Bound(0.0, "lower", "nothing known") if bound is None else bound

    @final
    @accepts_numpy
    def shifted_solve(self, rhs: Tensor, shift: Tensor | float) -> Tensor:
        """Return (A + shift I)^{-1} rhs in closed form, for self-adjoint positive semi-definite A.

        Parameters
        ----------
        rhs : Tensor, (*batch, *domain)
            Right-hand side.
        shift : float or Tensor, (*batch,)
            Above zero, or zero where A is invertible.

        Raises
        ------
        CapabilityError
            If there is no closed form (see `has_shifted_solve`).
        """
        return self._shifted_solve(self.domain.check(rhs, f"{self.name}.shifted_solve", "rhs"), shift)

    def dense(self, shape: tuple[int, ...] | None = None, dtype: torch.dtype = torch.float64) -> Tensor:
        """Return the matrix of A, (codomain size, domain size); for small sizes and for tests."""
        shape = self._known_shape(shape)
        if shape is None:
            raise ArgumentError(f"{self.name}.dense: give shape=({self.domain}).")
        size = math.prod(shape)
        basis = torch.eye(size, dtype=dtype.to_complex() if self.domain.is_complex else dtype, device=self._device())
        columns = self._forward(basis.reshape(size, *shape))
        return columns.reshape(size, -1).T

    __array_ufunc__ = None  # an ndarray on the left leaves the product to __rmul__

    def __matmul__(self, other: LinearOperator) -> LinearOperator:
        if not isinstance(other, LinearOperator):
            if isinstance(other, Tensor | numpy.ndarray):
                raise ArgumentError(f"{self.name} @ array: `@` joins two operators. Call one to apply it: A(x), A.adjoint(y).")
            raise ArgumentError(f"{self.name} @ ...: `@` joins two linear operators; got {type(other).__name__}.")
        if not self.domain.accepts(other.codomain.shape):
            raise ShapeError(
                f"{self.name} @ {other.name}: the left one takes ({self.domain}), the right one gives ({other.codomain})."
            )
        if other.codomain.is_complex and not self.domain.is_complex:
            raise ShapeError(f"{self.name} @ {other.name}: the left one takes real signals, the right one gives complex ones.")
        return _Composition(self, other)

    def __add__(self, other: LinearOperator) -> LinearOperator:
        if not isinstance(other, LinearOperator):
            raise ArgumentError(
                f"{self.name} + ...: `+` joins two linear operators; got {type(other).__name__}. A number is c * Identity()."
            )
        return _Sum(self, other)

    def __sub__(self, other: LinearOperator) -> LinearOperator:
        return self + (-1.0 * other if isinstance(other, LinearOperator) else other)

    def __neg__(self) -> LinearOperator:
        return (-1.0) * self

    def __rmul__(self, factor: ArrayLike | complex) -> LinearOperator:
        return _Scaled(factor, self)

    def __mul__(self, factor: ArrayLike | complex) -> LinearOperator:
        return _Scaled(factor, self)

    def _known_shape(self, shape: tuple[int, ...] | None) -> tuple[int, ...] | None:
        if shape is not None:
            shape = as_shape(shape, self.name, "shape")
            if not self.domain.accepts(shape):
                raise ShapeError(f"{self.name}: signals must have shape ({self.domain}); got {shape}.")
            return shape
        return tuple(self.domain.shape) if self.domain.is_fixed else None  # type: ignore[return-value]

    def _device(self) -> torch.device | None:
        return next((t.device for t in (*self.parameters(), *self.buffers())), None)


@final
class _Adjoint(LinearOperator):
    """A^H."""

    def __init__(self, operator: LinearOperator) -> None:
        super().__init__(operator.codomain, operator.domain)
        self.operator = operator
        self.is_orthonormal = operator.is_orthonormal
        self.is_non_negative = operator.is_non_negative

    @property
    def name(self) -> str:
        return f"{self.operator.name}.H"

    @property
    def H(self) -> LinearOperator:
        return self.operator

    @property
    def absolute(self) -> LinearOperator | None:
        return _absolute(_Adjoint, self.operator)

    def _forward(self, x: Tensor) -> Tensor:
        return self.operator._adjoint(x)

    def _adjoint(self, y: Tensor) -> Tensor:
        return self.operator._forward(y)

    def _norm(self, shape: tuple[int, ...] | None) -> Bound | None:
        return self.operator._norm(None if shape is None else self.operator._input_shape(shape))

    def _output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return self.operator._input_shape(shape)

    def _input_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return self.operator._output_shape(shape)

    def prepared(self, shape: tuple[int, ...], dtype: torch.dtype) -> LinearOperator:
        return self.operator.prepared(self.operator._input_shape(shape), dtype).H


@final
class _Composition(LinearOperator):
    """x -> A(B(x))."""

    def __init__(self, left: LinearOperator, right: LinearOperator) -> None:
        super().__init__(right.domain, left.codomain)
        self.left = left
        self.right = right
        self.is_orthonormal = left.is_orthonormal and right.is_orthonormal
        self.is_non_negative = left.is_non_negative and right.is_non_negative
        # |L R x|^2 <= |L|^2 |R x|^2: of masks and samplings after a blur, a bound that serves; those have majorants
        self.gram_majorants = (
            right.gram_bases + right.gram_majorants if left.gram_majorants and left.domain.rank == left.codomain.rank else ()
        )
        proved = left.has_proved_majorants and right.has_proved_majorants
        # a norm may be dear to compute: only a majorant asks for it
        self.has_proved_majorants = proved and (not self.gram_majorants or _has_proved_norm(left))

    @property
    def name(self) -> str:
        return f"({self.left.name} @ {self.right.name})"

    @property
    def absolute(self) -> LinearOperator | None:
        return _absolute(_Composition, self.left, self.right)

    def _forward(self, x: Tensor) -> Tensor:
        # both directions check between the two parts: a wrong size must not broadcast silently
        return self.left._forward(self.left.domain.check(self.right._forward(x), self.left.name, "x"))

    def _adjoint(self, y: Tensor) -> Tensor:
        back = self.left._adjoint(y)
        if back.is_complex() and not self.right.codomain.is_complex:
            back = back.real  # the adjoint of regarding real signals as complex ones
        return self.right._adjoint(self.right.codomain.check(back, f"{self.right.name}.adjoint", "y"))

    def _gram_eigenvalues(self, basis: Basis, shape: tuple[int, ...]) -> Tensor:
        values = self.right._gram_eigenvalues(basis, shape)
        return as_wide(self.left.norm(self.right._output_shape(shape)).value ** 2, values, RANK[basis]) * values

    def _norm(self, shape: tuple[int, ...] | None) -> Bound | None:
        right = self.right._norm(shape)
        left = self.left._norm(None if shape is None else self.right._output_shape(shape))
        return None if left is None or right is None else Bound.product([left, right], "product")

    def _smallest_singular_value(self, shape: tuple[int, ...]) -> Bound | None:
        right = self.right._smallest_singular_value(shape)
        left = self.left._smallest_singular_value(self.right._output_shape(shape))
        return None if left is None or right is None else Bound.product([left, right], "product", side="lower")

    def _output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return self.left._output_shape(self.right._output_shape(shape))

    def _input_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return self.right._input_shape(self.left._input_shape(shape))

    def prepared(self, shape: tuple[int, ...], dtype: torch.dtype) -> LinearOperator:
        return _Composition(self.left.prepared(self.right._output_shape(shape), dtype), self.right.prepared(shape, dtype))


@final
class _Sum(LinearOperator):
    """x -> A(x) + B(x)."""

    def __init__(self, left: LinearOperator, right: LinearOperator) -> None:
        domain = _common(left.domain, right.domain, f"{left.name} + {right.name}", "domains")
        super().__init__(domain, _common(left.codomain, right.codomain, f"{left.name} + {right.name}", "codomains"))
        self.left = left
        self.right = right
        self.is_non_negative = left.is_non_negative and right.is_non_negative

    @property
    def name(self) -> str:
        return f"({self.left.name} + {self.right.name})"

    @property
    def absolute(self) -> LinearOperator | None:
        return _absolute(_Sum, self.left, self.right)

    def _forward(self, x: Tensor) -> Tensor:
        return self.left._forward(x) + self.right._forward(x)

    def _adjoint(self, y: Tensor) -> Tensor:
        return self.left._adjoint(y) + self.right._adjoint(y)

    def _norm(self, shape: tuple[int, ...] | None) -> Bound | None:
        left, right = self.left._norm(shape), self.right._norm(shape)
        return None if left is None or right is None else Bound.sum([left, right], "sum")

    def _output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return self.left._output_shape(shape)

    def _input_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return self.left._input_shape(shape)

    def prepared(self, shape: tuple[int, ...], dtype: torch.dtype) -> LinearOperator:
        return _Sum(self.left.prepared(shape, dtype), self.right.prepared(shape, dtype))


@final
class _Scaled(LinearOperator):
    """x -> c A(x), with one factor a sample where c has shape (*batch,)."""

    factor: Tensor

    def __init__(self, factor: ArrayLike | complex, operator: LinearOperator) -> None:
        super().__init__(operator.domain, operator.codomain)
        register(self, "factor", as_tensor(factor, operator.name, "factor"))
        if self.factor.is_complex() and not (operator.domain.is_complex and operator.codomain.is_complex):
            raise ArgumentError(f"{operator.name}: a complex factor needs a complex domain and codomain.")
        self.operator = operator
        real = not self.factor.is_complex() and not self.factor.requires_grad
        self.is_non_negative = operator.is_non_negative and real and bool((self.factor >= 0).all())
        self.has_shifted_solve = operator.has_shifted_solve and real and bool((self.factor > 0).all())
        self.has_gram_solve = operator.has_gram_solve and real and bool((self.factor != 0).all())
        self.gram_bases = operator.gram_bases
        self.gram_majorants = operator.gram_majorants
        self.has_proved_majorants = operator.has_proved_majorants

    @property
    def name(self) -> str:
        return f"({self.factor.item():.4g} * {self.operator.name})" if self.factor.ndim == 0 else f"(c * {self.operator.name})"

    def _times(self, factor: Tensor, x: Tensor, rank: int) -> Tensor:
        return _broadcast(factor, x, rank) * x

    @property
    def absolute(self) -> LinearOperator | None:
        return _absolute(partial(_Scaled, self.factor.detach().abs()), self.operator)

    def _forward(self, x: Tensor) -> Tensor:
        return self._times(self.factor, self.operator._forward(x), self.codomain.rank)

    def _adjoint(self, y: Tensor) -> Tensor:
        return self._times(self.factor.conj(), self.operator._adjoint(y), self.domain.rank)

    def _norm(self, shape: tuple[int, ...] | None) -> Bound | None:
        bound = self.operator._norm(shape)
        return None if bound is None else bound.scaled(self.factor.abs(), "times |c|")

    def _smallest_singular_value(self, shape: tuple[int, ...]) -> Bound | None:
        bound = self.operator._smallest_singular_value(shape)
        return None if bound is None else bound.scaled(self.factor.abs(), "times |c|")

    def _shifted_solve(self, rhs: Tensor, shift: Tensor | float) -> Tensor:
        # (c A + s I)^{-1} = (A + (s/c) I)^{-1} / c
        scaled = self._times(1 / self.factor, rhs, self.domain.rank)
        return self.operator._shifted_solve(scaled, shift / self.factor)

    def _gram(self) -> LinearOperator:
        return _Scaled(self.factor.abs() ** 2, self.operator.gram)

    def _gram_eigenvalues(self, basis: Basis, shape: tuple[int, ...]) -> Tensor:
        values = self.operator._gram_eigenvalues(basis, shape)
        return as_wide(self.factor.abs() ** 2, values, RANK[basis]) * values

    def _add_gram_excess(self, basis: Basis, x: Tensor, weight: Tensor, out: Tensor) -> None:
        self.operator._add_gram_excess(basis, x, as_wide(self.factor.abs() ** 2, x, self.domain.rank) * weight, out)

    def _gram_preconditioner(self, shape: tuple[int, ...], shift: Tensor) -> Callable[[Tensor], Tensor] | None:
        # (|c|^2 Q + s I)^{-1} = (Q + s / |c|^2 I)^{-1} / |c|^2
        square = self.factor.detach().abs() ** 2
        inner = self.operator._gram_preconditioner(shape, shift / square) if bool((square > 0).all()) else None
        return None if inner is None else lambda r: inner(r / as_wide(square, r, self.domain.rank))

    def _output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return self.operator._output_shape(shape)

    def _input_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return self.operator._input_shape(shape)

    def prepared(self, shape: tuple[int, ...], dtype: torch.dtype) -> LinearOperator:
        return _Scaled(self.factor, self.operator.prepared(shape, dtype))


@final
class _Stack(LinearOperator):
    """x -> (A_1 x, ..., A_k x) along a new first signal axis."""

    def __init__(self, operators: Sequence[LinearOperator]) -> None:
        who = "stack"
        domain = reduce(lambda a, b: _common(a, b, who, "domains"), [op.domain for op in operators])
        codomain = reduce(lambda a, b: _common(a, b, who, "codomains"), [op.codomain for op in operators])
        super().__init__(domain, Space((len(operators), *codomain.shape), codomain.is_complex))
        self.operators = nn.ModuleList(operators)
        self.parts = tuple(operators)
        self.is_non_negative = all(op.is_non_negative for op in operators)

    @property
    def name(self) -> str:
        return "stack(" + ", ".join(op.name for op in self.parts) + ")"

    @property
    def absolute(self) -> LinearOperator | None:
        return _absolute(lambda *parts: _Stack(parts), *self.parts)

    def _forward(self, x: Tensor) -> Tensor:
        rows = torch.broadcast_tensors(*(op._forward(x) for op in self.parts))
        return torch.stack(rows, dim=-self.codomain.rank)

    def _adjoint(self, y: Tensor) -> Tensor:
        rows = y.unbind(-self.codomain.rank)
        return reduce(torch.add, [op._adjoint(row) for op, row in zip(self.parts, rows, strict=True)])

    def _norm(self, shape: tuple[int, ...] | None) -> Bound | None:
        bounds = [op._norm(shape) for op in self.parts]
        known = [b.squared() for b in bounds if b is not None]
        return Bound.sum(known, "sum of squares").root() if len(known) == len(bounds) else None

    def _smallest_singular_value(self, shape: tuple[int, ...]) -> Bound | None:
        bounds = [op.smallest_singular_value(shape).squared() for op in self.parts]
        return Bound.sum(bounds, "sum of squares", side="lower").root()

    def _output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (len(self.parts), *self.parts[0]._output_shape(shape))

    def _input_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return self.parts[0]._input_shape(shape[1:])

    def prepared(self, shape: tuple[int, ...], dtype: torch.dtype) -> LinearOperator:
        return _Stack([op.prepared(shape, dtype) for op in self.parts])


def stack(operators: Sequence[LinearOperator]) -> LinearOperator:
    """Stack operators on one domain along a new first signal axis, x -> (A_1 x, ..., A_k x).

    Parameters
    ----------
    operators : sequence of LinearOperator
        At least one; domains and codomains agree.

    Returns
    -------
    LinearOperator
        Its codomain is (k, *codomain); its norm is bounded by the root of the sum of squared norms.

    Raises
    ------
    ArgumentError
        If there is none, or something else.
    ShapeError
        If their spaces differ.
    """
    if not isinstance(operators, Sequence) or not all(isinstance(operator, LinearOperator) for operator in operators):
        raise ArgumentError(f"stack: give linear operators in a list, stack([A, B]); got {type(operators).__name__}.")
    if not operators:
        raise ArgumentError("stack: give at least one operator; got none.")
    return _Stack(operators)


def _absolute(join: Callable[..., LinearOperator], *operators: LinearOperator) -> LinearOperator | None:
    """Return what joins the absolutes of operators, |A + B| <= |A| + |B| and |A B| <= |A| |B|, or None where one is not known."""
    known = [absolute for absolute in (operator.absolute for operator in operators) if absolute is not None]
    return join(*known) if len(known) == len(operators) else None


def _has_proved_norm(operator: LinearOperator) -> bool:
    """Return whether the norm is a safe bound whatever the size of the signal."""
    bound = operator._norm(None)
    return bound is not None and bound.is_upper


def _broadcast(factor: Tensor, x: Tensor, rank: int) -> Tensor | float:
    if factor.is_complex():
        return factor.to(x.dtype.to_complex())[(...,) + (None,) * rank]  # a complex space: x is complex
    return per_sample(factor, x, rank)


def _common(first: Space, second: Space, who: str, what: str) -> Space:
    """Return the space that fixes every size that either of the two fixes."""
    if not first.accepts(second.shape) or first.is_complex != second.is_complex:
        raise ShapeError(f"{who}: the {what} differ, ({first}) and ({second}).")
    merged = tuple(a if a is not None else b for a, b in zip(first.shape, second.shape, strict=True))
    return Space(merged, first.is_complex)
