"""The nuclear norm: the convex prior of matrices of low rank."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from apheleia.core.space import IMAGE, Space, as_shape, as_wide
from apheleia.functionals.functional import Functional, is_within
from apheleia.functionals.priors.matrix_view import MatrixView, singular_value_decomposition, with_singular_values

__all__ = ["NuclearNorm"]


@final
class NuclearNorm(Functional):
    """x -> sum of the singular values of x as a matrix, by default channels x pixels.

    Parameters
    ----------
    rows : tuple of int, default (-3,)
        Signal axes of the rows, counted from the end; the others are the columns.
    space : Space, default images of any size
        Where x lives; real or complex.

    Raises
    ------
    ArgumentError
        If an axis is no signal axis, comes twice, or none is left for the columns.

    Notes
    -----
    Certificate: the proximal map, singular value thresholding, is exact; the conjugate is the indicator of the largest singular
    value at most 1. Derivatives are finite where singular values coincide or vanish.
    Complexity: one thin singular value decomposition, O(rows columns min(rows, columns)).
    Source: J.-F. Cai, E. Candes, Z. Shen, SIAM Journal on Optimization 20 (2010), doi:10.1137/080738970.

    Examples
    --------
    >>> round(float(NuclearNorm((-2,), Space((None, None)))(torch.tensor([[3.0, 0.0], [0.0, 4.0]]))), 4)
    7.0
    """

    is_convex = True
    is_proximable = True
    has_exact_prox = True
    has_conjugate = True

    def __init__(self, rows: tuple[int, ...] = (-3,), space: Space = IMAGE) -> None:
        super().__init__(space)
        self.view = MatrixView(as_shape(rows, "NuclearNorm", "rows"), space, "NuclearNorm")

    @property
    def formula(self) -> str:
        """The term as a reader writes it."""
        return "|x|_*"

    def _value(self, x: Tensor) -> Tensor:
        X = self.view.matrix(x)
        U, s, V = singular_value_decomposition(X)
        if not (torch.is_grad_enabled() and x.requires_grad):
            return s.sum(-1)
        # <x, U V^H> has the value of the norm, and its gradient: a subgradient, without zero singular values
        sign = (U * (s > 0).to(s.dtype).unsqueeze(-2)) @ V.mH
        return (X.conj() * sign).real.sum((-2, -1)) if x.is_complex() else (X * sign).sum((-2, -1))

    def _prox(self, x: Tensor, step: Tensor | float) -> Tensor:
        # x minus the clipped part: a step of zero takes nothing away, exactly
        return x - self._conj_prox(x, 1.0, step)

    def _conj_prox(self, u: Tensor, step: Tensor | float, weight: Tensor | float) -> Tensor:
        X = self.view.matrix(u)
        radius = as_wide(torch.as_tensor(weight, dtype=u.real.dtype, device=u.device), X, 1).real
        batch = torch.broadcast_shapes(X.shape[:-2], radius.shape[:-1])
        X = X.expand(*batch, *X.shape[-2:])
        U, s, V = singular_value_decomposition(X)
        clipped = torch.minimum(s, radius)
        inside = (s <= radius) & (radius > 0)
        out = with_singular_values(X, (U, s, V), clipped, inside.to(s.dtype))
        return self.view.signal(out, u)

    def _largest(self, u: Tensor) -> Tensor:
        return torch.linalg.matrix_norm(self.view.matrix(u), 2)

    def _conjugate(self, u: Tensor) -> Tensor:
        return torch.where(is_within(self._largest(u)), 0.0, torch.inf).to(u.real.dtype)

    def _dual_scale(self, u: Tensor) -> Tensor:
        return 1 / self._largest(u).clamp(min=1.0)
