"""Sample images that ship inside dependencies."""

from apheleia.data.samples import SAMPLES, sample

__all__ = ["SAMPLES", "sample"]
