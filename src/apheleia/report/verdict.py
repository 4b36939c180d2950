"""A question, the number that answers it, and the rule that turns the number into pass or fail."""

from __future__ import annotations

import math
from dataclasses import dataclass

from apheleia.core.errors import ArgumentError

__all__ = ["Verdict"]


@dataclass(frozen=True)
class Verdict:
    """A check whose outcome is computed from the very number that is printed beside it, never typed in.

    Parameters
    ----------
    question : str
        What the reader asks, such as "Noise explained?".
    quantity : str
        The name of the number, such as "residual std / noise std".
    value : float
        The number. NaN fails every check.
    low, high : float or None
        The check passes where low <= value <= high; None leaves that side open. At least one is needed.
    unit : str
        Unit of the three numbers, such as "dB"; empty for a ratio.
    meaning : str
        A sentence for the reader: what the check looks at, or what a failure would mean.

    Raises
    ------
    ArgumentError
        If there is no bound at all, a bound is NaN, or `low` exceeds `high`.

    Examples
    --------
    >>> print(Verdict("Noise explained?", "residual std / noise std", 1.031, low=0.9, high=1.1).rule)
    residual std / noise std = 1.03, expected 0.9 to 1.1: pass
    """

    question: str
    quantity: str
    value: float
    low: float | None = None
    high: float | None = None
    unit: str = ""
    meaning: str = ""

    def __post_init__(self) -> None:
        bounds = [bound for bound in (self.low, self.high) if bound is not None]
        if not bounds:
            raise ArgumentError(f"Verdict: {self.question!r} needs a `low` or a `high`; without one there is nothing to check.")
        if any(math.isnan(bound) for bound in bounds):
            raise ArgumentError(
                f"Verdict: the bounds of {self.question!r} must be numbers; got low={self.low}, high={self.high}."
            )
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ArgumentError(f"Verdict: `low` must not exceed `high`; {self.question!r} has {self.low} > {self.high}.")

    @property
    def passed(self) -> bool:
        """Whether the value lies within the bounds."""
        return self._within(self.value)

    @property
    def outcome(self) -> str:
        """The word "pass" or "fail"."""
        return "pass" if self.passed else "fail"

    @property
    def rule(self) -> str:
        """The number, what was expected of it, and the outcome, in one line."""
        return f"{self.quantity} = {self._shown()}, expected {self._expected()}: {self.outcome}"

    def _within(self, value: float) -> bool:
        above = self.low is None or value >= self.low
        below = self.high is None or value <= self.high
        return above and below and not math.isnan(value)

    def _shown(self) -> str:
        if math.isnan(self.value):
            return "not a number"
        # A rounded number may cross its bound (1.1004 prints as 1.1); digits are added until it tells the same story.
        shown = next((s for s in (f"{self.value:.{d}g}" for d in range(3, 17)) if self._within(float(s)) == self.passed), "")
        return self._with_unit(shown or repr(self.value))

    def _expected(self) -> str:
        if self.low is None:
            return f"at most {self._with_unit(_plain(self.high))}"
        if self.high is None:
            return f"at least {self._with_unit(_plain(self.low))}"
        return f"{_plain(self.low)} to {self._with_unit(_plain(self.high))}"

    def _with_unit(self, number: str) -> str:
        return f"{number} {self.unit}" if self.unit else number


def _plain(bound: float | None) -> str:
    """Return the shortest text that reads back as exactly this bound."""
    return repr(bound).removesuffix(".0")
