"""The page of an examined operator: one row a check, and a picture of where its adjoint is wrong."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from apheleia.report.encode import data_uri
from apheleia.report.page import environment
from apheleia.report.pixels import to_bytes

__all__ = ["CheckPage", "CheckRow", "render_check"]


@dataclass(frozen=True)
class CheckRow:
    """The outcome of one check.

    Attributes
    ----------
    name, question : str
        Its name, and what must hold.
    passed : bool
        Whether it does.
    value, limit : float or None
        The measured number and its limit, where there are such.
    sentence : str
        What is wrong and what to do, empty where nothing is.
    """

    name: str
    question: str
    passed: bool
    value: float | None
    limit: float | None
    sentence: str


@dataclass(frozen=True, eq=False)
class CheckPage:
    """Everything that the page of an operator says; texts are escaped.

    Attributes
    ----------
    name, command, summary : str
        The operator, how it was named on the command line, and its spaces in words.
    rows : tuple of CheckRow
        The outcomes.
    defect : Tensor or None
        |claimed - exact adjoint| for each entry of the signal, (*domain).
    date : str
        When.
    """

    name: str
    command: str
    summary: str
    rows: tuple[CheckRow, ...]
    defect: Tensor | None
    date: str


def render_check(page: CheckPage) -> str:
    """Return the page as one HTML text that asks nothing from outside and runs no script.

    Raises
    ------
    MissingExtraError
        If jinja2 or Pillow is not installed.
    """
    picture = None
    if page.defect is not None:
        flat = _flat(page.defect)
        # black is right, white the largest defect
        top = float(flat.max())
        picture = (data_uri(to_bytes(flat, 0.0, top or 1.0)), top, flat.shape)
    return environment().get_template("check.html.j2").render(page=page, picture=picture)


def _flat(defect: Tensor) -> np.ndarray:
    """Return a defect map as one grey image: the largest over the leading axes, a vector as one row."""
    image = defect.double().cpu()
    image = image.reshape(-1, *image.shape[max(image.ndim - 2, 0) :]).amax(0)
    return np.atleast_2d(image.numpy())
