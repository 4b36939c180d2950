"""Regularization by denoising: the gradient of the prior is what a denoiser takes away."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from apheleia.core.errors import ArgumentError
from apheleia.core.interop import is_number
from apheleia.core.space import IMAGE, Space
from apheleia.functionals.functional import Functional
from apheleia.functionals.priors.denoiser import Denoiser

__all__ = ["RegularizationByDenoising"]


@final
class RegularizationByDenoising(Functional):
    """x -> 1/2 <x, x - D(x)>, with x - D(x) for its gradient, D a denoiser at a fixed noise level.

    Parameters
    ----------
    denoiser : Denoiser
        D, (x, noise_std) -> images; a module's parameters are learned with the rest.
    noise_std : float
        What the denoiser is told, above zero, in the units of x.
    space : Space, default images of any size
        Where x lives.

    Raises
    ------
    ArgumentError
        If the denoiser is not callable, or the noise level not above zero.

    Notes
    -----
    x - D(x) is the gradient of that value where D is homogeneous, D(c x) = c D(x), and its Jacobian symmetric; of anything at
    all only where the Jacobian is symmetric. `denoiser_defects` measures both. Elsewhere methods seek a zero of
    grad f(x) + weight (x - D(x)), with a line search on a value that does not belong to it.

    Certificate: none: it is not declared convex, nor its gradient Lipschitz, because neither can be checked.
    Source: Y. Romano, M. Elad, P. Milanfar, SIAM Journal on Imaging Sciences 10 (2017), doi:10.1137/16M1102884; E. Reehorst,
    P. Schniter, IEEE Transactions on Computational Imaging 5 (2019), doi:10.1109/TCI.2018.2880326.
    """

    def __init__(self, denoiser: Denoiser, noise_std: float, space: Space = IMAGE) -> None:
        if not callable(denoiser):
            got = type(denoiser).__name__
            raise ArgumentError(f"RegularizationByDenoising: `denoiser` must be callable as (x, noise_std); got {got}.")
        if not (is_number(noise_std) and noise_std > 0):
            raise ArgumentError(f"RegularizationByDenoising: `noise_std` must be above zero; got {noise_std!r}.")
        super().__init__(space)
        self.denoiser = denoiser
        self.noise_std = float(noise_std)

    @property
    def is_differentiable(self) -> bool:
        """Whether it has a gradient everywhere: it has one by definition."""
        return True

    @property
    def formula(self) -> str:
        """The term as a reader writes it."""
        return "1/2 ⟨x, x - D(x)⟩"

    def _value(self, x: Tensor) -> Tensor:
        return 0.5 * self.space.inner(x, self._grad(x))

    def _grad(self, x: Tensor) -> Tensor:
        level = torch.full(self.space.batch_shape(x), self.noise_std, dtype=x.real.dtype, device=x.device)
        return x - self.denoiser(x, level)
