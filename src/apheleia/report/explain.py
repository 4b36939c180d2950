"""Certificates in plain words: what each claim means for a reader who does not know the theory."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import NamedTuple

from apheleia.core.bound import Bound, format_values
from apheleia.core.certificate import Certificate

__all__ = ["QUESTIONS", "Explained", "explain"]


class _Words(NamedTuple):
    question: str
    yes: str
    unknown: str


_WORDS = {
    "convergence": _Words(
        "Do the steps lead to a solution?",
        "the steps approach a solution of the stated model.",
        "Nobody has shown that more steps bring this run closer to a solution; judge by the curves and the residual.",
    ),
    "rate": _Words(
        "How fast do the steps approach a solution?",
        "the error falls at least as fast as this bound.",
        "The steps may be slow; nothing is promised about how many are enough.",
    ),
    "uniqueness": _Words(
        "Is there only one solution?",
        "exactly one image minimises the objective; any correct method finds the same.",
        "Several images may minimise the objective equally well; the one shown is one of them.",
    ),
    "distance": _Words(
        "How far is this image from the exact solution?",
        "the image shown is no farther than this from the exact minimiser of the objective.",
        "The distance to the exact minimiser is not bounded by a number.",
    ),
    "objective_gap": _Words(
        "How much lower could the objective be?",
        "no image whatever lowers the objective by more than this.",
        "How much lower the objective could get is not bounded by a number.",
    ),
    "stability": _Words(
        "What does a small change in the data do?",
        "a change in the data changes the solution by at most this factor.",
        "Slightly different data might give a rather different image; nothing is promised.",
    ),
    "descent": _Words(
        "Does every step lower the objective?",
        "no step makes the objective, with what the momentum holds of it, larger.",
        "The objective may rise on the way; judge by the curves.",
    ),
}

#: The question behind each claim, in the words of the page.
QUESTIONS: dict[str, str] = {claim: words.question for claim, words in _WORDS.items()}

_MARKS = {"proved": "✓", "estimated": "≈", "none": "–"}
_LABELS = {"proved": "proved", "estimated": "estimated", "none": "not known"}
_SIDES = {"exact": "{}, exact up to rounding", "upper": "at most {}", "lower": "at least {}", "estimate": "about {}"}
_DOI = re.compile(r"(?:https?://(?:dx\.)?doi\.org/)?(?:doi:\s*)?(10\.\d{4,9}/[^\s\]\"<>,;]*[^\s\]\"<>,;.])", re.IGNORECASE)


@dataclass(frozen=True)
class Explained:
    """A certificate as the page shows it; every field is plain text.

    Attributes
    ----------
    question, meaning : str
        What the claim is about, and what its status means for the reader.
    status, mark, label : str
        "proved", "estimated" or "none"; a sign that needs no colour; the status in the words of the page.
    value, why : str
        The number with its pedigree, empty where there is none; the condition that was checked.
    source : tuple of (str, str)
        The theory behind it, cut at its DOIs: a text and the bare DOI ("10.1137/...") that follows; either may be empty.
    """

    question: str
    meaning: str
    status: str
    mark: str
    label: str
    value: str
    why: str
    source: tuple[tuple[str, str], ...]


def explain(certificate: Certificate, size: int) -> Explained:
    """Return `certificate` in plain words.

    Parameters
    ----------
    certificate : Certificate
        A claim about a single image.
    size : int
        Number of values of the image (pixels times channels), to restate a distance as one for each value.
    """
    words = _WORDS[certificate.claim]
    meaning = {
        "proved": words.yes[0].upper() + words.yes[1:],
        "estimated": f"Expected, but it rests on an estimate: {words.yes}",
        "none": words.unknown,
    }[certificate.status]
    return Explained(
        question=words.question,
        meaning=meaning,
        status=certificate.status,
        mark=_MARKS[certificate.status],
        label=_LABELS[certificate.status],
        value=_value(certificate, size),
        why=certificate.why,
        source=_pieces(certificate.source),
    )


def _value(certificate: Certificate, size: int) -> str:
    bound = certificate.value
    if bound is None:
        return ""
    text = _SIDES[bound.kind].format(format_values(bound.value))
    if certificate.claim == "distance":
        each = Bound(bound.value / math.sqrt(max(size, 1)), bound.kind, bound.how)
        text += f" in all; spread over {size} values, a root mean square of {format_values(each.value)} for each"
    return f"{text} ({bound.how})" if bound.how else text


def _pieces(source: str) -> tuple[tuple[str, str], ...]:
    parts = _DOI.split(source)  # texts and DOIs in turn, beginning and ending with a text
    return tuple((text, doi) for text, doi in zip(parts[::2], [*parts[1::2], ""], strict=True) if text or doi)
