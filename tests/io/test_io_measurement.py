"""Measurement and quantise: axes, full scale, and the way to real numbers and back."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from apheleia.core.errors import ArgumentError, ShapeError
from apheleia.io import Measurement, quantise

DTYPES = [np.uint8, np.int8, np.uint16, np.int16, np.uint32, np.int32, np.uint64, np.int64, np.float16, np.float32, np.float64]


@st.composite
def arrays(draw):
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    shape = draw(st.sampled_from([(1, 1), (3, 4), (2, 5, 3), (4, 2, 4), (2, 3, 2, 3)]))
    if dtype.kind in "ui":
        limits = np.iinfo(dtype)
        elements = st.integers(max(limits.min, -(2**53)), min(limits.max, 2**53))
    else:
        largest = {2: 3e4, 4: 1e37, 8: 1e300}[dtype.itemsize]
        smallest = float(np.finfo(dtype).tiny)
        near = st.floats(0, 1, width=8 * dtype.itemsize, allow_subnormal=False)
        far = st.floats(smallest * 2, largest) | st.floats(-largest, -smallest * 2)
        elements = draw(st.sampled_from([near, far | st.just(0.0)])).map(lambda v: float(dtype.type(v)))
    return draw(hnp.arrays(dtype, shape, elements=elements))


@given(arrays())
def test_data_are_real_numbers_times_full_scale(data):
    m = Measurement.from_array(data)
    values = m.as_float()
    assert values.dtype == (np.float32 if data.itemsize <= 2 or data.dtype == np.float32 else np.float64)
    assert not np.shares_memory(values, data)
    back = quantise(values, like=m)
    assert back.data.dtype == data.dtype
    assert (back.axes, back.full_scale, back.metadata) == (m.axes, m.full_scale, m.metadata)
    if data.dtype.kind in "ui" and data.itemsize <= 4:
        assert np.array_equal(back.data, data)
    else:
        tolerance = 4 * (np.finfo(data.dtype).eps if data.dtype.kind == "f" else 2.0**-52)
        scale = np.abs(data).max() if data.dtype.kind in "ui" else np.abs(data)
        # Beside a huge range a tiny value becomes a subnormal number, which has fewer digits.
        fading = m.full_scale * float(np.finfo(values.dtype).smallest_subnormal)
        assert np.all(np.abs(back.data.astype(float) - data.astype(float)) <= tolerance * scale.astype(float) + fading)


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint16, np.int16])
def test_every_integer_of_16_bits_comes_back_exactly(dtype):
    limits = np.iinfo(dtype)
    m = Measurement.from_array(np.arange(limits.min, limits.max + 1).astype(dtype).reshape(16, -1))
    assert np.array_equal(m.as_float() * m.full_scale, m.data)
    assert np.array_equal(quantise(m.as_float(), like=m).data, m.data)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (np.zeros((2, 2), np.uint8), 255.0),
        (np.zeros((2, 2), np.uint16), 65535.0),
        (np.zeros((2, 2), np.int8), 127.0),
        (np.zeros((2, 2), np.int16), 32767.0),
        (np.array([[0, 1200]], np.int32), 1200.0),
        (np.array([[0, 1]], np.int64), 1.0),
        (np.array([[100, 110]], np.uint32), 10.0),
        (np.array([[0.0, 1.0]]), 1.0),
        (np.array([[0.3, 0.3]]), 1.0),
        (np.array([[-1.0, 1.0]]), 2.0),
        (np.array([[5.0, 5.0]]), 5.0),
        (np.array([[-5.0, -5.0]]), 5.0),
        (np.array([[0.0, 1.5]], np.float32), 1.5),
    ],
)
def test_full_scale(data, expected):
    assert Measurement.from_array(data).full_scale == expected


@pytest.mark.parametrize(
    ("shape", "axes", "expected"),
    [
        ((4, 5), None, "YX"),
        ((3, 3), None, "YX"),
        ((4, 5, 3), None, "YXC"),
        ((4, 5, 4), None, "YXC"),
        ((2, 4, 5, 3), None, "ZYXC"),
        ((4, 5, 1), None, "YX"),
        ((2, 6, 5, 1), "ZYX", None),
        ((4, 5, 3), "ZYX", "ZYX"),
        ((7, 5, 6), "ZYX", "ZYX"),
        ((7, 5, 1), "ZYX", "ZYX"),
    ],
)
def test_axes(shape, axes, expected):
    if expected is None:
        with pytest.raises(ShapeError, match="axes ZYX need 3 dimensions"):
            Measurement.from_array(np.zeros(shape), axes)
        return
    m = Measurement.from_array(np.zeros(shape), axes)
    assert m.axes == expected
    assert m.data.ndim == len(expected)


@pytest.mark.parametrize(
    ("shape", "match"),
    [
        ((64, 64, 5), r"shape \(64, 64, 5\) is neither .* keep 1, 3 or 4 channels on the last axis, or pass axes=\"ZYX\""),
        ((64, 64, 2), "keep 1, 3 or 4 channels"),
        ((3, 64, 64), r"move the channels last with data.transpose\(1, 2, 0\)"),
        ((7,), "save one image or one stack"),
        ((), "save one image or one stack"),
        ((2, 2, 2, 2, 3), "save one image or one stack"),
        ((2, 3, 4, 5), "save one image or one stack"),
        ((0, 5), "at least one pixel"),
    ],
)
def test_axes_that_cannot_be_told(shape, match):
    with pytest.raises(ShapeError, match=match):
        Measurement.from_array(np.zeros(shape))


def test_nan_counts_and_first_place():
    data = np.zeros((3, 4), np.float32)
    data[1, 2], data[2, 0] = np.nan, -np.inf
    with pytest.raises(ArgumentError, match=r"2 of 12 values are NaN or infinite, the first at \(1, 2\): fill or crop"):
        Measurement.from_array(data)


def test_values_that_cannot_be_scaled():
    with pytest.raises(ArgumentError, match="overflows float64: scale the values down"):
        Measurement.from_array(np.array([[-1.7e308, 1.7e308]]))
    with pytest.raises(ArgumentError, match=r"exceed 2\*\*53"):
        Measurement.from_array(np.array([[2**53 + 1]]))
    with pytest.raises(ArgumentError, match=r"exceed 2\*\*53"):
        Measurement.from_array(np.array([[-(2**60)]]))


@pytest.mark.parametrize("dtype", [complex, object, "U3", np.longdouble])
def test_types_that_are_refused(dtype):
    with pytest.raises(ArgumentError, match="real numbers of at most 64 bits"):
        Measurement.from_array(np.zeros((2, 2), dtype=dtype))


def test_bool_and_byte_order():
    assert Measurement.from_array(np.array([[True, False]])).data.tolist() == [[255, 0]]
    m = Measurement.from_array(np.arange(6, dtype=">u2").reshape(2, 3).T)
    assert m.data.dtype.isnative
    assert m.data.flags.c_contiguous
    assert m.data.tolist() == [[0, 3], [1, 4], [2, 5]]


def test_parts_that_disagree():
    data = np.zeros((4, 5), np.uint8)
    with pytest.raises(ArgumentError, match="`axes` to be one of YX, YXC, ZYX, ZYXC; got 'XY'"):
        Measurement(data, "XY", 255.0)
    with pytest.raises(ShapeError, match="axes YXC need 3 dimensions"):
        Measurement(data, "YXC", 255.0)
    with pytest.raises(ShapeError, match="needs 3 or 4 channels"):
        Measurement(data[None], "YXC", 255.0)
    for scale in (0.0, -1.0, np.inf, np.nan):
        with pytest.raises(ArgumentError, match="positive, finite `full_scale`"):
            Measurement(data, "YX", scale)
    for alpha in (data[:3], data.astype(np.uint16)):
        with pytest.raises(ShapeError, match=r"metadata\['alpha'\] is .* crop or resize it with the data"):
            Measurement(data, "YX", 255.0, {"alpha": alpha})


def test_repr():
    m = Measurement.from_array(np.zeros((480, 640, 3), np.uint16), metadata={"text": {}, "dpi": (72, 72)})
    assert repr(m) == "Measurement(uint16, YXC 480x640x3, full scale 65535, metadata: dpi, text)"


def test_quantise_clips_and_rounds():
    m = Measurement.from_array(np.zeros((1, 4), np.uint16), metadata={"dpi": (1.0, 1.0)})
    assert quantise(np.array([[-1.0, 0.5, 1.0, 7.0]]), like=m).data.tolist() == [[0, 32768, 65535, 65535]]
    signed = Measurement.from_array(np.zeros((1, 2), np.int8))
    assert quantise(np.array([[-9.0, 9.0]]), like=signed).data.tolist() == [[-128, 127]]
    wide = Measurement.from_array(np.array([[0, 2**53]]))
    assert quantise(np.array([[-9e9, 9e9]]), like=wide).data.tolist() == [[-(2**53), 2**53]]


def test_quantise_may_change_the_size_but_not_the_alpha():
    m = Measurement.from_array(np.zeros((2, 2), np.uint8))
    assert quantise(np.zeros((4, 4)), like=m).data.shape == (4, 4)
    opaque = Measurement.from_array(np.zeros((2, 2), np.uint8), metadata={"alpha": np.zeros((2, 2), np.uint8)})
    with pytest.raises(ShapeError, match=r"metadata\['alpha'\]"):
        quantise(np.zeros((4, 4)), like=opaque)


def test_quantise_refuses():
    m = Measurement.from_array(np.zeros((2, 2), np.uint8))
    with pytest.raises(ShapeError, match="axes YX need 2 dimensions; values have shape"):
        quantise(np.zeros((2, 2, 3)), like=m)
    with pytest.raises(ArgumentError, match="quantise needs finite values"):
        quantise(np.full((2, 2), np.nan), like=m)
    half = Measurement.from_array(np.ones((2, 2), np.float16))
    with pytest.raises(ArgumentError, match="values up to 70000 overflow float16"):
        quantise(np.full((2, 2), 7e4), like=half)
