"""Transmission: Poisson counts behind an absorber, the likelihood of tomography."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from apheleia.core.errors import ArgumentError, ShapeError
from apheleia.core.interop import ArrayLike, as_tensor
from apheleia.core.space import Space
from apheleia.functionals.fidelities.fidelity import DataLoss, Fidelity, data_space
from apheleia.functionals.lambert import wright_omega
from apheleia.operators.operator import Operator, register

__all__ = ["TransmissionDistance", "TransmissionPoisson"]


@final
class TransmissionDistance(DataLoss):
    """z -> sum m - y + y log(y / m) with m = blank_scan * exp(-z) + background.

    Parameters
    ----------
    y : Tensor or ndarray, (*batch, *space)
        Counts, at least zero.
    space : Space
        Where they live; real.
    blank_scan : float, Tensor or ndarray
        Expected counts without the object, above zero; broadcasts with y.
    background : float
        Expected counts that no absorber stops, at least zero.

    Raises
    ------
    ArgumentError
        If the counts, the blank scan or the background are out of range, or the space is complex.
    ShapeError
        If the blank scan does not broadcast with the counts.
    """

    blank_scan: Tensor
    coupled_axes = ()

    def __init__(self, y: ArrayLike, space: Space, blank_scan: float | ArrayLike, background: float = 0.0) -> None:
        super().__init__(y, space, "TransmissionPoisson")
        if space.is_complex:
            raise ArgumentError("TransmissionPoisson: counts are real; this data formation gives complex data.")
        blank = as_tensor(blank_scan, "TransmissionPoisson", "blank_scan")
        if not bool((blank.detach() > 0).all() and blank.detach().isfinite().all()):
            raise ArgumentError("TransmissionPoisson: `blank_scan` must be above zero and finite. Mask dead pixels.")
        if not background >= 0:
            raise ArgumentError(f"TransmissionPoisson: `background` must be at least zero; got {background!r}.")
        if not bool((self.y.detach() >= 0).all()):
            raise ArgumentError("TransmissionPoisson: `y` must hold counts of at least zero, not their logarithm.")
        if blank.ndim > self.y.ndim or any(
            a not in (1, b) for a, b in zip(blank.shape, self.y.shape[self.y.ndim - blank.ndim :], strict=True)
        ):
            raise ShapeError(
                f"TransmissionPoisson: `blank_scan` must broadcast with `y`, {tuple(self.y.shape)}; got {tuple(blank.shape)}."
            )
        register(self, "blank_scan", blank)
        self.background = float(background)
        # with a background the curvature changes its sign where the object is dense
        simple = self.background == 0
        self.is_convex = simple
        self.is_proximable = simple
        self.has_exact_prox = simple
        self.has_conjugate = simple

    @property
    def is_differentiable(self) -> bool:
        """Whether it has a gradient everywhere: it has, Lipschitz where z is bounded below."""
        return True

    def _target(self) -> Tensor:
        # half a count stands in for none
        seen = (self.y - self.background).clamp(min=0.5)
        return (self.blank_scan.to(self.y.dtype) / seen).log()

    def _log_blank(self, x: Tensor) -> Tensor:
        return self.blank_scan.to(x.dtype).log()

    def _value(self, x: Tensor) -> Tensor:
        y = self._data(x)
        some = y > 0
        counts = torch.where(some, y, 1.0)
        log_passed = self._log_blank(x) - x
        if self.background == 0:
            ratio = log_passed - counts.log()
            # y (e^r - 1 - r) with r = log(m / y): a difference of large numbers would cancel
            return torch.where(some, counts * (ratio.expm1() - ratio), log_passed.exp()).sum(self.space.axes)
        mean = log_passed.exp() + self.background
        return torch.where(some, mean - y + y * (counts / mean).log(), mean).sum(self.space.axes)

    def _grad(self, x: Tensor) -> Tensor:
        passed = (self._log_blank(x) - x).exp()
        return passed * (self._data(x) / (passed + self.background) - 1) if self.background else self._data(x) - passed

    def _entrywise_prox(self, x: Tensor, steps: Tensor | float) -> Tensor:
        # z - (x - s y) = s b exp(-z) =: w solves w + log w = log(s b) - (x - s y)
        s = torch.as_tensor(steps, dtype=x.dtype, device=x.device)
        moved = x - s * self._data(x)
        positive = torch.where(s > 0, s, 1.0)
        scale = positive.log() + self._log_blank(x)
        w = wright_omega(scale - moved)
        # z = moved + w = log(s b / w): the first cancels where w is large, the second where it is small
        z = torch.where(w > 1, scale - torch.where(w > 1, w, 1.0).log(), moved + w)
        return torch.where(s > 0, z, x)

    def _conjugate(self, u: Tensor) -> Tensor:
        # sup_z u z - b exp(-z) - y z - c at b exp(-z) = y - u =: t, with c = y log(y / b) - y
        y, blank = self._data(u), self._log_blank(u)
        t, some = y - u, y > 0
        constant = torch.where(some, y * (torch.where(some, y, 1.0).log() - blank - 1), 0.0)
        inside = torch.where(t > 0, t * (torch.where(t > 0, t, 1.0).log() - blank - 1), 0.0)
        return torch.where(t >= 0, inside - constant, torch.inf).sum(self.space.axes)

    def _dual_scale(self, u: Tensor) -> Tensor:
        y = self._data(u)
        limit = 1 - 8 * torch.finfo(u.dtype).eps
        return torch.where(u > y, limit * y / torch.where(u > y, u, 1.0), 1.0).amin(self.space.axes)


@final
class TransmissionPoisson(Fidelity):
    """x -> sum m - y + y log(y / m), m = blank_scan exp(-A x) + background: counts y ~ Poisson(m) behind an absorber.

    Parameters
    ----------
    A : Operator
        Line integrals of the attenuation, such as an X-ray transform.
    y : Tensor or ndarray, (*batch, *codomain)
        Counts, at least zero; not their logarithm.
    blank_scan : float, Tensor or ndarray
        Expected counts without the object, above zero; broadcasts with y.
    background : float, default 0
        Expected counts that no absorber stops, such as scatter, at least zero.

    Notes
    -----
    Convex without a background; with one its curvature changes sign where the object is dense, and it is not. The gradient is
    not Lipschitz, since counts grow exponentially for negative attenuation; on A x >= 0 the constant is at most
    max(blank_scan) |A|^2. Without a background solvers take its split (loss on the data's side, A); with one, its gradient.

    Certificate: without a background, the proximal map of the loss is exact (Wright's omega function) and its conjugate known.
    Source: K. Lange, R. Carson, Journal of Computer Assisted Tomography 8 (1984); H. Erdogan, J. Fessler, Physics in Medicine and
    Biology 44 (1999), doi:10.1088/0031-9155/44/11/311.

    Examples
    --------
    >>> from apheleia.operators import Identity
    >>> y = torch.full((1, 1, 1), 50.0)
    >>> bool(TransmissionPoisson(Identity(), y, blank_scan=100.0)(torch.full((1, 1, 1), 0.6931472)) < 1e-6)
    True
    """

    def __init__(self, A: Operator, y: ArrayLike, blank_scan: float | ArrayLike, background: float = 0.0) -> None:
        super().__init__(A, y, TransmissionDistance(y, data_space(A, "TransmissionPoisson"), blank_scan, background))
        self.background = float(background)

    @property
    def formula(self) -> str:
        """The term as a reader writes it."""
        return "KL(y, blank exp(-A x)" + (" + background)" if self.background else ")")
