"""scipy's linear operators and sparse matrices as operators of ours, and ours as operators of scipy."""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy
import torch

from apheleia.bridges.array_operator import ArrayMap, ArrayOperator, check_ours, fixed_space, rowwise
from apheleia.core.bound import Bound
from apheleia.core.errors import ArgumentError, CapabilityError, MissingExtraError, ShapeError
from apheleia.core.interop import to_numpy
from apheleia.core.space import Space
from apheleia.operators.linear import LinearOperator

if TYPE_CHECKING:
    import scipy.sparse.linalg

__all__ = ["as_scipy", "from_scipy", "matrix_bound", "to_scipy"]


def from_scipy(
    A: scipy.sparse.linalg.LinearOperator | Any, domain: Space | None = None, codomain: Space | None = None
) -> LinearOperator:
    """Return the operator x -> reshape(A vec(x)) for a matrix or a linear operator of scipy.

    Parameters
    ----------
    A : scipy.sparse.linalg.LinearOperator, sparse matrix or array, or ndarray, (m, n)
        Real or complex. It computes on the CPU in its own precision; answers come back in that of the signal.
    domain, codomain : Space, optional
        Where signals and data live, read row by row (C order): for images of one channel Space((1, height, width)). Vectors
        of lengths n and m by default, complex where A is. With a real space on one side of a complex A the real part is taken.

    Returns
    -------
    LinearOperator
        Batches, derivatives of every order, and the adjoint that A brings as rmatvec. A matrix takes all signals of a batch
        at once; a LinearOperator gets one vector of shape (n,) at a time, for which every matvec is made.

    Raises
    ------
    ArgumentError
        If A is none of these.
    ShapeError
        If a space does not hold as many numbers as A has columns or rows.
    CapabilityError
        From the adjoint, if A has no rmatvec.
    MissingExtraError
        If scipy is not installed.

    Notes
    -----
    Certificate: of a matrix the norm is an upper bound (see `matrix_bound`); of a LinearOperator an estimate.

    Examples
    --------
    >>> from scipy.sparse import diags_array
    >>> A = from_scipy(diags_array([1.0, 2.0, 3.0]))
    >>> A(torch.ones(3))
    tensor([1., 2., 3.])
    >>> print(A.norm())
    3 (upper: root of the largest row sum times the largest column sum of |M|)
    """
    sparse, linalg = _scipy("from_scipy")
    bound: Bound | None = None
    if isinstance(A, numpy.ndarray) or sparse.issparse(A):
        if A.ndim != 2 or numpy.dtype(A.dtype).kind not in "biufc":
            raise ArgumentError(f"from_scipy: a matrix must have two axes and hold numbers; got {A.ndim} axes of {A.dtype}.")
        forward, adjoint = _matrix_maps(A)
        label, bound = "Matrix", matrix_bound(A)
    elif isinstance(A, linalg.LinearOperator):
        forward, adjoint = rowwise(A.matvec), rowwise(_guarded(A))
        label = type(A).__name__.lstrip("_")
    else:
        raise ArgumentError(
            "from_scipy: `A` must be a scipy.sparse.linalg.LinearOperator, a sparse matrix or an ndarray; "
            f"got {type(A).__name__}. Wrap a function as LinearOperator((m, n), matvec=..., rmatvec=...)."
        )
    m, n = A.shape
    is_complex = numpy.dtype(A.dtype).kind == "c"
    source = Space((n,), is_complex) if domain is None else fixed_space(domain, n, "from_scipy", "domain")
    target = Space((m,), is_complex) if codomain is None else fixed_space(codomain, m, "from_scipy", "codomain")
    return ArrayOperator(forward, adjoint, source, target, f"scipy {label}", bound)


def to_scipy(
    A: LinearOperator, shape: tuple[int, ...] | None = None, dtype: torch.dtype = torch.float64
) -> scipy.sparse.linalg.LinearOperator:
    """Return A for signals of `shape` as a scipy.sparse.linalg.LinearOperator of flat vectors, for lsqr, svds, eigsh and others.

    Parameters
    ----------
    A : LinearOperator
        Without parameters of its own per sample; real on both sides or complex on both.
    shape : tuple of int, optional
        Signal shape of the domain, without batch axes, where A takes any size.
    dtype : torch.dtype, default torch.float64
        Real precision in which A computes.

    Returns
    -------
    scipy.sparse.linalg.LinearOperator
        (m, n) with matvec, rmatvec, matmat and rmatmat; signals are read row by row (C order).

    Raises
    ------
    ArgumentError
        If A is none, its sizes are not known, or it is real on one side and complex on the other.
    ShapeError
        If A has parameters per sample.
    MissingExtraError
        If scipy is not installed.

    Examples
    --------
    >>> from scipy.sparse.linalg import lsqr
    >>> from apheleia.operators import Diagonal
    >>> lsqr(to_scipy(Diagonal(torch.tensor([[[1.0, 2.0, 4.0]]])), (1, 1, 3)), numpy.array([1.0, 1.0, 1.0]))[0].round(6)
    array([1.  , 0.5 , 0.25])
    """
    check_ours(A, "to_scipy")
    if A.domain.is_complex != A.codomain.is_complex:
        raise ArgumentError(
            f"to_scipy: {A.name} is real on one side and complex on the other, linear over the real numbers only; scipy's "
            "operators have one field. Regard the real side as complex, or stack real and imaginary parts."
        )
    return as_scipy(A, shape, dtype, "to_scipy")


def as_scipy(
    A: LinearOperator, shape: tuple[int, ...] | None, dtype: torch.dtype, who: str
) -> scipy.sparse.linalg.LinearOperator:
    """Return A as scipy's operator, whatever its fields; `who` names the caller in messages."""
    linalg = _scipy(who)[1]
    check_ours(A, who)
    known = A._known_shape(None if shape is None else tuple(shape))
    if known is None:
        raise ArgumentError(f"{who}: {A.name} works on any size; give shape=({A.domain}).")
    source, target = Space(known, A.domain.is_complex), Space(A.output_shape(known), A.codomain.is_complex)

    def columns(apply: Any, space: Space) -> ArrayMap:
        precision = dtype.to_complex() if space.is_complex else dtype

        def of_matrix(matrix: numpy.ndarray) -> numpy.ndarray:
            matrix = matrix if space.is_complex else numpy.real(matrix)
            rows = torch.from_numpy(numpy.array(matrix.reshape(matrix.shape[0], -1).T, order="C"))
            with torch.no_grad():
                out = apply(rows.to(device=A._device(), dtype=precision).reshape(-1, *known_sizes(space)))
            return to_numpy(out).reshape(rows.shape[0], -1).T

        return of_matrix

    forward, adjoint = columns(A.forward, source), columns(A.adjoint, target)
    one = torch.zeros(known, dtype=dtype.to_complex() if source.is_complex else dtype, device=A._device())
    with torch.no_grad():
        image = tuple(A(one).shape)
    if image != known_sizes(target):
        raise ShapeError(
            f"{who}: {A.name} has parameters per sample, so that one signal gives data {image}. Make it of one sample."
        )
    is_complex = source.is_complex or target.is_complex
    m, n = int(numpy.prod(image)), int(numpy.prod(known))
    return linalg.LinearOperator(
        (m, n),
        matvec=forward,
        rmatvec=adjoint,
        matmat=forward,
        rmatmat=adjoint,
        dtype=numpy.dtype(str(dtype.to_complex() if is_complex else dtype).removeprefix("torch.")),
    )


def known_sizes(space: Space) -> tuple[int, ...]:
    """Return the sizes of a space whose sizes are all known."""
    return tuple(size for size in space.shape if size is not None)


def matrix_bound(matrix: Any) -> Bound:
    """Return an upper bound on the norm of a dense or sparse matrix: Schur's test on |M|, or Frobenius' norm if that is less.

    Notes
    -----
    Source: I. Schur, Journal für die reine und angewandte Mathematik 140 (1911), the test with unit weights.
    """
    # wide first: the modulus of the least whole number of a type overflows it
    sizes = abs(matrix.astype(numpy.result_type(matrix.dtype, numpy.float64)))
    rows, columns = (float(numpy.asarray(sizes.sum(axis)).max(initial=0.0)) for axis in (1, 0))
    schur = (rows * columns) ** 0.5
    frobenius = float(numpy.asarray((sizes.multiply(sizes) if not isinstance(sizes, numpy.ndarray) else sizes**2).sum())) ** 0.5
    if frobenius < schur:
        return Bound(frobenius, "upper", "root of the sum of squares of the matrix")
    return Bound(schur, "upper", "root of the largest row sum times the largest column sum of |M|")


def _matrix_maps(matrix: Any) -> tuple[ArrayMap, ArrayMap]:
    # (rows of signals) M^T = (M signals^T)^T, written with the matrix on the left as sparse formats like it
    conjugate = matrix.conj().T
    return (lambda rows: (matrix @ rows.T).T), (lambda rows: (conjugate @ rows.T).T)


def _guarded(A: scipy.sparse.linalg.LinearOperator) -> ArrayMap:
    """Return A.rmatvec with a sentence for operators that have none."""

    def rmatvec(y: numpy.ndarray) -> numpy.ndarray:
        try:
            return A.rmatvec(y)
        except RuntimeError as error:
            # what is not written raises a subclass of RuntimeError; anything else is a fault of the user's own code
            if type(error) in (RuntimeError, RecursionError):
                raise
            raise CapabilityError(
                f"from_scipy: {type(A).__name__} has no adjoint. Give it rmatvec: LinearOperator(shape, matvec=..., rmatvec=...)."
            ) from error

    return rmatvec


def _scipy(who: str) -> tuple[ModuleType, ModuleType]:
    try:
        return importlib.import_module("scipy.sparse"), importlib.import_module("scipy.sparse.linalg")
    except ImportError:
        raise MissingExtraError(who, "scipy", "scipy") from None
