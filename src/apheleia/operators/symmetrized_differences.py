"""Symmetrised differences: the strain of a vector field, which vanishes for the gradient of an affine image."""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor

from apheleia.core.bound import Bound
from apheleia.core.space import Space
from apheleia.operators.finite_differences import FiniteDifferences
from apheleia.operators.linear import LinearOperator

__all__ = ["SymmetrizedDifferences"]


@final
class SymmetrizedDifferences(LinearOperator):
    """w -> (D_1 w_1, D_2 w_2, (D_2 w_1 + D_1 w_2) / sqrt(2)), so that |(E w)[i, j]|_2 is the Frobenius norm of the strain.

    Domain (2, channel, height, width), as `FiniteDifferences` gives, codomain (3, channel, height, width). The last row of
    the vertical component and the last column of the horizontal one, where forward differences have no value, are left aside:
    their neighbours stand in for them. So E D x = 0 for an affine image x, also at its edges.

    Parameters
    ----------
    is_complex : bool, default False
        Whether fields are complex.

    Notes
    -----
    Certificate: norm at most sqrt(12) = sqrt(4 + 4 * 2): 4 for differences along one axis, 2 for an entry that stands in for its
    neighbour.
    Source: K. Bredies, K. Kunisch, T. Pock, SIAM Journal on Imaging Sciences 3 (2010), doi:10.1137/090769521.
    """

    def __init__(self, is_complex: bool = False) -> None:
        super().__init__(Space((2, None, None, None), is_complex), Space((3, None, None, None), is_complex))
        self.differences = FiniteDifferences(is_complex)

    def _forward(self, x: Tensor) -> Tensor:
        first, second = self._extended(x)
        down, right = self.differences._forward(first), self.differences._forward(second)
        mixed = (down[..., 1, :, :, :] + right[..., 0, :, :, :]) / math.sqrt(2)
        return torch.stack([down[..., 0, :, :, :], right[..., 1, :, :, :], mixed], dim=-4)

    def _adjoint(self, y: Tensor) -> Tensor:
        mixed = y[..., 2, :, :, :] / math.sqrt(2)
        first = self.differences._adjoint(torch.stack([y[..., 0, :, :, :], mixed], dim=-4))
        second = self.differences._adjoint(torch.stack([mixed, y[..., 1, :, :, :]], dim=-4))
        # what the stand-ins received goes to their neighbours
        for part, dim in ((first, -2), (second, -1)):
            last = part.shape[dim] - 1
            if last:
                part.narrow(dim, last - 1, 1).add_(part.narrow(dim, last, 1))
            part.narrow(dim, last, 1).zero_()
        return torch.stack([first, second], dim=-4)

    @staticmethod
    def _extended(x: Tensor) -> tuple[Tensor, Tensor]:
        """Return both components with the missing last row and column filled by their neighbours, or zero without one."""
        first, second = x[..., 0, :, :, :], x[..., 1, :, :, :]
        rows, columns = first[..., :-1, :], second[..., :-1]
        edge = first[..., -2:-1, :] if first.shape[-2] > 1 else torch.zeros_like(first)
        side = second[..., -2:-1] if second.shape[-1] > 1 else torch.zeros_like(second)
        return torch.cat([rows, edge], dim=-2), torch.cat([columns, side], dim=-1)

    def _norm(self, shape: tuple[int, ...] | None) -> Bound | None:
        return Bound(math.sqrt(12), "upper", "differences of a field")

    def _input_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (2, *shape[1:])

    def _output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (3, *shape[1:])
