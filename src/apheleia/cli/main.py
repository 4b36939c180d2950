"""Entry point: parse, run, and turn every error on purpose into one sentence and exit code 2."""

from __future__ import annotations

import os
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
        0: done. 1: a solver ran out of steps or diverged, or a check failed; the report is written all the same. 2: wrong use or
        bad input, told in one sentence on standard error; nothing was written. 130: interrupted.
    """
    try:
        # deferred so that a bare install can say which extra is missing
        from apheleia.cli.commands import run

        return run(sys.argv[1:] if arguments is None else arguments)
    except ApheleiaError as error:
        print(f"apheleia: {error}", file=sys.stderr)
        return 2
    except ImportError as error:
        if error.name is None or error.name.startswith("apheleia"):
            raise
        print(f"apheleia: {MissingExtraError('The command line', error.name, 'app')}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("apheleia: interrupted; what is in the output folder is whole files.", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # whoever read the output has had enough; nothing more can be said there
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
        return 0
    except MemoryError:
        print("apheleia: not enough memory for an image of this size. Restore a part of it.", file=sys.stderr)
        return 2
