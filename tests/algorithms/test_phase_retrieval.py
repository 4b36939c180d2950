"""A complex image from intensities, end to end: masks, spectral start, least squares of a map that is not linear."""

import math

import numpy as np
import pytest
import scipy.optimize
import torch
from algorithm_cases import randn, scene
from torch.testing import assert_close

import apheleia as ap
from apheleia.core import Status
from apheleia.operators import PhaseRetrieval, coded_diffraction, spectral_initialization

SIDE = 8


def field(seed=1):
    """A real scene with a smooth phase, (1, 8, 8), complex."""
    ticks = torch.linspace(-1, 1, SIDE, dtype=torch.float64)
    return torch.polar(0.3 + scene()[:, :SIDE, :SIDE].abs(), seed * (0.8 * ticks[:, None] + 0.5 * ticks**2)[None])


def masks(count=6):
    return PhaseRetrieval(coded_diffraction((SIDE, SIDE), count, generator=torch.Generator().manual_seed(3)))


def aligned(x, truth):
    """x times the global phase that brings it closest to the truth."""
    return x * torch.sgn((x.conj() * truth).sum())


def psnr(x, truth):
    return ap.metrics.psnr(torch.view_as_real(aligned(x, truth)), torch.view_as_real(truth), float(truth.abs().max()))


@pytest.mark.parametrize("algorithm", [ap.LevenbergMarquardt(), ap.GaussNewton(), ap.LBFGS()], ids=lambda a: a.name)
def test_intensities_without_noise_give_the_field_up_to_a_global_phase(algorithm):
    A, truth = masks(), field()
    y = A(truth)
    start = spectral_initialization(A, y)
    x, report = ap.solve(ap.Problem(ap.LeastSquares(A, y)), algorithm, x0=start, tol=1e-8)
    assert report.status is Status.CONVERGED
    assert_close(aligned(x, truth), truth, rtol=1e-5, atol=1e-6)
    assert psnr(x, truth) > psnr(start, truth) + 40
    # the start has a phase of its own: without alignment the comparison would fail
    assert float((x - truth).abs().max()) > 0.1
    assert report.certificate("convergence").status == "none"


def test_with_noise_the_answer_is_that_of_scipy():
    A, truth = masks(), field()
    clean = A(truth)
    y = clean + 0.05 * clean.mean() * randn(*clean.shape, seed=5)
    start = spectral_initialization(A, y)

    def residuals(flat):
        x = torch.from_numpy(flat[: SIDE**2] + 1j * flat[SIDE**2 :]).reshape(1, SIDE, SIDE)
        return (A(x) - y).reshape(-1).numpy()

    first = start.reshape(-1).numpy()
    exact = scipy.optimize.least_squares(residuals, np.concatenate([first.real, first.imag]), method="lm", xtol=1e-12)
    x, report = ap.solve(ap.Problem(ap.LeastSquares(A, y)), x0=start, tol=1e-8)
    assert report.algorithm == "LevenbergMarquardt"
    assert float(report.objective) == pytest.approx(float(exact.cost), rel=1e-8)
    other = torch.from_numpy(exact.x[: SIDE**2] + 1j * exact.x[SIDE**2 :]).reshape(1, SIDE, SIDE)
    assert_close(aligned(x, other), other, rtol=1e-4, atol=1e-5)
    # noise is not amplified beyond reason: more data than unknowns
    assert psnr(start, truth) + 5 < psnr(x, truth) < math.inf


def test_each_field_of_a_batch_is_found_as_if_alone():
    A = masks()
    truth = torch.stack([field(), field(-2)])
    y = A(truth)
    problem = ap.Problem(ap.LeastSquares(A, y))
    start = spectral_initialization(A, y)
    x, report = ap.solve(problem, ap.LevenbergMarquardt(), x0=start, tol=1e-8)
    for i in range(2):
        alone, single = ap.solve(ap.Problem(ap.LeastSquares(A, y[i])), ap.LevenbergMarquardt(), x0=start[i], tol=1e-8)
        assert int(report.steps[i]) == int(single.steps)
        assert_close(x[i], alone, rtol=1e-6, atol=1e-7)
        assert_close(aligned(x[i], truth[i]), truth[i], rtol=1e-5, atol=1e-6)
