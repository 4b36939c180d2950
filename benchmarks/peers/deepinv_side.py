"""DeepInverse's side, by its own documented means; runs in its environment, with numpy, torch and deepinv alone."""

import sys

import numpy
import torch
from task import Task

# torchvision's compiled part does not load on a CPU build of torch: the two operators that it looks for are declared here
LIBRARY = torch.library.Library("torchvision", "DEF")
for _name in ("nms", "qnms"):
    LIBRARY.define(f"{_name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

import deepinv  # noqa: E402

WEIGHT, CT_WEIGHT, CT_NOISE = 1e-3, 2.0, 0.01

CT_STEPS, INNER, ADMM_STEPS = 100, 20, 300
"""Steps of the peer's tomography at most, each with so many of its inner total variation; steps of the run for its optimum."""


def task(case: str, values: dict[str, numpy.ndarray], given: dict[str, object]) -> Task:
    if case in ("tv256", "tv1024", "tv256_rgb"):
        return deblurring(values, float(given["optimum"]), 1024 if case == "tv1024" else 256)
    if case.startswith("xray"):
        return tomography(case, torch.from_numpy(values["x"]))
    if case.startswith("blur"):
        return blur(case, torch.from_numpy(values["kernel"]), torch.from_numpy(values["x"]))
    if case == "wavelet_prox":
        prior, x = deepinv.optim.WaveletPrior(level=3, wv="db8"), torch.from_numpy(values["x"])
        return Task(lambda: prior.prox(x, gamma=0.05))
    if case == "mri8_prox":
        return magnetic_resonance(values)
    return tomography_with_variation(values, given)


def differences(x: torch.Tensor) -> torch.Tensor:
    out = x.new_zeros(*x.shape, 2)
    out[..., :-1, :, 0] = x[..., 1:, :] - x[..., :-1, :]
    out[..., :-1, 1] = x[..., 1:] - x[..., :-1]
    return out


def chambolle_pock(physics, y, weight: float, tau: float, sigma: float, steps: int, cost=None):
    """Return the answer, and the objective after each step where `cost` is given."""
    variation = deepinv.optim.TVPrior()
    model = deepinv.optim.PDCP(
        K=variation.nabla,
        K_adjoint=variation.nabla_adjoint,
        data_fidelity=deepinv.optim.L2(),
        prior=deepinv.optim.L12Prior(l2_axis=-1),
        lambda_reg=weight,
        stepsize=tau,
        stepsize_dual=sigma,
        max_iter=steps,
        early_stop=False,
        g_first=True,
        custom_init=lambda y, physics: {"est": (physics.A_adjoint(y), physics.A_adjoint(y), variation.nabla(y) * 0)},
        custom_metrics=None if cost is None else {"objective": lambda history, previous, x: cost(x)},
    )
    with torch.no_grad():
        if cost is None:
            return model(y, physics)
        return model(y, physics, compute_metrics=True)[1]["objective"][0]


def first_below(costs: list[float], target: float) -> int | None:
    return next((k + 1 for k, cost in enumerate(costs) if float(cost) <= target), None)


def deblurring(values: dict[str, numpy.ndarray], optimum: float, side: int) -> Task:
    y = torch.from_numpy(values["y"])[None]
    kernel = torch.from_numpy(values["kernel"])[None, None]
    physics = deepinv.physics.BlurFFT(img_size=tuple(y.shape[1:]), filter=kernel)

    def cost(x: torch.Tensor) -> float:
        x = x.reshape(y.shape)
        return float(0.5 * ((physics.A(x) - y) ** 2).sum() + WEIGHT * differences(x).norm(dim=-1).sum())

    target, best = optimum * (1 + 1e-4), None
    for tau in (2.0, 4.0, 8.0):
        count = first_below(chambolle_pock(physics, y, WEIGHT, tau, 1 / (8 * tau), 250, cost), target)
        if count is not None and (best is None or count < best[0]):
            best = (count, tau)
    assert best is not None, "the peer did not reach the target"
    count, tau = best
    return Task(
        lambda: chambolle_pock(physics, y, WEIGHT, tau, 1 / (8 * tau), count), notes={"iterations": count, "stepsize": tau}
    )


def tomography(case: str, x: torch.Tensor) -> Task:
    side, views = (512, 360) if "512" in case else (256, 60)
    physics = deepinv.physics.Tomography(angles=views, img_width=side, normalize=False)
    if case in ("xray_forward", "xray_batch8"):
        return Task(lambda: physics.A(x))
    y = torch.ones(1, 1, int(numpy.ceil(numpy.sqrt(2) * side)), views)
    return Task(lambda: physics.A_adjoint(y))


def blur(case: str, kernel: torch.Tensor, x: torch.Tensor) -> Task:
    physics = deepinv.physics.Blur(filter=kernel[None, None], padding="valid" if "valid" in case else "replicate")
    y = physics.A(x)
    if case.endswith("ratio"):
        return Task(lambda: physics.A_adjoint(y), over=lambda: physics.A(x))
    start = torch.zeros_like(x)

    def prox() -> torch.Tensor:
        with torch.no_grad():
            return physics.prox_l2(start, y, 1.0, solver="CG", tol=1e-4, max_iter=100)

    return Task(prox, lambda: prox().numpy())


def magnetic_resonance(values: dict[str, numpy.ndarray]) -> Task:
    def parts(z: numpy.ndarray) -> torch.Tensor:
        return torch.view_as_real(torch.from_numpy(z)).permute(2, 0, 1)[None].contiguous()

    maps = torch.from_numpy(values["maps"])[None]
    physics = deepinv.physics.MultiCoilMRI(mask=torch.from_numpy(values["mask"]), coil_maps=maps)
    y, start = physics.A(parts(values["image"])), parts(values["start"])

    def prox() -> torch.Tensor:
        with torch.no_grad():
            return physics.prox_l2(start, y, 1.0, solver="CG", tol=1e-4, max_iter=100)

    return Task(prox, lambda: torch.view_as_complex(prox()[0].permute(1, 2, 0).contiguous()).numpy())


def tomography_with_variation(values: dict[str, numpy.ndarray], given: dict[str, object]) -> Task:
    """Its accelerated proximal gradient on its own operator and its transpose by automatic differentiation."""
    physics = deepinv.physics.Tomography(
        angles=torch.arange(60) * 3.0, img_width=256, normalize=False, adjoint_via_backprop=True, dtype=torch.float64
    )
    x = torch.from_numpy(values["x"])[None]
    clean = physics.A(x)
    y = clean + CT_NOISE * clean.max() * torch.from_numpy(values["noise"].T.copy())[None, None]
    optimum = optimum_of(physics, y, str(given["source"]))
    v = torch.randn(x.shape, dtype=x.dtype, generator=torch.Generator().manual_seed(0))
    for _ in range(20):
        v = physics.A_adjoint(physics.A(v / v.norm()))
    step = 1 / (1.01 * float(v.norm()))
    start = physics.A_dagger(y).clamp(min=0)

    def cost(z: torch.Tensor) -> float:
        z = z.reshape(x.shape)
        return float(0.5 * ((physics.A(z) - y) ** 2).sum() + CT_WEIGHT * differences(z).norm(dim=-1).sum())

    def accelerated(steps: int, watched: bool):
        model = deepinv.optim.FISTA(
            data_fidelity=deepinv.optim.L2(),
            prior=deepinv.optim.TVPrior(n_it_max=INNER),
            lambda_reg=CT_WEIGHT,
            stepsize=step,
            max_iter=steps,
            early_stop=False,
            custom_init=lambda y, physics: {"est": (start, start)},
            custom_metrics={"objective": lambda history, previous, z: cost(z)} if watched else None,
        )
        with torch.no_grad():
            return model(y, physics, compute_metrics=True)[1]["objective"][0] if watched else model(y, physics)

    seen = accelerated(CT_STEPS, True)
    count = first_below(seen, optimum * (1 + 1e-4))
    notes = {"optimum": optimum, "iterations": count or CT_STEPS, "excess": float(seen[(count or CT_STEPS) - 1]) / optimum - 1}
    return Task(lambda: accelerated(count or CT_STEPS, False), notes=notes, is_long=True)


def optimum_of(physics, y: torch.Tensor, source: str) -> float:
    """Return the least objective of the peer's discretisation, by Apheleia's ADMM on the peer's operator."""
    sys.path.insert(0, source)
    import apheleia as ap
    from apheleia.operators.tomographic_majorant import tomographic_majorant

    class Peer(ap.operators.LinearOperator):
        gram_majorants = ("cosine",)
        has_proved_majorants = False

        def _forward(self, x: torch.Tensor) -> torch.Tensor:
            return physics.A(x[None])[0]

        def _adjoint(self, y: torch.Tensor) -> torch.Tensor:
            return physics.A_adjoint(y[None])[0].detach()

        def _norm(self, shape):
            return ap.Bound(160.0, "estimate", "the size of a penalty is all that hangs on it")

        def _gram_eigenvalues(self, basis, shape):
            return tomographic_majorant(lambda v: self._adjoint(self._forward(v)), (256, 256), 60)

    A = Peer(ap.Space((1, 256, 256)), ap.Space(tuple(y.shape[1:])))
    problem = ap.Problem(ap.LeastSquares(A, y[0]), CT_WEIGHT * ap.TotalVariation())
    return float(ap.solve(problem, ap.ADMM(), max_steps=ADMM_STEPS, tol=1e-9, throw=False)[1].objective)
