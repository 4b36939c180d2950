"""Total variation: the sum of gradient magnitudes, which keeps edges."""

from __future__ import annotations

from typing import final

from apheleia.functionals.priors.analysis_prior import AnalysisPrior
from apheleia.functionals.priors.group_l1 import GroupL1
from apheleia.functionals.priors.l1 import L1
from apheleia.operators.finite_differences import FiniteDifferences

__all__ = ["TotalVariation"]


@final
class TotalVariation(AnalysisPrior):
    """x -> sum over pixels |(D x)[i, j]|_2, D the forward differences with Neumann ends; summed over channels.

    Parameters
    ----------
    is_complex : bool, default False
        Whether images are complex.
    isotropic : bool, default True
        Whether the two differences of a pixel are joined by the Euclidean norm; without, their moduli are summed, which
        prefers edges along the axes.

    Notes
    -----
    Certificate: exact, not smoothed. Solvers take its split (group l1 norm or l1 norm, finite differences). The proximal map
    iterates on the dual (accelerated projected gradient) and knows its duality gap: see `prox_and_gap`.
    Source: L. Rudin, S. Osher, E. Fatemi, Physica D 60 (1992), doi:10.1016/0167-2789(92)90242-F;
    A. Beck, M. Teboulle, IEEE Transactions on Image Processing 18 (2009), doi:10.1109/TIP.2009.2028250; anisotropic:
    S. Esedoglu, S. Osher, Communications on Pure and Applied Mathematics 57 (2004), doi:10.1002/cpa.20045.

    Examples
    --------
    >>> import torch
    >>> TotalVariation()(torch.tensor([[[0.0, 1.0], [0.0, 1.0]]]))
    tensor(2.)
    """

    def __init__(self, is_complex: bool = False, *, isotropic: bool = True) -> None:
        differences = FiniteDifferences(is_complex)
        space = differences.codomain
        super().__init__(GroupL1(axis=-4, space=space) if isotropic else L1(space), differences)
        self.isotropic = isotropic

    @property
    def formula(self) -> str:
        """The term as a reader writes it."""
        return "TV(x)" if self.isotropic else "TV₁(x)"
