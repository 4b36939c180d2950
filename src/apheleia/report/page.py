"""What the page says, gathered in one place, and the page itself as HTML."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from apheleia.core.errors import ArgumentError, MissingExtraError
from apheleia.core.report import History, Report
from apheleia.report.crops import choose_crops
from apheleia.report.encode import RUNGS
from apheleia.report.explain import QUESTIONS, explain
from apheleia.report.images import Images
from apheleia.report.pictures import close_ups, overview_note, overviews
from apheleia.report.svg import log_curve, undrawn
from apheleia.report.verdict import Verdict

if TYPE_CHECKING:
    import jinja2

__all__ = ["Page", "environment", "render"]

_LIMIT_BYTES = 5_000_000


@dataclass(frozen=True, eq=False)
class Page:
    """Everything that a report page says; texts are plain Unicode and are escaped, whoever wrote them.

    Parameters
    ----------
    title, summary : str
        The headline, and one sentence in plain words.
    images : Images
        Observed, restored, residual and, in a demonstration, the truth.
    formula : str
        The model, such as "minimise over x: ½ |A x − y|² / 0.02² + 0.5 TV(x)".
    legend : tuple of (str, str)
        Each symbol of the formula and its meaning in words.
    figures : tuple of (str, str)
        Name and value, with its unit, of each measured number; those of the solver are added from `solver`.
    verdicts : tuple of Verdict
        The checks.
    solver : Report or None
        The account of the run, for a single image; None where no iterative solver ran.
    provenance : tuple of (str, str)
        How the result was made: version, command, seed, settings, date, name of the input file.
    notes : tuple of str
        What is not known; what follows from missing truth and missing claims is added.

    Raises
    ------
    ArgumentError
        If `solver` is the report of a batch.
    """

    title: str
    summary: str
    images: Images
    formula: str
    legend: tuple[tuple[str, str], ...]
    figures: tuple[tuple[str, str], ...]
    verdicts: tuple[Verdict, ...]
    solver: Report | None
    provenance: tuple[tuple[str, str], ...]
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.solver is not None and self.solver.batch_shape:
            raise ArgumentError(
                f"Page: `solver` must be the report of one image; got a batch of shape {self.solver.batch_shape}. Pass report[i]."
            )


def render(page: Page) -> str:
    """Return the page as one HTML text of less than 5 MB that asks nothing from outside and runs no script.

    Overviews are lossless where that fits; otherwise their quality falls, then their size. Close-ups are always lossless.

    Raises
    ------
    MissingExtraError
        If jinja2 or Pillow is not installed.
    ArgumentError
        If the texts alone take more than the limit.
    """
    template = environment().get_template("report.html.j2")
    named = dict(page.images.named())
    crops = choose_crops(named["observed"], named["restored"])
    rows, reach = close_ups(page.images, crops)
    fixed = {
        "page": page,
        "close_ups": rows,
        "residual_reach": reach,
        "solver_figures": _solver_figures(page.solver),
        "curves": _curves(page.solver),
        "certificates": _certificates(page.solver),
        "notes": _standing_notes(page) + page.notes,
    }
    for rung in RUNGS:
        text = template.render(
            fixed | {"overviews": overviews(page.images, rung), "overview_note": overview_note(page.images, rung)}
        )
        if len(text.encode()) < _LIMIT_BYTES:
            return text
    raise ArgumentError(
        f"render: the page takes more than {_LIMIT_BYTES} bytes even with the smallest images; shorten its texts."
    )


def environment() -> jinja2.Environment:
    """Return the templates of the pages, which escape every text.

    Raises
    ------
    MissingExtraError
        If jinja2 is not installed.
    """
    try:
        import jinja2
    except ImportError as error:
        raise MissingExtraError("report", "jinja2", "app") from error
    return jinja2.Environment(
        loader=jinja2.PackageLoader("apheleia.report", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _solver_figures(solver: Report | None) -> tuple[tuple[str, str], ...]:
    if solver is None:
        return ()
    tolerance = "no tolerance was asked for" if solver.tol is None else f"tolerance {solver.tol:.3g}"
    return (
        ("Algorithm", solver.algorithm),
        ("Why this algorithm", solver.why),
        ("How it ended", f"{solver.status.name}: {solver.status.message}"),
        ("Steps", str(int(solver.steps))),
        ("Time", f"{solver.seconds:.3g} s"),
        ("Objective at the end", f"{float(solver.objective):.6g}"),
        ("Normalised residual at the end", f"{float(solver.residual):.3g} ({tolerance})"),
        ("Duality gap at the end", "no finite one exists" if solver.gap is None else f"{float(solver.gap):.3g}"),
    )


def _curves(solver: Report | None) -> tuple[tuple[str, str, str], ...]:
    """Return caption, SVG and remark of each convergence curve."""
    if solver is None:
        return ()
    history = solver.history
    objective = _above_best(history, float(solver.objective))
    residual = [float(value) for value in history.residual]
    level = None if solver.tol is None else (solver.tol, "tolerance")
    best = "Objective minus the lowest value that the run saw"
    relative = "Normalised residual, the quantity that the run stops by"
    caution = "It dives at the end where the run's own last value is the lowest; the true minimum lies at or below. "
    return (
        (best, log_curve(history.steps, objective, best), caution + undrawn(history.steps, objective)),
        (relative, log_curve(history.steps, residual, relative, level), undrawn(history.steps, residual)),
    )


def _above_best(history: History, final: float) -> list[float]:
    values = [float(value) for value in history.objective]
    best = min((value for value in (*values, final) if math.isfinite(value)), default=math.nan)
    return [value - best for value in values]


def _certificates(solver: Report | None) -> tuple[object, ...]:
    return () if solver is None else tuple(explain(certificate, solver.x.numel()) for certificate in solver.certificates)


def _standing_notes(page: Page) -> tuple[str, ...]:
    """Return what is unknown by the nature of the page, so that no caller can forget to say it."""
    notes = [
        "Certificates and convergence speak about the stated model. If the blur, the noise level or the prior is wrong, "
        "the exact solution of that model may still be far from the scene."
    ]
    if page.images.truth is None:
        notes.append("The true image is not known here: no number on this page measures the error against the scene.")
    claimed = {c.claim for c in page.solver.certificates} if page.solver is not None else set()
    # where convergence is spoken of, descent alone would say less
    silent = [question for claim, question in QUESTIONS.items() if claim not in claimed | {"descent"}]
    if silent:
        notes.append("The run makes no statement at all on: " + " ".join(silent))
    return tuple(notes)
