"""Hessians that are not diagonal but at most a diagonal: ADMM's updates stay closed, and the answers are those of others."""

import numpy as np
import pytest
import torch
from case_types import randn

import apheleia as ap
from apheleia.operators import Convolution, Crop, Decimation, Diagonal, FanBeamTransform, XRayTransform

KERNEL = torch.tensor([[1.0, 2, 1], [2, 4, 2], [1, 2, 1]], dtype=torch.float64) / 16
ANGLES = [0.0, 20.0, 50.0, 85.0, 120.0, 160.0]

MODELS = [
    pytest.param(Decimation(2) @ Convolution(KERNEL), (1, 6, 8), "proved", id="sampling after a blur"),
    pytest.param(Crop((1, 9, 8), (6, 5)) @ Convolution(KERNEL, "circular"), (1, 9, 8), "proved", id="a blur beyond the picture"),
    pytest.param(Diagonal(randn(1, 6, 8) > 0) @ Convolution(KERNEL), (1, 6, 8), "proved", id="a mask after a blur"),
    pytest.param(XRayTransform(ANGLES, (8, 8)), (1, 8, 8), "estimated", id="parallel rays", marks=pytest.mark.slow),
    pytest.param(FanBeamTransform(ANGLES, (7, 8), 12.0, 3.0), (1, 7, 8), "estimated", id="a fan"),
]


@pytest.mark.parametrize(("A", "shape", "status"), MODELS)
def test_chosen_and_right(A, shape, status):
    y = A(randn(*shape).cumsum(-1)) + 0.1 * randn(*A.output_shape(shape), seed=1)
    problem = ap.Problem(ap.LeastSquares(A, y, 0.7), 0.3 * ap.TotalVariation())
    x, report = ap.solve(problem, x0=torch.zeros(shape, dtype=torch.float64), tol=1e-7)
    other, _ = ap.solve(problem, ap.CondatVu(), x0=torch.zeros(shape, dtype=torch.float64), tol=1e-7, max_steps=100_000)
    assert (report.algorithm, report.certificate("convergence").status) == ("ADMM", status)
    assert "iterations" not in report.certificate("convergence").why
    torch.testing.assert_close(problem(x), problem(other), rtol=1e-6, atol=0)


@pytest.mark.parametrize(("A", "shape", "status"), MODELS)
def test_a_batch_equals_one_by_one(A, shape, status):
    y = randn(2, *A.output_shape(shape))
    weights, start = torch.tensor([0.1, 1.0], dtype=torch.float64), torch.zeros(shape, dtype=torch.float64)

    def solved(y, weight):
        problem = ap.Problem(ap.LeastSquares(A, y, 0.7), weight * ap.TotalVariation())
        return ap.solve(problem, ap.ADMM(), x0=start, max_steps=30, throw=False)[0]

    both = solved(y, weights)
    for i in range(2):
        torch.testing.assert_close(both[i], solved(y[i], weights[i]), rtol=1e-6, atol=1e-9)


def test_a_majorant_that_is_only_a_multiple_of_the_identity_is_not_chosen():
    problem = ap.Problem(ap.LeastSquares(Decimation(2, ap.Space((1, 6, 6))), randn(1, 3, 3)), 0.3 * ap.TotalVariation())
    x, report = ap.solve(problem, tol=1e-6)
    assert report.algorithm != "ADMM"
    other, _ = ap.solve(problem, ap.ADMM(), tol=1e-6)
    torch.testing.assert_close(problem(x), problem(other), rtol=1e-5, atol=0)


@pytest.mark.parametrize("views", [2, 7, 40])
def test_the_measured_majorant_of_a_tomograph_is_one(views):
    A = XRayTransform(torch.arange(views) * 180.0 / views, (16, 16))
    x, excess = torch.eye(256, dtype=torch.float64).reshape(256, 1, 16, 16), torch.zeros(256, 1, 16, 16, dtype=torch.float64)
    A._add_gram_excess("cosine", x, torch.ones((), dtype=torch.float64), excess)
    values = torch.linalg.eigvalsh(excess.reshape(256, 256))
    assert values.min() > -1e-9 * values.max()


@pytest.mark.parametrize("seed", range(30))
def test_the_measured_majorant_of_scarce_views(seed):
    rng = np.random.default_rng(seed)
    height, width = (int(n) for n in rng.choice([1, 2, 3, 7, 12], 2))
    angle = rng.uniform(-10, 10, int(rng.integers(1, 8))) + rng.choice([0, 45, 90])
    A = XRayTransform(angle, (height, width), max(1, width // 2), detector_spacing=float(rng.choice([0.3, 1, 3])))
    count = height * width
    x, excess = (
        torch.eye(count, dtype=torch.float64).reshape(count, 1, height, width),
        torch.zeros(count, 1, height, width).double(),
    )
    A._add_gram_excess("cosine", x, torch.ones((), dtype=torch.float64), excess)
    values = torch.linalg.eigvalsh(excess.reshape(count, count))
    assert values.min() >= -1e-9 * values.max().clamp(min=1e-300)
