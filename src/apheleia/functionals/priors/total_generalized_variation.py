"""Total generalised variation of second order: edges stay sharp and slopes stay smooth, without staircases."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from apheleia.core.bound import Bound
from apheleia.core.errors import ArgumentError
from apheleia.core.interop import is_number
from apheleia.core.space import IMAGE, Space, as_wide
from apheleia.functionals.auxiliary import Auxiliary, AuxiliaryPrior
from apheleia.functionals.priors.group_l1 import GroupL1
from apheleia.operators.finite_differences import FiniteDifferences
from apheleia.operators.linear import LinearOperator
from apheleia.operators.symmetrized_differences import SymmetrizedDifferences

__all__ = ["TotalGeneralizedVariation"]

UNIT = 0.3
"""The stack holds w / UNIT: solvers take half the steps that they take with w itself (measured on denoising)."""


@final
class TotalGeneralizedVariation(AuxiliaryPrior):
    """x -> min over w of a1 sum |(D x - w)[i, j]|_2 + a2 sum |(E w)[i, j]|_F, E the symmetrised differences of a field w.

    Zero for affine images only; a slope costs nothing, a bend costs a2, an edge a1 as in total variation.

    Parameters
    ----------
    first_order : float, default 1
        a1, above zero.
    second_order : float, default 2
        a2, above zero, in pixels; below about 1 slopes are free to bend, beyond about 10 it is total variation of what
        an affine image leaves.

    Raises
    ------
    ArgumentError
        If a weight is not above zero.

    Notes
    -----
    Certificate: convex. `solve` minimises over x and w at once, by the pair's terms (group l1 norms, differences). The value
    is computed by iterations (Chambolle-Pock) from above, to a relative duality gap of 1e-5, or 1000 steps at most.
    Complexity: a value costs up to 1000 passes over the image; solving never asks for one.
    Source: K. Bredies, K. Kunisch, T. Pock, SIAM Journal on Imaging Sciences 3 (2010), doi:10.1137/090769521.

    Examples
    --------
    >>> slope = torch.linspace(0, 1, 5).expand(1, 5, 5)
    >>> bool(TotalGeneralizedVariation()(slope) < 1e-5)
    True
    """

    is_convex = True

    def __init__(self, first_order: float = 1.0, second_order: float = 2.0) -> None:
        if not all(is_number(weight) and weight > 0 for weight in (first_order, second_order)):
            raise ArgumentError(
                f"TotalGeneralizedVariation: both weights must be above zero; got {first_order!r} and {second_order!r}."
            )
        super().__init__(IMAGE)
        self.first_order = float(first_order)
        self.second_order = float(second_order)
        self.differences = FiniteDifferences()
        self.strain = SymmetrizedDifferences()
        self.of_slope = GroupL1(axis=-4, space=self.differences.codomain)
        self.of_strain = GroupL1(axis=-4, space=self.strain.codomain)

    @property
    def formula(self) -> str:
        """The term as a reader writes it."""
        return "TGV²(x)"

    @property
    def auxiliary(self) -> Auxiliary:
        """The terms of the stack (x, w / UNIT), w with two channels for each of x."""
        first = (self.first_order * self.of_slope, _Remainder())
        second = (self.second_order * self.of_strain, self.strain @ _Field())
        return Auxiliary(2, (first, second), self.strain.H)

    def _value(self, x: Tensor) -> Tensor:
        """Minimise over w by Chambolle-Pock on the saddle <D x - w, p> + <E w, q>, image by image."""
        slopes, a1, a2 = self.differences._forward(x), self.first_order, self.second_order
        inner, batch = self.of_slope.space.inner, self.space.batch_shape(x)
        norm = (1 + float(self.strain.norm().value) ** 2) ** 0.5
        size = (inner(slopes, slopes) / max(1, slopes[(0,) * len(batch)].numel())).sqrt()
        ratio = as_wide(torch.where(size > 0, size, 1.0) / max(a1, a2), slopes, 4)
        w, ahead = slopes, slopes
        p, q = torch.zeros_like(slopes), torch.zeros_like(self.strain._forward(slopes))
        best = a1 * self.of_slope._value(slopes)
        running = best > 0
        for k in range(1001):
            if k % 20 == 0:
                value = a1 * self.of_slope._value(slopes - w) + a2 * self.of_strain._value(self.strain._forward(w))
                best = torch.where(running, torch.minimum(best, value), best)
                # q is feasible where |q| <= a2 and |E^H q| <= a1: scaled into that set it bounds the minimum from below
                pull = self.strain._adjoint(q)
                scale = self.of_slope._dual_scale(pull / a1)
                running = running & (best - scale * inner(slopes, pull) > 1e-5 * best)
                if not bool(running.any()):
                    break
            mask = running[(...,) + (None,) * 4]
            p = torch.where(mask, self.of_slope._conj_prox(p + (slopes - ahead) / (ratio * norm), 1.0, a1), p)
            q = torch.where(mask, self.of_strain._conj_prox(q + self.strain._forward(ahead) / (ratio * norm), 1.0, a2), q)
            new = w + (ratio / norm) * (p - self.strain._adjoint(q))
            ahead = torch.where(mask, 2 * new - w, ahead)
            w = torch.where(mask, new, w)
        return best


@final
class _Remainder(LinearOperator):
    """(x, w / UNIT) -> D x - w where D has a difference, (2, channel, height, width)."""

    def __init__(self) -> None:
        super().__init__(IMAGE, Space((2, None, None, None)))
        self.differences = FiniteDifferences()
        self.field = _Field()

    @property
    def name(self) -> str:
        return "(D - w)"

    def _forward(self, x: Tensor) -> Tensor:
        return self.differences._forward(x[..., : x.shape[-3] // 3, :, :]) - _without_ends(self.field._forward(x))

    def _adjoint(self, y: Tensor) -> Tensor:
        return torch.cat([self.differences._adjoint(y), -UNIT * _without_ends(y).flatten(-4, -3)], dim=-3)

    def _norm(self, shape: tuple[int, ...] | None) -> Bound | None:
        inner = self.differences._norm(None if shape is None else (shape[0] // 3, *shape[1:]))
        return None if inner is None else Bound((inner.value**2 + UNIT**2).sqrt(), "upper", "|(D, w)|")

    def _output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (2, shape[0] // 3, *shape[1:])

    def _input_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (3 * shape[1], *shape[2:])


@final
class _Field(LinearOperator):
    """(x, w / UNIT) -> w as a field, (2, channel, height, width)."""

    def __init__(self) -> None:
        super().__init__(IMAGE, Space((2, None, None, None)))

    @property
    def name(self) -> str:
        return "w"

    def _forward(self, x: Tensor) -> Tensor:
        return UNIT * x[..., x.shape[-3] // 3 :, :, :].unflatten(-3, (2, -1))

    def _adjoint(self, y: Tensor) -> Tensor:
        return torch.cat([torch.zeros_like(y[..., 0, :, :, :]), UNIT * y.flatten(-4, -3)], dim=-3)

    def _norm(self, shape: tuple[int, ...] | None) -> Bound | None:
        return Bound(UNIT, "exact", "a selection")

    def _output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (2, shape[0] // 3, *shape[1:])

    def _input_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (3 * shape[1], *shape[2:])


def _without_ends(field: Tensor) -> Tensor:
    """Return a field with zeros where forward differences have no value."""
    out = field.clone()
    out[..., 0, :, -1:, :] = 0
    out[..., 1, :, :, -1:] = 0
    return out
