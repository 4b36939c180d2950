"""Operators of other libraries in the register: what crosses a bridge must behave as ours do."""

from __future__ import annotations

import numpy
import pylops
import scipy.sparse
import scipy.sparse.linalg
from case_types import OperatorCase, randn
from pylops.signalprocessing import FFT

from apheleia.bridges import from_pylops, from_scipy
from apheleia.core import Space


def _array(*shape: int, complex_: bool = False) -> numpy.ndarray:
    values = randn(*shape, seed=4).numpy()
    return values + 1j * randn(*shape, seed=5).numpy() if complex_ else values


def _sparse() -> scipy.sparse.csr_array:
    return scipy.sparse.csr_array(_array(6, 8) * (_array(6, 8) > 0.2))


def _shift() -> scipy.sparse.linalg.LinearOperator:
    """Return a user's operator for vectors of shape (n,) alone: along columns of shape (n, 1) it would do nothing."""
    return scipy.sparse.linalg.LinearOperator(
        (5, 5), matvec=lambda x: numpy.roll(x, 1, axis=-1) - 2 * x, rmatvec=lambda y: numpy.roll(y, -1, axis=-1) - 2 * y
    )


BRIDGES = [
    OperatorCase("scipy, ndarray", lambda: from_scipy(_array(4, 5)), (5,), "upper"),
    OperatorCase("scipy, sparse, images", lambda: from_scipy(_sparse(), Space((1, 2, 4)), Space((1, 2, 3))), (1, 2, 4), "upper"),
    OperatorCase("scipy, complex", lambda: from_scipy(_array(4, 3, complex_=True)), (3,), "upper"),
    OperatorCase("scipy, complex, of real signals", lambda: from_scipy(_array(4, 3, complex_=True), Space((3,))), (3,), "upper"),
    OperatorCase("scipy, linear operator", lambda: from_scipy(_shift()), (5,), "estimate"),
    OperatorCase("PyLops", lambda: from_pylops(pylops.FirstDerivative((3, 4), axis=0)), (3, 4), "estimate"),
    OperatorCase(
        "PyLops, images",
        lambda: from_pylops(pylops.Gradient((3, 4), kind="forward"), Space((1, 3, 4)), Space((2, 1, 3, 4))),
        (1, 3, 4),
        "estimate",
    ),
    OperatorCase("PyLops, real to complex", lambda: from_pylops(FFT(6, real=True)), (6,), "estimate"),
    OperatorCase(
        "PyLops, complex",
        lambda: from_pylops(pylops.MatrixMult(_array(4, 3, complex_=True), dtype="complex128")),
        (3,),
        "estimate",
    ),
]
