"""Vectorial total variation: one gradient magnitude for all channels of a pixel, so that their edges coincide."""

from __future__ import annotations

from typing import Literal, final

from apheleia.core.errors import ArgumentError
from apheleia.functionals.priors.analysis_prior import AnalysisPrior
from apheleia.functionals.priors.group_l1 import GroupL1
from apheleia.functionals.priors.pixel_nuclear_norm import PixelNuclearNorm
from apheleia.operators.finite_differences import FiniteDifferences

__all__ = ["VectorialTotalVariation"]


@final
class VectorialTotalVariation(AnalysisPrior):
    """x -> sum over pixels |J[i, j]|, J the Jacobian (D x)[:, :, i, j] of 2 differences by all channels.

    Parameters
    ----------
    coupling : {"frobenius", "nuclear"}, default "frobenius"
        Norm of the Jacobian: its entries joined by the Euclidean norm, or the sum of its two singular values, which also asks
        the channels for one common direction of their edges.
    is_complex : bool, default False
        Whether images are complex; the nuclear norm takes real ones only.

    Raises
    ------
    ArgumentError
        If the coupling is unknown, or nuclear and complex.

    Notes
    -----
    Certificate: exact, not smoothed. Solvers take its split (norm, finite differences), whose proximal map is exact. Its own
    proximal map iterates on the dual and knows its duality gap: see `prox_and_gap`.
    Source: P. Blomgren, T. Chan, IEEE Transactions on Image Processing 7 (1998), doi:10.1109/83.661180; nuclear norm:
    J. Duran, M. Moeller, C. Sbert, D. Cremers, SIAM Journal on Imaging Sciences 9 (2016), doi:10.1137/15M102873X.

    Examples
    --------
    >>> import torch
    >>> edge = torch.tensor([[0.0, 1.0], [0.0, 1.0]])
    >>> VectorialTotalVariation()(torch.stack([3 * edge, 4 * edge]))
    tensor(10.)
    """

    def __init__(self, coupling: Literal["frobenius", "nuclear"] = "frobenius", is_complex: bool = False) -> None:
        if coupling not in ("frobenius", "nuclear"):
            raise ArgumentError(f"VectorialTotalVariation: `coupling` must be frobenius or nuclear; got {coupling!r}.")
        if coupling == "nuclear" and is_complex:
            raise ArgumentError("VectorialTotalVariation: nuclear takes real images; use frobenius for complex ones.")
        differences = FiniteDifferences(is_complex)
        joint = GroupL1(axis=(-4, -3), space=differences.codomain)
        super().__init__(joint if coupling == "frobenius" else PixelNuclearNorm(), differences)
        self.coupling = coupling

    @property
    def formula(self) -> str:
        """The term as a reader writes it."""
        return "VTV(x)" if self.coupling == "frobenius" else "VTV(x; nuclear)"
