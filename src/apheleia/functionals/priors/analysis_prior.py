"""Analysis priors: a norm of a linear map of the signal, |K x|, with a proximal map that knows its duality gap."""

from __future__ import annotations

import torch
from torch import Tensor

from apheleia.core.space import batch_shape, expand_batch, per_sample
from apheleia.functionals.functional import Functional
from apheleia.operators.linear import LinearOperator

__all__ = ["AnalysisPrior"]


class AnalysisPrior(Functional):
    """x -> h(K x) with a norm h whose proximal map is exact; a subclass gives the pair and its text.

    The proximal map runs accelerated projected gradient on the dual, with restart, image by image: minimise 1/2 |x - K^H p|^2
    over p in the dual ball of step * h.

    Parameters
    ----------
    norm : Functional
        h, a norm: its conjugate is the indicator of a ball.
    operator : LinearOperator
        K, with an exact norm or an upper bound.

    Notes
    -----
    Certificate: solvers take the split (h, K); the gap of `prox_and_gap` is a duality gap.
    Source: A. Beck, M. Teboulle, IEEE Transactions on Image Processing 18 (2009), doi:10.1109/TIP.2009.2028250; restart:
    B. O'Donoghue, E. Candes, Foundations of Computational Mathematics 15 (2015), doi:10.1007/s10208-013-9150-3.
    """

    is_convex = True
    is_proximable = True

    def __init__(self, norm: Functional, operator: LinearOperator) -> None:
        super().__init__(operator.domain)
        self.norm = norm
        self.operator = operator

    @property
    def split(self) -> tuple[Functional, LinearOperator] | None:
        """The pair (h, K) with value h(K x)."""
        return (self.norm, self.operator)

    def _value(self, x: Tensor) -> Tensor:
        return self.norm._value(self.operator._forward(x))

    def _prox(self, x: Tensor, step: Tensor | float) -> Tensor:
        return self._prox_and_gap(x, step, 1e-8 if x.real.dtype == torch.float64 else 1e-6)[0]

    def _prox_and_gap(self, x: Tensor, step: Tensor | float, tol: float, max_steps: int = 2000) -> tuple[Tensor, Tensor]:
        rank, K = self.space.rank, self.operator
        wide = K.codomain.rank
        size = float(K.norm(tuple(x.shape[x.ndim - rank :])).value) ** 2
        step = step.to(x.real.dtype) if isinstance(step, Tensor) else step
        steps = tuple(step.shape) if isinstance(step, Tensor) else ()
        batch = batch_shape(self.space.batch_shape(x), steps, who=f"{self.name}.prox")
        x = expand_batch(x, batch, rank)
        p = extrapolated = torch.zeros_like(K._forward(x))
        t = torch.ones(batch, dtype=x.real.dtype, device=x.device)
        u = x
        for k in range(max_steps):
            if k % 10 == 0:
                gap, value = self._gap(u, p, x, step)
                running = gap > tol * value
                if not bool(running.any()):
                    break
            new = self.norm._conj_prox(extrapolated + K._forward(x - K._adjoint(extrapolated)) / size, 1.0, step)
            # restart where the step points against the momentum
            against = K.codomain.inner(extrapolated - new, new - p) > 0
            following = torch.where(against, 1.0, 0.5 * (1 + (1 + 4 * t**2).sqrt()))
            momentum = torch.where(against, 0.0, (t - 1) / following)
            mask = running[(...,) + (None,) * wide]
            extrapolated = torch.where(mask, new + per_sample(momentum, new, wide) * (new - p), extrapolated)
            p, t = torch.where(mask, new, p), torch.where(running, following, t)
            u = x - K._adjoint(p)
        gap, _ = self._gap(u, p, x, step)
        return u, gap

    def _gap(self, u: Tensor, p: Tensor, x: Tensor, step: Tensor | float) -> tuple[Tensor, Tensor]:
        """Return step * h(K u) - <u, K^H p>, which is the duality gap at u = x - K^H p, and the primal value."""
        image = self.operator._forward(u)
        energy = step * self.norm._value(image)
        gap = (energy - self.operator.codomain.inner(image, p)).clamp(min=0)
        return gap, energy + 0.5 * self.space.inner(u - x, u - x)
