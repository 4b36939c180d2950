"""A prior on the magnitude of a complex signal, whatever its phase: R(|x|)."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from apheleia.core.errors import ArgumentError, CapabilityError
from apheleia.core.space import Space
from apheleia.functionals.calculus import Scaled
from apheleia.functionals.functional import Functional
from apheleia.functionals.priors.group_l1 import GroupL1
from apheleia.functionals.priors.indicators import Ball
from apheleia.functionals.priors.l1 import L1

__all__ = ["Magnitude"]

_BLIND_TO_SIGNS = (L1, GroupL1, Ball)
"""Convex functionals of the sizes |m_i| alone: they never decrease as a size grows."""


@final
class Magnitude(Functional):
    """x -> R(|x|), entry by entry, with a prior R on real signals: speckled images whose phase is random.

    prox(v) = prox_R(|v|) v / |v|: of all u with given sizes, the one with the phases of v is the nearest to v. That is right
    where prox_R(|v|) >= 0, as for every R with R(max(m, 0)) <= R(m), such as norms, total variation and boxes above zero.

    Parameters
    ----------
    R : Functional
        A prior on real signals, proximable.

    Raises
    ------
    ArgumentError
        If R is no functional of real signals.
    CapabilityError
        If R is not proximable; later, from a proximal map of R that makes a magnitude negative.

    Notes
    -----
    Where v = 0 every phase is as good, and the result is real: its phase is zero.
    Certificate: convex, with the conjugate u -> R^*(|u|), for norms that see sizes only (L1, GroupL1, Ball). Of others convexity
    is not claimed: the total variation of a magnitude has none, since |x| itself makes no variation where x changes its sign.

    Examples
    --------
    >>> Magnitude(L1()).prox(torch.tensor([[[3j, 0.5]]]), 1.0)
    tensor([[[0.+2.j, 0.+0.j]]])
    """

    is_proximable = True

    def __init__(self, R: Functional) -> None:
        if not isinstance(R, Functional) or R.space.is_complex:
            got = f"{R.name} on complex ones" if isinstance(R, Functional) else type(R).__name__
            raise ArgumentError(f"Magnitude: `R` must be a functional of real signals; got {got}.")
        if not R.is_proximable:
            raise CapabilityError(f"Magnitude: `R` must be proximable; {R.name} is not.")
        super().__init__(Space(R.space.shape, is_complex=True))
        self.R = R
        self.has_exact_prox = R.has_exact_prox
        inner = R
        while isinstance(inner, Scaled):
            inner = inner.functional
        self.is_convex = isinstance(inner, _BLIND_TO_SIGNS)
        self.has_conjugate = self.is_convex and R.has_conjugate

    @property
    def name(self) -> str:
        """The name that messages use."""
        return f"Magnitude({self.R.name})"

    @property
    def formula(self) -> str:
        """The term as a reader writes it."""
        return self.R.formula.replace("x", "|x|")

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """Batch axes of its own parameters."""
        return self.R.batch_shape

    @property
    def is_from_numpy(self) -> bool:
        """Whether it was made from ndarrays."""
        return self.R.is_from_numpy

    def _value(self, x: Tensor) -> Tensor:
        return self.R._value(x.abs())

    def _prox(self, x: Tensor, step: Tensor | float) -> Tensor:
        size = x.abs()
        return self._turned(self.R._prox(size, step), x, size)

    def _prox_and_gap(self, x: Tensor, step: Tensor | float, tol: float) -> tuple[Tensor, Tensor]:
        size = x.abs()
        moved, gap = self.R._prox_and_gap(size, step, tol)
        return self._turned(moved, x, size), gap

    def _turned(self, moved: Tensor, x: Tensor, size: Tensor) -> Tensor:
        """Return the sizes `moved` with the phases of x."""
        # of the largest magnitude: rounding below zero is forgiven, and what iterations leave where the map is not exact
        slack = (10 * torch.finfo(size.dtype).eps if self.has_exact_prox else 1e-3) * size.detach().amax(self.space.axes, True)
        if bool((moved.detach() < -slack).any()):
            raise CapabilityError(
                f"{self.name}: the proximal map of {self.R.name} made a magnitude negative ({moved.min().item():.3g}). "
                "Take an R with R(max(m, 0)) <= R(m), or bound it below by zero."
            )
        phase = torch.where(size > 0, x / torch.where(size > 0, size, 1.0), 1.0)
        return moved.clamp(min=0) * phase

    def _conjugate(self, u: Tensor) -> Tensor:
        return self.R._conjugate(u.abs())

    def _dual_scale(self, u: Tensor) -> Tensor:
        return self.R._dual_scale(u.abs())

    def prepared(self, shape: tuple[int, ...], dtype: torch.dtype) -> Functional:
        """Return the same object with all that depends only on shape and precision computed once."""
        return Magnitude(self.R.prepared(shape, dtype.to_real()))
