"""The command line: demo, restore, list."""

from apheleia.cli.main import main

__all__ = ["main"]
