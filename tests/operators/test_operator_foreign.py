"""Linear maps computed outside of torch have derivatives of every order."""

import numpy as np
import pytest
import torch
from case_types import randn

from apheleia.operators.foreign import linear_map

REAL = randn(3, 4, seed=2)
COMPLEX = randn(3, 4, seed=2, dtype=torch.complex128)


def through_numpy(matrix):
    def apply(x):
        return torch.from_numpy(np.asarray(x) @ matrix.numpy().T)

    return apply


@pytest.mark.parametrize("matrix", [REAL, COMPLEX], ids=["real", "complex"])
def test_derivatives_of_every_order(matrix):
    forward, adjoint = through_numpy(matrix), through_numpy(matrix.mH.resolve_conj())
    x = randn(2, 4, dtype=matrix.dtype).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: linear_map(x, forward, adjoint), (x,))
    assert torch.autograd.gradgradcheck(lambda x: linear_map(x, forward, adjoint).abs() ** 2, (x,))


def test_transforms_of_functions():
    forward, adjoint = through_numpy(REAL), through_numpy(REAL.mT.contiguous())
    x, w = randn(5, 4), randn(5, 3)
    torch.testing.assert_close(torch.func.vjp(lambda x: linear_map(x, forward, adjoint), x)[1](w)[0], w @ REAL)
    torch.testing.assert_close(torch.vmap(lambda x: linear_map(x, forward, adjoint), 1, 1)(x.T), REAL @ x.T)


@pytest.mark.filterwarnings("ignore:`torch.jit.script`:DeprecationWarning")  # torch's own, at its first forward derivative
@pytest.mark.parametrize("matrix", [REAL, COMPLEX], ids=["real", "complex"])
def test_derivatives_forwards(matrix):
    forward, adjoint = through_numpy(matrix), through_numpy(matrix.mH.resolve_conj())
    apply = lambda x: linear_map(x, forward, adjoint)  # noqa: E731
    x, v = randn(2, 4, dtype=matrix.dtype), randn(2, 4, seed=3, dtype=matrix.dtype)
    torch.testing.assert_close(torch.func.jvp(apply, (x,), (v,))[1], v @ matrix.T)
    twice = torch.func.jvp(lambda x: torch.func.vjp(apply, x)[1](apply(x))[0], (x,), (v,))[1]
    torch.testing.assert_close(twice, v @ matrix.T @ matrix.conj())
    if not matrix.is_complex():
        torch.testing.assert_close(torch.func.jacfwd(apply)(x[0]), matrix)
