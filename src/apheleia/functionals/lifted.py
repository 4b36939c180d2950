"""Auxiliary variables: priors that are a minimum over a second variable, and the functionals of the stacked pair."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from apheleia.core.bound import Bound
from apheleia.core.space import Space, as_wide
from apheleia.functionals.calculus import Scaled
from apheleia.functionals.functional import Functional
from apheleia.operators.channel_blocks import ChannelBlocks
from apheleia.operators.linear import LinearOperator

__all__ = ["Auxiliary", "AuxiliaryPrior", "Lifted", "auxiliary"]


@dataclass(frozen=True, eq=False)
class Auxiliary:
    """F(x) = min over w of h_1(K_1 (x, w)) + h_2(K_2 (x, w)), x and w stacked along the channels.

    Attributes
    ----------
    blocks : int
        Size of w in copies of x: the stack has (1 + blocks) times the channels of x, those of x first.
    terms : pair of (Functional, LinearOperator)
        Pairs (h_i, K_i) with norms h_i, acting on the stack.
    tie : LinearOperator
        The L with K_1^H L q + K_2^H q = 0 on w: a minimum over w is bounded below by duals (L q, q) only.
    """

    blocks: int
    terms: tuple[tuple[Functional, LinearOperator], tuple[Functional, LinearOperator]]
    tie: LinearOperator

    def feasible(self, duals: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Return duals (L q, q) in the domain of both conjugates, from the second dual alone."""
        (first, _), (second, _) = self.terms
        q = duals[1]
        scale = second._dual_scale(q)
        q = as_wide(scale, q, second.space.rank) * q
        p = self.tie._forward(q)
        scale = first._dual_scale(p)
        return as_wide(scale, p, first.space.rank) * p, as_wide(scale, q, second.space.rank) * q


class AuxiliaryPrior(Functional):
    """A prior on images that is a minimum over an auxiliary variable; `solve` minimises over both at once."""

    @property
    @abstractmethod
    def auxiliary(self) -> Auxiliary:
        """The functional of the stacked pair."""


def auxiliary(part: Functional) -> Auxiliary | None:
    """Return what a summand minimises over its auxiliary variable, with its weight; None where it has no such variable."""
    if isinstance(part, AuxiliaryPrior):
        return part.auxiliary
    inner = auxiliary(part.functional) if isinstance(part, Scaled) else None
    if inner is None or not isinstance(part, Scaled):
        return None
    (h, K), (other, L) = inner.terms
    return Auxiliary(inner.blocks, ((Scaled(part.weight, h), K), (Scaled(part.weight, other), L)), inner.tie)


@final
class Lifted(Functional):
    """z -> F(x) of a stack z = (x, w, ...) along the channels, whose first block is x.

    All that F can do carries over, but for what other blocks have a share in: it is not strongly convex in them.

    Parameters
    ----------
    functional : Functional
        F, of images.
    blocks : int
        Number of blocks of the stack.

    Notes
    -----
    Certificate: with S z = x and S S^H = I, prox(z) = z + S^H (prox_F(S z) - S z), exact where F's is; smoothness as F's;
    the conjugate is F^* of the first block where the others vanish, up to rounding, and +inf elsewhere.
    """

    def __init__(self, functional: Functional, blocks: int) -> None:
        channels, *rest = functional.space.shape
        super().__init__(Space((None if channels is None else blocks * channels, *rest), functional.space.is_complex))
        self.functional = functional
        self.part = ChannelBlocks(blocks, [0], self.space)
        self.is_convex = functional.is_convex
        self.is_smooth = functional.is_smooth
        self.is_quadratic = functional.is_quadratic
        self.is_proximable = functional.is_proximable
        self.has_exact_prox = functional.has_exact_prox
        self.has_conjugate = functional.has_conjugate

    @property
    def name(self) -> str:
        """The name that messages use."""
        return self.functional.name

    @property
    def formula(self) -> str:
        """The term as a reader writes it."""
        return self.functional.formula

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """Batch axes of its own parameters."""
        return self.functional.batch_shape

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
    def split(self) -> tuple[Functional, LinearOperator] | None:
        """The pair (h, K) with value h(K z)."""
        inner = self.functional.split
        return None if inner is None else (inner[0], inner[1] @ self.part)

    def _with(self, z: Tensor, x: Tensor) -> Tensor:
        """Return the stack with another first block."""
        batch = torch.broadcast_shapes(z.shape[:-3], x.shape[:-3])
        size = x.shape[-3]
        return torch.cat([x.expand(*batch, *x.shape[-3:]), z[..., size:, :, :].expand(*batch, -1, *z.shape[-2:])], dim=-3)

    def _value(self, x: Tensor) -> Tensor:
        return self.functional._value(self.part._forward(x))

    def _grad(self, x: Tensor) -> Tensor:
        return self.part._adjoint(self.functional._grad(self.part._forward(x)))

    def _prox(self, x: Tensor, step: Tensor | float) -> Tensor:
        return self._with(x, self.functional._prox(self.part._forward(x), step))

    def _prox_and_gap(self, x: Tensor, step: Tensor | float, tol: float) -> tuple[Tensor, Tensor]:
        u, gap = self.functional._prox_and_gap(self.part._forward(x), step, tol)
        return self._with(x, u), gap

    def _conj_prox(self, u: Tensor, step: Tensor | float, weight: Tensor | float) -> Tensor:
        inner = self.functional._conj_prox(self.part._forward(u), step, weight)
        return self._with(torch.zeros_like(u), inner)

    def _vanishes(self, u: Tensor) -> Tensor:
        """Return whether the other blocks are zero up to rounding, (*batch,)."""
        x = self.part._forward(u)
        rest = torch.linalg.vector_norm(u[..., x.shape[-3] :, :, :], dim=(-3, -2, -1))
        return rest <= max(1e-12, 64 * torch.finfo(u.dtype).eps) * self.space.norm(u)

    def _conjugate(self, u: Tensor) -> Tensor:
        return torch.where(self._vanishes(u), self.functional._conjugate(self.part._forward(u)), torch.inf)

    def _dual_scale(self, u: Tensor) -> Tensor:
        return torch.where(self._vanishes(u), self.functional._dual_scale(self.part._forward(u)), 0.0)

    def _smoothness(self, shape: tuple[int, ...]) -> Bound:
        return self.functional._smoothness(self.part.output_shape(shape))

    def _hessian(self, shape: tuple[int, ...]) -> LinearOperator:
        return self.part.H @ self.functional._hessian(self.part.output_shape(shape)) @ self.part

    def _linearised_hessian(self, x: Tensor) -> LinearOperator:
        return self.part.H @ self.functional._linearised_hessian(self.part._forward(x)) @ self.part

    def prepared(self, shape: tuple[int, ...], dtype: torch.dtype) -> Functional:
        """Return the same object with all that depends only on shape and precision computed once."""
        return Lifted(self.functional.prepared(self.part.output_shape(shape), dtype), self.part.blocks)

    def start(self, shape: tuple[int, ...] | None = None) -> Tensor | None:
        """Return a point to begin from, with zeros in the other blocks."""
        x = self.functional.start(None if shape is None else self.part.output_shape(shape))
        return None if x is None else self.part._adjoint(x)
