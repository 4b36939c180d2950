"""What is proved about an answer, what is only estimated, and what nobody knows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from apheleia.core.bound import Bound
from apheleia.core.errors import ArgumentError

__all__ = ["Certificate", "CertificateStatus", "Claim"]

Claim = Literal["convergence", "rate", "uniqueness", "distance", "objective_gap", "stability", "descent"]
CertificateStatus = Literal["proved", "estimated", "none"]


@dataclass(frozen=True)
class Certificate:
    """One claim about an answer and how far it is backed.

    Parameters
    ----------
    claim : {"convergence", "rate", "uniqueness", "distance", "objective_gap", "stability", "descent"}
        What is claimed.
    status : {"proved", "estimated", "none"}
        "proved": follows from conditions that the code checked with exact numbers or safe bounds.
        "estimated": would follow, but a number in it is only an estimate. "none": nothing is claimed.
    value : Bound or None
        The number of the claim where it has one: a distance |x - x*|, an objective gap, a rate constant.
    why : str
        The condition that was checked, or why nothing can be said.
    source : str
        Author, year and DOI of the theory behind it.

    Raises
    ------
    ArgumentError
        If the claim or status is unknown, or if a proved value rests on an estimate.

    Examples
    --------
    >>> print(Certificate("uniqueness", "none", None, "the objective is not strongly convex", ""))
    uniqueness: none (the objective is not strongly convex)
    """

    claim: Claim
    status: CertificateStatus
    value: Bound | None
    why: str
    source: str = ""

    def __post_init__(self) -> None:
        if self.claim not in get_args(Claim):
            raise ArgumentError(f"Certificate: `claim` must be one of {', '.join(get_args(Claim))}; got {self.claim!r}.")
        if self.status not in get_args(CertificateStatus):
            raise ArgumentError(
                f"Certificate: `status` must be one of {', '.join(get_args(CertificateStatus))}; got {self.status!r}."
            )
        if self.status == "proved" and self.value is not None and self.value.kind == "estimate":
            raise ArgumentError(
                f"Certificate: a proved {self.claim} cannot rest on an estimate ({self.value.how}); give an exact or safe bound."
            )

    def at(self, index: int | tuple[int, ...], batch: tuple[int, ...]) -> Certificate:
        """Return the certificate of one sample of a batch of shape `batch`."""
        value = None if self.value is None else self.value.at(index, batch)
        return Certificate(self.claim, self.status, value, self.why, self.source)

    def as_dict(self) -> dict[str, object]:
        """Return plain values, ready for JSON."""
        value = None if self.value is None else self.value.as_dict()
        return {"claim": self.claim, "status": self.status, "value": value, "why": self.why, "source": self.source}

    def __str__(self) -> str:
        value = "" if self.value is None else f" {self.value}"
        source = f" [{self.source}]" if self.source else ""
        return f"{self.claim}: {self.status}{value} ({self.why}){source}"
