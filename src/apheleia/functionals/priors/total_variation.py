"""Total variation: the sum of gradient magnitudes, which keeps edges."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from apheleia.core.space import Space, batch_shape, expand_batch, per_sample
from apheleia.functionals.functional import Functional
from apheleia.functionals.priors.group_l1 import GroupL1
from apheleia.operators.finite_differences import FiniteDifferences
from apheleia.operators.linear import LinearOperator

__all__ = ["TotalVariation"]


@final
class TotalVariation(Functional):
    """x -> sum over pixels |(D x)[i, j]|_2, D the forward differences with Neumann ends; summed over channels.

    Parameters
    ----------
    is_complex : bool, default False
        Whether images are complex.

    Notes
    -----
    Certificate: exact, not smoothed. Solvers take its split (group l1 norm, finite differences). The proximal map iterates on
    the dual (accelerated projected gradient) and knows its duality gap: see `prox_and_gap`.
    Source: L. Rudin, S. Osher, E. Fatemi, Physica D 60 (1992), doi:10.1016/0167-2789(92)90242-F;
    A. Beck, M. Teboulle, IEEE Transactions on Image Processing 18 (2009), doi:10.1109/TIP.2009.2028250.

    Examples
    --------
    >>> TotalVariation()(torch.tensor([[[0.0, 1.0], [0.0, 1.0]]]))
    tensor(2.)
    """

    is_convex = True
    is_proximable = True

    def __init__(self, is_complex: bool = False) -> None:
        super().__init__(Space((None, None, None), is_complex))
        self.differences = FiniteDifferences(is_complex)
        self.norm = GroupL1(axis=-4, space=self.differences.codomain)

    @property
    def formula(self) -> str:
        """The term as a reader writes it."""
        return "TV(x)"

    @property
    def split(self) -> tuple[Functional, LinearOperator] | None:
        """The pair (h, K) with value h(K x)."""
        return (self.norm, self.differences)

    def _value(self, x: Tensor) -> Tensor:
        return self.norm._value(self.differences._forward(x))

    def _prox(self, x: Tensor, step: Tensor | float) -> Tensor:
        return self._prox_and_gap(x, step, 1e-8 if x.real.dtype == torch.float64 else 1e-6)[0]

    def _prox_and_gap(self, x: Tensor, step: Tensor | float, tol: float, max_steps: int = 2000) -> tuple[Tensor, Tensor]:
        """Minimise 1/2 |x - D^H p|^2 over |p_ij| <= step by accelerated projected gradient with restart, image by image."""
        rank, D = self.space.rank, self.differences
        size = float(D.norm(tuple(x.shape[-3:])).value) ** 2
        step = step.to(x.real.dtype) if isinstance(step, Tensor) else step
        steps = tuple(step.shape) if isinstance(step, Tensor) else ()
        batch = batch_shape(self.space.batch_shape(x), steps, who="TotalVariation.prox")
        x = expand_batch(x, batch, rank)
        p = extrapolated = torch.zeros_like(D._forward(x))
        t = torch.ones(batch, dtype=x.real.dtype, device=x.device)
        u = x
        for k in range(max_steps):
            if k % 10 == 0:
                gap, value = self._gap(u, p, x, step)
                running = gap > tol * value
                if not bool(running.any()):
                    break
            new = self.norm._conj_prox(extrapolated + D._forward(x - D._adjoint(extrapolated)) / size, 1.0, step)
            # restart where the step points against the momentum (O'Donoghue and Candes 2015)
            against = self.norm.space.inner(extrapolated - new, new - p) > 0
            following = torch.where(against, 1.0, 0.5 * (1 + (1 + 4 * t**2).sqrt()))
            momentum = torch.where(against, 0.0, (t - 1) / following)
            mask = running[(...,) + (None,) * (rank + 1)]
            extrapolated = torch.where(mask, new + per_sample(momentum, new, rank + 1) * (new - p), extrapolated)
            p, t = torch.where(mask, new, p), torch.where(running, following, t)
            u = x - D._adjoint(p)
        gap, _ = self._gap(u, p, x, step)
        return u, gap

    def _gap(self, u: Tensor, p: Tensor, x: Tensor, step: Tensor | float) -> tuple[Tensor, Tensor]:
        """Return step * TV(u) - <u, D^H p>, which is the duality gap at u = x - D^H p, and the primal value."""
        differences = self.differences._forward(u)
        variation = step * self.norm._value(differences)
        gap = (variation - self.norm.space.inner(differences, p)).clamp(min=0)
        return gap, variation + 0.5 * self.space.inner(u - x, u - x)
