"""The group l1 norm of groups that may share entries."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import final

import torch

from apheleia.core.errors import ShapeError
from apheleia.core.space import Space, as_shape
from apheleia.functionals.priors.analysis_prior import AnalysisPrior
from apheleia.functionals.priors.group_l1 import GroupL1
from apheleia.operators.duplication import Duplication

__all__ = ["OverlappingGroupL1", "sliding_windows"]


@final
class OverlappingGroupL1(AnalysisPrior):
    """x -> sum over groups |x_group|_2, groups of places in the flattened signal that may overlap.

    Parameters
    ----------
    groups : sequence of sequences of int
        Places in the flattened signal, counted from 0; `sliding_windows` makes those of an image.
    space : Space
        Where x lives, with all sizes fixed.

    Raises
    ------
    ArgumentError
        If a size is open, a group is empty, names a place twice, or names one outside.

    Notes
    -----
    Certificate: convex. Solvers take its split (group l1 norm, duplication of entries), whose proximal map is exact. Its own
    proximal map iterates on the dual and knows its duality gap: see `prox_and_gap`.
    Source: R. Jenatton, J.-Y. Audibert, F. Bach, Journal of Machine Learning Research 12 (2011).

    Examples
    --------
    >>> OverlappingGroupL1([[0, 1], [1, 2]], Space((3,)))(torch.tensor([3.0, 4.0, 0.0]))
    tensor(9.)
    """

    def __init__(self, groups: Sequence[Sequence[int]], space: Space) -> None:
        duplication = Duplication(groups, space)
        super().__init__(GroupL1(axis=-1, space=duplication.codomain), duplication)

    @property
    def formula(self) -> str:
        """The term as a reader writes it."""
        return "Σ|x_group|₂"


def sliding_windows(shape: tuple[int, ...], window: tuple[int, ...]) -> list[list[int]]:
    """Return the places of every window inside a signal, for `OverlappingGroupL1`.

    Parameters
    ----------
    shape : tuple of int
        Signal shape.
    window : tuple of int
        Size of the window along each axis; the channels' too, such as (channels, 3, 3).

    Returns
    -------
    list of list of int
        One list a position of the window.

    Raises
    ------
    ShapeError
        If the window is larger than the signal, or has more axes.
    """
    shape, window = as_shape(shape, "sliding_windows", "shape"), as_shape(window, "sliding_windows", "window")
    if len(window) > len(shape) or not all(1 <= size <= whole for size, whole in zip(window, shape, strict=False)):
        raise ShapeError(f"sliding_windows: `window` must lie inside the signal, {shape}; got {window}.")
    places = torch.arange(math.prod(shape)).reshape(shape)
    for axis, size in enumerate(window):
        places = places.unfold(axis, size, 1)
    return places.flatten(len(shape)).flatten(0, len(shape) - 1).tolist()
