"""Functional, a term of the objective, and its calculus: c * F, F + G, F @ K; predicates propagate through it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import reduce
from typing import final

import torch
from torch import Tensor, nn

from apheleia.core.bound import Bound
from apheleia.core.errors import ArgumentError, CapabilityError, ShapeError
from apheleia.core.interop import ArrayLike, accepts_numpy, as_tensor
from apheleia.core.space import IMAGE, Space, as_wide, batch_shape, common_space, per_sample
from apheleia.operators.linear import LinearOperator
from apheleia.operators.operator import register
from apheleia.operators.transforms import RANK, Basis

__all__ = ["Composition", "Functional", "Scaled", "Sum"]


class Functional(nn.Module, ABC):
    """A map from signals to energies, one a sample, with values in (-inf, +inf].

    A subclass writes `_value` and sets the predicates that hold; a proximable one writes `_prox`. The gradient of a smooth
    one follows exactly by automatic differentiation unless it writes `_grad`. Hooks that make certificates stronger:
    `_smoothness`, `_strong_convexity`, `_conjugate` with `_dual_scale`, `split`, `start`.

    Parameters
    ----------
    space : Space
        Where its argument lives; all axes before the signal's are batch axes.
    """

    is_convex: bool = False
    """Whether it is convex."""

    is_smooth: bool = False
    """Whether it is differentiable everywhere with a Lipschitz gradient."""

    is_quadratic: bool = False
    """Whether its gradient is affine; then `hessian` is a linear operator."""

    is_proximable: bool = False
    """Whether it has a proximal map."""

    has_exact_prox: bool = False
    """Whether its proximal map is exact up to rounding, and not the result of iterations."""

    hessian_bases: tuple[Basis, ...] = ()
    """Of a quadratic one: bases of real images in which its Hessian is diagonal."""

    has_conjugate: bool = False
    """Whether the value of its convex conjugate is known."""

    is_strongly_convex: bool = False
    """Whether it is strongly convex on its space."""

    def __init__(self, space: Space = IMAGE) -> None:
        super().__init__()
        self.space = space

    @property
    def name(self) -> str:
        """The name that messages use."""
        return type(self).__name__

    @property
    def formula(self) -> str:
        """The term as a reader writes it, for reports."""
        return f"{self.name}(x)"

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """Batch axes of its own parameters: data, weights, noise levels."""
        return ()

    @property
    def is_from_numpy(self) -> bool:
        """Whether it was made from ndarrays, so that answers are given back as ndarrays."""
        return False

    @property
    def is_differentiable(self) -> bool:
        """Whether it has a gradient everywhere, which need not be Lipschitz; every smooth one has."""
        return self.is_smooth

    @property
    def has_linearised_hessian(self) -> bool:
        """Whether it is a convex quadratic of a differentiable map: then `linearised_hessian` is a linear operator."""
        return self.is_quadratic and self.is_convex

    @property
    def parts(self) -> tuple[Functional, ...]:
        """The summands, for a sum; otherwise the functional alone."""
        return (self,)

    @property
    def split(self) -> tuple[Functional, LinearOperator] | None:
        """The pair (h, K) with value h(K x) and proximable h, where that serves algorithms better; else None."""
        return None

    @abstractmethod
    def _value(self, x: Tensor) -> Tensor:
        """Return the energy, (*batch,), for a checked tensor (*batch, *space)."""

    def _grad(self, x: Tensor) -> Tensor:
        return torch.func.grad(lambda point: self._value(point).sum())(x)

    def _prox(self, x: Tensor, step: Tensor | float) -> Tensor:
        raise CapabilityError(f"{self.name} declares a proximal map and does not write `_prox`.")

    def _conj_prox(self, u: Tensor, step: Tensor | float, weight: Tensor | float) -> Tensor:
        """Return the proximal map of step * (weight F)^* at u, by Moreau's identity."""
        wide = per_sample(step, u, self.space.rank)
        return u - wide * self._prox(u / wide, weight / step)

    def _conjugate(self, u: Tensor) -> Tensor:
        raise CapabilityError(f"{self.name} declares a conjugate and does not write `_conjugate`.")

    def _dual_scale(self, u: Tensor) -> Tensor:
        """Return the largest s in [0, 1] with s * u in the conjugate's domain, (*batch,)."""
        return torch.ones(self.space.batch_shape(u), dtype=u.real.dtype, device=u.device)

    def _smoothness(self, shape: tuple[int, ...]) -> Bound:
        raise CapabilityError(f"{self.name} declares to be smooth and does not write `_smoothness`.")

    def _strong_convexity(self, shape: tuple[int, ...]) -> Bound:
        return Bound(0.0, "lower", "convex")

    def _hessian(self, shape: tuple[int, ...]) -> LinearOperator:
        raise CapabilityError(f"{self.name} declares to be quadratic and does not write `_hessian`.")

    def _linearised_hessian(self, x: Tensor) -> LinearOperator:
        return self._hessian(tuple(x.shape[x.ndim - self.space.rank :]))

    def _hessian_eigenvalues(self, basis: Basis, shape: tuple[int, ...]) -> Tensor:
        """Return the eigenvalues of the Hessian for images of `shape`, broadcasting with the coefficients of that basis."""
        raise CapabilityError(f"{self.name} declares a diagonal Hessian and does not write `_hessian_eigenvalues`.")

    def prepared(self, shape: tuple[int, ...], dtype: torch.dtype) -> Functional:
        """Return the same functional with all that depends only on the signal's shape and precision computed once."""
        return self

    def start(self, shape: tuple[int, ...] | None = None) -> Tensor | None:
        """Return a sensible point to begin from, (*batch, *space), or None where the functional knows none."""
        return None

    @final
    @accepts_numpy
    def forward(self, x: Tensor) -> Tensor:
        """Return the energy of each sample, (*batch,).

        Raises
        ------
        ShapeError
            If `x` does not live in the space.
        """
        return self._value(self.space.check(x, self.name, "x"))

    @final
    @accepts_numpy
    def grad(self, x: Tensor) -> Tensor:
        """Return the gradient of the energy, (*batch, *space).

        Raises
        ------
        CapabilityError
            If it is not differentiable.
        """
        if not self.is_differentiable:
            raise CapabilityError(f"{self.name} is not smooth and has no gradient. Use its proximal map, or a smoothed version.")
        return self._grad(self.space.check(x, self.name, "x"))

    @final
    @accepts_numpy
    def prox(self, x: Tensor, step: Tensor | float) -> Tensor:
        """Return argmin_u step * F(u) + 1/2 |u - x|^2, (*batch, *space).

        Parameters
        ----------
        x : Tensor, (*batch, *space)
            The point.
        step : float or Tensor, (*batch,)
            Above zero.

        Raises
        ------
        CapabilityError
            If it is not proximable.
        """
        self._require_prox(step)
        return self._prox(self.space.check(x, self.name, "x"), step)

    @final
    @accepts_numpy
    def prox_and_gap(self, x: Tensor, step: Tensor | float, tol: float = 1e-6) -> tuple[Tensor, Tensor]:
        """Return the proximal point and a bound on its suboptimality in step * F(u) + 1/2 |u - x|^2, (*batch,).

        The bound is zero where the map is exact. `tol` is relative to the value at the point, for maps that iterate.
        """
        self._require_prox(step)
        return self._prox_and_gap(self.space.check(x, self.name, "x"), step, tol)

    def _prox_and_gap(self, x: Tensor, step: Tensor | float, tol: float) -> tuple[Tensor, Tensor]:
        return self._prox(x, step), torch.zeros(self.space.batch_shape(x), dtype=x.real.dtype, device=x.device)

    @final
    @accepts_numpy
    def conj_prox(self, u: Tensor, step: Tensor | float) -> Tensor:
        """Return the proximal map of the convex conjugate, u - step * prox(u / step, 1 / step), (*batch, *space)."""
        self._require_prox(step)
        return self._conj_prox(self.space.check(u, self.name, "u"), step, 1.0)

    @final
    @accepts_numpy
    def conjugate(self, u: Tensor) -> Tensor:
        """Return the convex conjugate F^*(u) = sup_x <x, u> - F(x), (*batch,).

        Raises
        ------
        CapabilityError
            If it is not known.
        """
        if not self.has_conjugate:
            raise CapabilityError(f"{self.name}: the value of its convex conjugate is not known.")
        return self._conjugate(self.space.check(u, self.name, "u"))

    @final
    def smoothness(self, shape: tuple[int, ...] | None = None) -> Bound:
        """Return the Lipschitz constant of the gradient for signals of `shape`, with its pedigree.

        Raises
        ------
        CapabilityError
            If it is not smooth.
        """
        if not self.is_smooth:
            raise CapabilityError(f"{self.name} is not smooth and has no smoothness constant. Use its proximal map.")
        return self._smoothness(self._fixed(shape))

    @final
    def strong_convexity(self, shape: tuple[int, ...] | None = None) -> Bound:
        """Return a lower bound of the modulus of strong convexity for signals of `shape`; zero is always safe.

        Raises
        ------
        CapabilityError
            If it is not convex.
        """
        if not self.is_convex:
            raise CapabilityError(f"{self.name} is not convex and has no modulus of convexity.")
        return self._strong_convexity(self._fixed(shape))

    @final
    def hessian(self, shape: tuple[int, ...] | None = None) -> LinearOperator:
        """Return the constant second derivative of a quadratic functional.

        Raises
        ------
        CapabilityError
            If it is not quadratic.
        """
        if not self.is_quadratic:
            raise CapabilityError(f"{self.name} is not quadratic and has no constant Hessian.")
        return self._hessian(self._fixed(shape))

    @final
    def linearised_hessian(self, x: Tensor) -> LinearOperator:
        """Return J(x)^H Q J(x) for a functional q(A(x)), Q the Hessian of the convex quadratic q and J the derivative of A.

        The Hessian of Gauss and Newton: positive semi-definite, and exact where A is linear.

        Parameters
        ----------
        x : Tensor, (*batch, *space)
            Where; its batch axes are those of what the operator is applied to.

        Raises
        ------
        CapabilityError
            If it is no quadratic of a differentiable map.
        """
        if not self.has_linearised_hessian:
            raise CapabilityError(f"{self.name} is no convex quadratic of a differentiable map and has no linearised Hessian.")
        return self._linearised_hessian(self.space.check(x, f"{self.name}.linearised_hessian", "x"))

    def _fixed(self, shape: tuple[int, ...] | None) -> tuple[int, ...]:
        if shape is not None:
            return tuple(shape)
        if not self.space.is_fixed:
            raise CapabilityError(f"{self.name}: the number depends on the image size; give shape=({self.space}).")
        return tuple(size for size in self.space.shape if size is not None)

    def _require_prox(self, step: Tensor | float) -> None:
        if not bool((torch.as_tensor(step) > 0).all()):
            raise ArgumentError(f"{self.name}.prox: `step` must be above zero; got {step!r}.")
        if not self.is_proximable:
            other = (
                " Its split (h, K) has one." if self.split is not None else " Use its gradient." if self.is_differentiable else ""
            )
            raise CapabilityError(f"{self.name} is not proximable.{other}")

    __array_ufunc__ = None  # an ndarray on the left leaves the product to __rmul__

    def __rmul__(self, weight: float | ArrayLike) -> Scaled:
        return Scaled(weight, self)

    def __mul__(self, weight: float | ArrayLike) -> Scaled:
        return Scaled(weight, self)

    def __add__(self, other: Functional) -> Sum:
        if not isinstance(other, Functional):
            return NotImplemented
        return Sum((self, other))

    def __matmul__(self, operator: LinearOperator) -> Composition:
        if not isinstance(operator, LinearOperator):
            return NotImplemented
        return Composition(self, operator)


@final
class Scaled(Functional):
    """x -> c F(x), with one weight a sample where c has shape (*batch,).

    Parameters
    ----------
    weight : float, Tensor or ndarray, (*batch,)
        At least zero; a Parameter is learned.
    functional : Functional
        F.

    Raises
    ------
    ArgumentError
        If a weight is negative or not finite.
    """

    weight: Tensor

    def __init__(self, weight: float | ArrayLike, functional: Functional) -> None:
        super().__init__(functional.space)
        value = as_tensor(weight, functional.name, "weight")
        if value.is_complex() or not bool((value.detach() >= 0).all() and value.detach().isfinite().all()):
            raise ArgumentError(f"{functional.name}: a weight must be a finite number >= 0; got {weight!r}.")
        register(self, "weight", value)
        self.functional = functional
        self.is_convex = functional.is_convex
        self.is_smooth = functional.is_smooth
        self.is_quadratic = functional.is_quadratic
        self.is_proximable = functional.is_proximable
        self.has_exact_prox = functional.has_exact_prox
        self.has_conjugate = functional.has_conjugate
        self.hessian_bases = functional.hessian_bases
        self.is_strongly_convex = functional.is_strongly_convex and bool((value > 0).all())

    @property
    def name(self) -> str:
        """The name that messages use."""
        return self.functional.name

    @property
    def formula(self) -> str:
        """The term as a reader writes it."""
        words = f"{self.weight.item():.4g}" if self.weight.numel() == 1 else "c"
        return f"{words} {self.functional.formula}"

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """Batch axes of its own parameters."""
        return batch_shape(tuple(self.weight.shape), self.functional.batch_shape, who=self.name)

    @property
    def is_from_numpy(self) -> bool:
        """Whether it was made from ndarrays."""
        return self.functional.is_from_numpy

    @property
    def is_differentiable(self) -> bool:
        """Whether it has a gradient everywhere."""
        return self.functional.is_differentiable

    @property
    def has_linearised_hessian(self) -> bool:
        """Whether it is a convex quadratic of a differentiable map."""
        return self.functional.has_linearised_hessian

    @property
    def parts(self) -> tuple[Functional, ...]:
        """The summands."""
        inner = self.functional.parts
        return (self,) if len(inner) == 1 else tuple(Scaled(self.weight, part) for part in inner)

    @property
    def split(self) -> tuple[Functional, LinearOperator] | None:
        """The pair (h, K) with value h(K x)."""
        inner = self.functional.split
        return None if inner is None else (Scaled(self.weight, inner[0]), inner[1])

    def _wide(self, x: Tensor) -> Tensor | float:
        return per_sample(self.weight, x, self.space.rank)

    def _narrow(self, x: Tensor) -> Tensor:
        return self.weight.to(x.real.dtype)

    def _value(self, x: Tensor) -> Tensor:
        energy = self.functional._value(x)
        weight = self._narrow(x)
        # 0 * inf is 0 here: a prior of weight zero is absent
        return torch.where(weight > 0, weight * torch.where(weight > 0, energy, 0.0), 0.0)

    def _grad(self, x: Tensor) -> Tensor:
        return self._wide(x) * self.functional._grad(x)

    def _prox(self, x: Tensor, step: Tensor | float) -> Tensor:
        return self.functional._prox(x, self._narrow(x) * step)

    def _prox_and_gap(self, x: Tensor, step: Tensor | float, tol: float) -> tuple[Tensor, Tensor]:
        return self.functional._prox_and_gap(x, self._narrow(x) * step, tol)

    def _conj_prox(self, u: Tensor, step: Tensor | float, weight: Tensor | float) -> Tensor:
        return self.functional._conj_prox(u, step, self._narrow(u) * weight)

    def _conjugate(self, u: Tensor) -> Tensor:
        # a weight of zero leaves the conjugate finite at zero only
        weight = self._narrow(u)
        positive = torch.where(weight > 0, weight, 1.0)
        value = positive * self.functional._conjugate(u / as_wide(positive, u, self.space.rank))
        return torch.where(weight > 0, value, torch.where(self.space.norm(u) == 0, 0.0, torch.inf))

    def _dual_scale(self, u: Tensor) -> Tensor:
        weight = self._narrow(u)
        positive = torch.where(weight > 0, weight, 1.0)
        scale = self.functional._dual_scale(u / as_wide(positive, u, self.space.rank))
        return torch.where(weight > 0, scale, (self.space.norm(u) == 0).to(scale.dtype))

    def _smoothness(self, shape: tuple[int, ...]) -> Bound:
        return self.functional._smoothness(shape).scaled(self.weight.detach(), "times the weight")

    def _strong_convexity(self, shape: tuple[int, ...]) -> Bound:
        return self.functional._strong_convexity(shape).scaled(self.weight.detach(), "times the weight")

    def _hessian(self, shape: tuple[int, ...]) -> LinearOperator:
        return self.weight * self.functional._hessian(shape)

    def _linearised_hessian(self, x: Tensor) -> LinearOperator:
        return self.weight * self.functional._linearised_hessian(x)

    def _hessian_eigenvalues(self, basis: Basis, shape: tuple[int, ...]) -> Tensor:
        values = self.functional._hessian_eigenvalues(basis, shape)
        return as_wide(self.weight, values, RANK[basis]) * values

    def prepared(self, shape: tuple[int, ...], dtype: torch.dtype) -> Functional:
        """Return the same object with all that depends only on shape and precision computed once."""
        return Scaled(self.weight, self.functional.prepared(shape, dtype))

    def start(self, shape: tuple[int, ...] | None = None) -> Tensor | None:
        """Return a point to begin from, (*batch, *space), or None."""
        return self.functional.start(shape)


@final
class Sum(Functional):
    """x -> F_1(x) + ... + F_k(x).

    Parameters
    ----------
    functionals : sequence of Functional
        At least one; sums among them are flattened.

    Raises
    ------
    ShapeError
        If they live in different spaces.
    """

    def __init__(self, functionals: Sequence[Functional]) -> None:
        flat = tuple(part for functional in functionals for part in functional.parts)
        if not flat:
            raise ArgumentError("Sum: give at least one functional; got none.")
        super().__init__(reduce(lambda a, b: common_space(a, b, " + ".join(f.name for f in flat)), [f.space for f in flat]))
        self.functionals = nn.ModuleList(flat)
        self.summands = flat
        self.is_convex = all(f.is_convex for f in flat)
        self.is_smooth = all(f.is_smooth for f in flat)
        self.is_quadratic = all(f.is_quadratic for f in flat)
        self.is_strongly_convex = self.is_convex and any(f.is_strongly_convex for f in flat)
        single = flat[0] if len(flat) == 1 else None
        self.is_proximable = single is not None and single.is_proximable
        self.has_exact_prox = single is not None and single.has_exact_prox

    @property
    def name(self) -> str:
        """The name that messages use."""
        return "(" + " + ".join(f.name for f in self.summands) + ")"

    @property
    def formula(self) -> str:
        """The term as a reader writes it."""
        return " + ".join(f.formula for f in self.summands)

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """Batch axes of its own parameters."""
        return batch_shape(*(f.batch_shape for f in self.summands), who=self.name)

    @property
    def is_from_numpy(self) -> bool:
        """Whether it was made from ndarrays."""
        return any(f.is_from_numpy for f in self.summands)

    @property
    def is_differentiable(self) -> bool:
        """Whether it has a gradient everywhere."""
        return all(f.is_differentiable for f in self.summands)

    @property
    def has_linearised_hessian(self) -> bool:
        """Whether it is a sum of convex quadratics of differentiable maps."""
        return all(f.has_linearised_hessian for f in self.summands)

    @property
    def parts(self) -> tuple[Functional, ...]:
        """The summands."""
        return self.summands

    def _value(self, x: Tensor) -> Tensor:
        return reduce(torch.add, [f._value(x) for f in self.summands])

    def _grad(self, x: Tensor) -> Tensor:
        return reduce(torch.add, [f._grad(x) for f in self.summands])

    def _prox(self, x: Tensor, step: Tensor | float) -> Tensor:
        return self.summands[0]._prox(x, step)

    def _prox_and_gap(self, x: Tensor, step: Tensor | float, tol: float) -> tuple[Tensor, Tensor]:
        return self.summands[0]._prox_and_gap(x, step, tol)

    def _smoothness(self, shape: tuple[int, ...]) -> Bound:
        return Bound.sum([f._smoothness(shape) for f in self.summands])

    def _strong_convexity(self, shape: tuple[int, ...]) -> Bound:
        return Bound.sum([f._strong_convexity(shape) for f in self.summands], side="lower")

    def _hessian(self, shape: tuple[int, ...]) -> LinearOperator:
        return reduce(lambda a, b: a + b, [f._hessian(shape) for f in self.summands])

    def _linearised_hessian(self, x: Tensor) -> LinearOperator:
        return reduce(lambda a, b: a + b, [f._linearised_hessian(x) for f in self.summands])

    def prepared(self, shape: tuple[int, ...], dtype: torch.dtype) -> Functional:
        """Return the same object with all that depends only on shape and precision computed once."""
        return Sum([f.prepared(shape, dtype) for f in self.summands])

    def start(self, shape: tuple[int, ...] | None = None) -> Tensor | None:
        """Return a point to begin from, (*batch, *space), or None."""
        return next((x for x in (f.start(shape) for f in self.summands) if x is not None), None)


@final
class Composition(Functional):
    """x -> F(K x), proximable where K is orthonormal, otherwise split into (F, K).

    Parameters
    ----------
    functional : Functional
        F, on the codomain of K.
    operator : LinearOperator
        K.

    Raises
    ------
    ShapeError
        If F does not live in the codomain of K.
    """

    def __init__(self, functional: Functional, operator: LinearOperator) -> None:
        if not functional.space.accepts(operator.codomain.shape):
            raise ShapeError(
                f"{functional.name} @ {operator.name}: the functional takes ({functional.space}), "
                f"the operator gives ({operator.codomain})."
            )
        if operator.codomain.is_complex and not functional.space.is_complex:
            raise ShapeError(
                f"{functional.name} @ {operator.name}: the functional takes real signals, the operator gives complex ones."
            )
        super().__init__(operator.domain)
        self.functional = functional
        self.operator = operator
        self.is_convex = functional.is_convex
        self.is_smooth = functional.is_smooth
        self.is_quadratic = functional.is_quadratic
        self.is_proximable = functional.is_proximable and operator.is_orthonormal
        self.has_exact_prox = functional.has_exact_prox and operator.is_orthonormal
        self.has_conjugate = functional.has_conjugate and operator.is_orthonormal
        self.is_strongly_convex = functional.is_strongly_convex and operator.is_orthonormal

    @property
    def name(self) -> str:
        """The name that messages use."""
        return f"{self.functional.name} @ {self.operator.name}"

    @property
    def formula(self) -> str:
        """The term as a reader writes it."""
        return self.functional.formula.replace("x", f"{self.operator.name} x")

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """Batch axes of its own parameters."""
        return self.functional.batch_shape

    @property
    def is_differentiable(self) -> bool:
        """Whether it has a gradient everywhere."""
        return self.functional.is_differentiable

    @property
    def has_linearised_hessian(self) -> bool:
        """Whether it is a convex quadratic of a differentiable map."""
        return self.functional.has_linearised_hessian

    @property
    def split(self) -> tuple[Functional, LinearOperator] | None:
        """The pair (h, K) with value h(K x)."""
        return (self.functional, self.operator) if self.functional.is_proximable else None

    def _value(self, x: Tensor) -> Tensor:
        return self.functional._value(self.operator._forward(x))

    def _grad(self, x: Tensor) -> Tensor:
        return self.operator._adjoint(self.functional._grad(self.operator._forward(x)))

    def _prox(self, x: Tensor, step: Tensor | float) -> Tensor:
        return self.operator._adjoint(self.functional._prox(self.operator._forward(x), step))

    def _prox_and_gap(self, x: Tensor, step: Tensor | float, tol: float) -> tuple[Tensor, Tensor]:
        u, gap = self.functional._prox_and_gap(self.operator._forward(x), step, tol)
        return self.operator._adjoint(u), gap

    def _conjugate(self, u: Tensor) -> Tensor:
        return self.functional._conjugate(self.operator._forward(u))

    def _dual_scale(self, u: Tensor) -> Tensor:
        return self.functional._dual_scale(self.operator._forward(u))

    def _smoothness(self, shape: tuple[int, ...]) -> Bound:
        inner = self.functional._smoothness(self.operator.output_shape(shape))
        return Bound.product([inner, self.operator.norm(shape).squared()], "product")

    def _strong_convexity(self, shape: tuple[int, ...]) -> Bound:
        inner = self.functional._strong_convexity(self.operator.output_shape(shape))
        return Bound.product([inner, self.operator.smallest_singular_value(shape).squared()], "product", side="lower")

    def _hessian(self, shape: tuple[int, ...]) -> LinearOperator:
        return self.operator.H @ self.functional._hessian(self.operator.output_shape(shape)) @ self.operator

    def _linearised_hessian(self, x: Tensor) -> LinearOperator:
        return self.operator.H @ self.functional._linearised_hessian(self.operator._forward(x)) @ self.operator

    def prepared(self, shape: tuple[int, ...], dtype: torch.dtype) -> Functional:
        """Return the same object with all that depends only on shape and precision computed once."""
        inner = self.functional.prepared(self.operator.output_shape(shape), dtype)
        return Composition(inner, self.operator.prepared(shape, dtype))


def is_within(size: Tensor, limit: float = 1.0) -> Tensor:
    """Return whether `size` is at most `limit` up to rounding in its own precision."""
    return size <= limit * (1 + 32 * torch.finfo(size.dtype).eps)
