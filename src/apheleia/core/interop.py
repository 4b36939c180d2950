"""numpy in, numpy out: public entry points accept ndarrays and give back what they were given."""

from __future__ import annotations

import functools
import inspect
import numbers
from collections.abc import Callable
from typing import Any, ParamSpec

import numpy
import torch
from torch import Tensor

from apheleia.core.errors import ArgumentError

__all__ = ["ArrayLike", "accepts_numpy", "as_tensor", "is_floating", "is_number"]

ArrayLike = Tensor | numpy.ndarray
"""What users may pass wherever data are expected."""

_Parameters = ParamSpec("_Parameters")


def as_tensor(value: ArrayLike | complex, who: str, arg: str) -> Tensor:
    """Return `value` as a tensor, without a copy where that is safe, and refuse what is not a number.

    Parameters
    ----------
    value : Tensor, ndarray or number
        Real or complex numbers of any precision. A python number becomes a 0-dimensional float64 tensor,
        which takes the precision of whatever it meets. Read-only, mirrored and unaligned arrays are copied.
    who, arg : str
        The caller and its argument, for the sentence.

    Raises
    ------
    ArgumentError
        If `value` is not an array of numbers.
    """
    if isinstance(value, Tensor):
        return value
    if isinstance(value, bool | int | float | complex):
        return torch.tensor(value, dtype=torch.complex128 if isinstance(value, complex) else torch.float64)
    if isinstance(value, list | tuple):
        try:
            value = numpy.asarray(value)
        except ValueError as error:
            raise ArgumentError(f"{who}: `{arg}` must be a tensor or an array of numbers; got a ragged list ({error}).") from None
    if not isinstance(value, numpy.ndarray | numpy.generic):
        raise ArgumentError(f"{who}: `{arg}` must be a tensor or an array of numbers; got {type(value).__name__}.")
    size = value.dtype.itemsize
    if value.dtype.kind not in "biufc" or size > (16 if value.dtype.kind == "c" else 8):
        raise ArgumentError(f"{who}: `{arg}` must be a tensor or an array of numbers; got an array of {value.dtype}.")
    array = numpy.asarray(value)
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    if not array.flags.writeable or any(stride < 0 or stride % size for stride in array.strides):
        array = array.copy()
    return torch.from_numpy(array)


def is_floating(x: Tensor) -> bool:
    """Return whether `x` holds real or complex floating-point numbers."""
    return x.is_floating_point() or x.is_complex()


def check_finite(x: Tensor, who: str, arg: str, advice: str) -> None:
    """Refuse NaN and infinite values.

    Raises
    ------
    ArgumentError
        With their number and the advice.
    """
    bad = int((~x.detach().isfinite()).sum())
    if bad:
        raise ArgumentError(f"{who}: `{arg}` must be finite; got {bad} NaN or infinite values. {advice}")


def is_number(value: object) -> bool:
    """Return whether `value` is one real number, so that comparing it with another is no error of its own."""
    if isinstance(value, Tensor):
        return value.ndim == 0 and not value.is_complex()
    return isinstance(value, numbers.Real)


def accepts_numpy(method: Callable[_Parameters, Any]) -> Callable[_Parameters, Any]:
    """Let a method of tensors be called with ndarrays: they become tensors, and its tensors come back as ndarrays."""
    names = tuple(inspect.signature(method).parameters)

    @functools.wraps(method)
    def wrapper(*args: _Parameters.args, **kwargs: _Parameters.kwargs) -> Any:
        values = (*args, *kwargs.values())
        if not any(isinstance(value, numpy.ndarray) for value in values):
            return method(*args, **kwargs)
        who = f"{type(args[0]).__name__}.{method.__name__}" if names[0] == "self" else method.__name__

        def convert(name: str, value: Any) -> Any:
            return as_tensor(value, who, name) if isinstance(value, numpy.ndarray) else value

        # arguments beyond the last name are for the method itself to refuse
        positional = [*map(convert, names, args), *args[len(names) :]]
        result = method(*positional, **{name: convert(name, value) for name, value in kwargs.items()})  # type: ignore[arg-type]
        return to_numpy(result)

    return wrapper


def to_numpy(result: Any) -> Any:
    """Return tensors, and tuples of tensors, as ndarrays on the host; leave everything else alone."""
    if isinstance(result, Tensor):
        return result.detach().cpu().resolve_conj().numpy()
    if isinstance(result, tuple):
        return tuple(to_numpy(item) for item in result)
    return result
