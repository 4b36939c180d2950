"""Kullback-Leibler: the negative log-likelihood of Poisson counts with gain and background."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from apheleia.core.errors import ArgumentError
from apheleia.core.interop import ArrayLike
from apheleia.core.space import Space, per_sample
from apheleia.functionals.fidelities.fidelity import DataLoss, Fidelity, data_space
from apheleia.operators.operator import Operator

__all__ = ["KullbackLeibler", "PoissonDistance"]


@final
class PoissonDistance(DataLoss):
    """z -> sum (w - y + y log(y / w)) / gain with w = z + background; +inf where w < 0, or w = 0 < y.

    Parameters
    ----------
    y : Tensor or ndarray, (*batch, *space)
        The data, at least zero.
    space : Space
        Where they live; real.
    gain : float
        Data units a count, above zero: y = gain * counts.
    background : float
        Expected data where the signal is dark, at least zero, in data units.

    Raises
    ------
    ArgumentError
        If gain, background or data are out of range, or the space is complex.
    """

    is_convex = True
    is_proximable = True
    has_exact_prox = True
    coupled_axes = ()
    has_conjugate = True

    def __init__(self, y: ArrayLike, space: Space, gain: float = 1.0, background: float = 0.0) -> None:
        super().__init__(y, space, "KullbackLeibler")
        if space.is_complex:
            raise ArgumentError("KullbackLeibler: counts are real; this data formation gives complex data.")
        if not gain > 0:
            raise ArgumentError(f"KullbackLeibler: `gain` must be above zero; got {gain!r}.")
        if not background >= 0:
            raise ArgumentError(f"KullbackLeibler: `background` must be at least zero; got {background!r}.")
        if not bool((self.y.detach() >= 0).all()):
            raise ArgumentError("KullbackLeibler: `y` must be at least zero; subtract no background from it, pass `background`.")
        self.gain = float(gain)
        self.background = float(background)

    def _value(self, x: Tensor) -> Tensor:
        y, w = self._data(x), x + self.background
        # the logarithm of the ratio, because a difference of two cancels; safe operands keep gradients finite
        legal = (w > 0) | ((w == 0) & (y == 0))
        ratio = torch.where((w > 0) & (y > 0), y / torch.where(w > 0, w, 1.0), 1.0)
        terms = torch.where(w > 0, w - y + y * ratio.log(), w)
        return torch.where(legal, terms, torch.inf).sum(self.space.axes) / self.gain

    def _entrywise_prox(self, x: Tensor, steps: Tensor | float) -> Tensor:
        # w^2 - t w - s y = 0 with t = x + b - s, s = step / gain; the positive root, without cancellation for t < 0
        s = steps / self.gain
        y, t = self._data(x), x + self.background - s
        root = (t**2 + 4 * s * y).sqrt()
        denominator = torch.where(root - t > 0, root - t, 1.0)
        w = torch.where(t >= 0, 0.5 * (t + root), 2 * s * y / denominator) - self.background
        # a step of zero, from a weight of zero, leaves x where it is, also outside of the domain
        return torch.where(s > 0, w, x) if isinstance(s, Tensor) else w

    def _entrywise_conj_prox(self, u: Tensor, steps: Tensor | float, weight: Tensor | float) -> Tensor:
        # the gradient weight (1 - y / w) / gain at the proximal point, since the difference of Moreau's identity cancels
        most = per_sample(weight, u, self.space.rank) / self.gain
        y = self._data(u)
        t = u / steps + self.background - most / steps
        root = (t**2 + 4 * most / steps * y).sqrt()
        denominator = torch.where(root - t > 0, root - t, 1.0)
        w = torch.where(t >= 0, 0.5 * (t + root), 2 * most / steps * y / denominator)
        inner = most * (1 - torch.where(y > 0, y / torch.where(w > 0, w, 1.0), 0.0))
        # where no light is expected the point is at the end of the domain, -background; a weight of zero leaves zero
        return (most > 0) * torch.where(w > 0, inner, u + steps * self.background)

    def _conjugate(self, u: Tensor) -> Tensor:
        y, a = self._data(u), 1 - self.gain * u
        legal = (a > 0) | ((a == 0) & (y == 0))
        terms = -u * self.background - (y / self.gain) * torch.where(a > 0, a, 1.0).log()
        return torch.where(legal, terms, torch.inf).sum(self.space.axes)

    def _dual_scale(self, u: Tensor) -> Tensor:
        # strictly inside u < 1 / gain, where the logarithm is finite
        limit = 1 - max(1e-9, 8 * torch.finfo(u.dtype).eps)
        return limit / (self.gain * u).amax(self.space.axes).clamp(min=limit)


@final
class KullbackLeibler(Fidelity):
    """x -> sum (w - y + y log(y / w)) / gain, w = A x + background: Poisson counts y ~ gain * Poisson(w / gain).

    Parameters
    ----------
    A : Operator
        How data are formed, with non-negative entries.
    y : Tensor or ndarray, (*batch, *codomain)
        The data, at least zero, in data units.
    gain : float, default 1
        Data units a count, above zero.
    background : float, default 0
        Expected data where the signal is dark, at least zero, in data units.

    Notes
    -----
    Its gradient is not Lipschitz at w = 0: solvers take its split (loss on the data's side, A), whose proximal map is exact.
    Source: I. Csiszár, Annals of Statistics 19 (1991), doi:10.1214/aos/1176348385.
    """

    def __init__(self, A: Operator, y: ArrayLike, gain: float = 1.0, background: float = 0.0) -> None:
        super().__init__(A, y, PoissonDistance(y, data_space(A, "KullbackLeibler"), gain, background))

    @property
    def formula(self) -> str:
        """The term as a reader writes it."""
        return "KL(y, A x + background)"
