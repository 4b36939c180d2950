"""Smoothed variation: total variation with a rounded tip, differentiable everywhere."""

from __future__ import annotations

from typing import Literal, final

import torch
from torch import Tensor

from apheleia.core.bound import Bound
from apheleia.core.errors import ArgumentError
from apheleia.core.interop import is_number
from apheleia.core.space import Space
from apheleia.functionals.functional import Functional
from apheleia.operators.finite_differences import FiniteDifferences

__all__ = ["SmoothedVariation"]


@final
class SmoothedVariation(Functional):
    """x -> sum phi(|(D x)[i, j]|), phi the Charbonnier or the Huber function of width epsilon.

    Charbonnier: phi(t) = sqrt(t^2 + epsilon^2) - epsilon. Huber: t^2 / (2 epsilon) up to epsilon, t - epsilon / 2 beyond.

    Parameters
    ----------
    epsilon : float, default 1e-2
        Width of the rounded tip, above zero, in the units of x.
    kind : {"charbonnier", "huber"}
        Which function.
    is_complex : bool, default False
        Whether images are complex.

    Raises
    ------
    ArgumentError
        If epsilon is not above zero or the kind is unknown.

    Notes
    -----
    Certificate: smoothness |D|^2 / epsilon <= 8 / epsilon, upper.
    Source: P. Charbonnier et al., IEEE Transactions on Image Processing 6 (1997), doi:10.1109/83.551699.
    """

    is_convex = True
    is_smooth = True

    def __init__(
        self, epsilon: float = 1e-2, kind: Literal["charbonnier", "huber"] = "charbonnier", is_complex: bool = False
    ) -> None:
        if not (is_number(epsilon) and epsilon > 0):
            raise ArgumentError(f"SmoothedVariation: `epsilon` must be above zero; got {epsilon!r}. Zero is TotalVariation.")
        if kind not in ("charbonnier", "huber"):
            raise ArgumentError(f"SmoothedVariation: `kind` must be charbonnier or huber; got {kind!r}.")
        super().__init__(Space((None, None, None), is_complex))
        self.epsilon = float(epsilon)
        self.kind = kind
        self.differences = FiniteDifferences(is_complex)

    @property
    def formula(self) -> str:
        """The term as a reader writes it."""
        return f"TV(x; {self.kind} {self.epsilon:.4g})"

    def _squares(self, differences: Tensor) -> Tensor:
        return (differences.abs() ** 2).sum(-4)

    def _value(self, x: Tensor) -> Tensor:
        squares = self._squares(self.differences._forward(x))
        if self.kind == "charbonnier":
            # t^2 / (root + epsilon) instead of root - epsilon, which cancels for small t
            return (squares / ((squares + self.epsilon**2).sqrt() + self.epsilon)).sum(self.space.axes)
        inside = squares <= self.epsilon**2
        size = torch.where(inside, self.epsilon**2, squares).sqrt()
        return torch.where(inside, squares / (2 * self.epsilon), size - 0.5 * self.epsilon).sum(self.space.axes)

    def _grad(self, x: Tensor) -> Tensor:
        differences = self.differences._forward(x)
        squares = self._squares(differences).unsqueeze(-4)
        width = self.epsilon**2
        size = (squares + width if self.kind == "charbonnier" else squares.clamp(min=width)).sqrt()
        return self.differences._adjoint(differences / size)

    def _smoothness(self, shape: tuple[int, ...]) -> Bound:
        squared = self.differences.norm(shape).squared()
        return Bound(squared.value / self.epsilon, "upper", f"|D|^2 / {self.epsilon:.4g}")
