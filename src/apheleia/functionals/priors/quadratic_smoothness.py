"""Quadratic smoothness: Tikhonov's prior on the gradient."""

from __future__ import annotations

from typing import final

from torch import Tensor

from apheleia.core.bound import Bound
from apheleia.core.space import Space
from apheleia.functionals.functional import Functional
from apheleia.operators.finite_differences import FiniteDifferences
from apheleia.operators.linear import LinearOperator
from apheleia.operators.transforms import Basis

__all__ = ["QuadraticSmoothness"]


@final
class QuadraticSmoothness(Functional):
    """x -> 1/2 |D x|^2, D the forward differences with Neumann ends: smooth images, no edges kept.

    Parameters
    ----------
    is_complex : bool, default False
        Whether images are complex.

    Notes
    -----
    Certificate: smoothness |D|^2, exact; quadratic, so that conjugate gradients apply.
    """

    is_convex = True
    is_smooth = True
    is_quadratic = True

    def __init__(self, is_complex: bool = False) -> None:
        super().__init__(Space((None, None, None), is_complex))
        self.differences = FiniteDifferences(is_complex)
        self.hessian_bases = self.differences.gram_bases

    @property
    def formula(self) -> str:
        """The term as a reader writes it."""
        return "1/2 |∇x|²"

    def _value(self, x: Tensor) -> Tensor:
        differences = self.differences._forward(x)
        return 0.5 * self.differences.codomain.inner(differences, differences)

    def _grad(self, x: Tensor) -> Tensor:
        return self.differences._adjoint(self.differences._forward(x))

    def _smoothness(self, shape: tuple[int, ...]) -> Bound:
        return self.differences.norm(shape).squared()

    def _hessian(self, shape: tuple[int, ...]) -> LinearOperator:
        return self.differences.gram

    def _hessian_eigenvalues(self, basis: Basis, shape: tuple[int, ...]) -> Tensor:
        return self.differences._gram_eigenvalues(basis, shape)
