"""The guard: every refusal is one sentence that names the file, and nothing is allocated before it."""

import contextlib
import os
import re
import struct
import tracemalloc
import zlib

import io_files
import numpy as np
import pytest

from apheleia.core.errors import ArgumentError, FileError
from apheleia.io import DEFAULT_BUDGET_BYTES, open_user_file

tifffile = pytest.importorskip("tifffile")
Image = pytest.importorskip("PIL.Image")


def put(folder, content, name="strange.bin"):
    path = folder / name
    path.write_bytes(content)
    return path


def refused(path, match, **options):
    """The guard refuses with one sentence that names the file, in little memory."""
    tracemalloc.start()
    try:
        with pytest.raises(FileError, match=match) as caught:
            open_user_file(path, **options)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()
    message = str(caught.value)
    assert str(path) in message
    assert message.endswith(".")
    assert "\n" not in message
    return message


# Not an image at all


def test_missing(tmp_path):
    refused(tmp_path / "none.png", "does not exist; check the path")


def test_folder(tmp_path):
    refused(tmp_path, "is a folder; expected one file")


def test_pipe(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    refused(tmp_path / "pipe.png", "is a pipe or a device; expected a regular file")


@pytest.mark.skipif(not os.path.exists("/dev/zero"), reason="needs /dev/zero")
def test_device():
    with pytest.raises(FileError, match="/dev/zero is a pipe or a device"):
        open_user_file("/dev/zero")


def test_empty(tmp_path):
    refused(put(tmp_path, b""), r"is empty \(0 bytes\)")


def test_name_with_a_null_byte():
    with pytest.raises(FileError, match="cannot be read: embedded null byte"):
        open_user_file("a\0b.png")


def test_name_that_is_too_long():
    with pytest.raises(FileError, match=r"cannot be read: .*File name too long"):
        open_user_file("a" * 5000)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_forbidden(tmp_path):
    path = put(tmp_path, b"\x93NUMPY")
    path.chmod(0)
    refused(path, "cannot be read: Permission denied")


def test_text_named_png(tmp_path):
    refused(put(tmp_path, b"hello, world\n", "note.png"), r"no known format: it starts with b'hello, w'; expected PNG, JPEG")


@pytest.mark.parametrize(
    ("start", "match"),
    [
        (b"PK\x03\x04", "an npz or zip archive; expected a single array: save it with numpy.save as .npy"),
        (b"PK\x05\x06", "an empty npz or zip archive"),
        (b"\x80\x04\x95", "a Python pickle, which can run code and is never read"),
        (b"GIF89a", "a GIF; expected PNG, JPEG, TIFF or npy"),
        (b"BM", "a BMP"),
        (b"RIFF", "a WebP"),
        (b"\x89HDF\r\n", "an HDF5 file"),
        (b"SIMPLE  =", "a FITS file"),
        (b"%PDF-1.7", "a PDF"),
        (b"\0\0\0\x1cftyp", "HEIC, AVIF or video"),
    ],
)
def test_foreign_formats(tmp_path, start, match):
    refused(put(tmp_path, start + bytes(20), "image.tif"), match)


def test_npz(tmp_path):
    np.savez(tmp_path / "two.npz", a=np.zeros(3))
    refused(tmp_path / "two.npz", "npz or zip archive")


# The budget


def test_what_it_tells(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((3, 5), dtype=np.float32))
    found = open_user_file(tmp_path / "a.npy")
    assert (found.path, found.format, found.shape, found.dtype) == (tmp_path / "a.npy", "npy", (3, 5), np.float32)
    assert found.decoded_bytes == 60


def test_extension_is_not_trusted(tmp_path):
    path = put(tmp_path, io_files.png_of(np.zeros((2, 3, 4), np.uint16)), "liar.jpg")
    found = open_user_file(str(path))
    assert (found.format, found.shape, found.dtype, found.decoded_bytes) == ("png", (2, 3, 3), np.uint16, 48)


@pytest.mark.parametrize("budget", [0, -5])
def test_budget_must_be_positive(tmp_path, budget):
    with pytest.raises(ArgumentError, match="positive `budget_bytes`"):
        open_user_file(tmp_path, budget)


def test_budget_names_the_flag_that_raises_it(tmp_path):
    path = put(tmp_path, io_files.png_of(np.zeros((40, 50, 3), np.uint16)))
    message = refused(path, r"decodes to 11.72 KiB, shape \(40, 50, 3\), more than the limit of 11 KiB", budget_bytes=11 * 1024)
    assert "--max-bytes 12000 on the command line or budget_bytes=12000 in Python" in message
    assert open_user_file(path, 12000).decoded_bytes == 12000


def test_budget_holds_for_the_file_itself(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((100, 100)))
    refused(tmp_path / "a.npy", "is a file of 78.25 KiB, more than the limit of 1000 bytes", budget_bytes=1000)


def test_sparse_file_beyond_the_default_budget(tmp_path):
    path = put(tmp_path, io_files.npy(io_files.npy_header(shape=(1 << 14, 1 << 15)), b""), "sparse.npy")
    os.truncate(path, path.stat().st_size + (8 << 29))
    refused(path, "is a file of 4 GiB, more than the limit of 2 GiB")
    assert DEFAULT_BUDGET_BYTES == 2 << 30


# PNG


def test_png_bomb_header(tmp_path):
    path = put(tmp_path, io_files.png(60000, 60000, 8, 0, b"\0" * 100))
    refused(path, r"damaged or hostile: it promises 3.353 GiB of pixels, shape \(60000, 60000\), in a file of \d+ bytes")
    refused(path, "damaged or hostile", budget_bytes=1 << 40)


def test_png_bomb_that_keeps_its_promise(tmp_path):
    # 64 MB of zeros in 64 kB: honest deflate, so that only the budget speaks.
    path = put(tmp_path, io_files.png(8000, 8000, 8, 0, bytes(8000 * 8001)))
    refused(path, "decodes to 61.04 MiB", budget_bytes=10_000_000)
    assert open_user_file(path).decoded_bytes == 64_000_000


@pytest.mark.parametrize(
    ("field", "match"),
    [
        (dict(width=0, height=4), r"no pixels: its shape is \(4, 0\)"),
        (dict(depth=3), "damaged PNG header"),
        (dict(colour=1), "damaged PNG header"),
        (dict(interlace=2), "damaged PNG header"),
    ],
)
def test_png_absurd_headers(tmp_path, field, match):
    options = dict(width=4, height=4, depth=8, colour=0, raw=bytes(20), interlace=0) | field
    refused(put(tmp_path, io_files.png(**options)), match)


def test_png_wrong_checksum(tmp_path):
    content = bytearray(io_files.png_of(np.zeros((4, 4, 1), np.uint8)))
    content[19] += 1
    refused(put(tmp_path, bytes(content)), "damaged PNG header: its fields or its checksum are invalid")


def test_png_truncated_anywhere(tmp_path):
    content = io_files.png_of(np.arange(48, dtype=np.uint8).reshape(4, 4, 3))
    for size in range(8, len(content)):
        refused(put(tmp_path, content[:size]), "is truncated|damaged PNG")


def test_png_without_header_or_pixels(tmp_path):
    signature, end = b"\x89PNG\r\n\x1a\n", io_files.png_chunk(b"IEND", b"")
    refused(put(tmp_path, signature + end), "does not start with IHDR")
    header = io_files.png_chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 4, 8, 0, 0, 0, 0))
    refused(put(tmp_path, signature + header + end), "without pixels")


def test_png_animated(tmp_path):
    control = io_files.png_chunk(b"acTL", struct.pack(">II", 2, 0))
    refused(
        put(tmp_path, io_files.png_of(np.zeros((4, 4, 1), np.uint8), (0,), 0, control)), "animated PNG; expected a single image"
    )


def test_png_of_too_many_chunks(tmp_path):
    path = put(tmp_path, b"\x89PNG\r\n\x1a\n" + io_files.png_chunk(b"junk", b"") * 200_001)
    with pytest.raises(FileError, match="more than 200000 PNG chunks"):
        open_user_file(path)


# JPEG


def jpeg_frame(marker=0xC0, depth=8, height=4, width=4, components=1):
    content = struct.pack(">BHHB", depth, height, width, components) + bytes(3 * components)
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


SCAN = b"\xff\xda\x00\x08" + bytes(6)


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (jpeg_frame(components=4) + SCAN, "CMYK JPEG .4 inks.; expected grey or RGB"),
        (jpeg_frame(components=2) + SCAN, "JPEG with 2 components"),
        (jpeg_frame(depth=12) + SCAN, "12-bit JPEG; expected 8 bits"),
        (jpeg_frame(marker=0xC3) + SCAN, "is a lossless"),
        (jpeg_frame(height=0) + SCAN, r"no pixels: its shape is \(0, 4\)"),
        (jpeg_frame(height=65535, width=65535, components=3) + SCAN, "damaged or hostile: it promises 12 GiB"),
        (jpeg_frame() + jpeg_frame() + SCAN, "2 frame headers, expected 1"),
        (SCAN, "0 frame headers, expected 1"),
        (jpeg_frame(), "is truncated: its JPEG header ends beyond"),
        (b"\xff\xe1\xff\xff", "is truncated: its JPEG header ends beyond"),
        (b"\xff\xe1\x00\x01" + bytes(9), "is truncated"),
        (b"\xff\xe0\x00\x02hello", "corrupt JPEG: no marker at byte 6"),
        (b"\xff\xe0\x00\x02" * 10_001, "more than 10000 JPEG segments"),
    ],
)
def test_jpeg_headers(tmp_path, content, match):
    refused(put(tmp_path, b"\xff\xd8" + content), match)


def test_jpeg_fill_bytes(tmp_path):
    path = put(tmp_path, b"\xff\xd8\xff\xff\xff" + jpeg_frame(height=5) + SCAN)
    assert open_user_file(path).shape == (5, 4)


# npy


def test_npy_pickle(tmp_path):
    np.save(tmp_path / "a.npy", np.array([{"a": 1}, None], dtype=object), allow_pickle=True)
    refused(tmp_path / "a.npy", "pickled Python objects, which can run code and are never read")


@pytest.mark.parametrize("descr", ["<c16", "|S4", "<U3", "<f16", "<M8[s]", "|V3", [("a", "<f4")]])
def test_npy_types(tmp_path, descr):
    refused(
        put(tmp_path, io_files.npy(io_files.npy_header(descr), bytes(64))), "expected bool, integers or floats of at most 64 bits"
    )


@pytest.mark.parametrize("shape", [(1000, 1000), (10**12, 10**12), (2**62, 4), (3, 2), (1, 2)])
@pytest.mark.parametrize("version", [1, 2, 3])
def test_npy_lying_shape(tmp_path, shape, version):
    path = put(tmp_path, io_files.npy(io_files.npy_header(shape=shape), bytes(32), version))
    refused(
        path, rf"truncated or its header is wrong: shape {re.escape(str(shape))} of float64 needs .*, the file holds 32 bytes"
    )


def test_npy_negative_shape(tmp_path):
    refused(put(tmp_path, io_files.npy(io_files.npy_header(shape=(-2, -2)), bytes(32))), "damaged npy header: .*-2")


def test_npy_zero_size(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((0, 5)))
    refused(tmp_path / "a.npy", r"has no pixels: its shape is \(0, 5\)")


@pytest.mark.parametrize(
    "header",
    ["", "nonsense", "{'descr': '<f8'}", "[" * 5000, "{'descr': '<f8', 'fortran_order': 3, 'shape': (2, 2)}", "-" * 9000],
)
def test_npy_damaged_header(tmp_path, header):
    with pytest.raises(FileError, match="damaged npy header"):
        open_user_file(put(tmp_path, io_files.npy(header, bytes(32))))


def test_npy_short_or_long_header(tmp_path):
    refused(put(tmp_path, b"\x93NUMPY"), "damaged npy header: version 0")
    refused(put(tmp_path, b"\x93NUMPY\x01\x00"), "damaged npy header: ''")
    refused(put(tmp_path, b"\x93NUMPY\x09\x00" + bytes(20)), "damaged npy header: version 9")
    refused(put(tmp_path, b"\x93NUMPY\x02\x00\xff\xff\xff\xff" + bytes(20)), "claims 4294967295 bytes, at most 20 fit")
    refused(put(tmp_path, io_files.npy(" " * 20_000, b"")), "claims 20000 bytes, at most 10000 fit")


# TIFF


def tiff_of(folder, *pages, **options):
    return put(folder, io_files.tiff(list(pages), **options), "strange.tif")


def page(pixels=None, width=4, height=4, **options):
    tags = io_files.tiff_tags(width, height, **options)
    return tags, bytes(width * height) if pixels is None else pixels


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("big", [False, True])
def test_tiff_of_every_kind(tmp_path, order, big):
    found = open_user_file(tiff_of(tmp_path, page(), page(), order=order, big=big))
    assert (found.format, found.shape, found.dtype, found.decoded_bytes) == ("tiff", (2, 4, 4), np.uint8, 32)


def test_tiff_huge_shape(tmp_path):
    path = tiff_of(tmp_path, (io_files.tiff_tags(2**31, 2**31), bytes(16)))
    refused(path, "page 1 is truncated or corrupt: its strips or tiles hold fewer bytes than 2147483648 x 2147483648 pixels need")
    path = tiff_of(tmp_path, (io_files.tiff_tags(2**31, 2**31, compression=8), zlib.compress(bytes(16))))
    refused(path, "damaged or hostile: it promises 4 EiB")


def test_tiff_huge_shape_big(tmp_path):
    tags = [t for t in io_files.tiff_tags(4, 4) if t[0] not in (256, 257, 278)]
    tags += [(256, 16, [2**63]), (257, 16, [2**63]), (278, 16, [2**63])]
    refused(tiff_of(tmp_path, (tags, bytes(16)), big=True), "hold fewer bytes than")


def test_tiff_many_strips_claimed(tmp_path):
    tags = [t for t in io_files.tiff_tags(4, 2**31) if t[0] != 278] + [(278, 4, [1])]
    refused(tiff_of(tmp_path, (tags, bytes(16))), "lists 1 strips or tiles, 4 x 2147483648 pixels need 2147483648")


def test_tiff_absurd_tiles(tmp_path):
    tiles = {"t322": (4, [2**31]), "t323": (4, [2**31]), "t324": (4, [8]), "t325": (4, [16])}
    refused(tiff_of(tmp_path, page(compression=8, **tiles)), "damaged or hostile: it promises 4 EiB")
    tiles = {"t322": (4, [0]), "t323": (4, [16]), "t324": (4, [8]), "t325": (4, [16])}
    refused(tiff_of(tmp_path, page(**tiles)), "strips or tiles of 0 x 16 pixels")


@pytest.mark.parametrize(("offset", "count"), [(8, 2**31), (2**31, 16), (2**32 - 1, 2**32 - 1)])
def test_tiff_strips_outside_the_file(tmp_path, offset, count):
    path = tiff_of(tmp_path, page(t273=(4, [offset]), t279=(4, [count])))
    refused(path, "page 1 is truncated or corrupt: strips or tiles lie outside the")


def test_tiff_truncated_anywhere(tmp_path):
    content = io_files.tiff([page(t270=(2, list(b"hello world\0"))), page()])
    for size in range(8, len(content)):
        refused(put(tmp_path, content[:size]), "truncated or corrupt")


def test_tiff_loop(tmp_path):
    content = io_files.tiff([page()])
    at = 8 + 2 + 12 * int.from_bytes(content[8:10], "little")
    refused(put(tmp_path, content[:at] + struct.pack("<I", 8) + content[at + 4 :]), "TIFF directories form a loop")


def test_tiff_too_many_pages(tmp_path):
    pages = b"".join(struct.pack("<HHHIII", 1, 256, 4, 1, 4, 8 + 18 * (i + 1)) for i in range(10_001))
    path = put(tmp_path, b"II*\0" + struct.pack("<I", 8) + pages)
    with pytest.raises(FileError, match="more than 10000 pages; split it"):
        open_user_file(path)


def test_tiff_without_pages(tmp_path):
    refused(put(tmp_path, b"II*\0" + bytes(8)), "TIFF without pages")


def test_tiff_tag_outside_the_file(tmp_path):
    entry = struct.pack("<HHII", 270, 2, 2**31, 8)
    refused(put(tmp_path, b"II*\0" + struct.pack("<IH", 8, 1) + entry + bytes(4)), "TIFF tag 270 lies outside")


@pytest.mark.parametrize(
    ("options", "match"),
    [
        (dict(compression=4), "TIFF compression 4; expected none, deflate"),
        (dict(photometric=5, samples=4), "is CMYK"),
        (dict(photometric=32803), "TIFF colours of kind 32803"),
        (dict(samples=5), "has 5 channels; expected 1"),
        (dict(samples=2), "has 2 channels; expected 1"),
        (dict(samples=3, t338=(3, [2])), "has 2 channels; expected 1"),
        (dict(samples=4, t338=(3, [1])), "premultiplied alpha"),
        (dict(bits=12), r"samples of \[12\] bits"),
        (dict(bits=16, t339=(3, [5])), r"TIFF format \[5\]"),
        (dict(bits=4, photometric=3), r"samples of \[4\] bits"),
        (dict(photometric=3), "palette of 8 bits"),
        (dict(bits=32, photometric=0, t339=(3, [3])), "is a negative .white is zero. of type float32"),
        (dict(width=0), "page 1 has no pixels: 0 x 4"),
    ],
)
def test_tiff_kinds(tmp_path, options, match):
    width = options.get("width", 4)
    refused(tiff_of(tmp_path, page(**({"pixels": bytes(256)} | options | {"width": width}))), match)


@pytest.mark.parametrize("values", [(11, [float("nan")]), (12, [1e300]), (8, [-4]), (5, [(4, 1)])])
def test_tiff_widths_that_are_no_whole_numbers(tmp_path, values):
    tags = [t for t in io_files.tiff_tags(4, 4) if t[0] != 256] + [(256, *values)]
    refused(tiff_of(tmp_path, (tags, bytes(16))), "TIFF tag 256 needs whole numbers")


def test_tiff_with_several_widths(tmp_path):
    tags = [t for t in io_files.tiff_tags(4, 4) if t[0] != 256] + [(256, 4, [4, 4])]
    refused(tiff_of(tmp_path, (tags, bytes(16))), "TIFF tag 256 needs one value, got several")


def test_tiff_pages_that_differ(tmp_path):
    refused(tiff_of(tmp_path, page(), page(width=5)), r"pages that differ: page 1 is uint8 \(4, 4\), page 2 is uint8 \(4, 5\)")


def test_tiff_thumbnails_are_left_out(tmp_path):
    assert open_user_file(tiff_of(tmp_path, page(), page(width=2, t254=(4, [1])))).shape == (4, 4)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        (dict(imagej=True, metadata={"axes": "ZCYX"}), "is a stack of 3 x 2 pages|is a stack of 2 x 3 pages"),
        (dict(ome=True, metadata={"axes": "ZCYX"}), "is a stack of 3 x 2 pages"),
        (dict(), "is a stack of 3 x 2 pages"),
    ],
)
def test_tiff_hyperstacks(tmp_path, options, match):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((3, 2, 16, 17), np.uint16), photometric="minisblack", **options)
    refused(tmp_path / "a.tif", match)


def test_tiff_that_states_more_pages_than_it_lists(tmp_path):
    text = b"ImageJ=1.53t\nimages=7\nslices=7\n\0"
    refused(tiff_of(tmp_path, page(t270=(2, list(text)))), "states 7 pages and lists 1")


def test_tiff_hostile_description_is_scanned_in_time(tmp_path):
    open_user_file(tiff_of(tmp_path, page(t270=(2, list(b"<Pixels " * 20_000)))))
    open_user_file(tiff_of(tmp_path, page(t270=(2, list(b'{"shape": ' + b"[" * 100_000)))))


def test_jpeg_blank_images_pass_the_ratio(tmp_path):
    for options in (
        dict(format="PNG"),
        dict(format="JPEG", progressive=True, optimize=True),
        dict(format="TIFF", compression="tiff_lzw"),
    ):
        Image.new("RGB", (3000, 3000)).save(tmp_path / "blank", **options)
        assert open_user_file(tmp_path / "blank").shape == (3000, 3000, 3)


def test_mutations_never_escape_as_anything_else(tmp_path):
    """Flip bytes of honest files: the guard either accepts or raises FileError."""
    rng = np.random.default_rng(7)
    honest = [io_files.png_of(np.zeros((4, 4, 3), np.uint8)), io_files.tiff([page(), page()]), io_files.tiff([page()], ">", True)]
    honest += [io_files.npy(io_files.npy_header(), bytes(32)), b"\xff\xd8" + jpeg_frame() + SCAN]
    path = tmp_path / "mutant"
    for content in honest:
        for _ in range(300):
            mutant = bytearray(content)
            for at in rng.integers(0, len(content), size=3):
                mutant[at] = rng.integers(0, 256)
            path.write_bytes(mutant)
            with contextlib.suppress(FileError):
                open_user_file(path)
