"""Gradients through solvers are those of the numbers that come out."""

import pytest
import torch
from algorithm_cases import ALGORITHMS, BLUR, KERNEL, NOISY, randn, scene
from torch import nn

import apheleia as ap
from apheleia.core import NotConverged, Status
from apheleia.functionals.fidelities.least_squares import SquaredDistance
from apheleia.operators import BlindConvolution, Convolution, Diagonal, Identity, Matrix

SHAPE = (1, 5, 6)
TARGET = randn(*SHAPE, seed=20)
DATA = NOISY[:, 1:6, 1:7]


BLIND = BlindConvolution(SHAPE, (2, 2))
STARTS = {"PALM": torch.cat([torch.linspace(0.1, 0.5, 42), torch.tensor([0.1, 0.2, 0.3, 0.4])]).double()}
"""Where the fidelity suggests nothing, or what is sought is no image."""


def model(name: str, y, weight, std, kernel) -> ap.Problem:
    if name == "PALM":
        scene = (weight * ap.L1(BLIND.blocks[0].codomain)) @ BLIND.blocks[0]
        return ap.Problem(
            ap.LeastSquares(BLIND, y, noise_std=std), scene + ap.Ball(1.0, space=BLIND.blocks[1].codomain) @ BLIND.blocks[1]
        )
    if name == "RichardsonLucy":
        # a kernel that is learned is not known to stay non-negative
        f = ap.KullbackLeibler(Convolution(kernel.detach()), y.abs() + 0.1, background=0.01)
        return ap.Problem(weight * f, ap.NonNegativity())
    if name == "OSEM":
        rows = (torch.arange(SHAPE[1]) % 2).double()[:, None].expand(SHAPE)
        masks, blur = (rows, 1 - rows), Convolution(kernel.detach())
        parts = [ap.KullbackLeibler(Diagonal(mask) @ blur, mask * (y.abs() + 0.1), background=0.01) for mask in masks]
        return ap.Problem(weight * parts[0] + weight * parts[1], ap.NonNegativity())
    if name == "SIRT":
        return ap.Problem(ap.LeastSquares(Convolution(kernel.detach()), y, noise_std=std), ap.Box(0.1, 0.6))
    if name == "MirrorDescent":
        return ap.Problem(ap.LeastSquares(Convolution(kernel), y, noise_std=std), ap.Simplex(axis=-1))
    circular = name in ("ChambollePock", "DouglasRachford")
    f = ap.LeastSquares(Convolution(kernel, boundary="circular" if circular else "reflect"), y, noise_std=std)
    prior = {
        "ConjugateGradient": ap.QuadraticSmoothness,
        "Gradient": lambda: ap.SmoothedVariation(0.1),
        "AcceleratedGradient": lambda: ap.SmoothedVariation(0.1),
        "LBFGS": lambda: ap.SmoothedVariation(0.1),
        "LevenbergMarquardt": ap.QuadraticSmoothness,
        "GaussNewton": ap.QuadraticSmoothness,
        "LSQR": lambda: SquaredDistance(torch.zeros(SHAPE).double(), ap.IMAGE),
        "FISTA": ap.L1,
        "DouglasRachford": ap.L1,
        "ProximalGradient": ap.L1,
    }.get(name, ap.TotalVariation)()
    return ap.Problem(f, weight * prior)


def inputs() -> dict[str, nn.Parameter]:
    return {
        "y": nn.Parameter(DATA.clone()),
        "weight": nn.Parameter(torch.tensor(0.05, dtype=torch.float64)),
        "std": nn.Parameter(torch.tensor(0.8, dtype=torch.float64)),
        "kernel": nn.Parameter(KERNEL.clone()),
    }


# steps given by hand are the same on both sides of a difference; those that the library derives from L are held constant
# in the backward pass where L comes from the noise level or from the weight of a smooth prior
MAKERS = {
    "ConjugateGradient": ap.ConjugateGradient,
    "Gradient": lambda: ap.Gradient(step=0.1),
    "AcceleratedGradient": lambda: ap.AcceleratedGradient(step=0.1),
    "FISTA": lambda: ap.FISTA(step=0.3),
    "ProximalGradient": lambda: ap.ProximalGradient(step=0.3),
    "ChambollePock": lambda: ap.ChambollePock(step=0.3),
    "CondatVu": lambda: ap.CondatVu(step=0.2),
    "ADMM": lambda: ap.ADMM(penalty=0.3),
    "HalfQuadraticSplitting": ap.HalfQuadraticSplitting,
    "LevenbergMarquardt": ap.LevenbergMarquardt,
    "GaussNewton": ap.GaussNewton,
    "RichardsonLucy": ap.RichardsonLucy,
    "OSEM": ap.OSEM,
    "SIRT": ap.SIRT,
    "LSQR": ap.LSQR,
    "DouglasRachford": lambda: ap.DouglasRachford(step=0.5),
    "StochasticPrimalDual": ap.StochasticPrimalDual,
    "PreconditionedPrimalDual": ap.PreconditionedPrimalDual,
    "MirrorDescent": lambda: ap.MirrorDescent(step=0.3),
    "PALM": lambda: ap.PALM(inertia=0.2),
    "LBFGS": lambda: ap.LBFGS(step=0.3),
}


def run(name: str, algorithm, diff, x0=None, **values) -> torch.Tensor:
    x, report = ap.solve(model(name, **values), algorithm, x0=STARTS.get(name, x0), diff=diff)
    assert report.status is Status.FIXED_STEPS
    return x


def total(x: torch.Tensor) -> torch.Tensor:
    """A number in which every entry has a weight of its own."""
    return (x * randn(*x.shape, seed=20)).sum()


def differences(function, value: torch.Tensor, direction: torch.Tensor, h: float = 1e-6) -> float:
    """A fourth-order central difference along a direction, short enough to pass no kink of a proximal map."""
    near, far = (function(value + s * h * direction) - function(value - s * h * direction) for s in (1, 2))
    return float((8 * near - far) / (12 * h))


def check(function, values: dict[str, nn.Parameter], names: tuple[str, ...], rel: float) -> None:
    function(**values).backward()
    for i, name in enumerate(names):
        gradient = values[name].grad
        assert gradient is not None
        assert bool(gradient.isfinite().all())
        direction = randn(*gradient.shape, seed=30 + i) if gradient.ndim else torch.ones((), dtype=torch.float64)
        plain = {key: value.detach() for key, value in values.items()}

        def moved(value, plain=plain, name=name):
            with torch.no_grad():
                return function(**{**plain, name: value})

        expected = differences(moved, plain[name], direction)
        assert float((gradient * direction).sum()) == pytest.approx(expected, rel=rel, abs=1e-9)


def test_every_algorithm_is_here():
    assert set(MAKERS) == set(ALGORITHMS)


@pytest.mark.parametrize("name", list(MAKERS))
def test_unrolled_gradients_equal_differences(name):
    # the inner systems of these two stop by a tolerance, which differences see
    iterative = name in ("ADMM", "HalfQuadraticSplitting")
    # the penalties of the one and the dual steps of the other follow from L, which is held constant in the noise level,
    # and whose bound is a maximum over pixels in the kernel, with ties
    held = name in ("HalfQuadraticSplitting", "CondatVu", "StochasticPrimalDual", "PreconditionedPrimalDual", "PALM")
    names = ("y", "weight") if held else ("y", "weight", "std", "kernel")
    own = {"RichardsonLucy": ("y",), "OSEM": ("y",), "SIRT": ("y", "std"), "MirrorDescent": ("y", "std", "kernel")}
    names = own.get(name, names)
    x0 = randn(*SHAPE, seed=21)

    def loss(**values):
        return total(run(name, MAKERS[name](), ap.Unrolled(7), x0, **values))

    check(loss, inputs(), names, rel=1e-3 if iterative else 1e-5)


@pytest.mark.parametrize("name", list(MAKERS))
def test_gradients_of_the_library_s_own_steps_equal_differences(name):
    """With respect to the data, and to the weight of a prior that sets no step."""
    iterative = name in ("ADMM", "HalfQuadraticSplitting")
    names = (
        ("y",)
        if name in ("Gradient", "AcceleratedGradient", "LBFGS", "RichardsonLucy", "OSEM", "SIRT", "MirrorDescent")
        else ("y", "weight")
    )

    def loss(**values):
        return total(run(name, ALGORITHMS[name].make(), ap.Unrolled(7), **values))

    check(loss, inputs(), names, rel=1e-3 if iterative else 1e-5)


@pytest.mark.parametrize(
    "name",
    ["ConjugateGradient", "AcceleratedGradient", "FISTA", "ChambollePock", pytest.param("CondatVu", marks=pytest.mark.slow)],
)
def test_unrolled_at_convergence_is_the_derivative_of_the_solution(name):
    steps = {"ConjugateGradient": 30, "ChambollePock": 500, "CondatVu": 800}.get(name, 200)
    values = inputs()

    def solved(**values):
        x, _ = ap.solve(model(name, **values), ALGORITHMS[name].make(), tol=1e-10, max_steps=20_000, throw=False)
        return (x * TARGET).sum()

    (run(name, ALGORITHMS[name].make(), ap.Unrolled(steps), **values) * TARGET).sum().backward()
    plain = {key: value.detach() for key, value in values.items()}
    for key in ("weight", "std"):
        expected = differences(lambda v, key=key: solved(**{**plain, key: v}), plain[key], torch.ones(()).double(), h=1e-4)
        assert float(values[key].grad) == pytest.approx(expected, rel=1e-2, abs=1e-5)


@pytest.mark.parametrize("name", list(MAKERS))
@pytest.mark.parametrize(("steps", "last"), [(1, 1), (6, 2), (6, 6)])
def test_exactly_the_steps_that_were_asked_for(name, steps, last):
    counted = []
    values = inputs()
    x, report = ap.solve(
        model(name, **values),
        ALGORITHMS[name].make(),
        STARTS.get(name),
        diff=ap.Truncated(steps, last),
        tol=1.0,
        max_steps=2,
        callbacks=[lambda state, residual: counted.append((state.k, bool(residual.isnan().all())))],
    )
    assert counted == [(k + 1, True) for k in range(steps)]
    assert int(report.steps) == steps
    assert report.status is Status.FIXED_STEPS
    assert report.tol is None
    assert report.history.steps == (steps,)
    x.sum().backward()
    assert all(value.grad is None or bool(value.grad.isfinite().all()) for value in values.values())
    with torch.no_grad():
        plain = ap.solve(model(name, **values), ALGORITHMS[name].make(), STARTS.get(name), diff=ap.Unrolled(steps))[0]
    assert torch.equal(plain, x.detach())


def test_truncated_sees_only_the_last_steps():
    def gradient(diff):
        values = inputs()
        run("FISTA", ap.FISTA(step=0.3), diff, randn(*SHAPE, seed=21), **values).sum().backward()
        return values["y"].grad

    whole, last, all_of_them = gradient(ap.Unrolled(6)), gradient(ap.Truncated(6, 2)), gradient(ap.Truncated(6, 6))
    assert torch.equal(whole, all_of_them)
    assert float((whole - last).norm()) > 1e-3 * float(whole.norm())

    # by hand: four steps without a graph, two with it
    values = inputs()
    problem = model("FISTA", **values)
    problem = problem.prepared(SHAPE, torch.float64)
    algorithm, x0 = ap.FISTA(step=0.3), randn(*SHAPE, seed=21)
    state = algorithm.init(problem, x0)
    with torch.no_grad():
        for _ in range(4):
            state = algorithm.step(problem, state)
    for _ in range(2):
        state = algorithm.step(problem, state)
    state.x.sum().backward()
    assert torch.equal(values["y"].grad, last)


@pytest.mark.parametrize("name", list(MAKERS))
def test_without_diff_the_answer_is_detached(name):
    x, report = ap.solve(model(name, **inputs()), ALGORITHMS[name].make(), STARTS.get(name), max_steps=3, throw=False)
    assert not x.requires_grad
    assert not report.objective.requires_grad
    assert not report.residual.requires_grad
    assert all(c.value is None or not c.value.value.requires_grad for c in report.certificates)


@pytest.mark.parametrize("name", list(MAKERS))
def test_a_report_of_a_differentiated_run_holds_no_graph(name):
    x, report = ap.solve(model(name, **inputs()), ALGORITHMS[name].make(), STARTS.get(name), diff=ap.Unrolled(3))
    assert x.requires_grad
    held = [report.x, report.objective, report.residual, report.history.objective, report.history.residual, *report.duals]
    held += [c.value.value for c in report.certificates if c.value is not None]
    assert not any(tensor.requires_grad for tensor in held)


@pytest.mark.parametrize("name", list(MAKERS))
@pytest.mark.parametrize("case", ["constant", "zero", "weight zero"])
def test_no_gradient_is_nan(name, case):
    """Norms of zero, quotients of zero by zero, thresholds at zero."""
    values = inputs()
    with torch.no_grad():
        if case == "weight zero":
            values["weight"].zero_()
        else:
            values["y"].fill_(0.4 if case == "constant" else 0.0)
    run(name, ALGORITHMS[name].make(), ap.Unrolled(6), **values).sum().backward()
    for key, value in values.items():
        assert value.grad is None or bool(value.grad.isfinite().all()), key


def test_gradients_of_a_batch_are_per_image():
    weights = nn.Parameter(torch.tensor([0.02, 0.2], dtype=torch.float64))
    f = ap.LeastSquares(Identity(), DATA)
    x, _ = ap.solve(ap.Problem(f, weights * ap.TotalVariation()), diff=ap.Unrolled(25))
    (x[0] * TARGET).sum().backward()
    assert float(weights.grad[1]) == 0
    single = nn.Parameter(weights[0].detach().clone())
    x, _ = ap.solve(ap.Problem(f, single * ap.TotalVariation()), diff=ap.Unrolled(25))
    (x * TARGET).sum().backward()
    assert float(weights.grad[0]) == pytest.approx(float(single.grad), rel=1e-9)


def test_a_weight_can_be_learned():
    clean = scene()[:, 1:6, 1:7]
    weight = nn.Parameter(torch.tensor(0.2, dtype=torch.float64))
    optimiser = torch.optim.Adam([weight], lr=0.02)
    losses = []
    for _ in range(7):
        optimiser.zero_grad()
        x, _ = ap.solve(ap.Problem(ap.LeastSquares(Identity(), DATA), weight * ap.TotalVariation()), diff=ap.Unrolled(30))
        loss = ((x - clean) ** 2).mean()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


def test_iterates_that_are_not_finite_raise_also_when_differentiated():
    problem = ap.Problem(ap.LeastSquares(Matrix(1e200 * torch.eye(3, dtype=torch.float64)), torch.ones(3, dtype=torch.float64)))
    with pytest.raises(NotConverged, match="DIVERGED"):
        ap.solve(problem, ap.Gradient(step=1.0), x0=torch.ones(3, dtype=torch.float64), diff=ap.Unrolled(4))


@pytest.mark.parametrize("steps", [0, -1, 1.5])
def test_refusals(steps):
    with pytest.raises(ap.ArgumentError, match=r"Unrolled: `steps` must be a whole number >= 1"):
        ap.Unrolled(steps)
    with pytest.raises(ap.ArgumentError, match=r"Truncated: `steps` must be a whole number >= 1"):
        ap.Truncated(steps, 1)
    with pytest.raises(ap.ArgumentError, match=r"Truncated: `last` must lie between 1 and steps = 5"):
        ap.Truncated(5, 6)
    with pytest.raises(ap.ArgumentError, match=r"Truncated: `last` must lie between 1 and steps = 5"):
        ap.Truncated(5, 0)


def test_blur_here_is_the_blur_of_the_cases():
    assert torch.equal(BLUR.kernel, KERNEL)
