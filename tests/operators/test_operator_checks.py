"""The diagnostics that users run on their own operators find the usual mistakes."""

import pytest
import torch
from case_types import randn
from cases import ComplexSquare, CumulativeSum, Spectrum, Square

from apheleia.core import ArgumentError, CheckError, Space
from apheleia.operators import Identity, LinearOperator, check_adjoint, check_linear

SPACE = Space((4,))


class Custom(LinearOperator):
    """x -> forward(x) with the adjoint y -> adjoint(y)."""

    def __init__(self, forward, adjoint=None):
        super().__init__(SPACE, SPACE)
        self.functions = (forward, adjoint or forward)

    def _forward(self, x):
        return self.functions[0](x)

    def _adjoint(self, y):
        return self.functions[1](y)


def test_check_adjoint_returns_the_defect():
    assert check_adjoint(Custom(lambda x: 2 * x)) < 1e-15


@pytest.mark.parametrize("factor", [3.0, 0.25, -1.0])
def test_check_adjoint_names_a_constant_factor(factor):
    with pytest.raises(CheckError, match=rf"Custom: .*The adjoint is {factor:g} times the exact one\. Correct `_adjoint`"):
        check_adjoint(Custom(lambda x: 2 * x, lambda y: 2 * factor * y), batch=(5,))


def test_check_adjoint_finds_a_mirrored_one():
    with pytest.raises(CheckError, match=r"above 1e-10\. The adjoint applies A itself .* Correct `_adjoint`, or leave it out"):
        check_adjoint(Custom(lambda x: x.cumsum(-1), lambda y: y.cumsum(-1)))


def test_check_adjoint_finds_what_is_not_a_number():
    with pytest.raises(CheckError, match="differ by nan"):
        check_adjoint(Custom(lambda x: x, lambda y: y * torch.nan))


def test_check_adjoint_finds_a_zero():
    with pytest.raises(CheckError, match="differ by"):
        check_adjoint(Custom(lambda x: x, torch.zeros_like))


def test_check_adjoint_finds_a_wrong_shape():
    with pytest.raises(CheckError, match=r"Custom.adjoint\(y\) must have the shape of x, \(2, 4\); got \(2, 3\)"):
        check_adjoint(Custom(lambda x: x, lambda y: y[..., :3]))


def test_check_adjoint_finds_a_lost_batch():
    with pytest.raises(CheckError, match=r"Custom lost the batch axes \(2,\); A x has shape \(1, 4\)"):
        check_adjoint(Custom(lambda x: x.sum(0, keepdim=True)))


def test_check_adjoint_needs_sizes():
    with pytest.raises(ArgumentError, match=r"The checks of Identity need a signal shape, \(channel, height, width\); give one"):
        check_adjoint(Identity())


def test_check_adjoint_takes_a_generator():
    generator = torch.Generator().manual_seed(3)
    assert check_adjoint(Identity(SPACE), generator=generator) < 1e-15
    assert generator.initial_seed() == 3


def test_checks_leave_the_global_seed_alone():
    before = torch.get_rng_state()
    check_adjoint(Identity(SPACE))
    check_linear(Identity(SPACE))
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("forward", [lambda x: x + 1, torch.abs, lambda x: x.clamp(min=0), lambda x: x * torch.nan])
def test_check_linear_finds(forward):
    with pytest.raises(CheckError, match=r"Custom is not linear: A\(2x - 3y\) differs .*derive from Operator instead"):
        check_linear(Custom(forward))


def test_check_linear_returns_the_defect():
    assert check_linear(Custom(lambda x: x.roll(1, -1))) < 1e-14


def test_checks_of_a_learned_operator_do_not_warn():
    A = torch.nn.Parameter(torch.tensor(2.0)) * Identity(SPACE)
    assert check_adjoint(A) < 1e-15
    assert check_linear(A) < 1e-15


# what follows from `_forward` alone


@pytest.mark.parametrize(("A", "shape"), [(CumulativeSum(), (6,)), (Spectrum(), (5,))])
def test_forward_only_operator_has_an_exact_adjoint(A, shape):
    assert check_adjoint(A, shape, tol=1e-14) < 1e-14


def test_derivatives_of_a_non_linear_operator():
    A, x, v = Square(), randn(2, 4), randn(2, 4, seed=1)
    torch.testing.assert_close(A.jvp(x, v), (2 * x + 3) * v)
    torch.testing.assert_close(A.vjp(x, v), (2 * x + 3) * v)
    torch.testing.assert_close(A.linearize(x)(v), (2 * x + 3) * v)
    torch.testing.assert_close(A.linearize(x).adjoint(v), (2 * x + 3) * v)


def test_jvp_of_a_complex_operator_against_differences():
    A, x, v = ComplexSquare(), randn(4, dtype=torch.complex128), randn(4, seed=1, dtype=torch.complex128)
    h = 1e-6
    torch.testing.assert_close(A.jvp(x, v), (A(x + h * v) - A(x - h * v)) / (2 * h), rtol=1e-7, atol=1e-8)


def test_jvp_and_vjp_of_a_complex_operator_are_adjoint():
    A, x = ComplexSquare(), randn(4, dtype=torch.complex128)
    check_adjoint(A.linearize(x), (4,), batch=())


def test_linearisation_at_one_point_for_a_batch_of_directions():
    A, x, v = Square(), randn(4), randn(3, 4, seed=1)
    torch.testing.assert_close(A.linearize(x)(v), (2 * x + 3) * v)
    torch.testing.assert_close(A.linearize(x).dense((4,)), torch.diag(2 * x + 3))


def test_derivatives_can_be_differentiated_again():
    x, v = randn(3).requires_grad_(), randn(3, seed=1)
    (gradient,) = torch.autograd.grad(Square().jvp(x, v).sum(), x)
    torch.testing.assert_close(gradient, 2 * v)


def test_jvp_takes_and_gives_numpy():
    A, x = Square(), randn(3).numpy()
    assert A.jvp(x, x).dtype == x.dtype
    torch.testing.assert_close(torch.from_numpy(A.vjp(x, x)), A.vjp(torch.from_numpy(x), torch.from_numpy(x)))


@pytest.mark.parametrize("x", [torch.ones(1, 2, 2), torch.ones(1, 2, 2).numpy()])
def test_an_operator_is_applied_by_a_call(x):
    with pytest.raises(ArgumentError, match=r"Identity @ array: `@` joins two operators\. Call one to apply it: A\(x\)"):
        Identity() @ x
