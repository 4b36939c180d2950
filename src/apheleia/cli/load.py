"""MODULE:OPERATOR of the command line as an operator; this runs the module's code."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from torch import nn

from apheleia.core.errors import ArgumentError
from apheleia.operators import Operator

__all__ = ["load_operator", "where"]


def load_operator(words: str) -> Operator:
    """Return the operator that "MODULE:OPERATOR" names, after running the module.

    Parameters
    ----------
    words : str
        MODULE is a dotted name or the path of a .py file; OPERATOR the name of an operator, or of a class or function that makes
        one without arguments.

    Raises
    ------
    ArgumentError
        If there is no such thing, or the code raises.
    """
    place, colon, name = words.rpartition(":")
    if not colon or not place or not name.isidentifier():
        raise ArgumentError(f"check: name the operator as MODULE:OPERATOR, such as my_camera.py:Blur; got {words!r}.")
    module = _file(Path(place)) if place.endswith(".py") else _module(place)
    known = vars(module)
    if name not in known:
        found = [key for key, value in known.items() if _is_operator(value, module)]
        hint = f" It has {', '.join(found)}." if found else " Nothing in it is an operator."
        raise ArgumentError(f"check: {place} has no {name!r}.{hint}")
    thing = known[name]
    if isinstance(thing, Operator):
        return thing
    if not callable(thing):
        raise ArgumentError(f"check: {words} must be an operator or make one; it is of type {type(thing).__name__}.")
    try:
        made = thing()
    except Exception as error:
        raise ArgumentError(
            f"check: {name}() raised {where(error)}. What makes the operator is called without arguments; write a function "
            "of none that returns it."
        ) from error
    if not isinstance(made, Operator):
        raise ArgumentError(f"check: {name}() must return an Operator; got {type(made).__name__}.")
    return made


def where(error: BaseException) -> str:
    """Return type, message and the innermost line outside of torch of an error, in one line."""
    torch = str(Path(nn.__file__).parents[1])
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith(torch)]
    line = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}: {' '.join(str(error).split())}{line}"


def _is_operator(value: object, module: ModuleType) -> bool:
    if isinstance(value, type):
        return issubclass(value, Operator) and value.__module__ == module.__name__
    return isinstance(value, Operator)


def _file(path: Path) -> ModuleType:
    if not path.is_file():
        raise ArgumentError(f"check: there is no file {path}.")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ArgumentError(f"check: {path} cannot be read as Python.")
    module = importlib.util.module_from_spec(spec)
    with _path(path.parent), _told(str(path)):
        spec.loader.exec_module(module)
    return module


def _module(name: str) -> ModuleType:
    with _path(Path.cwd()), _told(name):
        return importlib.import_module(name)


@contextmanager
def _path(folder: Path) -> Iterator[None]:
    """Let the body import what lies in a folder, as a script in it could."""
    entry = str(folder.resolve())
    sys.path.insert(0, entry)
    try:
        yield
    finally:
        sys.path.remove(entry)


@contextmanager
def _told(place: str) -> Iterator[None]:
    """Turn what the module raises into one sentence."""
    try:
        yield
    except (Exception, SystemExit) as error:
        raise ArgumentError(f"check: {place} cannot be imported: {where(error)}.") from error
