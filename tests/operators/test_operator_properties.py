"""What must hold for every operator in the register."""

import math

import pytest
import torch
from cases import OPERATORS, OperatorCase, as_dtype, randn

from apheleia.operators import check_adjoint, check_linear, check_norm

every_operator = pytest.mark.parametrize("case", OPERATORS, ids=lambda case: case.name)
without_batch = pytest.mark.parametrize("case", [c for c in OPERATORS if not c.batch], ids=lambda case: case.name)
with_gram_solve = pytest.mark.parametrize("case", [c for c in OPERATORS if c.make().has_gram_solve], ids=lambda case: case.name)
with_shifted_solve = pytest.mark.parametrize(
    "case", [c for c in OPERATORS if c.make().has_shifted_solve], ids=lambda case: case.name
)


def matrices(A, case):
    """Return the matrices of A, (*batch, m, n), column by column."""
    n = math.prod(case.shape)
    basis = torch.eye(n, dtype=as_dtype(torch.float64, A.domain.is_complex)).reshape(n, *(1,) * len(case.batch), *case.shape)
    columns = A(basis.expand(n, *case.batch, *case.shape))
    return columns.reshape(n, *case.batch, -1).movedim(0, -1)


def is_complex_linear(A):
    """Whether A is linear over the complex numbers, so that one complex matrix describes it."""
    return A.domain.is_complex == A.codomain.is_complex and "Linearization" not in A.name


@every_operator
@pytest.mark.parametrize(("dtype", "tol"), [(torch.float64, 1e-13), (torch.float32, 1e-5)])
def test_adjoint(case: OperatorCase, dtype, tol):
    if dtype == torch.float32 and case.name.startswith("linearisation"):
        pytest.skip("the point of a linearisation fixes its precision")
    check_adjoint(case.make(), case.shape, batch=case.batch or (2,), dtype=dtype, tol=tol)


@every_operator
def test_shapes(case: OperatorCase):
    A, batch = case.make(), (4, *case.batch)
    y = A(case.x(batch))
    assert y.shape == (*batch, *A.output_shape(case.shape))
    assert A.adjoint(y).shape == (*batch, *case.shape)
    assert A.input_shape(A.output_shape(case.shape)) == case.shape


@every_operator
def test_linearity(case: OperatorCase):
    check_linear(case.make(), case.shape, batch=case.batch or (2,), tol=1e-12)


@every_operator
def test_complex_or_real_linearity_of_the_factor(case: OperatorCase):
    A, x = case.make(), case.x()
    factor = 2 - 1j if is_complex_linear(A) and A.domain.is_complex else -0.7
    torch.testing.assert_close(A(factor * x), factor * A(x))


@without_batch
def test_dense_twin(case: OperatorCase):
    A, x = case.make(), case.x((2,))
    if not is_complex_linear(A):
        pytest.skip("linear over the real numbers only: no one matrix describes it")
    torch.testing.assert_close(A(x).reshape(2, -1), x.reshape(2, -1) @ A.dense(case.shape).T)


@without_batch
def test_dense_of_the_adjoint_is_the_conjugate_transpose(case: OperatorCase):
    A = case.make()
    if not is_complex_linear(A):
        pytest.skip("linear over the real numbers only: no one matrix describes it")
    torch.testing.assert_close(A.H.dense(A.output_shape(case.shape)), A.dense(case.shape).mH)


@without_batch
def test_dense_of_the_gram(case: OperatorCase):
    A = case.make()
    if not is_complex_linear(A):
        pytest.skip("linear over the real numbers only: no one matrix describes it")
    matrix = A.dense(case.shape)
    torch.testing.assert_close(A.gram.dense(case.shape), matrix.mH @ matrix)


@every_operator
def test_norm_against_singular_values(case: OperatorCase):
    A = case.make()
    bound = A.norm(case.shape)
    assert bound.kind == case.norm
    assert bound.value.dtype == torch.float64
    if not is_complex_linear(A):
        return
    true = torch.linalg.svdvals(matrices(A, case))[..., 0]
    if bound.kind == "exact":
        torch.testing.assert_close(bound.value.expand_as(true), true, rtol=1e-8, atol=1e-12)
    elif bound.kind == "upper":
        assert (bound.value >= true * (1 - 1e-12)).all()
    else:
        assert (bound.value <= true * (1 + 1e-12)).all()


@without_batch
def test_norm_survives_the_hunt(case: OperatorCase):
    check_norm(case.make(), case.shape, samples=3)


@every_operator
def test_norm_of_any_size_covers_this_size(case: OperatorCase):
    A = case.make()
    if A._norm(None) is None:
        pytest.skip("its norm depends on the size")
    anything = A.norm()
    assert anything.is_upper
    assert (anything.value >= A.norm(case.shape).value * (1 - 1e-12)).all() or case.norm == "upper"
    if is_complex_linear(A):
        assert (anything.value >= torch.linalg.svdvals(matrices(A, case))[..., 0] * (1 - 1e-12)).all()


@every_operator
def test_norm_of_the_adjoint(case: OperatorCase):
    A = case.make()
    bound, other = A.norm(case.shape), A.H.norm(A.output_shape(case.shape))
    assert other.kind == bound.kind
    torch.testing.assert_close(other.value, bound.value, rtol=1e-4 if bound.kind == "estimate" else 1e-12, atol=0)


@every_operator
def test_norm_is_deterministic(case: OperatorCase):
    torch.manual_seed(1)
    first = case.make().norm(case.shape).value
    torch.manual_seed(2)
    assert torch.equal(first, case.make().norm(case.shape).value)


@every_operator
def test_smallest_singular_value_is_a_lower_bound(case: OperatorCase):
    A = case.make()
    bound = A.smallest_singular_value(case.shape)
    assert bound.is_lower
    if not is_complex_linear(A):
        return
    matrix = matrices(A, case)
    values = torch.linalg.svdvals(matrix)
    least = values[..., -1] if matrix.shape[-2] >= matrix.shape[-1] else torch.zeros(())
    if bound.kind == "lower":
        assert (bound.value <= least + 1e-14 * values[..., 0]).all()
    else:
        torch.testing.assert_close(bound.value.expand_as(least), least, rtol=1e-10, atol=1e-12, check_dtype=False)


@every_operator
def test_batch_equals_loop(case: OperatorCase):
    A, x = case.make(), case.x(case.batch or (3,))
    alone = [case.make(index=i) if case.batch else A for i in range(3)]
    torch.testing.assert_close(A(x), torch.stack([alone[i](x[i]) for i in range(3)]), rtol=1e-12, atol=1e-12)
    y = A(x)
    torch.testing.assert_close(A.adjoint(y), torch.stack([alone[i].adjoint(y[i]) for i in range(3)]), rtol=1e-12, atol=1e-12)


@every_operator
def test_norm_of_a_batch_equals_loop(case: OperatorCase):
    if not case.batch:
        pytest.skip("no parameters of its own per sample")
    norms = torch.stack([case.make(index=i).norm(case.shape).value for i in range(3)])
    torch.testing.assert_close(case.make().norm(case.shape).value.expand(3), norms)


@every_operator
def test_one_signal_for_a_batch_of_parameters(case: OperatorCase):
    A, x = case.make(), case.x(())
    torch.testing.assert_close(A(x), A(x.expand(*case.batch, *case.shape)))


@every_operator
def test_precision_is_that_of_the_signal(case: OperatorCase):
    if case.name.startswith("linearisation"):
        pytest.skip("the point of a linearisation fixes its precision")
    A, x = case.make(), case.x(dtype=torch.float32)
    y = A(x)
    assert y.dtype == as_dtype(torch.float32, A.codomain.is_complex)
    assert A.adjoint(y).dtype == x.dtype
    torch.testing.assert_close(y, A(x.to(as_dtype(torch.float64, A.domain.is_complex))).to(y.dtype), rtol=1e-4, atol=1e-5)


@every_operator
def test_real_signals_in_a_complex_space(case: OperatorCase):
    A = case.make()
    if A.domain.is_complex and not case.name.startswith("linearisation"):
        real = randn(*case.batch, *case.shape)
        torch.testing.assert_close(A(real), A(real.to(torch.complex128)))
    if A.codomain.is_complex and not case.name.startswith("linearisation"):
        real = randn(*case.batch, *A.output_shape(case.shape))
        torch.testing.assert_close(A.adjoint(real), A.adjoint(real.to(torch.complex128)))


@every_operator
def test_inputs_stay_untouched(case: OperatorCase):
    A, x, y = case.make(), case.x(), case.y()
    kept = x.clone(), y.clone()
    A(x)
    A.adjoint(y)
    A.gram(x)
    assert torch.equal(x, kept[0])
    assert torch.equal(y, kept[1])


@every_operator
def test_outputs_are_not_the_parameters(case: OperatorCase):
    A = case.make()
    before = {name: value.clone() for name, value in A.state_dict().items()}
    A(case.x()).mul_(0)
    assert all(torch.equal(value, before[name]) for name, value in A.state_dict().items())


@every_operator
def test_gradient_and_double_backward(case: OperatorCase):
    A, x, y = case.make(), case.x().requires_grad_(), case.y().requires_grad_()
    assert torch.autograd.gradcheck(A, (x,), fast_mode=True)
    assert torch.autograd.gradcheck(A.adjoint, (y,), fast_mode=True)
    assert torch.autograd.gradgradcheck(lambda x: A(x).abs() ** 2, (x,), fast_mode=True)


@every_operator
def test_jvp_vjp_and_linearize_are_the_operator_itself(case: OperatorCase):
    A, x, v, w = case.make(), case.x(), case.x(seed=3), case.y()
    torch.testing.assert_close(A.jvp(x, v), A(v))
    torch.testing.assert_close(A.vjp(x, w), A.adjoint(w))
    assert A.linearize(x) is A


@every_operator
def test_prepared_is_the_same_operator(case: OperatorCase):
    A, x, y = case.make(), case.x(), case.y()
    ready = A.prepared(case.shape, torch.float64)
    torch.testing.assert_close(ready(x), A(x))
    torch.testing.assert_close(ready.adjoint(y), A.adjoint(y))
    torch.testing.assert_close(ready.gram(x), A.adjoint(A(x)))
    bound, other = A.norm(case.shape), ready.norm(case.shape)
    assert other.kind == bound.kind
    torch.testing.assert_close(other.value, bound.value)


@every_operator
def test_gram_is_adjoint_after_forward(case: OperatorCase):
    A, x = case.make(), case.x()
    torch.testing.assert_close(A.gram(x), A.adjoint(A(x)))
    check_adjoint(A.gram, case.shape, batch=case.batch or (2,))


@with_shifted_solve
def test_shifted_solve(case: OperatorCase):
    A = case.make()
    shift = torch.tensor([0.2, 1.0, 50.0], dtype=torch.float64)
    rhs = case.x((3,))
    # self-adjoint positive semi-definite is its precondition; the others have it in their gram
    A = A if (A.norm(case.shape).value == 1).all() else A.gram
    x = A.shifted_solve(rhs, shift)
    torch.testing.assert_close(A(x) + shift[(...,) + (None,) * len(case.shape)] * x, rhs)


@with_gram_solve
@pytest.mark.parametrize("shift", [1e-3, torch.tensor([0.2, 1.0, 50.0], dtype=torch.float64)], ids=["one", "one a sample"])
def test_shifted_solve_of_the_prepared_gram(case: OperatorCase, shift):
    gram = case.make().prepared(case.shape, torch.float64).gram
    assert gram.has_shifted_solve
    rhs = case.x((3,))
    x = gram.shifted_solve(rhs, shift)
    wide = shift[(...,) + (None,) * len(case.shape)] if isinstance(shift, torch.Tensor) else shift
    torch.testing.assert_close(gram(x) + wide * x, rhs)


@every_operator
def test_is_orthonormal_keeps_its_word(case: OperatorCase):
    A = case.make()
    if not A.is_orthonormal:
        pytest.skip("does not claim it")
    x, y = case.x(), case.y()
    torch.testing.assert_close(A.adjoint(A(x)), x)
    torch.testing.assert_close(A(A.adjoint(y)), y)


@every_operator
def test_is_non_negative_keeps_its_word(case: OperatorCase):
    A = case.make()
    if not A.is_non_negative:
        pytest.skip("does not claim it")
    assert (matrices(A, case).real >= -1e-12).all()


@every_operator
def test_numpy_in_numpy_out(case: OperatorCase):
    A, x, y = case.make(), case.x(), case.y()
    forward, adjoint = A(x.numpy()), A.adjoint(y.numpy())
    assert forward.dtype == A(x).numpy().dtype
    assert torch.equal(torch.from_numpy(forward), A(x))
    assert torch.equal(torch.from_numpy(adjoint), A.adjoint(y))


@every_operator
def test_numpy_read_only_and_mirrored(case: OperatorCase):
    A, x = case.make(), case.x()
    array = x.numpy()[..., ::-1]
    array.flags.writeable = False
    torch.testing.assert_close(torch.from_numpy(A(array)), A(x.flip(-1)))


@every_operator
def test_it_moves_and_saves_like_any_module(case: OperatorCase):
    A, x = case.make(), case.x()
    B = case.make()
    B.load_state_dict(A.state_dict())
    assert torch.equal(A.double()(x), B(x))
