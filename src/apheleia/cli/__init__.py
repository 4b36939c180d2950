"""The command line: demo, restore, check, list."""

from apheleia.cli.main import main

__all__ = ["main"]
