"""ADMM: penalties of the terms, and data that become a term of their own."""

import pytest
import torch
from torch.testing import assert_close

import apheleia as ap
from apheleia.algorithms.quadratic_update import partition

SIZE = 16
TRUTH = torch.linspace(0, 1, SIZE, dtype=torch.float64)[:, None].expand(1, SIZE, SIZE).clone()
TRUTH[:, 4:10, 3:12] = 0.8
MASK = (torch.rand(TRUTH.shape, generator=torch.Generator().manual_seed(0)) < 0.5).double()
NOISE = 0.02 * torch.randn(TRUTH.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
INPAINTING = ap.LeastSquares(ap.operators.Diagonal(MASK), MASK * (TRUTH + NOISE))
BLUR = ap.operators.Convolution(ap.imaging.gaussian_kernel(1.2), boundary="reflect")
DEBLURRING = ap.LeastSquares(BLUR, BLUR(TRUTH) + NOISE)
TV = 0.01 * ap.TotalVariation()


@pytest.mark.parametrize("prior", [TV, TV + ap.Box(0, 1)], ids=["tv", "tv and box"])
def test_data_behind_a_mask_become_a_term(prior):
    problem = ap.Problem(INPAINTING, prior)
    parts, terms = partition(problem)
    assert parts == ()
    assert [h.name for h, _ in terms].count("LeastSquares") == 1
    x, report = ap.solve(problem, ap.ADMM(), tol=1e-5)
    y, _ = ap.solve(problem, ap.CondatVu(), tol=1e-5)
    assert report.certificate("convergence").status == "proved"
    assert float(problem(x)) <= float(problem(y)) * (1 + 1e-5)
    assert_close(x, y, atol=2e-3, rtol=0)


def test_a_blur_stays_in_the_linear_system():
    problem = ap.Problem(DEBLURRING, TV + ap.Box(0, 1))
    parts, terms = partition(problem)
    assert parts == problem.smooth
    assert [h.name for h, _ in terms] == ["Box", "GroupL1"]


def test_inpainting_takes_fewer_steps_than_the_primal_dual_methods():
    problem = ap.Problem(INPAINTING, TV)
    steps = {name: int(ap.solve(problem, getattr(ap, name)())[1].steps) for name in ("ADMM", "ChambollePock", "CondatVu")}
    assert steps["ADMM"] < 0.7 * min(steps["ChambollePock"], steps["CondatVu"])


@pytest.mark.parametrize("penalty", [0.1, (0.5, 0.1), [0.1, 0.3]])
def test_any_penalties_lead_to_the_same_image(penalty):
    problem = ap.Problem(DEBLURRING, TV + ap.Box(0.1, 0.7))
    x, report = ap.solve(problem, ap.ADMM(penalty=penalty), tol=1e-5)
    assert report.certificate("convergence").status == "proved"
    assert_close(x, ap.solve(problem, tol=1e-5)[0], atol=1e-3, rtol=0)
    assert float(x.min()) >= 0.1
    assert float(x.max()) <= 0.7


def test_the_number_of_penalties_is_that_of_the_terms():
    problem = ap.Problem(DEBLURRING, TV + ap.Box(0, 1))
    with pytest.raises(ap.ArgumentError, match="ADMM: give one penalty for all terms, or 2, of Box, GroupL1; got 3"):
        ap.solve(problem, ap.ADMM(penalty=(1.0, 2.0, 3.0)))
    with pytest.raises(ap.ArgumentError, match="ADMM: `penalty` must be above zero"):
        ap.ADMM(penalty=(1.0, -2.0))
