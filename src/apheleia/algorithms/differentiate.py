"""How to differentiate through a solver: an argument of `solve`, not a property of an algorithm."""

from __future__ import annotations

from dataclasses import dataclass

from apheleia.core.errors import ArgumentError

__all__ = ["Differentiation", "Truncated", "Unrolled"]


@dataclass(frozen=True)
class Unrolled:
    """Run exactly `steps` steps and record all of them for the backward pass.

    Parameters
    ----------
    steps : int
        At least 1. Memory grows with it.

    Raises
    ------
    ArgumentError
        If steps < 1.
    """

    steps: int

    def __post_init__(self) -> None:
        _check(self.steps, "Unrolled")

    @property
    def recorded(self) -> int:
        """How many of the last steps the backward pass sees."""
        return self.steps


@dataclass(frozen=True)
class Truncated:
    """Run exactly `steps` steps and record only the last `last` ones: less memory, a biased gradient.

    Parameters
    ----------
    steps : int
        At least 1.
    last : int
        From 1 to `steps`.

    Raises
    ------
    ArgumentError
        If either is out of range.
    """

    steps: int
    last: int

    def __post_init__(self) -> None:
        _check(self.steps, "Truncated")
        if not 1 <= self.last <= self.steps:
            raise ArgumentError(f"Truncated: `last` must lie between 1 and steps = {self.steps}; got {self.last}.")

    @property
    def recorded(self) -> int:
        """How many of the last steps the backward pass sees."""
        return self.last


Differentiation = Unrolled | Truncated


def _check(steps: int, who: str) -> None:
    if not isinstance(steps, int) or steps < 1:
        raise ArgumentError(f"{who}: `steps` must be a whole number >= 1; got {steps!r}.")
