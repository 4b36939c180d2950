"""The errors of the house: each says who complains, what was expected, what came, and what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy
    import torch

    from apheleia.core.report import Report

__all__ = [
    "ApheleiaError",
    "ArgumentError",
    "CapabilityError",
    "CheckError",
    "FileError",
    "MissingExtraError",
    "NotConverged",
    "ShapeError",
]


class ApheleiaError(Exception):
    """Base of every error that this package raises on purpose."""


class ArgumentError(ApheleiaError, ValueError):
    """An argument has a value outside its stated range."""


class ShapeError(ArgumentError):
    """A tensor does not live in the space that an operator, a functional or an algorithm works on."""


class CapabilityError(ApheleiaError, TypeError):
    """An object was asked for something it does not offer, such as the gradient of a non-smooth functional."""


class CheckError(ApheleiaError, AssertionError):
    """A diagnostic such as `check_adjoint` found a defect; the message carries the measured numbers."""


class FileError(ApheleiaError, OSError):
    """A file is missing, empty, corrupt, too large, or not what its name says."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class MissingExtraError(ApheleiaError, ImportError):
    """A package that is no dependency is not installed; the message names the extra that brings it, where one does."""

    def __init__(self, who: str, package: str, extra: str | None) -> None:
        advice = f"Install {package} as its own documentation says." if extra is None else f'Run: pip install "apheleia[{extra}]"'
        super().__init__(f"{who} needs {package}, which is not installed. {advice}")


class NotConverged(ApheleiaError, RuntimeError):
    """A solver stopped before its tolerance; the images that did converge are not lost.

    Attributes
    ----------
    x : Tensor or ndarray
        The returned point, shape (*batch, *space).
    report : Report
        The report of the run, with one status per image.
    """

    def __init__(self, message: str, x: torch.Tensor | numpy.ndarray, report: Report) -> None:
        super().__init__(message)
        self.x = x
        self.report = report
