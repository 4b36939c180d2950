"""What the X-ray transforms share: integrals of images along rays, their transpose, a bound on the norm, a majorant."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Self

import numpy
from torch import Tensor

from apheleia.core.bound import Bound
from apheleia.core.errors import ArgumentError
from apheleia.core.interop import ArrayLike
from apheleia.core.space import Space
from apheleia.operators.joseph import ParallelRays, Rays
from apheleia.operators.line_integrals import line_integrals, spread_along_lines
from apheleia.operators.linear import LinearOperator
from apheleia.operators.norm import perron_bound
from apheleia.operators.tomographic_majorant import tomographic_majorant
from apheleia.operators.transforms import Basis

__all__ = ["NORM_STEPS", "RayTransform"]

NORM_STEPS = 6
"""Applications of A^H A that tighten the bound on the norm; each costs a projection and its transpose."""


class RayTransform(LinearOperator):
    """x -> its integrals along rays, images (channel, height, width) to sinograms (channel, view, detector); an abstract base.

    Parameters
    ----------
    size : (int, int)
        Height and width of the image, in pixels.
    rays : Rays or ParallelRays
        The rays, in pixels.
    pixel_size : float
        Side of a pixel; integrals are in its unit.
    """

    angle_deg: numpy.ndarray
    is_non_negative = True
    gram_majorants = ("cosine",)
    has_proved_majorants = False

    def __init__(self, size: tuple[int, int], rays: Rays | ParallelRays, pixel_size: float) -> None:
        super().__init__(Space((None, *size)), Space((None, *rays.shape)))
        self.size = size
        self.rays = rays
        self.pixel_size = pixel_size

    @abstractmethod
    def at(self, angle_deg: ArrayLike | Sequence[float]) -> Self:
        """Return the transform of the same geometry for other views, at angles in degrees, (view,)."""

    def interleaved(self, count: int) -> tuple[Self, ...]:
        """Return the transforms of every `count`-th view, from the first, the second, ...: subset k sees y[..., k::count, :].

        Raises
        ------
        ArgumentError
            If the count is not a whole number between 1 and that of the views.
        """
        views = self.rays.shape[0]
        if not isinstance(count, int) or not 1 <= count <= views:
            raise ArgumentError(f"{self.name}.interleaved: `count` must lie between 1 and the {views} views; got {count!r}.")
        return tuple(self.at(self.angle_deg[first::count]) for first in range(count))

    def _forward(self, x: Tensor) -> Tensor:
        return self.pixel_size * line_integrals(x, self.rays, self.size)

    def _adjoint(self, y: Tensor) -> Tensor:
        return self.pixel_size * spread_along_lines(y, self.rays, self.size)

    def _norm(self, shape: tuple[int, ...] | None) -> Bound | None:
        return perron_bound(self.gram._forward, Space((1, *self.size)), None, NORM_STEPS)

    def _gram_eigenvalues(self, basis: Basis, shape: tuple[int, ...]) -> Tensor:
        return tomographic_majorant(self.gram._forward, self.size, self.rays.shape[0])

    def _output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (shape[0], *self.rays.shape)

    def _input_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (shape[0], *self.size)
