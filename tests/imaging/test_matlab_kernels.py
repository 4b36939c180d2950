"""Kernels from MATLAB files: the real ones, and hostile ones."""

import os
from pathlib import Path

import numpy
import pytest

from apheleia.core import ArgumentError, FileError
from apheleia.imaging import read_kernel
from apheleia.imaging.matlab_kernels import is_hdf5

h5py = pytest.importorskip("h5py")


@pytest.fixture
def file(tmp_path):
    """Return a file with a matrix, as MATLAB would store it, and a cell of two."""
    path = tmp_path / "kernels.mat"
    with h5py.File(path, "w", userblock_size=512) as f:
        f["blur"] = numpy.arange(1.0, 7).reshape(2, 3).T
        f["#refs#/a"], f["#refs#/b"] = numpy.ones((3, 3)), numpy.full((5, 5), 2.0)
        cell = f.create_dataset("cell", (2, 1), dtype=h5py.ref_dtype)
        cell[0, 0], cell[1, 0] = f["#refs#/a"].ref, f["#refs#/b"].ref
        f["text"] = "not a kernel"
    return path


def test_matrices_come_as_matlab_shows_them(file):
    numpy.testing.assert_allclose(read_kernel(file), numpy.arange(1.0, 7).reshape(2, 3) / 21)
    assert [read_kernel(file, number=n).shape for n in (2, 3)] == [(3, 3), (5, 5)]


def test_real_kernels_of_camera_shake():
    data = os.environ.get("APHELEIA_DATA")
    if data is None:
        pytest.skip("APHELEIA_DATA is not set")
    path = Path(data) / "kernels" / "Levin09.mat"
    if not path.exists():
        pytest.skip("the kernels are not there")
    kernels = [read_kernel(path, number=n) for n in range(1, 9)]
    assert [k.shape[0] for k in kernels] == [19, 17, 15, 27, 13, 21, 23, 23]
    first = numpy.load(Path(data) / "kernels" / "levin09_0.npy")
    numpy.testing.assert_allclose(kernels[0], first / first.sum(), rtol=1e-6, atol=1e-9)
    with pytest.raises(FileError, match="holds 8 matrices of numbers; there is no kernel 9"):
        read_kernel(path, number=9)


def test_numbers_are_checked(file, tmp_path):
    with pytest.raises(ArgumentError, match="kernels are numbered from 1; got 0"):
        read_kernel(file, number=0)
    with pytest.raises(FileError, match="there is no kernel 4"):
        read_kernel(file, number=4)
    numpy.save(tmp_path / "one.npy", numpy.ones((3, 3)))
    with pytest.raises(FileError, match="holds one kernel; there is no kernel 2"):
        read_kernel(tmp_path / "one.npy", number=2)


def test_nothing_is_followed_out_of_the_file(tmp_path):
    with h5py.File(tmp_path / "other.h5", "w") as f:
        f["secret"] = numpy.ones((3, 3))
    (tmp_path / "raw").write_bytes(b"\1" * 72)
    with h5py.File(tmp_path / "links.mat", "w") as f:
        f["far"] = h5py.ExternalLink("other.h5", "/secret")
        f["soft"] = h5py.SoftLink("/far")
        f.create_dataset("outside", (3, 3), dtype="f8", external=[(str(tmp_path / "raw"), 0, 72)])
        layout = h5py.VirtualLayout((3, 3), dtype="f8")
        layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "secret", (3, 3))
        f.create_virtual_dataset("virtual", layout)
    with pytest.raises(FileError, match="holds 0 matrices of numbers; there is no kernel 1"):
        read_kernel(tmp_path / "links.mat")


def test_absurd_sizes_are_not_believed(tmp_path):
    with h5py.File(tmp_path / "bomb.mat", "w") as f:
        f.create_dataset("huge", (10**6, 10**6), dtype="f8", chunks=(100, 100), compression="gzip")
    with pytest.raises(FileError, match="holds 0 matrices"):
        read_kernel(tmp_path / "bomb.mat")
    with open(tmp_path / "long.mat", "wb") as stream:
        stream.write(b"\x89HDF\r\n\x1a\n")
        stream.truncate(65 * 2**20)
    with pytest.raises(FileError, match="kernels are small: expected at most 64 MiB"):
        read_kernel(tmp_path / "long.mat")


def test_damaged_files_are_refused(file, tmp_path):
    whole = file.read_bytes()
    for length in (600, 1000, len(whole) // 2):
        (tmp_path / "cut.mat").write_bytes(whole[:length])
        with pytest.raises(FileError, match="cannot be read as HDF5"):
            read_kernel(tmp_path / "cut.mat")
    with h5py.File(tmp_path / "nan.mat", "w") as f:
        f["k"] = numpy.full((3, 3), numpy.nan)
    with pytest.raises(FileError, match="a kernel must be finite"):
        read_kernel(tmp_path / "nan.mat")


def test_other_files_are_no_hdf5(tmp_path):
    assert not is_hdf5(tmp_path)
    assert not is_hdf5(tmp_path / "missing")
    (tmp_path / "text").write_text("hello")
    assert not is_hdf5(tmp_path / "text")
