"""Spaces, errors, and the border between numpy and torch."""

import numpy
import pytest
import torch
from case_types import randn

from apheleia.core import (
    IMAGE,
    VECTOR,
    ApheleiaError,
    ArgumentError,
    CapabilityError,
    CheckError,
    FileError,
    MissingExtraError,
    NotConverged,
    ShapeError,
    Space,
)
from apheleia.core.interop import accepts_numpy, as_tensor
from apheleia.core.space import as_wide, batch_shape, expand_batch, per_sample

COMPLEX = Space((None,), is_complex=True)


@pytest.mark.parametrize("sizes", [(0,), (3, -1), (None, 0)])
def test_sizes_are_at_least_one(sizes):
    with pytest.raises(ArgumentError, match="Space: sizes must be whole numbers of at least 1, or None for any; got"):
        Space(sizes)


def test_what_a_space_knows_of_itself():
    space = Space([2, None, 4])
    assert (space.shape, space.rank, space.is_fixed, space.axes) == ((2, None, 4), 3, False, (-3, -2, -1))
    assert Space((2, 3)).is_fixed
    assert space == Space((2, None, 4))
    assert hash(space) == hash(Space((2, None, 4)))


@pytest.mark.parametrize(
    ("shape", "fits"),
    [((2, 3), True), ((2, 7), True), ((2, None), True), ((None, 3), True), ((3, 3), False), ((2,), False), ((2, 0), False)],
)
def test_accepts(shape, fits):
    assert Space((2, None)).accepts(shape) is fits


def test_text():
    assert str(IMAGE) == "channel, height, width"
    assert str(Space((1, None, 4), True)) == "1, height, 4 complex"
    assert str(Space((None, 3))) == "n, 3"


@pytest.mark.parametrize("batch", [(), (2,), (2, 3)])
def test_check_returns_what_fits(batch):
    x = torch.ones(*batch, 1, 4, 5)
    assert IMAGE.check(x, "who", "x") is x
    assert IMAGE.batch_shape(x) == batch


@pytest.mark.parametrize(
    ("space", "x", "sentence"),
    [
        (IMAGE, [1.0], r"who: `x` must be a tensor or an ndarray; got list\."),
        (IMAGE, torch.ones(4), r"must have at least 3 axes, shape \(\*batch, channel, height, width\); got \(4,\)\.$"),
        (IMAGE, torch.ones(4, 5), r"got \(4, 5\)\. Add a channel axis: x\[None\] makes \(1, height, width\)\."),
        (Space((1, None, None)), torch.ones(3, 4, 5), r"must have shape \(\*batch, 1, height, width\); got \(3, 4, 5\)"),
        (IMAGE, torch.ones(1, 0, 5), r"must have shape .*; got \(1, 0, 5\)"),
        (VECTOR, torch.ones(3, dtype=torch.uint8), r"must hold floating-point numbers; got torch.uint8\. Convert it"),
        (VECTOR, torch.ones(3, dtype=torch.bool), "must hold floating-point numbers; got torch.bool"),
        (VECTOR, torch.ones(3, dtype=torch.complex64), r"must be real; got torch.complex64\. Take its real part"),
    ],
)
def test_check_refuses(space, x, sentence):
    with pytest.raises(ShapeError, match=sentence):
        space.check(x, "who", "x")


def test_a_complex_space_takes_real_signals_as_complex_ones():
    assert COMPLEX.check(torch.ones(3), "who", "x").dtype == torch.complex64
    assert COMPLEX.check(torch.ones(3, dtype=torch.float64), "who", "x").dtype == torch.complex128


def test_inner_is_real_and_per_sample():
    x, y = randn(2, 3, dtype=torch.complex128), randn(2, 3, seed=1, dtype=torch.complex128)
    expected = (x * y.conj()).sum(-1).real
    torch.testing.assert_close(COMPLEX.inner(x, y), expected)
    torch.testing.assert_close(COMPLEX.inner(x, y.real), (x.real * y.real).sum(-1))
    torch.testing.assert_close(COMPLEX.inner(x.real, y), (x.real * y.real).sum(-1))
    torch.testing.assert_close(VECTOR.inner(x.real, y.real), (x.real * y.real).sum(-1))


def test_norm_is_the_root_of_inner():
    x = randn(2, 3, dtype=torch.complex128)
    torch.testing.assert_close(COMPLEX.norm(x) ** 2, COMPLEX.inner(x, x))
    assert Space(()).norm(torch.tensor(-2.0)) == 2
    assert Space(()).inner(torch.tensor(-2.0), torch.tensor(3.0)) == -6


def test_randn_draws_from_the_generator_alone():
    space, before = Space((2, 3)), torch.get_rng_state()
    first = space.randn((4,), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    second = space.randn((4,), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    assert torch.equal(first, second)
    assert (first.shape, first.dtype) == ((4, 2, 3), torch.float64)
    assert torch.equal(before, torch.get_rng_state())


def test_randn_defaults():
    generator = torch.Generator().manual_seed(1)
    assert Space((2,)).randn(generator=generator).dtype == torch.get_default_dtype()
    assert Space((2,), True).randn(generator=generator).dtype == torch.complex64
    assert Space((2,), True).randn(generator=generator, dtype=torch.float64, device="cpu").dtype == torch.complex128


def test_randn_needs_sizes():
    with pytest.raises(ArgumentError, match=r"Space.randn needs fixed sizes; this space is \(channel, height, width\)"):
        IMAGE.randn()


# batches


def test_per_sample_never_promotes():
    x = torch.ones(2, 1, 3, 3)
    assert per_sample(2.0, x, 3) == 2.0
    wide = per_sample(torch.tensor([1.0, 2.0], dtype=torch.float64), x, 3)
    assert isinstance(wide, torch.Tensor)
    assert (wide.shape, wide.dtype) == ((2, 1, 1, 1), torch.float32)
    scalar = per_sample(torch.tensor(2.0, dtype=torch.float64), x, 3)
    assert (scalar * x).dtype == torch.float32
    assert as_wide(torch.tensor(2.0, dtype=torch.float64), x.to(torch.complex64), 3).dtype == torch.float32


def test_batch_shapes_broadcast():
    assert batch_shape((3,), (), (2, 1), who="who") == (2, 3)
    with pytest.raises(ShapeError, match=r"who: batch shapes \(3,\), \(2,\) do not broadcast\. Give every part one batch shape"):
        batch_shape((3,), (2,), who="who")


def test_expand_batch_is_a_view():
    x = torch.ones(1, 4, 4)
    assert expand_batch(x, (5, 2), 3).shape == (5, 2, 1, 4, 4)
    assert expand_batch(x, (5,), 3).data_ptr() == x.data_ptr()


# numpy


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "complex64", "int32", "uint8", "bool", ">f8", ">i2"])
def test_as_tensor_takes_arrays_of_numbers(dtype):
    array = numpy.arange(4).astype(dtype)
    assert as_tensor(array, "who", "x").tolist() == array.tolist()


def test_as_tensor_shares_memory_where_it_is_safe():
    array = numpy.ones(3)
    as_tensor(array, "who", "x")[0] = 5
    assert array[0] == 5


@pytest.mark.parametrize("spoil", [lambda a: a[::-1], lambda a: a[:, ::-1], numpy.flipud])
def test_as_tensor_copies_mirrored_arrays(spoil):
    array = spoil(numpy.arange(6.0).reshape(2, 3))
    assert as_tensor(array, "who", "x").tolist() == array.tolist()


def test_as_tensor_copies_read_only_arrays():
    array = numpy.ones(3)
    array.flags.writeable = False
    as_tensor(array, "who", "x")[0] = 5
    assert array[0] == 1


def test_as_tensor_copies_a_field_of_records():
    records = numpy.array([(1, 2.0), (3, 4.0)], dtype=[("flag", "i1"), ("value", "f8")])
    assert as_tensor(records["value"], "who", "x").tolist() == [2, 4]


@pytest.mark.parametrize(
    ("value", "dtype"),
    [(2, torch.float64), (2.5, torch.float64), (True, torch.float64), (1j, torch.complex128), ([1.0, 2.0], torch.float64)],
)
def test_as_tensor_takes_python_numbers(value, dtype):
    assert as_tensor(value, "who", "x").dtype == dtype


def test_as_tensor_takes_numpy_numbers_and_leaves_tensors_alone():
    assert as_tensor(numpy.float32(2), "who", "x").dtype == torch.float32
    x = torch.ones(3)
    assert as_tensor(x, "who", "x") is x


@pytest.mark.parametrize(
    "value", ["a", None, {}, numpy.array(["a"]), numpy.array([None]), ["a"], [[1.0], [1.0, 2.0]], numpy.longdouble(1)]
)
def test_as_tensor_refuses_what_is_no_number(value):
    with pytest.raises(ArgumentError, match="who: `x` must be a tensor or an array of numbers; got"):
        as_tensor(value, "who", "x")


class Pair:
    @accepts_numpy
    def both(self, x, *, factor=1.0):
        """Return x and factor * x."""
        return x, factor * x

    @accepts_numpy
    def count(self, x):
        return x.numel()


def test_accepts_numpy_gives_back_what_it_was_given():
    array, tensor = numpy.ones(3, dtype=numpy.float32), torch.ones(3)
    assert all(isinstance(item, numpy.ndarray) and item.dtype == numpy.float32 for item in Pair().both(array))
    assert all(isinstance(item, torch.Tensor) for item in Pair().both(tensor))
    assert isinstance(Pair().both(tensor, factor=numpy.array(2.0))[1], numpy.ndarray)
    assert Pair().count(array) == 3
    assert Pair.both.__doc__ == "Return x and factor * x."


def test_accepts_numpy_leaves_gradients_behind():
    x = torch.ones(3, requires_grad=True)
    assert Pair().both(x, factor=numpy.array(2.0))[1].tolist() == [2, 2, 2]
    assert Pair().both(torch.ones(2, dtype=torch.complex64).conj(), factor=numpy.array(1.0))[0].dtype == numpy.complex64


# errors


@pytest.mark.parametrize(
    ("error", "base"),
    [
        (ArgumentError, ValueError),
        (ShapeError, ArgumentError),
        (CapabilityError, TypeError),
        (CheckError, AssertionError),
        (FileError, OSError),
        (MissingExtraError, ImportError),
        (NotConverged, RuntimeError),
    ],
)
def test_errors_are_ours_and_of_the_usual_kind(error, base):
    assert issubclass(error, ApheleiaError)
    assert issubclass(error, base)


def test_missing_extra_names_the_command():
    error = MissingExtraError("The command line", "tyro", "app")
    assert str(error) == 'The command line needs tyro, which is not installed. Run: pip install "apheleia[app]"'


def test_file_error_is_its_sentence():
    assert str(FileError("a.png is empty")) == "a.png is empty"
    assert str(FileError()) == ""
