"""Variation of several channels and along the axes, against numpy and by hand."""

import numpy
import pytest
import torch
from case_types import randn
from torch.testing import assert_close

import apheleia as ap
from apheleia.core import ArgumentError
from apheleia.functionals import GroupL1, PixelNuclearNorm


def test_anisotropic_variation_sums_the_moduli():
    x = randn(2, 4, 5)
    array = x.numpy()
    expected = numpy.abs(numpy.diff(array, axis=-2)).sum() + numpy.abs(numpy.diff(array, axis=-1)).sum()
    assert_close(ap.TotalVariation(isotropic=False)(x), torch.tensor(expected))


def test_vectorial_variation_of_one_channel_is_total_variation():
    x = randn(3, 1, 5, 6)
    for coupling in ("frobenius", "nuclear"):
        # one row of numbers a pixel has one singular value
        assert_close(ap.VectorialTotalVariation(coupling)(x), ap.TotalVariation()(x))


@pytest.mark.parametrize(("coupling", "kind"), [("frobenius", "fro"), ("nuclear", "nuc")])
def test_vectorial_variation_is_the_norm_of_the_jacobian(coupling, kind):
    x = randn(4, 5, 6)
    vertical, horizontal = numpy.zeros((2, 4, 5, 6))
    vertical[:, :-1], horizontal[..., :-1] = numpy.diff(x.numpy(), axis=-2), numpy.diff(x.numpy(), axis=-1)
    jacobians = numpy.stack([vertical, horizontal]).transpose(2, 3, 0, 1)
    expected = numpy.linalg.norm(jacobians, kind, axis=(-2, -1)).sum()
    assert_close(ap.VectorialTotalVariation(coupling)(x), torch.tensor(expected))


@pytest.mark.parametrize("step", [1e-6, 0.4, 1.5])
@pytest.mark.parametrize("rank_one", [False, True])
def test_pixel_nuclear_norm_thresholds_singular_values(step, rank_one):
    J = randn(2, 3, 4, 4)
    J[1] = 0.3 * J[0] if rank_one else J[1]
    U, s, V = numpy.linalg.svd(J.numpy().transpose(2, 3, 0, 1), full_matrices=False)
    expected = (U * numpy.maximum(s - step, 0)[..., None, :]) @ V
    F = PixelNuclearNorm()
    assert_close(F.prox(J, step), torch.from_numpy(expected.transpose(2, 3, 0, 1).copy()), rtol=0, atol=1e-13)
    assert_close(F(J), torch.tensor(s.sum()))


def test_vectorial_variation_keeps_common_edges_better():
    # a grey edge in three noisy channels: coupled channels agree on where it is
    clean = torch.zeros(3, 16, 16, dtype=torch.float64)
    clean[:, :, 8:] = torch.tensor([1.0, 0.8, 0.6], dtype=torch.float64)[:, None, None]
    y = clean + 0.2 * randn(3, 16, 16)
    weights = torch.linspace(0.05, 0.6, 8, dtype=torch.float64)

    def best(prior):
        x, _ = ap.solve(ap.Problem(ap.LeastSquares(ap.operators.Identity(), y), weights * prior))
        return float(((x - clean) ** 2).mean((-3, -2, -1)).min())

    separate = best(ap.TotalVariation())
    assert best(ap.VectorialTotalVariation()) < 0.9 * separate
    assert best(ap.VectorialTotalVariation("nuclear")) < 0.9 * separate


def test_wrong_use():
    with pytest.raises(ArgumentError, match="VectorialTotalVariation: `coupling` must be frobenius or nuclear; got 'max'"):
        ap.VectorialTotalVariation("max")  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="VectorialTotalVariation: nuclear takes real images; use frobenius"):
        ap.VectorialTotalVariation("nuclear", is_complex=True)
    with pytest.raises(ArgumentError, match=r"GroupL1: `axis` must lie between -3 and -1; got \(-1, -1\). Name each axis once"):
        GroupL1(axis=(-1, -1))


def test_formulas():
    names = [F.formula for F in (ap.TotalVariation(isotropic=False), ap.VectorialTotalVariation(), PixelNuclearNorm())]
    assert names == ["TV₁(x)", "VTV(x)", "Σ|x[i, j]|_*"]
    assert ap.VectorialTotalVariation("nuclear").formula == "VTV(x; nuclear)"
