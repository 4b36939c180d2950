"""Numbers with a pedigree: how a norm, a smoothness constant or a gap was obtained decides what it can prove."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import reduce
from typing import Literal

import torch
from torch import Tensor

from apheleia.core.errors import ArgumentError

__all__ = ["Bound", "Kind"]

Kind = Literal["exact", "upper", "lower", "estimate"]
_KINDS = ("exact", "upper", "lower", "estimate")


@dataclass(frozen=True, eq=False)
class Bound:
    """A non-negative number and what is known of it.

    Parameters
    ----------
    value : float or Tensor
        The number, one per sample where shape (*batch,) is given; kept in float64.
    kind : {"exact", "upper", "lower", "estimate"}
        "exact" up to rounding; "upper" and "lower" are safe sides; an "estimate" (a power iteration, a sample) proves nothing.
    how : str
        Where the number comes from, in words a reader can check.

    Examples
    --------
    >>> print(Bound(2.0, "exact", "maximum of |d|").squared())
    4 (exact: maximum of |d|, squared)
    """

    value: Tensor
    kind: Kind
    how: str

    def __init__(self, value: float | Tensor, kind: Kind, how: str) -> None:
        if kind not in _KINDS:
            raise ArgumentError(f"Bound: `kind` must be one of {', '.join(_KINDS)}; got {kind!r}.")
        object.__setattr__(self, "value", torch.as_tensor(value, dtype=torch.float64))
        object.__setattr__(self, "kind", kind)
        object.__setattr__(self, "how", how)

    @property
    def is_upper(self) -> bool:
        """Whether the true number is at most `value`: what norms and smoothness constants need for a proof."""
        return self.kind in ("exact", "upper")

    @property
    def is_lower(self) -> bool:
        """Whether the true number is at least `value`: what strong convexity needs for a proof."""
        return self.kind in ("exact", "lower")

    @property
    def is_positive(self) -> bool:
        """Whether every sample's value is above zero."""
        return bool((self.value > 0).all())

    def scaled(self, factor: float | Tensor, how: str = "") -> Bound:
        """Return the bound times a known non-negative `factor`; its kind stays."""
        factor = factor.to(torch.float64) if isinstance(factor, Tensor) else factor
        return Bound(self.value * factor, self.kind, self.how + (f", {how}" if how else ""))

    def squared(self) -> Bound:
        """Return the bound of the square; its kind stays."""
        return Bound(self.value**2, self.kind, f"{self.how}, squared")

    def root(self) -> Bound:
        """Return the bound of the square root; its kind stays."""
        return Bound(self.value.sqrt(), self.kind, f"root of ({self.how})")

    @staticmethod
    def sum(bounds: Iterable[Bound], how: str = "", *, side: Literal["upper", "lower"] = "upper") -> Bound:
        """Return a bound of the norm (or modulus) of a sum: norms add up at most, moduli of convexity at least."""
        return _combine(list(bounds), torch.add, 0.0, how or "sum", side)

    @staticmethod
    def product(bounds: Iterable[Bound], how: str = "", *, side: Literal["upper", "lower"] = "upper") -> Bound:
        """Return a bound of the norm of a composition, the product of the norms."""
        return _combine(list(bounds), torch.mul, 1.0, how or "product", side)

    @staticmethod
    def maximum(bounds: Iterable[Bound], how: str = "") -> Bound:
        """Return the bound of the maximum of several numbers."""
        listed = list(bounds)
        kind: Kind = "estimate" if any(not b.is_upper for b in listed) else "upper"
        if all(b.kind == "exact" for b in listed):
            kind = "exact"
        return Bound(reduce(torch.maximum, [b.value for b in listed]), kind, how or "maximum")

    def at(self, index: int | tuple[int, ...], batch: tuple[int, ...]) -> Bound:
        """Return the bound of one sample of a batch of shape `batch`."""
        value = self.value if self.value.ndim == 0 else self.value.expand(batch)[index]
        return Bound(value, self.kind, self.how)

    def as_dict(self) -> dict[str, object]:
        """Return plain numbers and words, ready for JSON; a number that is not finite becomes None."""

        def finite(number: object) -> object:
            if isinstance(number, list):
                return [finite(item) for item in number]
            return number if isinstance(number, float) and abs(number) < float("inf") else None

        return {"value": finite(self.value.detach().tolist()), "kind": self.kind, "how": self.how}

    def __str__(self) -> str:
        return f"{format_values(self.value)} ({self.kind}: {self.how})"


def format_values(value: Tensor) -> str:
    """Return one number, or the range of a batch of numbers, in at most four digits."""
    if value.numel() == 1:
        return f"{value.item():.4g}"
    return f"{value.min().item():.4g} to {value.max().item():.4g}"


def _combine(
    bounds: list[Bound],
    operation: Callable[[Tensor, Tensor], Tensor],
    start: float,
    how: str,
    side: Literal["upper", "lower"],
) -> Bound:
    if len(bounds) == 1:
        return bounds[0]
    trusted = all(b.is_upper if side == "upper" else b.is_lower for b in bounds)
    values = [b.value for b in bounds]
    total = reduce(operation, values) if values else torch.tensor(start)
    words = f"{how} of " + " and ".join(f"[{b.how}]" for b in bounds) if bounds else how
    return Bound(total, side if trusted else "estimate", words)
