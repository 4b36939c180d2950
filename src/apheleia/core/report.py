"""What a solver tells about its run: status, certificates, residual, steps and time, for the batch and for each image."""

from __future__ import annotations

import enum
import html
import math
from dataclasses import dataclass, replace

from torch import Tensor

from apheleia.core.bound import format_values
from apheleia.core.certificate import Certificate

__all__ = ["History", "Report", "Status"]


class Status(enum.Enum):
    """How a run ended; each member's value is its message, with the likely causes and what to change."""

    CONVERGED = "the tolerance was reached"
    FIXED_STEPS = "exactly the requested number of steps was run; no tolerance was asked for"
    STAGNATED = "the residual stopped falling above the tolerance, at the level of rounding; use float64 data or a larger `tol`"
    MAX_STEPS = (
        "the step limit came before the tolerance; raise `max_steps`, raise `tol`, or let the library choose the algorithm"
    )
    DIVERGED = (
        "the iterates grew without bound or became non-finite; a hand-set step may be too large (leave it out), "
        "the data may hold wrong units, or the objective may have no minimum"
    )

    @property
    def message(self) -> str:
        """The sentence that this status stands for."""
        return self.value

    @property
    def severity(self) -> int:
        """Position from the best outcome, 0, to the worst."""
        return list(Status).index(self)


@dataclass(frozen=True, eq=False)
class History:
    """The course of a run at the steps where it was looked at.

    Attributes
    ----------
    steps : tuple of int
        Step numbers, increasing.
    objective, residual : Tensor
        Objective and normalised residual, shape (len(steps), *batch).
    """

    steps: tuple[int, ...]
    objective: Tensor
    residual: Tensor

    def at(self, index: int | tuple[int, ...]) -> History:
        """Return the history of one image of a batch."""
        index = index if isinstance(index, tuple) else (index,)
        return History(self.steps, self.objective[(slice(None), *index)], self.residual[(slice(None), *index)])


@dataclass(frozen=True, eq=False)
class Report:
    """The account of one call of `solve`; `report[i]` is the account of one image.

    Attributes
    ----------
    algorithm, why : str
        The algorithm that ran, and why it was chosen.
    certificates : tuple of Certificate
        What is proved, estimated and unknown, before and after the run.
    x : Tensor
        The returned point, (*batch, *space).
    duals : tuple of Tensor
        One dual variable a term (h, K), where the algorithm keeps them; empty otherwise.
    codes : Tensor
        Severity of each image's status, (*batch,).
    objective, residual : Tensor
        Objective and normalised residual at the returned point, (*batch,).
    gap : Tensor or None
        Duality gap at the returned point, in the objective's units, (*batch,); None where no finite one exists.
    steps : Tensor
        Steps that each image took, (*batch,).
    tol : float or None
        The relative tolerance asked for; None for a fixed number of steps.
    seconds : float
        Wall-clock time of the run.
    history : History
        Objective and residual along the run.
    """

    algorithm: str
    why: str
    certificates: tuple[Certificate, ...]
    x: Tensor
    duals: tuple[Tensor, ...]
    codes: Tensor
    objective: Tensor
    residual: Tensor
    gap: Tensor | None
    steps: Tensor
    tol: float | None
    seconds: float
    history: History

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """Shape of the batch axes; () for a single image."""
        return tuple(self.codes.shape)

    @property
    def status(self) -> Status:
        """The status of the image that fared worst."""
        return list(Status)[int(self.codes.max())]

    def certificate(self, claim: str) -> Certificate | None:
        """Return the certificate of `claim`, or None where the run makes no such claim."""
        return next((c for c in self.certificates if c.claim == claim), None)

    def __len__(self) -> int:
        if not self.batch_shape:
            raise TypeError("Report: this is the report of a single image and has no length.")
        return self.batch_shape[0]

    def __getitem__(self, index: int | tuple[int, ...]) -> Report:
        """Return the report of one image; a batch of several axes takes a tuple of as many numbers."""
        full = index if isinstance(index, tuple) else (index,)
        if len(full) != len(self.batch_shape):
            raise IndexError(f"Report: the batch has shape {self.batch_shape}; got the index {index}.")
        return replace(
            self,
            certificates=tuple(c.at(full, self.batch_shape) for c in self.certificates),
            x=self.x[full],
            duals=tuple(dual[full] for dual in self.duals),
            codes=self.codes[full],
            objective=self.objective[full],
            residual=self.residual[full],
            gap=None if self.gap is None else self.gap[full],
            steps=self.steps[full],
            history=self.history.at(full),
        )

    def as_dict(self) -> dict[str, object]:
        """Return plain values without the images, ready for JSON; numbers are lists where there is a batch."""

        def plain(value: Tensor | None) -> object:
            if value is None:
                return None
            return _listed(value.detach())

        return {
            "status": self.status.name,
            "message": self.status.message,
            "algorithm": self.algorithm,
            "why": self.why,
            "certificates": [c.as_dict() for c in self.certificates],
            "objective": plain(self.objective),
            "residual": plain(self.residual),
            "gap": plain(self.gap),
            "steps": plain(self.steps),
            "tol": self.tol if self.tol is not None and math.isfinite(self.tol) else None,
            "seconds": self.seconds,
        }

    def _rows(self) -> list[tuple[str, str]]:
        tol = "" if self.tol is None else f" (tolerance {self.tol:.3g})"
        rows = [
            ("status", f"{self.status.name}: {self.status.message}"),
            ("algorithm", f"{self.algorithm} ({self.why})"),
            ("steps", f"{format_values(self.steps)} in {self.seconds:.3g} s"),
            ("objective", format_values(self.objective)),
            ("residual", f"{format_values(self.residual)} relative{tol}"),
        ]
        if self.gap is not None:
            rows.append(("duality gap", format_values(self.gap)))
        rows += [("certificate", str(c)) for c in self.certificates]
        if self.batch_shape:
            counts = [(s, int((self.codes == s.severity).sum())) for s in Status]
            rows.insert(1, ("batch", ", ".join(f"{n} {s.name}" for s, n in counts if n)))
        return rows

    def __str__(self) -> str:
        return "\n".join(f"{name:<12} {text}" for name, text in self._rows())

    def __repr__(self) -> str:
        return f"<Report {self.algorithm}: {self.status.name} after {format_values(self.steps)} steps, {self.seconds:.3g} s>"

    def _repr_html_(self) -> str:
        left = "style='text-align:left'"
        cells = "".join(
            f"<tr><th {left}>{html.escape(name)}</th><td {left}>{html.escape(text[:300])}</td></tr>"
            for name, text in self._rows()
        )
        return f"<table>{cells}</table>"


def _listed(numbers: Tensor) -> object:
    """Return nested lists with None where a number is not finite, because JSON has no infinities."""
    if bool(numbers.isfinite().all()):
        return numbers.tolist()
    return [_listed(item) for item in numbers] if numbers.ndim else None
