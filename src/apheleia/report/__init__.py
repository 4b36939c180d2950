"""The self-contained pages: whether a restored image can be trusted, and whether an operator is what it says."""

from __future__ import annotations

from apheleia.report.check_page import CheckPage, CheckRow, render_check
from apheleia.report.images import Images
from apheleia.report.page import Page, render
from apheleia.report.verdict import Verdict

__all__ = ["CheckPage", "CheckRow", "Images", "Page", "Verdict", "render", "render_check"]
