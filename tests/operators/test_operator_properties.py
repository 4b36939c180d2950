"""What must hold for every operator in the register."""

import math

import pytest
import torch
from case_types import OperatorCase, as_dtype, randn
from cases import OPERATORS

from apheleia.operators import check_adjoint, check_linear, check_norm
from apheleia.operators.transforms import transform


def operators_where(holds):
    """Parametrise over the operators of the register for which `holds(case)`."""
    return pytest.mark.parametrize("case", [case for case in OPERATORS if holds(case)], ids=lambda case: case.name)


def has_one_matrix(case):
    """Whether one matrix describes the operator: the others are linear over the real numbers only."""
    A = case.make()
    return A.domain.is_complex == A.codomain.is_complex and "complex square" not in case.name


def takes_any_precision(case):
    """Whether the signal alone decides on the precision: the point of a linearisation has its own."""
    return not case.name.startswith("linearisation")


every_operator = operators_where(lambda case: True)


def matrices(A, case):
    """Return the matrices of A, (*batch, m, n), column by column."""
    n = math.prod(case.shape)
    basis = torch.eye(n, dtype=as_dtype(torch.float64, A.domain.is_complex)).reshape(n, *(1,) * len(case.batch), *case.shape)
    columns = A(basis.expand(n, *case.batch, *case.shape))
    return columns.reshape(n, *case.batch, -1).movedim(0, -1)


@every_operator
def test_adjoint(case: OperatorCase):
    check_adjoint(case.make(), case.shape, batch=case.batch or (2,), tol=1e-13)


@operators_where(takes_any_precision)
def test_adjoint_in_single_precision(case: OperatorCase):
    check_adjoint(case.make(), case.shape, batch=case.batch or (2,), dtype=torch.float32, tol=1e-5)


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


@operators_where(lambda case: has_one_matrix(case) and case.make().domain.is_complex)
def test_linearity_over_the_complex_numbers(case: OperatorCase):
    A, x, factor = case.make(), case.x(), 2 - 1j
    torch.testing.assert_close(A(factor * x), factor * A(x))


@operators_where(lambda case: has_one_matrix(case) and not case.batch)
def test_dense_twin(case: OperatorCase):
    A, x = case.make(), case.x((2,))
    torch.testing.assert_close(A(x).reshape(2, -1), x.reshape(2, -1) @ A.dense(case.shape).T)


@operators_where(lambda case: has_one_matrix(case) and not case.batch)
def test_dense_of_the_adjoint_is_the_conjugate_transpose(case: OperatorCase):
    A = case.make()
    torch.testing.assert_close(A.H.dense(A.output_shape(case.shape)), A.dense(case.shape).mH)


@operators_where(lambda case: has_one_matrix(case) and not case.batch)
def test_dense_of_the_gram(case: OperatorCase):
    A = case.make()
    matrix = A.dense(case.shape)
    torch.testing.assert_close(A.gram.dense(case.shape), matrix.mH @ matrix)


@every_operator
def test_kind_of_the_norm(case: OperatorCase):
    bound = case.make().norm(case.shape)
    assert (bound.kind, bound.value.dtype) == (case.norm, torch.float64)


@operators_where(has_one_matrix)
def test_norm_against_singular_values(case: OperatorCase):
    A = case.make()
    bound = A.norm(case.shape)
    true = torch.linalg.svdvals(matrices(A, case))[..., 0]
    if bound.kind == "exact":
        torch.testing.assert_close(bound.value.expand_as(true), true, rtol=1e-8, atol=1e-12)
    elif bound.kind == "upper":
        assert (bound.value >= true * (1 - 1e-12)).all()
    else:
        assert (bound.value <= true * (1 + 1e-12)).all()


@operators_where(lambda case: not case.batch)
def test_norm_survives_the_hunt(case: OperatorCase):
    check_norm(case.make(), case.shape, samples=3)


@operators_where(lambda case: case.make()._norm(None) is not None)
def test_norm_of_any_size_covers_this_size(case: OperatorCase):
    A = case.make()
    assert A.norm().is_upper
    assert (A.norm().value >= torch.linalg.svdvals(matrices(A, case))[..., 0] * (1 - 1e-12)).all()


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


@operators_where(has_one_matrix)
def test_smallest_singular_value_is_a_lower_bound(case: OperatorCase):
    A = case.make()
    bound = A.smallest_singular_value(case.shape)
    assert bound.is_lower
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


@operators_where(lambda case: case.batch)
def test_norm_of_a_batch_equals_loop(case: OperatorCase):
    norms = torch.stack([case.make(index=i).norm(case.shape).value for i in range(3)])
    torch.testing.assert_close(case.make().norm(case.shape).value.expand(3), norms)


@operators_where(lambda case: case.batch)
def test_one_signal_for_a_batch_of_parameters(case: OperatorCase):
    A, x = case.make(), case.x(())
    torch.testing.assert_close(A(x), A(x.expand(*case.batch, *case.shape)))


@operators_where(takes_any_precision)
def test_precision_is_that_of_the_signal(case: OperatorCase):
    A, x = case.make(), case.x(dtype=torch.float32)
    y = A(x)
    assert y.dtype == as_dtype(torch.float32, A.codomain.is_complex)
    assert A.adjoint(y).dtype == x.dtype
    torch.testing.assert_close(y, A(x.to(as_dtype(torch.float64, A.domain.is_complex))).to(y.dtype), rtol=1e-4, atol=1e-5)


@operators_where(lambda case: case.make().domain.is_complex)
def test_real_signals_in_a_complex_space(case: OperatorCase):
    A, real = case.make(), randn(*case.batch, *case.shape)
    torch.testing.assert_close(A(real), A(real.to(torch.complex128)))


@operators_where(lambda case: case.make().codomain.is_complex)
def test_real_data_in_a_complex_space(case: OperatorCase):
    A = case.make()
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


@operators_where(lambda case: case.make().has_shifted_solve)
def test_shifted_solve(case: OperatorCase):
    A = case.make()
    shift = torch.tensor([0.2, 1.0, 50.0], dtype=torch.float64)
    rhs = case.x((3,))
    # self-adjoint positive semi-definite is its precondition; the others have it in their gram
    A = A if (A.norm(case.shape).value == 1).all() else A.gram
    x = A.shifted_solve(rhs, shift)
    torch.testing.assert_close(A(x) + shift[(...,) + (None,) * len(case.shape)] * x, rhs)


@operators_where(lambda case: case.make().has_gram_solve)
@pytest.mark.parametrize("shift", [1e-3, torch.tensor([0.2, 1.0, 50.0], dtype=torch.float64)], ids=["one", "one a sample"])
def test_shifted_solve_of_the_prepared_gram(case: OperatorCase, shift):
    gram = case.make().prepared(case.shape, torch.float64).gram
    assert gram.has_shifted_solve
    rhs = case.x((3,))
    x = gram.shifted_solve(rhs, shift)
    wide = shift[(...,) + (None,) * len(case.shape)] if isinstance(shift, torch.Tensor) else shift
    torch.testing.assert_close(gram(x) + wide * x, rhs)


@every_operator
@pytest.mark.parametrize("shift", [2.0, 1e-3])
def test_gram_preconditioner_is_self_adjoint_and_positive_definite(case: OperatorCase, shift):
    ready, r, s = case.make().prepared(case.shape, torch.float64), case.x(), case.x(seed=3)
    apply = ready._gram_preconditioner(case.shape, torch.tensor(shift, dtype=torch.float64))
    if apply is not None:
        space = ready.domain
        torch.testing.assert_close(space.inner(s, apply(r)), space.inner(apply(s), r), rtol=1e-9, atol=1e-9 / shift)
        assert (space.inner(r, apply(r)) > 0).all()


@operators_where(lambda case: bool(case.make().gram_bases))
def test_gram_eigenvalues(case: OperatorCase):
    A, x = case.make(), case.x()
    for basis in A.gram_bases:
        change = transform(basis, tuple(case.shape[-2:]))
        torch.testing.assert_close(
            change.synthesise(change.analyse(x) * A._gram_eigenvalues(basis, case.shape)), A.gram(x), atol=1e-12, rtol=1e-9
        )


@operators_where(lambda case: bool(case.make().gram_majorants))
def test_gram_majorants(case: OperatorCase):
    A, x = case.make(), case.x()
    for basis in A.gram_majorants:
        change, excess = transform(basis, tuple(case.shape[-2:])), torch.zeros_like(x)
        A._add_gram_excess(basis, x, torch.ones(()), excess)
        majorant = change.synthesise(change.analyse(x) * A._gram_eigenvalues(basis, case.shape))
        torch.testing.assert_close(majorant, A.gram(x) + excess, atol=1e-12, rtol=1e-9)
        assert (A.domain.inner(x, excess) >= 0).all()


@operators_where(lambda case: case.make().is_orthonormal)
def test_is_orthonormal_keeps_its_word(case: OperatorCase):
    A, x, y = case.make(), case.x(), case.y()
    torch.testing.assert_close(A.adjoint(A(x)), x)
    torch.testing.assert_close(A(A.adjoint(y)), y)


@operators_where(lambda case: case.make().is_non_negative)
def test_is_non_negative_keeps_its_word(case: OperatorCase):
    A = case.make()
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


@operators_where(lambda case: case.make().has_orthonormal_rows)
def test_has_orthonormal_rows_keeps_its_word(case: OperatorCase):
    A, y = case.make(), case.y()
    torch.testing.assert_close(A(A.adjoint(y)), y)


@operators_where(lambda case: case.make().absolute is not None)
def test_absolute_bounds_every_entry(case: OperatorCase):
    A = case.make()
    absolute = A.absolute
    size = matrices(A, case).abs()
    # the entries that FFTs round
    noise = 1e-12 * float(size.amax())
    bound = matrices(absolute, case).real
    assert absolute.is_non_negative
    assert bool((bound >= size - noise).all())
    rows, columns = A.absolute_sums(case.shape)
    assert rows.dtype == columns.dtype == torch.float64
    torch.testing.assert_close(rows.expand(*case.batch, *A.output_shape(case.shape)).flatten(len(case.batch)), bound.sum(-1))
    torch.testing.assert_close(columns.expand(*case.batch, *case.shape).flatten(len(case.batch)), bound.sum(-2))
    if case.name.startswith(("diagonal", "differences", "matrix", "scaled", "stack", "Fourier filter", "convolution, circular")):
        torch.testing.assert_close(bound, size, atol=noise, rtol=1e-12)


@every_operator
def test_absolute_is_kept_by_preparation(case: OperatorCase):
    A = case.make()
    ready = A.prepared(case.shape, torch.float64)
    assert (ready.absolute is None) == (A.absolute is None)
    assert (ready.is_non_negative, ready.absolute_sums(case.shape) is None) == (A.is_non_negative, A.absolute is None)
