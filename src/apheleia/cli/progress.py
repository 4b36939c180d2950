"""A progress bar on standard error, so that standard output stays for answers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from apheleia.imaging.restore import Progress as Tell

__all__ = ["progress_bar"]


@contextmanager
def progress_bar() -> Iterator[Tell]:
    """Show a bar while the body runs, and yield the function that moves it: (words, share done)."""
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("starting", total=1.0)

        def tell(words: str, share: float) -> None:
            bar.update(task, description=words, completed=share)

        yield tell
