"""Denoisers in the place of priors: with the denoiser of a prior they solve its problem; nothing is promised of others."""

import pytest
import torch
from case_types import randn
from torch.testing import assert_close

import apheleia as ap
from apheleia.core import ArgumentError, CapabilityError
from apheleia.operators import Convolution, Identity

CLEAN = torch.zeros(1, 16, 16, dtype=torch.float64)
CLEAN[:, 4:12, 4:12] = 1
BLUR = Convolution(torch.ones(3, 3, dtype=torch.float64) / 9, "reflect")
Y = BLUR(CLEAN) + 0.02 * randn(1, 16, 16)
WAVELETS = ap.WaveletL1("haar", 2)


@pytest.mark.parametrize(
    ("algorithm", "is_convex", "status"),
    [
        (None, False, "none"),
        (ap.ProximalGradient(step=1.0), False, "none"),
        (ap.HalfQuadraticSplitting(growth=1.05), False, "none"),
        (ap.ADMM(), True, "estimated"),
        (None, True, "estimated"),
    ],
)
def test_the_denoiser_of_a_prior_solves_its_problem(algorithm, is_convex, status):
    f = ap.LeastSquares(BLUR, Y)
    expected, _ = ap.solve(ap.Problem(f, 0.01 * WAVELETS), tol=1e-6)
    prior = ap.PlugAndPlay(ap.ProximalDenoiser(WAVELETS), is_convex=is_convex)
    x, report = ap.solve(ap.Problem(f, 0.01 * prior), algorithm, max_steps=400, throw=False)
    assert (x - expected).norm() < 0.03 * expected.norm()
    assert report.certificate("convergence").status == status
    assert report.certificate("objective_gap").status == "none"
    # it has no value, and does not make one up
    assert report.objective.isnan()


def test_the_noise_level_is_the_root_of_the_step():
    heard = []

    def denoiser(x, noise_std):
        heard.append(noise_std)
        return x

    steps = torch.tensor([0.25, 4.0], dtype=torch.float64)
    F = 9.0 * ap.PlugAndPlay(denoiser)
    assert F.prox(randn(1, 3, 3), steps).shape == (2, 1, 3, 3)
    assert_close(heard[0], torch.tensor([1.5, 6.0], dtype=torch.float64))
    assert (F.is_convex, F.is_smooth, F.has_exact_prox, F.has_conjugate) == (False, False, False, False)


def test_a_denoiser_of_numpy_restores():
    restoration = pytest.importorskip("skimage.restoration")

    def non_local_means(x, noise_std):
        std = float(noise_std)
        out = restoration.denoise_nl_means(x[0].numpy(), h=0.8 * std, sigma=std, patch_size=3, patch_distance=4)
        return torch.from_numpy(out)[None]

    y = CLEAN + 0.2 * randn(1, 16, 16)
    prior = 0.04 * ap.PlugAndPlay(non_local_means)
    # no proximal map: a bounded number of steps, whatever the residual says
    x, _ = ap.solve(ap.Problem(ap.LeastSquares(Identity(), y), prior), ap.ProximalGradient(step=1.0), max_steps=5, throw=False)
    assert (x - CLEAN).norm() < 0.5 * (y - CLEAN).norm()


def test_regularization_by_denoising_with_a_symmetric_filter_is_quadratic():
    smooth = Convolution(torch.tensor([[1.0, 2, 1], [2, 4, 2], [1, 2, 1]], dtype=torch.float64) / 16, "reflect")
    prior = ap.RegularizationByDenoising(lambda x, noise_std: smooth(x), 0.1)
    x, report = ap.solve(ap.Problem(ap.LeastSquares(BLUR, Y), 0.02 * prior), tol=1e-8)
    A, S = BLUR.dense((1, 16, 16)), smooth.dense((1, 16, 16))
    expected = torch.linalg.solve(A.T @ A + 0.02 * (torch.eye(256).double() - S), A.T @ Y.reshape(-1))
    assert_close(x.reshape(-1), expected, rtol=0, atol=1e-4)
    assert (x - CLEAN).norm() < (Y - CLEAN).norm()
    assert report.certificate("convergence").status == "none"
    by_gradient, _ = ap.solve(ap.Problem(ap.LeastSquares(BLUR, Y), 0.02 * prior), ap.Gradient(), tol=1e-6)
    assert_close(by_gradient, x, rtol=0, atol=1e-3)


def test_defects_of_denoisers():
    perfect = ap.denoiser_defects(lambda x, noise_std: 0.9 * x, Y, 0.1)
    assert (perfect.homogeneity < 1e-7, perfect.asymmetry < 1e-14, perfect.expansion <= 0.9 + 1e-12) == (True, True, True)
    # a shift is linear, and its Jacobian is not symmetric
    shift = ap.denoiser_defects(lambda x, noise_std: x.roll(1, -1), Y, 0.1)
    assert (shift.homogeneity < 1e-7, shift.asymmetry > 0.5) == (True, True)
    # a soft threshold is the proximal map of a norm: symmetric, not expansive, and not homogeneous
    soft = ap.denoiser_defects(ap.ProximalDenoiser(WAVELETS), Y, 0.3)
    assert (soft.homogeneity > 0.01, soft.asymmetry < 1e-12, soft.expansion <= 1 + 1e-12) == (True, True, True)
    assert ap.denoiser_defects(lambda x, noise_std: 3 * x, Y, 0.1).expansion == pytest.approx(3)


def test_a_learned_denoiser_gets_gradients():
    net = torch.nn.Conv2d(1, 1, 3, padding=1, bias=False, dtype=torch.float64)

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.net = net

        def forward(self, x, noise_std):
            return x - 0.1 * self.net(x)

    prior = ap.PlugAndPlay(Net())
    problem = ap.Problem(ap.LeastSquares(BLUR, Y[None]), 0.01 * prior)
    assert any(p is net.weight for p in problem.parameters())
    x, _ = ap.solve(problem, ap.ProximalGradient(step=1.0), diff=ap.Unrolled(3))
    (gradient,) = torch.autograd.grad(((x - CLEAN) ** 2).sum(), net.weight)
    assert gradient.abs().sum() > 0


def test_wrong_use():
    with pytest.raises(ArgumentError, match=r"PlugAndPlay: `denoiser` must be callable as \(x, noise_std\); got str"):
        ap.PlugAndPlay("drunet")  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match=r"Denoising: `denoiser` must be callable as \(x, noise_std\); got int"):
        ap.RegularizationByDenoising(3, 0.1)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="RegularizationByDenoising: `noise_std` must be above zero; got 0"):
        ap.RegularizationByDenoising(lambda x, noise_std: x, 0)
    with pytest.raises(CapabilityError, match="ProximalDenoiser needs a proximable prior; SmoothedVariation is not"):
        ap.ProximalDenoiser(ap.SmoothedVariation())
    with pytest.raises(CapabilityError, match="ADMM needs a convex objective"):
        ap.solve(ap.Problem(ap.LeastSquares(BLUR, Y), ap.PlugAndPlay(lambda x, noise_std: x)), ap.ADMM())
