"""Writing: what was read comes back, and a file appears whole or not at all."""

import os
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from apheleia.core.errors import FileError, MissingExtraError
from apheleia.io import Measurement, atomic_path, atomic_write_bytes, quantise, read, write

tifffile = pytest.importorskip("tifffile")
Image = pytest.importorskip("PIL.Image")

rng = np.random.default_rng(5)
inside_a_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=20)


def same(a, b):
    assert a.data.dtype == b.data.dtype
    assert np.array_equal(a.data, b.data)
    assert (a.axes, a.full_scale) == (b.axes, b.full_scale)
    assert set(a.metadata) == set(b.metadata)
    for key, value in a.metadata.items():
        assert np.array_equal(value, b.metadata[key]) if key == "alpha" else value == b.metadata[key], key


def images(*dtypes, channels=(None, 3)):
    shapes = st.tuples(st.integers(1, 9), st.integers(1, 9), st.sampled_from(channels))
    return st.sampled_from(dtypes).flatmap(
        lambda dtype: shapes.flatmap(
            lambda s: hnp.arrays(dtype, s if s[2] else s[:2], elements=ELEMENTS.get(np.dtype(dtype).kind))
        )
    )


ELEMENTS = {"f": st.floats(-1000, 1000, width=16), "u": None, "i": None}


@given(data=images(np.uint8, np.uint16), has_alpha=st.booleans(), description=st.none() | TEXT, extra=st.booleans())
@inside_a_folder
def test_png_round_trip(tmp_path, data, has_alpha, description, extra):
    metadata = {"alpha": data[..., 0] if data.ndim == 3 else data} if has_alpha else {}
    if description:
        metadata["description"] = description
    if extra:
        metadata |= {"text": {"Author": "René", "Title": "細胞"}, "dpi": (254.0, 508.0), "gamma": 0.45455}
        metadata |= {"exif": b"MM\0*\0\0\0\x08", "icc_profile": bytes(range(256))}
    m = Measurement.from_array(data, metadata=metadata)
    write(tmp_path / "a.png", m)
    same(read(tmp_path / "a.png"), m)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("channels", [1, 3])
def test_png_of_several_blocks_opens_in_pillow(tmp_path, dtype, alpha, channels):
    y, x = np.mgrid[:600, :40]
    smooth = (np.iinfo(dtype).max * (0.5 + 0.4 * np.sin(y / 40) * np.cos(x / 9))).astype(dtype)
    data = smooth if channels == 1 else np.stack([smooth, smooth // 2, smooth // 3], axis=-1)
    m = Measurement.from_array(data, metadata={"alpha": smooth, "srgb": 0} if alpha else {})
    write(tmp_path / "a.png", m)
    same(read(tmp_path / "a.png"), m)
    seen = np.asarray(Image.open(tmp_path / "a.png"))
    if dtype == np.uint8:
        assert np.array_equal(seen if channels == 3 or alpha else seen[..., None], np.dstack([data, smooth] if alpha else [data]))
    assert (tmp_path / "a.png").stat().st_size < data.nbytes * (1 + alpha) * 0.8


@given(
    data=images(*[f"{kind}{size}" for kind in "ui" for size in (1, 2, 4)], "f2", "f4", "f8", channels=(None, 3, 4)),
    pages=st.integers(1, 3),
    has_alpha=st.booleans(),
    description=st.none() | TEXT,
    extra=st.booleans(),
)
@inside_a_folder
def test_tiff_round_trip(tmp_path, data, pages, has_alpha, description, extra):
    axes = "YXC" if data.ndim == 3 else "YX"
    if pages > 1:
        data, axes = np.stack([data] * pages), "Z" + axes
    metadata = {"alpha": data[..., 0] if axes.endswith("C") else data} if has_alpha else {}
    if description and not description.startswith(("ImageJ=", "{")):
        metadata["description"] = description
    if extra:
        metadata |= {"dpi": (300.0, 72.5), "icc_profile": bytes(range(256))}
    m = Measurement.from_array(data, axes, metadata)
    write(tmp_path / "a.tif", m)
    same(read(tmp_path / "a.tif"), m)
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        assert len(file.pages) == pages


def test_tiff_unnamed_resolution(tmp_path):
    m = Measurement.from_array(np.zeros((4, 5), np.uint16), metadata={"resolution": (3.5, 4.0)})
    write(tmp_path / "a.tiff", m)
    same(read(tmp_path / "a.tiff"), m)


@pytest.mark.parametrize("options", [dict(imagej=True), dict(ome=True), dict(), dict(metadata=None)])
def test_tiff_of_other_programs_round_trip(tmp_path, options):
    data = rng.integers(0, 65535, (4, 20, 21), np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", data, photometric="minisblack", resolution=(2, 2), resolutionunit="NONE", **options)
    m = read(tmp_path / "a.tif")
    write(tmp_path / "b.tif", m)
    same(read(tmp_path / "b.tif"), m)
    if options:
        assert np.array_equal(tifffile.imread(tmp_path / "b.tif"), data)


def test_tiff_description_that_states_another_stack(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((4, 20, 21), np.uint16), imagej=True)
    m = read(tmp_path / "a.tif")
    cropped = replace(m, data=m.data[:2])
    with pytest.raises(FileError, match=r"metadata\['description'\] states 4 pages, the data have 2; edit it or leave it out"):
        write(tmp_path / "b.tif", cropped)
    assert os.listdir(tmp_path) == ["a.tif"]


@given(data=images(*[f"{kind}{size}" for kind in "ui" for size in (1, 2, 4)], "f2", "f4", "f8", channels=(None, 3, 4)))
@inside_a_folder
def test_npy_round_trip(tmp_path, data):
    m = Measurement.from_array(data)
    write(tmp_path / "a.npy", m)
    same(read(tmp_path / "a.npy"), m)
    write(tmp_path / "a.npy", data)
    same(read(tmp_path / "a.npy"), m)


def test_npy_stack_round_trip(tmp_path):
    m = Measurement.from_array(np.zeros((5, 4, 3)), axes="ZYX")
    write(tmp_path / "a.npy", m)
    same(read(tmp_path / "a.npy", axes="ZYX"), m)


@pytest.mark.parametrize("shape", [(40, 50), (40, 50, 3)])
def test_jpeg_keeps_metadata_and_nearly_the_pixels(tmp_path, shape):
    y, x = np.mgrid[:40, :50]
    data = np.broadcast_to(
        (128 + 60 * np.sin(y / 9) * np.cos(x / 9)).astype(np.uint8).reshape(40, 50, *[1] * (len(shape) - 2)), shape
    )
    metadata = {"dpi": (300.0, 150.0), "description": "a cell é", "exif": b"MM\0*\0\0\0\x08", "icc_profile": bytes(range(256))}
    m = Measurement.from_array(data, metadata=metadata)
    write(tmp_path / "a.jpg", m)
    back = read(tmp_path / "a.jpg")
    assert back.metadata == m.metadata
    assert np.abs(back.data.astype(int) - m.data).max() <= 4
    write(tmp_path / "b.jpeg", m, quality=20)
    assert (tmp_path / "b.jpeg").stat().st_size < (tmp_path / "a.jpg").stat().st_size


def test_from_png_to_tiff_and_back(tmp_path):
    m = Measurement.from_array(
        rng.integers(0, 65535, (6, 7, 3), np.uint16),
        metadata={"alpha": rng.integers(0, 65535, (6, 7), np.uint16), "description": "a cell", "dpi": (254.0, 254.0)},
    )
    write(tmp_path / "a.png", m)
    write(tmp_path / "a.tif", read(tmp_path / "a.png"))
    write(tmp_path / "b.png", read(tmp_path / "a.tif"))
    same(read(tmp_path / "b.png"), m)


def test_solver_output_goes_back_to_16_bits(tmp_path):
    m = Measurement.from_array(rng.integers(0, 65535, (6, 7), np.uint16), metadata={"dpi": (254.0, 254.0)})
    write(tmp_path / "a.png", quantise(m.as_float().astype(float) * 1.0, like=m))
    same(read(tmp_path / "a.png"), m)


# Refusals


@pytest.mark.parametrize(
    ("name", "data", "match"),
    [
        ("a.gif", np.zeros((2, 2), np.uint8), r"its suffix is '.gif', expected one of .png, .jpg"),
        ("a", np.zeros((2, 2), np.uint8), "its suffix is ''"),
        (
            "a.png",
            np.zeros((2, 2)),
            r"png holds uint8 or uint16, the data are float64; write .tif or .npy, or convert .*quantise",
        ),
        ("a.jpg", np.zeros((2, 2), np.uint16), "jpeg holds uint8, the data are uint16"),
        ("a.png", np.zeros((2, 4, 4, 3), np.uint8), "png holds one image, the data are a stack ZYXC"),
        ("a.png", np.zeros((4, 4, 4), np.uint8), r"png holds 1 or 3 channels, the data have 4; .* metadata\['alpha'\]"),
        ("a.tif", np.full((2, 2), np.nan), "4 of 4 values are NaN or infinite"),
        ("a.tif", np.zeros((2, 2, 7)), "is neither"),
        ("a.jpg", np.zeros((1, 65501), np.uint8), "jpeg holds sides up to 65500"),
        ("a.npy", np.zeros((2, 2), complex), "real numbers"),
    ],
)
def test_refusals(tmp_path, name, data, match):
    with pytest.raises(FileError, match=match) as caught:
        write(tmp_path / name, data)
    assert f"{tmp_path / name} cannot be written: " in str(caught.value)
    assert os.listdir(tmp_path) == []


def test_jpeg_refusals(tmp_path):
    data = np.zeros((2, 2), np.uint8)
    with pytest.raises(FileError, match=r"jpeg holds no alpha; write .png or .tif"):
        write(tmp_path / "a.jpg", Measurement.from_array(data, metadata={"alpha": data}))
    with pytest.raises(FileError, match=r"at a quality of 1 to 100; got .* at 0"):
        write(tmp_path / "a.jpg", data, quality=0)


@pytest.mark.parametrize(("name", "package"), [("a.jpg", "pillow"), ("a.tif", "tifffile")])
def test_missing_extra(tmp_path, monkeypatch, name, package):
    monkeypatch.setitem(__import__("sys").modules, {"pillow": "PIL"}.get(package, package), None)
    with pytest.raises(MissingExtraError, match=f"io.write needs {package}"):
        write(tmp_path / name, np.zeros((2, 2), np.uint8))
    assert os.listdir(tmp_path) == []


# Whole files or none


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.jpg", "a.npy"])
def test_a_failing_write_leaves_the_old_file(tmp_path, monkeypatch, name):
    path = tmp_path / name
    write(path, np.zeros((4, 4), np.uint8))
    before = path.read_bytes()

    def full_disk(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(FileError, match="cannot be written: No space left on device; it is as it was before"):
        write(path, np.ones((4, 4), np.uint8))
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == [name]


def test_a_failing_encoder_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.png"
    write(path, np.zeros((4, 4), np.uint8))
    before = path.read_bytes()
    with pytest.raises(FileError, match=r"a.png cannot be written: "):
        write(path, Measurement.from_array(np.zeros((4, 4), np.uint8), metadata={"text": {"Ключ": "value"}}))
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["a.png"]


@pytest.mark.parametrize("error", [ValueError("mine"), KeyboardInterrupt()])
def test_atomic_path_passes_exceptions_on(tmp_path, error):
    (tmp_path / "a.txt").write_text("old")

    def fill():
        with atomic_path(tmp_path / "a.txt") as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(type(error)):
        fill()
    assert (tmp_path / "a.txt").read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_atomic_path_keeps_suffix_permissions_and_links(tmp_path):
    target, link = tmp_path / "target.html", tmp_path / "link.html"
    target.write_text("old")
    target.chmod(0o640)
    link.symlink_to(target)
    with atomic_path(link) as temporary:
        assert temporary.suffix == ".html"
        assert temporary.parent == tmp_path
        temporary.write_text("new")
        assert target.read_text() == "old"
    assert link.is_symlink()
    assert target.read_text() == "new"
    assert target.stat().st_mode & 0o777 == 0o640


def test_new_files_follow_the_umask(tmp_path):
    atomic_write_bytes(tmp_path / "a", b"x")
    (tmp_path / "b").write_bytes(b"x")
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "b").stat().st_mode


def test_atomic_write_bytes(tmp_path):
    atomic_write_bytes(str(tmp_path / "a.bin"), b"one")
    atomic_write_bytes(tmp_path / "a.bin", b"two")
    assert (tmp_path / "a.bin").read_bytes() == b"two"


def test_atomic_write_bytes_on_a_full_disk(tmp_path, monkeypatch):
    def full_disk(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full_disk)
    with pytest.raises(FileError, match=r"a.bin cannot be written: No space left on device"):
        atomic_write_bytes(tmp_path / "a.bin", b"one")
    assert os.listdir(tmp_path) == []


def test_places_that_cannot_be_written(tmp_path):
    with pytest.raises(FileError, match=r"the folder .*none does not exist; make it first"):
        atomic_write_bytes(tmp_path / "none" / "a", b"")
    (tmp_path / "folder").mkdir()
    with pytest.raises(FileError, match="it exists and is not a regular file; choose another name"):
        atomic_write_bytes(tmp_path / "folder", b"")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(FileError, match="not a regular file"):
        atomic_write_bytes(tmp_path / "pipe", b"")
    with pytest.raises(FileError, match=r"cannot be written: .*File name too long"):
        atomic_write_bytes(tmp_path / ("a" * 5000), b"")


def test_a_suffix_too_long_for_the_folder(tmp_path):
    with pytest.raises(FileError, match="cannot be written in the folder"):
        atomic_write_bytes(tmp_path / ("a." + "b" * 250), b"")


def test_many_writers_of_one_file(tmp_path):
    """Concurrent writers and readers see whole files only."""
    path, failures = tmp_path / "a.npy", []
    write(path, np.zeros((50, 50)))

    def work(value):
        try:
            for _ in range(10):
                write(path, np.full((50, 50), value / 10))
                assert len(np.unique(read(path).data)) == 1
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(value,)) for value in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert os.listdir(tmp_path) == ["a.npy"]
