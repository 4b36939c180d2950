"""Wavelets beyond the orthonormal basis: any size by extension, frames that do not decimate, and the fast filter bank."""

import pytest
import torch
from case_types import randn
from torch.testing import assert_close

from apheleia import Problem, solve
from apheleia.core import ArgumentError, ShapeError, Space
from apheleia.functionals import L1, LeastSquares, WaveletL1
from apheleia.operators import Identity, StationaryWaveletTransform, WaveletTransform
from apheleia.operators.filter_bank import FilterBank

FIXED = Space((1, 11, 14))


@pytest.mark.parametrize("sizes", [(2, 2), (6, 34), (38, 66), (70, 10)])
@pytest.mark.parametrize("length", [2, 8, 16])
def test_filter_bank_against_its_definition(sizes, length):
    f, x = randn(2, length, seed=length), randn(2, *sizes)
    bank = FilterBank(tuple(f[0].tolist()), tuple(f[1].tolist()))
    for dim, analyse, synthesise in (
        (-1, bank.analyse_rows, bank.synthesise_rows),
        (-2, bank.analyse_columns, bank.synthesise_columns),
    ):
        half, out = x.shape[dim] // 2, torch.empty_like(x)
        analyse(x, out)
        for band in (0, 1):
            for n in {0, half // 2, half - 1}:
                reads = (2 * n + torch.arange(length)) % x.shape[dim]
                taps = f[band] if dim == -1 else f[band][:, None]
                expected = (taps * x.index_select(dim, reads)).sum(dim)
                assert_close(out.select(dim, band * half + n), expected)
        y, back = randn(2, *sizes, seed=3), torch.empty_like(x)
        synthesise(y, back)
        assert_close((back * x).sum(), (out * y).sum())


def test_stationary_bands_against_pywavelets():
    pywt = pytest.importorskip("pywt")
    x = randn(1, 24, 40)
    ours = StationaryWaveletTransform("db2", 3)(x)[:, 0]
    theirs = pywt.swt2(x[0].numpy(), "db2", level=3, trim_approx=True, norm=True)
    energies = [theirs[0], *(band for level in theirs[1:] for band in level)]
    expected = torch.tensor([float((band**2).sum()) for band in energies], dtype=torch.float64)
    assert_close((ours**2).sum((1, 2)).sort()[0], expected.sort()[0], rtol=1e-9, atol=1e-9)


def test_stationary_wavelets_move_with_the_image():
    W, x = StationaryWaveletTransform("db2", 2), randn(1, 7, 9)
    assert_close(W(x.roll((2, 3), (-2, -1))), W(x).roll((2, 3), (-2, -1)))


def test_details_only_leave_the_mean_alone():
    W = StationaryWaveletTransform("haar", 2, details_only=True)
    assert W.codomain.shape[0] == 6
    assert W(torch.ones(1, 6, 5, dtype=torch.float64)).abs().max() < 1e-12
    # the approximation is what is missing
    x, whole = randn(1, 6, 5), StationaryWaveletTransform("haar", 2)
    assert_close(W(x), whole(x)[1:])


@pytest.mark.parametrize("extension", ["reflect", "zero"])
def test_extended_wavelets_transform_the_extended_image(extension):
    W = WaveletTransform("db2", 2, FIXED, extension)
    x = randn(1, 11, 14)
    wide = torch.nn.functional.pad(x, (0, 2, 0, 1))
    if extension == "reflect":
        wide[..., 11, :14] = x[..., 10, :]
        wide[..., 14], wide[..., 15] = wide[..., 13], wide[..., 12]
    assert_close(W(x), WaveletTransform("db2", 2)(wide))
    assert not W.is_orthonormal


def test_an_extension_that_adds_nothing_keeps_the_closed_form():
    prior = WaveletL1("haar", 2, Space((1, 8, 12)), "reflect")
    assert prior.has_exact_prox
    assert prior.split is None


def test_wavelet_l1_of_any_size_denoises_by_its_split():
    clean = torch.zeros(1, 11, 14, dtype=torch.float64)
    clean[..., 3:7, 5:11] = 1
    y = clean + 0.1 * randn(1, 11, 14)
    prior = WaveletL1("haar", 2, FIXED, "reflect")
    assert not prior.is_proximable
    x, report = solve(Problem(LeastSquares(Identity(), y), 0.15 * prior), tol=1e-6)
    assert report.status.name == "CONVERGED"
    assert (x - clean).norm() < 0.95 * (y - clean).norm()


def test_frames_denoise_better_than_the_basis():
    clean = torch.zeros(1, 32, 32, dtype=torch.float64)
    clean[..., 9:21, 7:23] = 1
    y = clean + 0.15 * randn(1, 32, 32)
    W = StationaryWaveletTransform("haar", 2, details_only=True)
    frame, _ = solve(Problem(LeastSquares(Identity(), y), 0.2 * (L1(W.codomain) @ W)))
    basis, _ = solve(Problem(LeastSquares(Identity(), y), 0.4 * WaveletL1("haar", 2)))
    assert (frame - clean).norm() < (basis - clean).norm() < (y - clean).norm()


def test_refusals():
    with pytest.raises(ArgumentError, match="`extension` must be one of reflect, zero or None; got 'mirror'"):
        WaveletTransform("haar", 1, FIXED, "mirror")  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match="an extension needs a fixed height and width, as in"):
        WaveletTransform("haar", 1, extension="zero")
    with pytest.raises(ShapeError, match="11 x 14 pixels allow at most 4 levels; got 5"):
        WaveletTransform("haar", 5, FIXED, "reflect")
    with pytest.raises(ArgumentError, match="StationaryWaveletTransform: `levels` must be a whole number >= 1; got 0"):
        StationaryWaveletTransform("haar", 0)
    with pytest.raises(ShapeError, match=r"coefficients are \(bands, channel, height, width\); got"):
        StationaryWaveletTransform("haar", 1)._input_shape((1, 2, 3))
