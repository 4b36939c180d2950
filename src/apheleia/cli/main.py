"""Entry point: parse, run, and turn every error on purpose into one sentence and exit code 2."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from apheleia.core.errors import ApheleiaError, MissingExtraError

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Parameters
    ----------
    arguments : sequence of str, optional
        The words after `apheleia`; those of the process by default.

    Returns
    -------
    int
        0: done. 1: a solver ran out of steps or diverged; its report is written all the same. 2: wrong use or bad input, told
        in one sentence on standard error; nothing was written. 130: interrupted.
    """
    try:
        # deferred so that a bare install can say which extra is missing
        from apheleia.cli.commands import run
    except ImportError as error:
        if isinstance(error, ApheleiaError) or error.name is None or error.name.startswith("apheleia"):
            raise
        print(f"apheleia: {MissingExtraError('The command line', error.name, 'app')}", file=sys.stderr)
        return 2
    try:
        return run(sys.argv[1:] if arguments is None else arguments)
    except ApheleiaError as error:
        print(f"apheleia: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("apheleia: interrupted; nothing was written.", file=sys.stderr)
        return 130
