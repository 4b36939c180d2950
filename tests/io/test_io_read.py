"""Reading: every depth and layout stays what it was, every damaged file is refused by a sentence."""

import contextlib
import struct
import subprocess
import sys
import zlib

import io_files
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from apheleia.core.errors import FileError, MissingExtraError
from apheleia.io import read

tifffile = pytest.importorskip("tifffile")
Image = pytest.importorskip("PIL.Image")
ImageOps = pytest.importorskip("PIL.ImageOps")

rng = np.random.default_rng(3)
inside_a_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40)


def put(folder, content, name="image.bin"):
    path = folder / name
    path.write_bytes(content)
    return path


def refused(path, match, **options):
    with pytest.raises(FileError, match=match) as caught:
        read(path, **options)
    assert str(path) in str(caught.value)


def noise(shape, dtype):
    if np.dtype(dtype).kind == "f":
        return rng.random(shape).astype(dtype)
    limits = np.iinfo(dtype)
    return rng.integers(limits.min, limits.max, shape, dtype, endpoint=True)


def test_import_is_lazy():
    code = "import sys, apheleia.io; print([m for m in ('PIL', 'tifffile', 'imageio') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("name", "package"), [("a.png", "pillow"), ("a.jpg", "pillow"), ("a.tif", "tifffile"), ("b.tif", "pillow")]
)
def test_missing_extra(tmp_path, monkeypatch, name, package):
    image = Image.fromarray(noise((8, 9), np.uint8))
    image.save(tmp_path / name, **({"compression": "tiff_lzw"} if name == "b.tif" else {}))
    for module in list(sys.modules):
        if module.split(".")[0] in ("PIL", "tifffile"):
            monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, {"pillow": "PIL"}.get(package, package), None)
    with pytest.raises(MissingExtraError, match=rf'io.read needs {package}.*pip install "apheleia\[app\]"'):
        read(tmp_path / name)


# PNG


@given(
    samples=hnp.arrays(
        st.sampled_from([np.uint8, np.uint16]),
        st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 4)),
    ),
    kinds=st.lists(st.integers(0, 4), min_size=1, max_size=5),
    interlace=st.integers(0, 1),
)
@inside_a_folder
def test_png_of_every_layout(tmp_path, samples, kinds, interlace):
    m = read(put(tmp_path, io_files.png_of(samples, kinds, interlace)))
    colours = samples.shape[-1] - (samples.shape[-1] % 2 == 0)
    expected = samples[..., :colours]
    assert m.data.dtype == samples.dtype
    assert np.array_equal(m.data, expected if colours == 3 else expected[..., 0])
    assert m.axes == ("YXC" if colours == 3 else "YX")
    assert m.full_scale == np.iinfo(samples.dtype).max
    assert m.data.flags.c_contiguous
    if colours < samples.shape[-1]:
        assert np.array_equal(m.metadata["alpha"], samples[..., -1])
    else:
        assert m.metadata == {}


def test_png_16_bit_colour_is_what_pillow_reduces(tmp_path):
    samples = noise((6, 7, 3), np.uint16)
    path = put(tmp_path, io_files.png_of(samples, (0, 1, 2, 3, 4)), "deep.png")
    assert np.asarray(Image.open(path)).dtype == np.uint8
    assert np.array_equal(read(path).data, samples)


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_png_of_few_bits(tmp_path, depth):
    # One row of eight pixels 0, 1, ... modulo 2**depth, packed.
    values = np.arange(8) % 2**depth
    bits = "".join(f"{v:0{depth}b}" for v in values)
    raw = b"\0" + int(bits, 2).to_bytes(depth, "big")
    m = read(put(tmp_path, io_files.png(8, 1, depth, 0, raw)))
    assert m.data.dtype == np.uint8
    assert m.data.tolist() == [(values * (255 // (2**depth - 1))).tolist()]
    key = io_files.png_chunk(b"tRNS", struct.pack(">H", 1))
    alpha = read(put(tmp_path, io_files.png(8, 1, depth, 0, raw, key))).metadata["alpha"]
    assert alpha.tolist() == [np.where(values == 1, 0, 255).tolist()]


def test_png_palette(tmp_path):
    palette = io_files.png_chunk(b"PLTE", bytes([255, 0, 0, 0, 255, 0, 1, 2, 3]))
    raw = b"\0\0\1\2"
    m = read(put(tmp_path, io_files.png(3, 1, 8, 3, raw, palette)))
    assert (m.axes, m.data.tolist()) == ("YXC", [[[255, 0, 0], [0, 255, 0], [1, 2, 3]]])
    assert m.metadata == {}
    m = read(put(tmp_path, io_files.png(3, 1, 8, 3, raw, palette, io_files.png_chunk(b"tRNS", bytes([0, 7])))))
    assert m.metadata["alpha"].tolist() == [[0, 7, 255]]


def test_png_one_transparent_colour(tmp_path):
    samples = np.array([[[1, 2, 3], [1, 2, 4]]], np.uint16)
    key = io_files.png_chunk(b"tRNS", struct.pack(">HHH", 1, 2, 3))
    m = read(put(tmp_path, io_files.png_of(samples, (0,), 0, key)))
    assert np.array_equal(m.data, samples)
    assert m.metadata["alpha"].tolist() == [[0, 65535]]


def test_png_metadata(tmp_path):
    chunks = [
        io_files.png_chunk(b"gAMA", struct.pack(">I", 45455)),
        io_files.png_chunk(b"sRGB", b"\x01"),
        io_files.png_chunk(b"pHYs", struct.pack(">IIB", 10000, 20000, 1)),
        io_files.png_chunk(b"tEXt", b"Author\0Ren\xe9"),
        io_files.png_chunk(b"tEXt", b"Description\0a cell"),
        io_files.png_chunk(b"iTXt", b"Title\0\0\0en\0\0" + "細胞".encode()),
        io_files.png_chunk(b"zTXt", b"Long\0\0" + zlib.compress(b"x" * 500)),
        io_files.png_chunk(b"eXIf", b"II*\0 not really"),
    ]
    m = read(put(tmp_path, io_files.png_of(noise((4, 4, 1), np.uint8), (0,), 0, *chunks)))
    assert m.metadata == {
        "gamma": 0.45455,
        "srgb": 1,
        "dpi": (254.0, 508.0),
        "text": {"Author": "René", "Title": "細胞", "Long": "x" * 500},
        "description": "a cell",
        "exif": b"II*\0 not really",
    }


def test_png_cut_or_corrupt_pixels(tmp_path):
    refused(put(tmp_path, io_files.png(4, 4, 8, 0, bytes(19))), "is truncated: its pixels need 20 bytes, the file holds 19")
    content = bytearray(io_files.png_of(noise((8, 8, 3), np.uint16)))
    content[-30] ^= 1
    refused(put(tmp_path, bytes(content)), "corrupt: the checksum of its pixels is wrong")
    bad = io_files.png_chunk(b"IDAT", b"not deflate")
    header = io_files.png_of(noise((4, 4, 1), np.uint8))[:33]
    refused(put(tmp_path, header + bad + io_files.png_chunk(b"IEND", b"")), "truncated or corrupt, its png does not decode")


def test_png_text_bomb(tmp_path):
    bomb = io_files.png_chunk(b"zTXt", b"Long\0\0" + zlib.compress(bytes(50_000_000)))
    refused(put(tmp_path, io_files.png_of(noise((4, 4, 1), np.uint8), (0,), 0, bomb)), "does not decode .*too large")


def test_large_images_raise_no_warning_of_pillow(tmp_path):
    """Pillow warns from 89 million pixels on; its global limit stays as it is."""
    before = Image.MAX_IMAGE_PIXELS
    side = 9500
    raw = zlib.compress(bytes(side * (side // 8 + 1 + 1)))
    content = io_files.png(side, side, 1, 0, b"")
    start, end = content[:33], io_files.png_chunk(b"IEND", b"")
    m = read(put(tmp_path, start + io_files.png_chunk(b"IDAT", raw) + end))
    assert m.data.shape == (side, side)
    assert before == Image.MAX_IMAGE_PIXELS


# JPEG


@pytest.mark.parametrize("shape", [(16, 24), (16, 24, 3)])
@pytest.mark.parametrize("progressive", [False, True])
def test_jpeg(tmp_path, shape, progressive):
    path = tmp_path / "a.jpg"
    Image.fromarray(noise(shape, np.uint8)).save(path, progressive=progressive, dpi=(300, 150), comment="hello")
    m = read(path)
    assert np.array_equal(m.data, np.asarray(Image.open(path)))
    assert (m.axes, m.full_scale) == ("YXC" if len(shape) == 3 else "YX", 255.0)
    assert m.metadata == {"dpi": (300.0, 150.0), "description": "hello"}


@pytest.mark.parametrize("orientation", range(0, 10))
@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_orientation_is_applied_once(tmp_path, orientation, suffix):
    exif = Image.Exif()
    exif[274], exif[271] = orientation, "a camera"
    path = tmp_path / f"a.{suffix}"
    picture = np.kron(noise((3, 4, 3), np.uint8), np.ones((8, 8, 1), np.uint8))
    Image.fromarray(picture).save(path, exif=exif, dpi=(100, 200))
    m = read(path)
    assert np.array_equal(m.data, np.asarray(ImageOps.exif_transpose(Image.open(path))))
    swapped = orientation in (5, 6, 7, 8)
    assert m.metadata["dpi"] == pytest.approx((200, 100) if swapped else (100, 200), rel=1e-4)
    kept = Image.Exif()
    kept.load(m.metadata["exif"])
    assert (kept[274], kept[271]) == (1, "a camera")


def test_orientation_turns_the_alpha_too(tmp_path):
    exif = Image.Exif()
    exif[274] = 6
    samples = noise((3, 5, 4), np.uint8)
    Image.fromarray(samples).save(tmp_path / "a.png", exif=exif)
    m = read(tmp_path / "a.png")
    assert np.array_equal(m.metadata["alpha"], np.rot90(samples[..., 3], -1))
    assert np.array_equal(m.data, np.rot90(samples[..., :3], -1))


@pytest.mark.parametrize(
    "exif", [b"II*\0\xff\xff\xff\xff", b"II*\0\x08\0\0\0\xff\xff", b"MM\0*\0\0\0\x08\0\1\x01\x12\0\3\0\0\0\1", b"x"]
)
def test_damaged_exif_turns_nothing(tmp_path, exif):
    Image.fromarray(noise((8, 8), np.uint8)).save(tmp_path / "a.jpg", exif=b"Exif\0\0" + exif)
    m = read(tmp_path / "a.jpg")
    assert m.metadata["exif"] == exif


def test_jpeg_profile_in_pieces(tmp_path):
    profile = bytes(rng.integers(0, 256, 100_000, dtype=np.uint8))
    Image.fromarray(noise((8, 8), np.uint8)).save(tmp_path / "a.jpg", icc_profile=profile)
    assert read(tmp_path / "a.jpg").metadata["icc_profile"] == profile


def test_jpeg_dots_per_centimetre(tmp_path):
    Image.fromarray(noise((8, 8), np.uint8)).save(tmp_path / "a.jpg", dpi=(100, 100))
    content = (tmp_path / "a.jpg").read_bytes()
    at = content.index(b"JFIF\0") + 7
    m = read(put(tmp_path, content[:at] + b"\x02" + content[at + 1 :]))
    assert m.metadata["dpi"] == pytest.approx((254.0, 254.0))


def test_jpeg_truncated(tmp_path):
    Image.fromarray(noise((32, 32, 3), np.uint8)).save(tmp_path / "a.jpg")
    content = (tmp_path / "a.jpg").read_bytes()
    for size in range(2, len(content) - 40, 37):
        refused(put(tmp_path, content[:size]), "truncated|no known format|damaged JPEG")


def test_jpeg_cmyk(tmp_path):
    Image.new("CMYK", (8, 8)).save(tmp_path / "a.jpg")
    refused(tmp_path / "a.jpg", "CMYK JPEG")


# TIFF


@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8"])
@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 3)])
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_tiff_types(tmp_path, dtype, shape, order, compression):
    data = noise(shape, np.dtype(dtype))
    data = data >> 12 if dtype[1] == "8" and dtype[0] != "f" else data
    photometric = "rgb" if len(shape) == 3 else "minisblack"
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, data, photometric=photometric, byteorder=order, compression=compression, metadata=None, software=False)
    m = read(path)
    assert m.data.dtype == np.dtype(dtype)
    assert m.data.dtype.isnative
    assert np.array_equal(m.data, data)
    assert m.axes == ("YXC" if len(shape) == 3 else "YX")


@pytest.mark.parametrize(
    "options",
    [
        dict(tile=(16, 32)),
        dict(tile=(16, 32), compression="zlib", predictor=True),
        dict(rowsperstrip=7, compression="zlib"),
        dict(planarconfig="separate"),
        dict(planarconfig="separate", compression="zlib", rowsperstrip=5),
        dict(bigtiff=True),
    ],
)
def test_tiff_layouts(tmp_path, options):
    data = noise((45, 50, 3), np.uint16)
    stored = np.moveaxis(data, -1, 0) if "planarconfig" in options else data
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="rgb", **options)
    m = read(tmp_path / "a.tif")
    assert np.array_equal(m.data, data)
    assert m.axes == "YXC"


@pytest.mark.parametrize(
    "options", [dict(metadata=None), dict(), dict(imagej=True), dict(ome=True), dict(imagej=True, metadata={"axes": "TYX"})]
)
@pytest.mark.parametrize("shape", [(4, 20, 21), (4, 20, 21, 3)])
def test_tiff_pages(tmp_path, shape, options):
    data = noise(shape, np.uint8)
    if len(shape) == 4 and "axes" in (options.get("metadata") or {}):
        options = {"imagej": True, "metadata": {"axes": "TYXS"}}
    tifffile.imwrite(tmp_path / "a.tif", data, photometric="rgb" if len(shape) == 4 else "minisblack", **options)
    m = read(tmp_path / "a.tif")
    assert np.array_equal(m.data, data)
    assert m.axes == ("ZYXC" if len(shape) == 4 else "ZYX")


def test_tiff_single_colour_image_of_imagej(tmp_path):
    data = noise((20, 21, 3), np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", data, imagej=True)
    assert np.array_equal(read(tmp_path / "a.tif").data, data)


@pytest.mark.parametrize("compression", ["tiff_lzw", "packbits"])
@pytest.mark.parametrize(
    ("shape", "dtype"), [((9, 7), "u1"), ((9, 7, 3), "u1"), ((9, 7, 4), "u1"), ((9, 7), "u2"), ((9, 7), "f4")]
)
def test_tiff_compressions_of_pillow(tmp_path, compression, shape, dtype):
    data = noise(shape, np.dtype(dtype))
    Image.fromarray(data).save(tmp_path / "a.tif", compression=compression)
    m = read(tmp_path / "a.tif")
    assert m.data.dtype == data.dtype
    assert np.array_equal(m.data, data[..., :3] if len(shape) == 3 else data)
    if shape[2:] == (4,):
        assert np.array_equal(m.metadata["alpha"], data[..., 3])


def test_tiff_jpeg_inside(tmp_path):
    Image.fromarray(noise((32, 32, 3), np.uint8)).save(tmp_path / "a.tif", compression="jpeg")
    assert np.array_equal(read(tmp_path / "a.tif").data, np.asarray(Image.open(tmp_path / "a.tif")))


@pytest.mark.parametrize("mode", ["1", "P", "L"])
@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_adobe_deflate"])
def test_tiff_of_8_bits_and_less(tmp_path, mode, compression):
    image = Image.fromarray(noise((9, 13, 3), np.uint8)).convert(mode)
    image.save(tmp_path / "a.tif", compression=compression)
    expected = np.asarray(image.convert("RGB" if mode == "P" else "L"))
    m = read(tmp_path / "a.tif")
    assert m.data.dtype == np.uint8
    assert np.array_equal(m.data, expected)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("samples", [3, 4])
@pytest.mark.parametrize("predictor", [1, 2])
def test_tiff_16_bit_colour_under_lzw(tmp_path, order, samples, predictor):
    """What Photoshop writes, and what Pillow alone reduces to 8 bits."""
    pages, expected = [], noise((2, 6, 5, samples), np.uint16)
    for image in expected:
        stored = image.copy()
        if predictor == 2:
            stored[:, 1:] -= image[:, :-1]
        extra = {"t338": (3, [2])} if samples == 4 else {}
        tags = io_files.tiff_tags(5, 6, 16, samples, 5, t317=(3, [predictor]), **extra)
        pages.append((tags, io_files.lzw(stored.astype(order + "u2").tobytes())))
    m = read(put(tmp_path, io_files.tiff(pages, order)))
    assert np.array_equal(m.data, expected[..., :3])
    assert m.axes == "ZYXC"
    if samples == 4:
        assert np.array_equal(m.metadata["alpha"], expected[..., 3])


def test_tiff_pages_under_lzw(tmp_path):
    data = noise((3, 9, 7), np.uint16)
    images = [Image.fromarray(image) for image in data]
    images[0].save(tmp_path / "a.tif", save_all=True, append_images=images[1:], compression="tiff_lzw")
    assert np.array_equal(read(tmp_path / "a.tif").data, data)


@pytest.mark.parametrize(
    "options",
    [
        dict(bits=16, samples=4, t338=(3, [0])),
        dict(bits=64, t339=(3, [3])),
        dict(bits=16, photometric=0),
        dict(bits=16, t339=(3, [2])),
        dict(t274=(3, [6])),
        dict(samples=3, t284=(3, [2]), t273=(4, [8] * 3), t279=(4, [9] * 3)),
    ],
)
def test_tiff_layouts_that_lzw_would_spoil(tmp_path, options):
    path = put(tmp_path, io_files.tiff([(io_files.tiff_tags(4, 4, compression=5, **options), io_files.lzw(bytes(128)))]))
    refused(path, "TIFF compression 5, which is not read in this layout: save it uncompressed or with deflate, without predictor")


def test_tiff_float_predictor(tmp_path):
    tags = io_files.tiff_tags(4, 4, 64, compression=8, t317=(3, [3]), t339=(3, [3]))
    refused(put(tmp_path, io_files.tiff([(tags, zlib.compress(bytes(128)))])), "not read in this layout")


@pytest.mark.parametrize(("bits", "expected"), [(8, [[255, 0]]), (16, [[65535, 0]])])
def test_tiff_white_is_zero(tmp_path, bits, expected):
    pixels = np.array([0, np.iinfo(f"u{bits // 8}").max], f"<u{bits // 8}").tobytes()
    m = read(put(tmp_path, io_files.tiff([(io_files.tiff_tags(2, 1, bits, photometric=0), pixels)])))
    assert m.data.tolist() == expected


@pytest.mark.parametrize("orientation", range(1, 9))
def test_tiff_orientation(tmp_path, orientation):
    data = noise((4, 6, 4), np.uint8)
    tags = io_files.tiff_tags(
        6, 4, 8, 4, t274=(3, [orientation]), t338=(3, [2]), t282=(5, [(100, 1)]), t283=(5, [(200, 1)]), t296=(3, [2])
    )
    m = read(put(tmp_path, io_files.tiff([(tags, data.tobytes())])))
    image = Image.fromarray(data)
    image.getexif()[274] = orientation
    expected = np.asarray(ImageOps.exif_transpose(image))
    assert np.array_equal(m.data, expected[..., :3])
    assert np.array_equal(m.metadata["alpha"], expected[..., 3])
    assert m.metadata["dpi"] == ((200.0, 100.0) if orientation > 4 else (100.0, 200.0))


def test_tiff_metadata(tmp_path):
    data = noise((4, 4), np.uint8)
    options = dict(metadata=None, software=False, photometric="minisblack")
    tifffile.imwrite(tmp_path / "a.tif", data, description="a cell", resolution=(100, 50), resolutionunit="CENTIMETER", **options)
    assert read(tmp_path / "a.tif").metadata == {"description": "a cell", "dpi": pytest.approx((254.0, 127.0))}
    tifffile.imwrite(tmp_path / "a.tif", data, resolution=(3.5, 4.0), resolutionunit="NONE", iccprofile=b"a profile", **options)
    assert read(tmp_path / "a.tif").metadata == {"resolution": (3.5, 4.0), "icc_profile": b"a profile"}
    tags = io_files.tiff_tags(4, 4, t270=(2, list(b"caf\xe9\0")), t282=(5, [(1, 0)]), t283=(5, [(1, 1)]))
    assert read(put(tmp_path, io_files.tiff([(tags, bytes(16))]))).metadata == {"description": "café"}


def test_tiff_deflate_bomb(tmp_path):
    """The header is modest; the stream unpacks to a thousand times more."""
    tags = io_files.tiff_tags(100, 100, compression=8)
    refused(put(tmp_path, io_files.tiff([(tags, zlib.compress(bytes(100_000_000)))])), "unpacks to more than the 10000 bytes")
    refused(put(tmp_path, io_files.tiff([(tags, zlib.compress(bytes(9_999)))])), "unpacks to fewer than the 10000 bytes")
    refused(put(tmp_path, io_files.tiff([(tags, b"junk")])), "truncated or corrupt, its tiff does not decode")
    refused(put(tmp_path, io_files.tiff([(io_files.tiff_tags(100, 100, compression=5), b"junk")])), "tiff does not decode")


def test_nan(tmp_path):
    data = np.zeros((3, 4), np.float32)
    data[1, 2] = np.nan
    np.save(tmp_path / "a.npy", data)
    tifffile.imwrite(tmp_path / "a.tif", data)
    for name in ("a.npy", "a.tif"):
        refused(tmp_path / name, r"cannot be used: 1 of 12 values are NaN or infinite, the first at \(1, 2\)")


# npy


@pytest.mark.parametrize("order", "CF")
@pytest.mark.parametrize("dtype", ["|b1", "|u1", "<u2", ">u2", ">f4", "<f8", "<i4", "<f2"])
def test_npy(tmp_path, order, dtype):
    data = np.asarray(np.arange(24).reshape(4, 6), dtype=dtype, order=order)
    np.save(tmp_path / "a.npy", data)
    m = read(tmp_path / "a.npy")
    assert np.array_equal(m.data, data * np.uint8(255) if dtype == "|b1" else data)
    assert m.data.dtype == (np.uint8 if dtype == "|b1" else data.dtype.newbyteorder("="))
    assert m.axes == "YX"


def test_npy_of_other_versions_and_writers(tmp_path):
    data = bytes(range(6))
    for version in (2, 3):
        content = io_files.npy(io_files.npy_header("|u1", (2, 3)), data, version)
        assert read(put(tmp_path, content)).data.tolist() == [[0, 1, 2], [3, 4, 5]]
    other = '{"shape": (2, 3), "fortran_order": False, "descr": "|u1"}'
    assert read(put(tmp_path, io_files.npy(other, data))).data.tolist() == [[0, 1, 2], [3, 4, 5]]


def test_npy_odd_bools(tmp_path):
    path = put(tmp_path, io_files.npy(io_files.npy_header("|b1", (1, 4)), bytes([0, 1, 2, 255])))
    assert read(path).data.tolist() == [[0, 255, 255, 255]]


def test_npy_channels(tmp_path):
    for shape, match in [((8, 8, 5), "keep 1, 3 or 4 channels"), ((8, 8, 2), "keep 1, 3 or 4"), ((3, 8, 8), "channels last")]:
        np.save(tmp_path / "a.npy", np.zeros(shape))
        refused(tmp_path / "a.npy", match)
    m = read(tmp_path / "a.npy", axes="ZYX")
    assert (m.axes, m.data.shape) == ("ZYX", (3, 8, 8))


def test_axes_must_agree_with_an_image(tmp_path):
    path = put(tmp_path, io_files.png_of(noise((4, 4, 3), np.uint8)))
    assert read(path, axes="YXC").axes == "YXC"
    refused(path, r'has axes YXC, shape \(4, 4, 3\); axes="YX" was asked for: leave it out', axes="YX")


def test_budget_reaches_the_guard(tmp_path):
    refused(put(tmp_path, io_files.png_of(np.zeros((40, 40, 3), np.uint8))), "--max-bytes 4800", budget_bytes=4799)


def test_mutations_of_pixels_never_escape_as_anything_else(tmp_path):
    draw = np.random.default_rng(11)
    Image.fromarray(noise((16, 16, 3), np.uint8)).save(tmp_path / "a.jpg")
    tags = io_files.tiff_tags(4, 4, 16, 3, 5)
    honest = [
        (tmp_path / "a.jpg").read_bytes(),
        io_files.png_of(noise((6, 6, 4), np.uint16), (0, 1, 2, 3, 4)),
        io_files.tiff([(tags, io_files.lzw(noise((4, 4, 3), np.uint16).tobytes()))]),
        io_files.tiff([(io_files.tiff_tags(4, 4, 16, compression=8), zlib.compress(noise((4, 4), np.uint16).tobytes()))]),
        io_files.npy(io_files.npy_header(), noise((2, 2), float).tobytes()),
    ]
    path = tmp_path / "mutant"
    for content in honest:
        for _ in range(100):
            mutant = bytearray(content)
            for at in draw.integers(0, len(content), size=2):
                mutant[at] = draw.integers(0, 256)
            path.write_bytes(mutant)
            with contextlib.suppress(FileError):
                read(path)


def test_no_memory_is_no_corruption(tmp_path, monkeypatch):
    np.save(tmp_path / "a.npy", np.zeros((4, 4)))

    def no_memory(*_, **__):
        raise MemoryError

    monkeypatch.setattr(np, "fromfile", no_memory)
    refused(tmp_path / "a.npy", r"decodes to 128 bytes, shape \(4, 4\), beyond the free memory: crop it first")


def test_tiff_truncated_stack_of_tifffile(tmp_path):
    data = noise((4, 20, 21), np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", data, photometric="minisblack", truncate=True)
    refused(tmp_path / "a.tif", "states 4 pages and lists 1")


def test_tiff_colour_pages_of_ome(tmp_path):
    data = noise((4, 20, 21, 3), np.uint8)
    tifffile.imwrite(tmp_path / "a.ome.tif", data, photometric="rgb", metadata={"axes": "ZYXS"})
    assert np.array_equal(read(tmp_path / "a.ome.tif").data, data)


def test_tiff_large_under_lzw_is_refused_without_a_warning(tmp_path):
    """Pillow's global limit counts here: 89 million pixels."""
    tags = io_files.tiff_tags(9500, 9500, compression=5)
    path = put(tmp_path, io_files.tiff([(tags, io_files.lzw(bytes(100_000)))]))
    refused(path, "not read in this layout: save it uncompressed or with deflate")
