"""PyLops' linear operators as operators of ours, and ours as operators of PyLops."""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import TYPE_CHECKING

import numpy
import torch

from apheleia.bridges.array_operator import ArrayOperator, fixed_space, rowwise
from apheleia.bridges.scipy import as_scipy
from apheleia.core.errors import ArgumentError, MissingExtraError
from apheleia.core.space import Space
from apheleia.operators.linear import LinearOperator

if TYPE_CHECKING:
    import pylops

__all__ = ["from_pylops", "to_pylops"]


def from_pylops(Op: pylops.LinearOperator, domain: Space | None = None, codomain: Space | None = None) -> LinearOperator:
    """Return the operator x -> Op x for an operator of PyLops, on signals of its `dims` and data of its `dimsd`.

    Parameters
    ----------
    Op : pylops.LinearOperator
        Real or complex. It computes on the CPU in its own precision (its dtype); answers come back in that of the signal.
    domain, codomain : Space, optional
        Where signals and data live, if not in the shapes `Op.dims` and `Op.dimsd`: for an image that (height, width) means,
        Space((1, height, width)) has the channel axis that priors of images want.

    Returns
    -------
    LinearOperator
        Batches, derivatives of every order, and the adjoint that Op brings.

    Raises
    ------
    ArgumentError
        If Op is not an operator of PyLops.
    ShapeError
        If a space does not hold as many numbers as Op has columns or rows.
    MissingExtraError
        If PyLops is not installed.

    Notes
    -----
    Certificate: the norm is an estimate. PyLops tells neither norms nor bounds.
    An operator with clinear=False is linear over the real numbers only: its own products tell which sides are complex.

    Examples
    --------
    >>> import pylops
    >>> A = from_pylops(pylops.FirstDerivative((4, 5), axis=0, kind="forward"), Space((1, 4, 5)))
    >>> A(torch.ones(2, 1, 4, 5)).shape
    torch.Size([2, 4, 5])
    """
    base = _pylops("from_pylops").LinearOperator
    if not isinstance(Op, base):
        hint = "" if not isinstance(Op, importlib.import_module("scipy.sparse.linalg").LinearOperator) else " Use from_scipy."
        raise ArgumentError(f"from_pylops: `Op` must be a pylops.LinearOperator; got {type(Op).__name__}.{hint}")
    m, n = Op.shape
    complex_in, complex_out = _fields(Op)
    source = _space(Op.dims, complex_in) if domain is None else fixed_space(domain, n, "from_pylops", "domain")
    target = _space(Op.dimsd, complex_out) if codomain is None else fixed_space(codomain, m, "from_pylops", "codomain")
    return ArrayOperator(rowwise(Op.matvec), rowwise(Op.rmatvec), source, target, f"pylops {type(Op).__name__.lstrip('_')}")


def to_pylops(
    A: LinearOperator, shape: tuple[int, ...] | None = None, dtype: torch.dtype = torch.float64
) -> pylops.LinearOperator:
    """Return A for signals of `shape` as an operator of PyLops, for its algebra, its solvers and PyProximal's.

    Parameters
    ----------
    A : LinearOperator
        Without parameters of its own per sample.
    shape : tuple of int, optional
        Signal shape of the domain, without batch axes, where A takes any size; it becomes `dims`, the data's shape `dimsd`.
    dtype : torch.dtype, default torch.float64
        Real precision in which A computes.

    Returns
    -------
    pylops.LinearOperator
        With clinear=False where A is real on one side and complex on the other.

    Raises
    ------
    ArgumentError
        If the sizes are not known.
    ShapeError
        If A has parameters per sample.
    MissingExtraError
        If PyLops or scipy is not installed.

    Examples
    --------
    >>> from apheleia.operators import FiniteDifferences
    >>> to_pylops(FiniteDifferences(), (1, 4, 5)).dimsd
    (2, 1, 4, 5)
    """
    library = _pylops("to_pylops")
    inner = as_scipy(A, shape, dtype, "to_pylops")
    known = A._known_shape(None if shape is None else tuple(shape))
    assert known is not None  # as_scipy has refused open sizes
    return library.LinearOperator(
        Op=inner, dims=known, dimsd=A.output_shape(known), clinear=A.domain.is_complex == A.codomain.is_complex, name=None
    )


def _fields(Op: pylops.LinearOperator) -> tuple[bool, bool]:
    """Return whether signals and data are complex."""
    if Op.clinear:
        is_complex = numpy.dtype(Op.dtype).kind == "c"
        return is_complex, is_complex
    data = numpy.asarray(Op.matvec(numpy.zeros(Op.shape[1], dtype=Op.dtype)))
    back = numpy.asarray(Op.rmatvec(numpy.zeros(Op.shape[0], dtype=data.dtype)))
    return back.dtype.kind == "c", data.dtype.kind == "c"


def _space(dims: tuple[int, ...], is_complex: bool) -> Space:
    return Space(tuple(int(size) for size in dims), is_complex)


def _pylops(who: str) -> ModuleType:
    try:
        return importlib.import_module("pylops")
    except ImportError:
        raise MissingExtraError(who, "pylops", "pylops") from None
