"""A batch is solved image by image: nothing passes from one to another."""

import pytest
import torch
from algorithm_cases import ALGORITHMS, BLUR, CIRCULAR, IMAGE, KERNEL, NOISE, NOISY, randn, scene
from torch.testing import assert_close

import apheleia as ap
from apheleia.core import NotConverged, Status
from apheleia.functionals.fidelities.least_squares import SquaredDistance
from apheleia.operators import BlindConvolution, Convolution, Diagonal, Identity, Matrix, Segment

SCALES = (1.0, 1e-2, 50.0)


EVEN_ROWS = (torch.arange(IMAGE[1]) % 2 == 0).double()[:, None].expand(IMAGE).clone()


def images(dtype: torch.dtype = torch.float64) -> torch.Tensor:
    """Three images of different size, texture and noise; one of them easy."""
    flat = torch.full(IMAGE, 0.4, dtype=torch.float64)
    stack = torch.stack([BLUR(scene()) + NOISE, BLUR(scene().flip(-1)) + 3 * NOISE.flip(-2), flat])
    return (stack * torch.tensor(SCALES, dtype=torch.float64)[:, None, None, None]).to(dtype)


def vectors(dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return (randn(3, 12, seed=5) * torch.tensor([[1.0], [1e-2], [50.0]], dtype=torch.float64)).to(dtype)


def smooth(y, w, s):
    return ap.Problem(ap.LeastSquares(BLUR, y, noise_std=s), w * ap.SmoothedVariation(0.1))


def quadratic(y, w, s):
    return ap.Problem(ap.LeastSquares(BLUR, y, noise_std=s), w * ap.QuadraticSmoothness())


def sparse(y, w, s):
    return ap.Problem(ap.LeastSquares(BLUR, y, noise_std=s), w * ap.L1())


def boxed(y, w, s):
    return ap.Problem(ap.LeastSquares(BLUR, y, noise_std=s), ap.Box(0, 0.5), terms=((w * ap.TotalVariation(), Identity()),))


def variation(y, w, s):
    return ap.Problem(ap.LeastSquares(CIRCULAR, y, noise_std=s), w * ap.TotalVariation())


def robust(y, w, s):
    return ap.Problem(ap.LeastAbsoluteDeviations(BLUR, y), w * ap.TotalVariation())


def counted(y, w, s):
    return ap.Problem(w * ap.KullbackLeibler(BLUR, y.abs(), background=1e-3), ap.NonNegativity())


def counted_in_parts(y, w, s):
    masks = (EVEN_ROWS, 1 - EVEN_ROWS)
    parts = [w * ap.KullbackLeibler(Diagonal(mask) @ BLUR, mask * y.abs(), background=1e-3) for mask in masks]
    return ap.Problem(parts[0] + parts[1], ap.NonNegativity())


def boxed_only(y, w, s):
    return ap.Problem(ap.LeastSquares(BLUR, y, noise_std=s), ap.Box(0, 0.5))


def damped(y, w, s):
    return ap.Problem(ap.LeastSquares(BLUR, y, noise_std=s), w * SquaredDistance(0 * y, ap.IMAGE))


def sparse_masked(y, w, s):
    return ap.Problem(ap.LeastSquares(Diagonal((NOISE > -0.02).double()), y, noise_std=s), w * ap.L1())


def mixed(y, w, s):
    return ap.Problem(ap.LeastSquares(BLUR, y, noise_std=s), ap.Simplex(axis=-1))


BLIND = BlindConvolution(IMAGE, (2, 3))
"""Of a scene of 90 pixels and a kernel of 6, as one vector."""


def blind(y, w, s):
    kernel = ap.Simplex(1.0, -1, ap.VECTOR) @ Segment(96, 90, ap.Space((6,)))
    return ap.Problem(ap.LeastSquares(BLIND, y, noise_std=s), (w * ap.L1(BLIND.blocks[0].codomain)) @ BLIND.blocks[0] + kernel)


STARTS = {"PALM": torch.cat([torch.linspace(0.1, 0.5, 90), torch.linspace(0.1, 0.3, 6)]).double()}
"""Where the fidelity suggests nothing, or what is sought is no image."""

MODELS = {
    "ConjugateGradient": (quadratic,),
    "Gradient": (smooth,),
    "AcceleratedGradient": (smooth,),
    "FISTA": (sparse,),
    "ProximalGradient": (sparse,),
    "ChambollePock": (variation, robust),
    "CondatVu": (variation, boxed),
    "ADMM": (variation, boxed),
    "HalfQuadraticSplitting": (variation,),
    "LevenbergMarquardt": (quadratic,),
    "GaussNewton": (quadratic,),
    "LBFGS": (smooth,),
    "PALM": (blind,),
    "RichardsonLucy": (counted,),
    "OSEM": (counted_in_parts,),
    "SIRT": (boxed_only,),
    "LSQR": (damped,),
    "DouglasRachford": (sparse_masked,),
    "StochasticPrimalDual": (variation, boxed),
    "PreconditionedPrimalDual": (variation, boxed),
    "MirrorDescent": (mixed,),
}

every_model = pytest.mark.parametrize(
    ("algorithm", "model"), [(name, model) for name, models in MODELS.items() for model in models]
)


def start(algorithm: str, dtype: torch.dtype = torch.float64) -> torch.Tensor | None:
    return STARTS[algorithm].to(dtype) if algorithm in STARTS else None


def test_every_algorithm_is_here():
    assert set(MODELS) == set(ALGORITHMS)


@every_model
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_a_batch_equals_one_by_one(algorithm, model, dtype):
    y = images(dtype)
    weights = torch.tensor([0.03, 0.2, 1.0], dtype=dtype)
    stds = torch.tensor([1.0, 0.3, 2.0], dtype=dtype)
    # steps that hold iterations of their own are few
    steps = {"HalfQuadraticSplitting": 25, "RichardsonLucy": 60, "ADMM": 60, "LBFGS": 60}.get(algorithm, 200)
    options = {"tol": 1e-4, "max_steps": steps, "throw": False, "x0": start(algorithm, dtype)}
    x, report = ap.solve(model(y, weights, stds), ALGORITHMS[algorithm].make(), **options)
    # Barzilai-Borwein steps amplify the rounding in which one FFT of a batch differs from several: float32 feels it; so do
    # the last digits of methods that converge superlinearly
    chaotic = algorithm in ("Gradient", "ProximalGradient", "LBFGS", "LevenbergMarquardt", "GaussNewton", "LSQR")
    rtol = 1e-6 if dtype is torch.float64 else 1e-3 if algorithm == "ProximalGradient" else 1e-4
    assert x.shape == (3, *model(y, weights, stds).space.shape)
    for i in range(3):
        own, single = ap.solve(model(y[i], weights[i], stds[i]), ALGORITHMS[algorithm].make(), **options)
        assert own.shape == x.shape[1:]
        assert float((x[i] - own).norm()) <= rtol * float(own.norm())
        if dtype is torch.float64:
            assert report[i].status is single.status
            # the least objective of the flat image is zero
            assert_close(report[i].objective, single.objective, rtol=1e-6, atol=1e-9)
            if not chaotic:
                assert int(report[i].steps) == int(single.steps)
                assert_close(report[i].residual, single.residual, rtol=1e-3, atol=1e-12)


@every_model
def test_images_stop_at_their_own_steps_and_stay_there(algorithm, model):
    y = images()
    seen = {}

    def watch(state, residual):
        seen[state.k] = state.x.clone()

    problem = model(y, torch.tensor([0.03, 0.2, 1.0]), torch.tensor([1.0, 0.3, 2.0]))
    options = {"tol": 1e-3, "max_steps": 60, "throw": False, "callbacks": [watch]}
    x, report = ap.solve(problem, ALGORITHMS[algorithm].make(), start(algorithm), **options)
    for i in range(3):
        assert torch.equal(seen[int(report.steps[i])][i], x[i])
        assert torch.equal(report[i].x, x[i])
    if algorithm in ("Gradient", "FISTA", "ProximalGradient", "CondatVu"):
        assert len(set(report.steps.tolist())) > 1


def test_a_sweep_over_ten_weights_is_a_batch_of_ten():
    weights = torch.logspace(-3, 0, 10, dtype=torch.float64)
    x, report = ap.solve(ap.Problem(ap.LeastSquares(Identity(), NOISY), weights * ap.TotalVariation()), tol=1e-6)
    assert x.shape == (10, *IMAGE)
    assert len(report) == 10
    assert len(set(report.steps.tolist())) > 1
    variations = ap.TotalVariation()(x)
    assert bool((variations.diff() < 0).all())
    for i, weight in enumerate(weights.tolist()):
        own, _ = ap.solve(ap.Problem(ap.LeastSquares(Identity(), NOISY), weight * ap.TotalVariation()), tol=1e-6)
        assert_close(x[i], own, rtol=1e-6, atol=1e-9)


def test_weight_zero_in_a_sweep_switches_the_prior_off():
    weights = torch.tensor([0.0, 0.1], dtype=torch.float64)
    for prior in (ap.TotalVariation(), ap.L1(), ap.WaveletL1("haar", 2)):
        x, _ = ap.solve(ap.Problem(ap.LeastSquares(Identity(), NOISY), weights * prior), tol=1e-8, max_steps=50_000)
        assert_close(x[0], NOISY, rtol=1e-5, atol=1e-6)
        own, _ = ap.solve(ap.Problem(ap.LeastSquares(Identity(), NOISY), 0.1 * prior), tol=1e-8)
        assert_close(x[1], own, rtol=1e-4, atol=1e-4)


def test_noise_levels_starts_and_kernels_broadcast_too():
    x0 = torch.stack([NOISY, 0 * NOISY])
    x, report = ap.solve(ap.Problem(ap.LeastSquares(BLUR, NOISY), 0.1 * ap.QuadraticSmoothness()), x0=x0, tol=1e-9)
    assert report.batch_shape == (2,)
    assert_close(x[0], x[1], rtol=1e-6, atol=1e-7)
    stds = torch.tensor([[0.1], [1.0]], dtype=torch.float64)
    weights = torch.tensor([0.1, 1.0, 3.0], dtype=torch.float64)
    x, report = ap.solve(ap.Problem(ap.LeastSquares(BLUR, NOISY, noise_std=stds), weights * ap.QuadraticSmoothness()), tol=1e-9)
    assert report.batch_shape == (2, 3)
    own, _ = ap.solve(ap.Problem(ap.LeastSquares(BLUR, NOISY, noise_std=1.0), 3.0 * ap.QuadraticSmoothness()), tol=1e-9)
    assert_close(x[1, 2], own, rtol=1e-6, atol=1e-7)
    assert int(report[1, 2].steps) == int(report.steps[1, 2])
    kernels = torch.stack([KERNEL[None], KERNEL[None].flip(-1)])
    for boundary in ("circular", "reflect"):
        A = Convolution(kernels, boundary=boundary)
        y = A(torch.stack([scene(), scene()]))
        x, _ = ap.solve(ap.Problem(ap.LeastSquares(A, y), 0.02 * ap.TotalVariation()), tol=1e-5)
        for i in range(2):
            single = ap.LeastSquares(Convolution(kernels[i], boundary=boundary), y[i])
            own, _ = ap.solve(ap.Problem(single, 0.02 * ap.TotalVariation()), tol=1e-5)
            assert_close(x[i], own, rtol=1e-5, atol=1e-6)


def test_energies_and_certificates_are_per_image():
    """PROBE: costs that mix a batch."""
    y = images()
    weights, stds = torch.tensor([[0.03, 0.2, 1.0], [1.0, 0.3, 2.0]], dtype=torch.float64)
    problem = boxed(y, weights, stds)
    x, report = ap.solve(problem, tol=1e-3)
    assert report.objective.shape == report.residual.shape == report.gap.shape == report.steps.shape == (3,)
    for i in range(3):
        alone = boxed(y[i], [0.03, 0.2, 1.0][i], [1.0, 0.3, 2.0][i])
        assert_close(problem(x)[i], alone(x[i]), rtol=1e-12, atol=0)
        assert_close(report[i].gap, ap.duality_gap(alone, x[i], tuple(p[i] for p in report.duals)), rtol=1e-6, atol=1e-14)
    # one image's objective does not depend on the others
    z = x.clone()
    z[1] += 1
    assert torch.equal(problem(z)[0], problem(x)[0])


def test_one_diverging_image_does_not_spoil_the_others():
    """A fixed step that is legal for one matrix and too long for the other."""
    M = torch.stack([torch.diag(torch.ones(4)), torch.diag(torch.full((4,), 3.0))]).double()
    y = torch.ones(2, 4, dtype=torch.float64)
    problem = ap.Problem(ap.LeastSquares(Matrix(M), y))
    with pytest.raises(NotConverged, match=r"DIVERGED for 1 of 2 images") as caught:
        ap.solve(problem, ap.Gradient(step=1.5), x0=torch.zeros(2, 4).double())
    x, report = caught.value.x, caught.value.report
    assert report[0].status is Status.CONVERGED
    assert report[1].status is Status.DIVERGED
    assert report.status is Status.DIVERGED
    assert_close(x[0], torch.ones(4).double(), rtol=1e-3, atol=1e-3)
    alone, _ = ap.solve(ap.Problem(ap.LeastSquares(Matrix(M[0]), y[0])), ap.Gradient(step=1.5), x0=torch.zeros(4).double())
    assert torch.equal(x[0], alone)


@pytest.mark.parametrize("algorithm", [ap.Gradient(), ap.FISTA(), ap.CondatVu(), ap.ADMM()], ids=lambda a: a.name)
def test_an_image_of_nan_does_not_spoil_the_others(algorithm):
    terms = algorithm.name in ("CondatVu", "ADMM")
    prior = 0.1 * (ap.TotalVariation() if terms else ap.SmoothedVariation(0.1) if algorithm.name == "Gradient" else ap.L1())
    problem = ap.Problem(ap.LeastSquares(BLUR, NOISY), prior)
    x0 = torch.stack([NOISY, torch.full(IMAGE, torch.nan, dtype=torch.float64), 0 * NOISY])
    x, report = ap.solve(problem, algorithm, x0=x0, throw=False)
    assert [report[i].status for i in range(3)] == [Status.CONVERGED, Status.DIVERGED, Status.CONVERGED]
    alone, _ = ap.solve(problem, algorithm, x0=0 * NOISY)
    assert_close(x[2], alone, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("algorithm", list(ALGORITHMS))
def test_no_hidden_state(algorithm):
    """PROBE: a solver whose result depends on the image before."""
    model = MODELS[algorithm][0]
    solver = ALGORITHMS[algorithm].make()
    first, second = model(images()[0], 0.1, 1.0), model(images()[1], 0.2, 0.5)
    options = {"max_steps": 40, "throw": False, "x0": start(algorithm)}
    before = [ap.solve(problem, solver, **options)[0] for problem in (first, second)]
    after = [ap.solve(problem, solver, **options)[0] for problem in (second, first)][::-1]
    for a, b in zip(before, after, strict=True):
        assert torch.equal(a, b)
    assert not list(solver.parameters())
    assert not list(solver.buffers())


@pytest.mark.parametrize("algorithm", list(ALGORITHMS))
def test_inputs_and_states_are_never_mutated(algorithm):
    model = MODELS[algorithm][0]
    y, w = images()[0], torch.tensor(0.1, dtype=torch.float64)
    x0 = STARTS.get(algorithm, randn(*IMAGE, seed=3))
    copies = y.clone(), x0.clone(), w.clone()
    problem = model(y, w, 1.0)
    ap.solve(problem, ALGORITHMS[algorithm].make(), x0=x0, max_steps=15, throw=False)
    for now, before in zip((y, x0, w), copies, strict=True):
        assert torch.equal(now, before)
    solver = ALGORITHMS[algorithm].make()
    state = solver.init(problem, x0)
    for _ in range(6):
        tensors = [value for value in vars(state).values() if isinstance(value, torch.Tensor)]
        frozen = [value.clone() for value in tensors]
        following = solver.step(problem, state)
        solver.residual(problem, state)
        for now, before in zip(tensors, frozen, strict=True):
            assert torch.equal(now, before)
        assert following.k == state.k + 1
        state = following


def test_an_empty_axis_of_two_batches_nests():
    weights = torch.full((2, 1, 2), 0.1, dtype=torch.float64)
    x, report = ap.solve(ap.Problem(ap.LeastSquares(Identity(), NOISY), weights * ap.L1()))
    assert x.shape == (2, 1, 2, *IMAGE)
    assert report[1, 0, 1].status is Status.CONVERGED
    with pytest.raises(IndexError, match=r"the batch has shape \(2, 1, 2\)"):
        report[0]
