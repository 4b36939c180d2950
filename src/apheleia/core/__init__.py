"""Contracts of the house: spaces, bounds, certificates, reports, errors; torch and numpy only."""

from apheleia.core.bound import Bound
from apheleia.core.certificate import Certificate
from apheleia.core.errors import (
    ApheleiaError,
    ArgumentError,
    CapabilityError,
    CheckError,
    FileError,
    MissingExtraError,
    NotConverged,
    ShapeError,
)
from apheleia.core.report import History, Report, Status
from apheleia.core.space import IMAGE, VECTOR, Space

__all__ = [
    "IMAGE",
    "VECTOR",
    "ApheleiaError",
    "ArgumentError",
    "Bound",
    "CapabilityError",
    "Certificate",
    "CheckError",
    "FileError",
    "History",
    "MissingExtraError",
    "NotConverged",
    "Report",
    "ShapeError",
    "Space",
    "Status",
]
