"""What each family of operators is, against independent programs."""

import numpy
import pytest
import pywt
import scipy.ndimage
import torch
from case_types import randn
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from apheleia.core import Space
from apheleia.operators import (
    Convolution,
    Crop,
    Decimation,
    Diagonal,
    FiniteDifferences,
    FourierFilter,
    Identity,
    Matrix,
    WaveletTransform,
    check_adjoint,
    check_linear,
    conjugate_gradient,
)
from apheleia.operators.boundary import extend, fold
from apheleia.operators.wavelet import scaling_filter

MODES = {"circular": "wrap", "zero": "constant", "reflect": "reflect", "replicate": "nearest"}
boundaries = pytest.mark.parametrize("boundary", MODES)
sizes = st.integers(1, 7)


# convolution


@boundaries
@pytest.mark.parametrize("kernel", [(1, 1), (3, 3), (2, 4), (5, 2), (1, 3)])
def test_convolution_against_scipy(boundary, kernel):
    k, x = randn(*kernel, seed=1).numpy(), randn(6, 7).numpy()
    expected = scipy.ndimage.convolve(x, k, mode=MODES[boundary])
    numpy.testing.assert_allclose(Convolution(k, boundary)(x[None])[0], expected, atol=1e-12)


@given(
    boundary=st.sampled_from(list(MODES)),
    size=st.tuples(sizes, sizes),
    kernel=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    seed=st.integers(0, 1000),
)
def test_convolution_of_any_size(boundary, size, kernel, dtype, seed):
    A = Convolution(randn(*kernel, seed=seed), boundary)
    tol = 1e-12 if dtype == torch.float64 else 1e-5
    check_adjoint(A, (1, *size), dtype=dtype, tol=tol)
    check_linear(A, (1, *size), dtype=dtype, tol=10 * tol)


@given(
    boundary=st.sampled_from(list(MODES)),
    size=st.tuples(sizes, sizes),
    kernel=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    seed=st.integers(0, 1000),
)
def test_convolution_of_any_size_against_its_definition(boundary, size, kernel, seed):
    """(k * x)[n] = sum_m k[m] x[n - m + c] with c = k // 2, pixel by pixel on the extended image."""
    k, x = randn(*kernel, seed=seed), randn(1, *size, seed=seed + 1)
    wide = extend(x, kernel, kernel, boundary)[0]
    expected = torch.zeros(size, dtype=torch.float64)
    for i in range(kernel[0]):
        for j in range(kernel[1]):
            row, column = kernel[0] - i + kernel[0] // 2, kernel[1] - j + kernel[1] // 2
            expected += k[i, j] * wide[row : row + size[0], column : column + size[1]]
    torch.testing.assert_close(Convolution(k, boundary)(x)[0], expected, rtol=1e-10, atol=1e-11)


@given(
    boundary=st.sampled_from(list(MODES)),
    size=st.tuples(sizes, sizes),
    before=st.tuples(st.integers(0, 9), st.integers(0, 9)),
    after=st.tuples(st.integers(0, 9), st.integers(0, 9)),
)
def test_fold_is_the_transpose_of_extend(boundary, size, before, after):
    x = randn(2, *size)
    wide = extend(x, before, after, boundary)
    y = randn(*wide.shape, seed=1)
    torch.testing.assert_close((wide * y).sum(), (x * fold(y, before, after, boundary)).sum())


@pytest.mark.parametrize(("boundary", "mode"), [("reflect", "symmetric"), ("replicate", "edge"), ("circular", "wrap")])
def test_extend_against_numpy(boundary, mode):
    x = randn(3, 4).numpy()
    expected = numpy.pad(x, ((7, 5), (2, 9)), mode=mode)
    numpy.testing.assert_array_equal(extend(torch.from_numpy(x), (7, 2), (5, 9), boundary).numpy(), expected)


@boundaries
def test_a_delta_is_the_identity(boundary):
    delta = torch.zeros(3, 5, dtype=torch.float64)
    delta[1, 2] = 1
    x = randn(2, 4, 4)
    torch.testing.assert_close(Convolution(delta, boundary)(x), x)


@pytest.mark.parametrize("boundary", ["circular", "reflect", "replicate"])
def test_a_normalised_blur_keeps_a_flat_image(boundary):
    x = torch.full((1, 5, 6), 3.0)
    torch.testing.assert_close(Convolution(torch.ones(3, 3) / 9, boundary)(x), x)


@boundaries
def test_one_kernel_an_image(boundary):
    kernels, x = randn(4, 1, 3, 3), randn(4, 2, 5, 5)
    separate = torch.stack([Convolution(kernels[i], boundary)(x[i]) for i in range(4)])
    torch.testing.assert_close(Convolution(kernels, boundary)(x), separate)


def test_one_kernel_a_channel():
    kernels, x = randn(3, 3, 3), randn(3, 5, 5)
    separate = torch.cat([Convolution(kernels[i], "zero")(x[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(Convolution(kernels, "zero")(x), separate)


def test_integer_kernels_become_floating():
    assert Convolution(torch.ones(3, 3, dtype=torch.int64)).kernel.dtype == torch.float64
    assert Matrix(torch.ones(2, 2, dtype=torch.int64)).matrix.dtype == torch.float64
    assert Diagonal(torch.ones(1, 2, 2, dtype=torch.bool)).diagonal.dtype == torch.float64


def test_a_filter_with_negative_values_has_no_shifted_inverse():
    transfer = torch.fft.rfft2(randn(1, 4, 4)).abs()
    space = Space((1, 4, 4))
    assert FourierFilter(transfer, space).has_shifted_solve
    assert not FourierFilter(-transfer, space).has_shifted_solve
    assert not FourierFilter(torch.fft.rfft2(randn(1, 4, 4)), space).has_shifted_solve


# wavelets


@pytest.mark.parametrize("wavelet", ["haar", "db2", "db10", "db38", "sym2", "sym20", "coif1", "coif17"])
def test_wavelets_are_orthonormal(wavelet):
    W, x = WaveletTransform(wavelet, 2), randn(1, 8, 12)
    torch.testing.assert_close(W.adjoint(W(x)), x, rtol=0, atol=1e-9)
    torch.testing.assert_close(W(x).norm(), x.norm(), rtol=1e-10, atol=0)


@pytest.mark.parametrize("wavelet", ["haar", "db3", "db4", "sym4", "coif1"])
def test_wavelets_against_pywavelets(wavelet):
    x = randn(16, 32).numpy()
    approximation, details = pywt.dwt2(x, wavelet, mode="periodization")
    # PyWavelets centres its filters: it starts half a filter earlier
    shift = pywt.Wavelet(wavelet).dec_len // 2 - 1
    bands = WaveletTransform(wavelet, 1)(numpy.roll(x, (shift, shift), (0, 1))[None])[0]
    ours = [bands[:8, :16], bands[8:, :16], bands[:8, 16:], bands[8:, 16:]]
    for band, expected in zip(ours, [approximation, *details], strict=True):
        numpy.testing.assert_allclose(band, expected, atol=1e-10)


@pytest.mark.parametrize("wavelet", ["db2", "db4"])
def test_wavelets_have_vanishing_moments(wavelet):
    ramp = torch.arange(32, dtype=torch.float64).expand(1, 4, 32)
    details = WaveletTransform(wavelet, 1)(ramp)[0, :2, 16:]
    # away from the periodic jump at the end a ramp has no details
    assert details[:, :-4].abs().max() < 1e-10


def test_wavelets_put_the_mean_in_the_corner():
    coefficients = WaveletTransform("haar", 3)(torch.ones(1, 8, 8, dtype=torch.float64))
    assert coefficients[0, 0, 0] == pytest.approx(8)
    assert coefficients.abs().sum() == pytest.approx(8)


def test_scaling_filter():
    for wavelet in ("haar", "db4", "sym5"):
        taps = torch.tensor(scaling_filter(wavelet), dtype=torch.float64)
        assert taps.norm() == pytest.approx(1)
        assert taps.sum() == pytest.approx(2**0.5)


@given(
    wavelet=st.sampled_from(["haar", "db2", "db5", "coif1"]),
    levels=st.integers(1, 3),
    tiles=st.tuples(st.integers(1, 3), st.integers(1, 3)),
)
def test_wavelets_of_any_size(wavelet, levels, tiles):
    W = WaveletTransform(wavelet, levels)
    shape = (1, tiles[0] * 2**levels, tiles[1] * 2**levels)
    check_adjoint(W, shape)
    x = randn(*shape)
    torch.testing.assert_close(W.adjoint(W(x)), x, rtol=1e-10, atol=1e-10)


# the others


@given(size=st.tuples(sizes, sizes), channels=st.integers(1, 3), dtype=st.sampled_from([torch.float32, torch.float64]))
def test_differences_of_any_size(size, channels, dtype):
    check_adjoint(FiniteDifferences(), (channels, *size), dtype=dtype, tol=1e-12 if dtype == torch.float64 else 1e-5)
    x = randn(channels, *size).numpy()
    vertical, horizontal = FiniteDifferences()(x)
    numpy.testing.assert_array_equal(vertical, numpy.diff(x, axis=1, append=x[:, -1:]))
    numpy.testing.assert_array_equal(horizontal, numpy.diff(x, axis=2, append=x[:, :, -1:]))


@given(factor=st.integers(1, 4), size=st.tuples(sizes, sizes))
def test_decimation_of_any_size(factor, size):
    A = Decimation(factor, Space((1, *size)))
    check_adjoint(A)
    x = randn(1, *size)
    assert torch.equal(A(x), x[:, ::factor, ::factor])


def test_decimation_of_free_sizes_takes_data_to_come_from_multiples():
    assert Decimation(3).adjoint(torch.ones(1, 2, 2)).shape == (1, 6, 6)
    assert Decimation(3).output_shape((1, 4, 7)) == (1, 2, 3)


def test_crop_keeps_the_upper_left():
    x = randn(1, 4, 5)
    assert torch.equal(Crop((1, 4, 5), (2, 3))(x), x[:, :2, :3])


def test_mask_keeps_what_it_marks():
    mask = torch.tensor([[[True, False], [False, True]]])
    assert torch.equal(Diagonal(mask)(torch.ones(1, 2, 2)), mask.float())


def test_diagonal_of_one_channel_leaves_the_others_free():
    gains = Diagonal(torch.tensor([1.0, 2.0])[:, None, None])
    assert gains.domain.shape == (2, None, None)


# parameters learn


@pytest.mark.parametrize(
    ("make", "value", "shape"),
    [
        (lambda k: Convolution(k, "reflect"), randn(3, 2), (1, 4, 4)),
        (lambda k: Convolution(k, "circular"), randn(2, 3, 3), (2, 4, 4)),
        (lambda k: Convolution(k, "zero"), randn(2, 1, 3, 3), (1, 3, 4)),
        (Diagonal, randn(1, 3, 3), (1, 3, 3)),
        (lambda d: Diagonal(d, Space((None,), True)), randn(3, dtype=torch.complex128), (3,)),
        (Matrix, randn(3, 2), (2,)),
        (Matrix, randn(3, 2, dtype=torch.complex128), (2,)),
        (lambda c: c * Identity(), randn(2), (1, 2, 2)),
        (lambda c: c * Identity(Space((None,), True)), torch.tensor(1 - 2j, dtype=torch.complex128), (3,)),
        (lambda t: FourierFilter(t, Space((1, 3, 3))), torch.fft.rfft2(randn(1, 3, 3)), (1, 3, 3)),
    ],
)
def test_parameters_get_gradients(make, value, shape):
    parameter = nn.Parameter(value)
    A = make(parameter)
    assert [p is parameter for p in A.parameters()] == [True]
    x = randn(2, *shape, dtype=torch.complex128 if A.domain.is_complex else torch.float64)
    function = lambda value: torch.func.functional_call(A, {next(iter(A.state_dict())): value}, x)  # noqa: E731
    assert torch.autograd.gradcheck(function, (parameter,), fast_mode=True)
    A.adjoint(A(x)).abs().square().sum().backward()
    assert parameter.grad is not None
    assert parameter.grad.abs().sum() > 0


def test_parameters_get_gradients_through_the_prepared_gram():
    kernel = nn.Parameter(randn(3, 3))
    gram = Convolution(kernel, "circular").prepared((1, 4, 4), torch.float64).gram
    gram.shifted_solve(randn(1, 4, 4), torch.tensor(0.5)).sum().backward()
    assert kernel.grad is not None
    assert kernel.grad.abs().sum() > 0


# conjugate gradients


def test_conjugate_gradient_solves_a_batch():
    root = randn(3, 5, 5)
    matrix = root @ root.mT + torch.eye(5)
    rhs = randn(3, 5, seed=1)
    x, residual = conjugate_gradient(Matrix(matrix), rhs, Space((5,)), tol=1e-12)
    torch.testing.assert_close(x, torch.linalg.solve(matrix, rhs))
    assert (residual <= 1e-12).all()


def test_conjugate_gradient_needs_as_many_steps_as_unknowns():
    d, rhs = torch.linspace(1, 2, 6, dtype=torch.float64), randn(6)
    _, almost = conjugate_gradient(lambda x: d * x, rhs, Space((6,)), tol=0.0, max_steps=5)
    x, _ = conjugate_gradient(lambda x: d * x, rhs, Space((6,)), tol=0.0, max_steps=6)
    assert almost > 1e-8
    torch.testing.assert_close(x, rhs / d, rtol=1e-12, atol=1e-12)


def test_conjugate_gradient_of_complex_signals():
    root = randn(4, 4, dtype=torch.complex128)
    matrix = root @ root.mH + torch.eye(4)
    rhs = randn(4, seed=1, dtype=torch.complex128)
    x, _ = conjugate_gradient(Matrix(matrix), rhs, Space((4,), True), tol=1e-12)
    torch.testing.assert_close(x, torch.linalg.solve(matrix, rhs))


def test_conjugate_gradient_has_one_tolerance_an_image():
    d = torch.linspace(1, 100, 20, dtype=torch.float64)
    rhs = torch.ones(2, 20, dtype=torch.float64)
    tol = torch.tensor([1e-1, 1e-10], dtype=torch.float64)
    x, residual = conjugate_gradient(lambda x: d * x, rhs, Space((20,)), tol=tol)
    true = (rhs - d * x).norm(dim=-1) / rhs.norm(dim=-1)
    assert (true <= tol * 1.01).all()
    assert true[0] > 1e-6
    torch.testing.assert_close(residual, true, rtol=1e-3, atol=1e-14)


def test_conjugate_gradient_solves_each_image_as_if_alone():
    d, rhs = torch.linspace(1, 9, 6, dtype=torch.float64), randn(3, 6)
    together, _ = conjugate_gradient(lambda x: d * x, rhs, Space((6,)), tol=1e-3)
    for i in range(3):
        assert torch.equal(together[i], conjugate_gradient(lambda x: d * x, rhs[i], Space((6,)), tol=1e-3)[0])


def test_conjugate_gradient_of_zero_and_from_the_solution():
    rhs = torch.zeros(4)
    x, residual = conjugate_gradient(lambda x: 2 * x, rhs, Space((4,)))
    assert x.abs().sum() == 0
    assert residual == 0
    x, residual = conjugate_gradient(lambda x: 2 * x, torch.ones(4), Space((4,)), x0=torch.full((4,), 0.5), max_steps=0)
    assert residual == 0


def test_conjugate_gradient_stops_at_its_steps():
    d = torch.linspace(1, 1e6, 50, dtype=torch.float64)
    _, residual = conjugate_gradient(lambda x: d * x, torch.ones(50, dtype=torch.float64), Space((50,)), max_steps=3)
    assert residual > 1e-6


def test_conjugate_gradient_can_be_differentiated():
    rhs = torch.stack([torch.zeros(3), torch.ones(3)]).double().requires_grad_()
    x, _ = conjugate_gradient(lambda x: 2 * x, rhs, Space((3,)), tol=1e-12)
    (gradient,) = torch.autograd.grad(x.sum(), rhs)
    assert gradient.isfinite().all()
    torch.testing.assert_close(gradient[1], torch.full((3,), 0.5, dtype=torch.float64))
