"""Low rank as a constraint: matrices of at most so many singular values."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from apheleia.core.errors import ArgumentError
from apheleia.core.space import IMAGE, Space, as_shape
from apheleia.functionals.priors.indicators import Indicator
from apheleia.functionals.priors.matrix_view import MatrixView, singular_value_decomposition, with_singular_values

__all__ = ["LowRank"]


@final
class LowRank(Indicator):
    """x -> 0 where x as a matrix has at most `rank` singular values above zero, else +inf; not convex.

    Parameters
    ----------
    rank : int
        At least 1.
    rows : tuple of int, default (-3,)
        Signal axes of the rows, counted from the end; the others are the columns.
    space : Space, default images of any size
        Where x lives; real or complex.

    Raises
    ------
    ArgumentError
        If the rank is below 1, or the axes do not make a matrix.

    Notes
    -----
    Certificate: the projection, a truncated singular value decomposition, is a nearest matrix; the set is not convex, and where
    singular values coincide there are several nearest ones, of which one is returned.
    Source: C. Eckart, G. Young, Psychometrika 1 (1936), doi:10.1007/BF02288367.
    """

    is_convex = False
    has_conjugate = False

    def __init__(self, rank: int, rows: tuple[int, ...] = (-3,), space: Space = IMAGE) -> None:
        if isinstance(rank, bool) or not isinstance(rank, int) or rank < 1:
            raise ArgumentError(f"LowRank: `rank` must be a whole number of at least 1; got {rank!r}.")
        super().__init__(space)
        self.rank = rank
        self.view = MatrixView(as_shape(rows, "LowRank", "rows"), space, "LowRank")

    @property
    def formula(self) -> str:
        """The term as a reader writes it."""
        return f"[rank x ≤ {self.rank}]"

    def _project(self, x: Tensor) -> Tensor:
        X = self.view.matrix(x)
        U, s, V = singular_value_decomposition(X)
        kept = (torch.arange(s.shape[-1], device=s.device) < self.rank).to(s.dtype).expand_as(s)
        return self.view.signal(with_singular_values(X, (U, s, V), kept * s, kept), x)
