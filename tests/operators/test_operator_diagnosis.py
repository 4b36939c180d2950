"""Each usual mistake in an adjoint is called by its name, and a wrong derivative is found."""

import pytest
import torch
from case_types import randn
from cases import OPERATORS, ComplexSquare, CumulativeSum, RealPart, Spectrum, Square

from apheleia.core import CheckError, Space
from apheleia.operators import (
    Convolution,
    FiniteDifferences,
    LinearOperator,
    Operator,
    check_adjoint,
    check_derivative,
    find_adjoint_fault,
)
from apheleia.operators.foreign import linear_map

SIZE = (2, 8, 12)
KERNEL = randn(3, 3, seed=7)


class Wrong(LinearOperator):
    """A correct operator with an adjoint that has been changed after the fact."""

    def __init__(self, right, change):
        super().__init__(right.domain, right.codomain)
        self.right, self.change = right, change

    def _forward(self, x):
        return self.right._forward(x)

    def _adjoint(self, y):
        return self.change(y, self.right._adjoint(y))

    def _output_shape(self, shape):
        return self.right._output_shape(shape)

    def _input_shape(self, shape):
        return self.right._input_shape(shape)


def fault_of(change, right=None, shape=SIZE, batch=(3,)):
    right = right or Convolution(KERNEL, "zero")
    A = Wrong(right, change)
    dtype = torch.complex128 if A.domain.is_complex else torch.float64
    x = randn(*batch, *shape, dtype=dtype)
    y = randn(*batch, *A.output_shape(shape), dtype=torch.complex128 if A.codomain.is_complex else torch.float64)
    return find_adjoint_fault(A, x, y)


def edge(back, width):
    """Double the outermost rows at the top."""
    return torch.cat((2 * back[..., :width, :], back[..., width:, :]), -2)


def patch(back):
    """Spoil one rectangle."""
    spoilt = back.clone()
    spoilt[..., 2:5, 4:8] += 1
    return spoilt * 0 + torch.where(spoilt == back, back, 2 * back)


CHANNELS = torch.tensor([1.0, 3.0], dtype=torch.float64)[:, None, None]


@pytest.mark.parametrize(
    ("kind", "change", "words"),
    [
        ("none", lambda y, b: b, r"^$"),
        ("rounding", lambda y, b: b.float().double(), r"right to \de-08: a part computes in lower precision"),
        ("not finite", lambda y, b: b * torch.nan, "not finite"),
        ("zero", lambda y, b: torch.zeros_like(b), "is zero"),
        ("offset", lambda y, b: b + 1, r"A\^H 0 has entries up to 1 and"),
        ("factor", lambda y, b: -2.5 * b, r"is -2\.5 times the exact one\."),
        ("not transposed", lambda y, b: Convolution(KERNEL, "zero")(y), "applies A itself"),
        ("factor per sample", lambda y, b: b * torch.arange(1.0, 4.0)[:, None, None, None], "each sample: 1, 2, 3"),
        ("factor per channel", lambda y, b: CHANNELS * b, "each channel: 1, 3"),
        ("shift", lambda y, b: b.roll((1, -2), (-2, -1)), r"shifted by \+1 rows and -2 columns"),
        ("mirrored", lambda y, b: b.flip(-1), "mirrored along its columns"),
        ("mirrored", lambda y, b: b.flip(-1, -2), "mirrored along its rows and columns"),
        ("boundary", lambda y, b: edge(b, 1), r"within 1 pixel of the edge \(top\)"),
        ("boundary", lambda y, b: edge(edge(b, 2).flip(-2), 2).flip(-2), r"within 2 pixels of the edge \(top, bottom\)"),
        ("region", lambda y, b: patch(b), "only in rows 2 to 4 and columns 4 to 7"),
        ("spread", lambda y, b: b + b.roll(1, -1), r"wrong at 100 % of the positions"),
    ],
)
def test_each_mistake_has_its_name(kind, change, words):
    fault = fault_of(change)
    assert fault.kind == kind
    with pytest.raises(AssertionError, match=words):
        raise AssertionError(fault.sentence)


@pytest.mark.parametrize("case", OPERATORS, ids=lambda case: case.name)
def test_no_false_alarm(case):
    batch = case.batch or (2,)
    assert find_adjoint_fault(case.make(), case.x(batch), case.y(batch)).kind == "none"


def test_the_map_shows_where():
    fault = fault_of(lambda y, b: edge(b, 1))
    assert fault.defect.shape == SIZE
    assert (fault.defect[:, :1] > 0.01).all()
    assert (fault.defect[:, 1:] < 1e-12).all()


def test_another_boundary_is_a_matter_of_the_edge():
    fault = fault_of(lambda y, b: Convolution(KERNEL, "reflect").adjoint(y))
    assert fault.kind == "boundary"
    assert "(top, bottom, left, right)" in fault.sentence


@pytest.mark.parametrize("shape", [(1, 6, 6), (1, 7, 7)])
def test_swapped_axes(shape):
    assert fault_of(lambda y, b: b.mT, shape=shape).kind == "axes swapped"


def test_edges_of_vectors():
    fault = fault_of(lambda y, b: torch.cat((b[..., :-1], 3 * b[..., -1:]), -1), CumulativeSum(), (9,))
    assert (fault.kind, "(end)" in fault.sentence) == ("boundary", True)


@pytest.mark.parametrize("right", [(1 + 2j) * FiniteDifferences(True), Spectrum()], ids=["complex", "real to complex"])
def test_a_missing_conjugate(right):
    shape = (1, 4, 5) if right.domain.is_complex else (7,)
    fault = fault_of(lambda y, b: right.adjoint(y.conj()).conj().resolve_conj(), right, shape)
    assert fault.kind == "conjugate"


def test_a_lost_imaginary_part():
    fault = fault_of(lambda y, b: b.real.to(b.dtype), (1 + 2j) * FiniteDifferences(True), (1, 4, 5))
    assert fault.kind == "real part"


@pytest.mark.parametrize(("right", "shape"), [(CumulativeSum(), (6,)), (RealPart(), (5,))])
def test_code_outside_of_torch_is_judged_column_by_column(right, shape):
    class Foreign(LinearOperator):
        """A product with numpy whose adjoint is too large."""

        def __init__(self):
            super().__init__(right.domain, right.codomain)

        def _forward(self, x):
            return linear_map(x, lambda x: torch.from_numpy(right(x.numpy().copy())), lambda y: 3 * right.adjoint(y))

        def _adjoint(self, y):
            return 3 * right.adjoint(y)

    with pytest.raises(CheckError, match=r"is 3 times the exact one\."):
        check_adjoint(Foreign(), shape)


def test_a_large_signal_outside_of_torch_stays_unknown():
    A = Wrong(CumulativeSum(), lambda y, b: 2 * b)
    A.right._forward = lambda x: x.detach().cumsum(-1)
    fault = find_adjoint_fault(A, randn(2, 5000), randn(2, 5000))
    assert (fault.kind, fault.sentence, fault.defect) == ("unknown", "", None)


# derivatives


class WrongJvp(Square):
    def _jvp(self, x, v):
        return 2 * x * v


class WrongVjp(Square):
    def _vjp(self, x, w):
        return 2 * x * w


class Root(Operator):
    def __init__(self):
        super().__init__(Space((4,)), Space((4,)))

    def _forward(self, x):
        return x.sqrt()


@pytest.mark.parametrize("A", [Square(), ComplexSquare(), CumulativeSum(), Spectrum()])
def test_right_derivatives(A):
    assert check_derivative(A, (5,)) < 1e-7


def test_wrong_jvp():
    with pytest.raises(CheckError, match=r"WrongJvp\.jvp differs from difference quotients by .* above 1e-06\. Correct `_jvp`"):
        check_derivative(WrongJvp(), (5,))


def test_wrong_vjp():
    with pytest.raises(CheckError, match=r"WrongVjp: <J v, w> and <v, J\^H w> differ by .* above 1e-10\. Correct `_vjp`"):
        check_derivative(WrongVjp(), (5,))


def test_a_point_where_it_has_a_derivative():
    with pytest.raises(CheckError, match=r"Root or its derivative is not finite at x. Give an `x`"):
        check_derivative(Root())
    assert check_derivative(Root(), x=1 + randn(3, 4).abs()) < 1e-7
