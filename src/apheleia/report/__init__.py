"""The self-contained page that tells whether a restored image can be trusted."""

from __future__ import annotations

from apheleia.report.images import Images
from apheleia.report.page import Page, render
from apheleia.report.verdict import Verdict

__all__ = ["Images", "Page", "Verdict", "render"]
