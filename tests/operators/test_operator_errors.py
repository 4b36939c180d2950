"""Every refusal of an operator is a sentence that says who, what was expected and what came."""

import numpy
import pytest
import torch
from case_types import COMPLEX_IMAGE, randn
from cases import OPERATORS, CumulativeSum, Square

from apheleia.core import ArgumentError, CapabilityError, MissingExtraError, ShapeError, Space
from apheleia.operators import (
    Convolution,
    Crop,
    Decimation,
    Diagonal,
    FiniteDifferences,
    FourierFilter,
    Identity,
    LinearOperator,
    Matrix,
    Operator,
    WaveletTransform,
    stack,
)

every_operator = pytest.mark.parametrize("case", OPERATORS, ids=lambda case: case.name)


@every_operator
def test_too_few_axes(case):
    A = case.make()
    x = case.x(())
    with pytest.raises(ShapeError, match=r"`x` must have at least \d axes, shape .*; got"):
        A(x[(0,) * x.ndim])
    with pytest.raises(ShapeError, match=r"adjoint: `y` must have at least \d axes"):
        A.adjoint(case.y(())[(0,) * A.codomain.rank])


@every_operator
def test_integers(case):
    with pytest.raises(ShapeError, match=r"`x` must hold floating-point numbers; got torch.int64"):
        case.make()(torch.ones(case.shape, dtype=torch.int64))


@pytest.mark.parametrize("case", [c for c in OPERATORS if not c.make().domain.is_complex], ids=lambda case: case.name)
def test_complex_into_real(case):
    A = case.make()
    with pytest.raises(ShapeError, match=r"`x` must be real; got torch.complex128"):
        A(randn(*case.shape, dtype=torch.complex128))


@every_operator
def test_not_an_array(case):
    with pytest.raises(ShapeError, match="`x` must be a tensor or an ndarray; got str"):
        case.make()("image")


@every_operator
def test_a_batch_without_pixels(case):
    with pytest.raises(ShapeError, match="must have shape"):
        case.make()(torch.ones(*case.shape[:-1], 0, dtype=torch.float64))


@every_operator
def test_output_and_input_shape_refuse_other_ranks(case):
    A = case.make()
    with pytest.raises(ShapeError, match="signals must have shape"):
        A.output_shape((*case.shape, 2))
    with pytest.raises(ShapeError, match="data must have shape"):
        A.input_shape((*A.output_shape(case.shape), 2))
    with pytest.raises(ShapeError, match="signals must have shape"):
        A.norm((*case.shape, 2))


def test_height_and_width_alone():
    with pytest.raises(ShapeError, match=r"FiniteDifferences: `x` must have at least 3 axes.*Add a channel axis: x\[None\]"):
        FiniteDifferences()(torch.ones(4, 5))


def test_wrong_size():
    with pytest.raises(ShapeError, match=r"Diagonal: `x` must have shape \(\*batch, channel, 4, 4\); got \(1, 3, 4\)"):
        Diagonal(torch.rand(1, 4, 4))(torch.ones(1, 3, 4))


def test_jvp_vjp_and_linearize_check_too():
    A, x = Square(), torch.ones(3)
    with pytest.raises(ShapeError, match=r"Square.jvp: `x`"):
        A.jvp(torch.tensor(1.0), x)
    with pytest.raises(ShapeError, match=r"Square.jvp: `v`"):
        A.jvp(x, torch.ones(3, dtype=torch.int64))
    with pytest.raises(ShapeError, match=r"Square.vjp: `x`"):
        A.vjp(torch.tensor(1.0), x)
    with pytest.raises(ShapeError, match=r"Square.vjp: `w`"):
        A.vjp(x, x.to(torch.complex64))
    with pytest.raises(ShapeError, match=r"Square.linearize: `x`"):
        A.linearize(torch.tensor(1.0))


def test_a_composition_checks_between_its_parts():
    masked = Diagonal(torch.ones(1, 4, 4) * torch.tensor([1.0, 2.0, 3.0, 4.0])) @ Convolution(torch.ones(3, 3))
    with pytest.raises(ShapeError, match=r"Diagonal: `x` must have shape \(\*batch, channel, 4, 4\); got \(1, 1, 1\)"):
        masked(torch.ones(1, 1, 1))
    other = Convolution(torch.ones(3, 3)) @ Diagonal(torch.rand(1, 4, 4))
    with pytest.raises(ShapeError, match=r"Diagonal.adjoint: `y` must have shape"):
        other.adjoint(torch.ones(1, 1, 1))


def test_unknown_sizes():
    class Flatten(LinearOperator):
        def __init__(self):
            super().__init__(Space((None, None, None)), Space((None,)))

        def _forward(self, x):
            return x.flatten(-3)

    with pytest.raises(ShapeError, match=r"Flatten: its sizes are not known; fix them with a Space\."):
        Flatten().output_shape((1, 2, 2))


def test_norm_of_unknown_size():
    with pytest.raises(ArgumentError, match=r"Convolution.norm: the norm depends on the image size; give shape="):
        Convolution(torch.ones(3, 3), "reflect").norm()


def test_dense_of_unknown_size():
    with pytest.raises(ArgumentError, match=r"FiniteDifferences.dense: give shape="):
        FiniteDifferences().dense()


def test_no_closed_form_inverse():
    A = Convolution(torch.ones(3, 3), "zero").gram
    with pytest.raises(CapabilityError, match=r"has no closed-form shifted inverse\. Use operators\.conjugate_gradient\."):
        A.shifted_solve(torch.ones(1, 4, 4), 1.0)


def test_shifted_solve_checks_its_right_hand_side():
    with pytest.raises(ShapeError, match=r"Identity.shifted_solve: `rhs`"):
        Identity().shifted_solve(torch.ones(4), 1.0)


# algebra


def test_composition_of_unlike_spaces():
    with pytest.raises(ShapeError, match=r"FiniteDifferences @ FiniteDifferences: the left one takes .*, the right one gives"):
        FiniteDifferences() @ FiniteDifferences()
    with pytest.raises(ShapeError, match=r"FiniteDifferences @ Identity: the left one takes real signals"):
        FiniteDifferences() @ Identity(COMPLEX_IMAGE)


def test_sum_of_unlike_spaces():
    with pytest.raises(ShapeError, match=r"Matrix \+ Matrix: the domains differ"):
        Matrix(torch.ones(2, 3)) + Matrix(torch.ones(2, 2))
    with pytest.raises(ShapeError, match=r"Matrix \+ Matrix: the codomains differ"):
        Matrix(torch.ones(2, 3)) + Matrix(torch.ones(3, 3))
    with pytest.raises(ShapeError, match=r"stack: the domains differ"):
        stack([Identity(), Identity(COMPLEX_IMAGE)])
    with pytest.raises(ShapeError, match=r"stack: the codomains differ"):
        stack([Identity(), FiniteDifferences()])


def test_operators_combine_with_operators_only():
    with pytest.raises(ArgumentError, match=r"Identity @ \.\.\.: `@` joins two linear operators; got int"):
        Identity() @ 3
    with pytest.raises(ArgumentError, match=r"Identity \+ \.\.\.: `\+` joins two linear operators; got int\. A number is c \*"):
        Identity() + 3
    with pytest.raises(ArgumentError, match=r"Identity \+ \.\.\.: `\+` joins two linear operators; got Square"):
        Identity() + Square()


def test_complex_factor_of_a_real_operator():
    with pytest.raises(ArgumentError, match="Identity: a complex factor needs a complex domain and codomain"):
        1j * Identity()


def test_a_factor_is_a_number():
    with pytest.raises(ArgumentError, match="Identity: `factor` must be a tensor or an array of numbers; got str"):
        "2" * Identity()


def test_stack_of_nothing():
    with pytest.raises(ArgumentError, match="stack: give at least one operator; got none"):
        stack([])


# constructors


@pytest.mark.parametrize("kernel", [torch.ones(3), torch.ones(0, 3), torch.ones(3, 3, dtype=torch.complex64)])
def test_convolution_kernel(kernel):
    with pytest.raises(ShapeError, match=r"Convolution: `kernel` must be real, .* got torch"):
        Convolution(kernel)


def test_convolution_boundary():
    with pytest.raises(ArgumentError, match="`boundary` must be one of circular, zero, reflect, replicate; got 'mirror'"):
        Convolution(torch.ones(3, 3), "mirror")


def test_convolution_of_complex_images():
    with pytest.raises(ShapeError, match=r"Convolution: .*real"):
        Convolution(torch.ones(3, 3), space=COMPLEX_IMAGE)


def test_convolution_channels():
    with pytest.raises(ShapeError, match="Convolution: a kernel of 3 channels does not fit images"):
        Convolution(torch.ones(3, 3, 3), space=Space((2, None, None)))
    with pytest.raises(ShapeError, match="Convolution: `x` must have shape"):
        Convolution(torch.ones(3, 3, 3))(torch.ones(2, 4, 4))


def test_convolution_kernel_that_is_no_array():
    with pytest.raises(ArgumentError, match="Convolution: `kernel` must be a tensor or an array of numbers; got str"):
        Convolution("gauss")


def test_fourier_filter():
    with pytest.raises(ShapeError, match="FourierFilter: give real images with fixed height and width"):
        FourierFilter(torch.ones(1, 4, 3), Space((None, None, 4)))
    with pytest.raises(ShapeError, match="FourierFilter: give real images with fixed height and width"):
        FourierFilter(torch.ones(1, 4, 3), Space((1, 4, 4), True))
    with pytest.raises(ShapeError, match=r"`transfer` must end in \(height, width // 2 \+ 1\)"):
        FourierFilter(torch.ones(1, 4, 4), Space((None, 4, 4)))


@pytest.mark.parametrize("factor", [0, 1.5])
def test_decimation(factor):
    with pytest.raises(ArgumentError, match="Decimation: `factor` must be a whole number >= 1"):
        Decimation(factor)


def test_decimation_data_of_the_wrong_size():
    with pytest.raises(ShapeError, match=r"Decimation.adjoint: `y` must have shape \(\*batch, 1, 3, 4\)"):
        Decimation(2, Space((1, 5, 7))).adjoint(torch.ones(1, 4, 4))


@pytest.mark.parametrize("window", [(5, 3), (3, 5), (0, 3)])
def test_crop(window):
    with pytest.raises(ShapeError, match=r"Crop: `window` must lie inside \(4, 4\)"):
        Crop((1, 4, 4), window)


def test_diagonal():
    with pytest.raises(ShapeError, match="Diagonal: complex factors need a complex space"):
        Diagonal(torch.ones(1, 2, 2, dtype=torch.complex64))
    with pytest.raises(ShapeError, match="Diagonal: `diagonal` must broadcast to"):
        Diagonal(torch.ones(1, 3, 3), Space((1, 4, 3)))


@pytest.mark.parametrize("matrix", [torch.ones(3), torch.ones(0, 3)])
def test_matrix(matrix):
    with pytest.raises(ShapeError, match=r"Matrix: `matrix` must have shape \(\*batch, m, n\) with m, n >= 1"):
        Matrix(matrix)


def test_wavelets():
    with pytest.raises(ArgumentError, match="WaveletTransform: `levels` must be a whole number >= 1; got 0"):
        WaveletTransform("haar", 0)
    with pytest.raises(ShapeError, match=r"multiples of 2\^levels = 8; got 8 x 12\. This size allows 2 levels"):
        WaveletTransform("haar", 3)(torch.ones(1, 8, 12))
    with pytest.raises(ShapeError, match=r"multiples of 2\^levels = 8; got 8 x 12\. This size allows 2 levels"):
        WaveletTransform("haar", 3).adjoint(torch.ones(1, 8, 12))


@pytest.mark.parametrize("wavelet", ["bior2.2", "dmey", "morl", "nonsense"])
def test_wavelets_must_be_orthogonal(wavelet):
    with pytest.raises(ArgumentError, match=f"'{wavelet}' is not an orthogonal wavelet"):
        WaveletTransform(wavelet)


def test_wavelets_without_pywavelets(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pywt", None)
    with pytest.raises(MissingExtraError, match=r"The wavelet 'db4' needs PyWavelets.*pip install \"apheleia\[wavelets\]\""):
        WaveletTransform("db4")
    assert WaveletTransform("haar", 1)(torch.ones(1, 2, 2)).sum() == pytest.approx(2)


def test_abstract():
    with pytest.raises(TypeError, match="abstract"):
        LinearOperator(Space((3,)), Space((3,)))
    with pytest.raises(TypeError, match="abstract"):
        Operator(Space((3,)), Space((3,)))


def test_numpy_objects():
    with pytest.raises(ArgumentError, match="must be a tensor or an array of numbers"):
        CumulativeSum()(numpy.array(["a", "b"]))
