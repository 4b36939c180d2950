"""What a side makes of a case: something to time, and what else it has to say."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy


@dataclass
class Task:
    """`run` does once what is timed; `answer` gives what it computed, for the comparison; `notes` are printed as metrics."""

    run: Callable[[], object]
    answer: Callable[[], numpy.ndarray] | None = None
    notes: dict[str, float] = field(default_factory=dict)
    over: Callable[[], object] | None = None
    """For a ratio: what `run` is divided by."""

    is_long: bool = False
    """Whether to do without a run to warm up."""
