"""`python -m apheleia` is the command line."""

import sys

from apheleia.cli import main

if __name__ == "__main__":
    sys.exit(main())
