"""At most k entries: sparsity as a constraint."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from apheleia.core.errors import ArgumentError
from apheleia.core.space import IMAGE, Space
from apheleia.functionals.priors.indicators import Indicator

__all__ = ["TopK"]


@final
class TopK(Indicator):
    """x -> 0 where at most k entries differ from zero, else +inf; not convex. Projects by keeping the k largest moduli.

    Parameters
    ----------
    k : int
        At least 1.
    axis : int, optional
        The axis along which k entries are kept, counted from the end, such as -3 for k materials a pixel; by default k of
        the whole signal.
    space : Space, default images of any size
        Where x lives.

    Raises
    ------
    ArgumentError
        If k is below 1, or the axis is no signal axis.

    Notes
    -----
    Certificate: the projection is a nearest point; among equal moduli one choice is made, exactly k are kept.
    Source: T. Blumensath, M. Davies, Journal of Fourier Analysis and Applications 14 (2008), doi:10.1007/s00041-008-9035-z.

    Examples
    --------
    >>> TopK(1, axis=-1).prox(torch.tensor([[[1.0, -3.0, 2.0]]]), 1.0)
    tensor([[[ 0., -3.,  0.]]])
    """

    is_convex = False
    has_conjugate = False

    def __init__(self, k: int, axis: int | None = None, space: Space = IMAGE) -> None:
        if isinstance(k, bool) or not isinstance(k, int) or k < 1:
            raise ArgumentError(f"TopK: `k` must be a whole number of at least 1; got {k!r}.")
        if axis is not None and axis not in space.axes:
            raise ArgumentError(f"TopK: `axis` must lie between {-space.rank} and -1; got {axis!r}.")
        super().__init__(space)
        self.k = k
        self.axis = axis

    @property
    def formula(self) -> str:
        """The term as a reader writes it."""
        return f"[|x|₀ ≤ {self.k}]"

    def _project(self, x: Tensor) -> Tensor:
        flat = x.flatten(x.ndim - self.space.rank) if self.axis is None else x.movedim(self.axis, -1)
        if self.k >= flat.shape[-1]:
            return x
        index = flat.abs().topk(self.k, dim=-1).indices
        kept = torch.zeros_like(flat).scatter(-1, index, flat.gather(-1, index))
        return kept.reshape(x.shape) if self.axis is None else kept.movedim(-1, self.axis)
