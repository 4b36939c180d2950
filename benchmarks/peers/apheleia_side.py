"""Apheleia's side: everything as a user writes it, nothing tuned."""

import json

import numpy
import torch
from problems import CT_NOISE, CT_WEIGHT, WEIGHT
from task import Task

import apheleia as ap


def task(case: str, values: dict[str, numpy.ndarray], given: dict[str, float]) -> Task:
    if case in ("tv256", "tv1024", "tv256_rgb"):
        return deblurring(values, given["optimum"])
    if case.startswith("xray"):
        return tomography(case, torch.from_numpy(values["x"]))
    if case.startswith("blur"):
        return blur(case, torch.from_numpy(values["kernel"]), torch.from_numpy(values["x"]))
    if case == "wavelet_prox":
        prior, x = ap.WaveletL1("db8", 3), torch.from_numpy(values["x"])
        return Task(lambda: prior.prox(x, 0.05))
    if case == "mri8_prox":
        return magnetic_resonance(values)
    return tomography_with_variation(values)


def steps_to(problem: ap.Problem, target: float, limit: int) -> int:
    """Return the steps of a run after which the objective is below the target."""
    reached: list[int] = []

    def watch(state, residual) -> None:
        if not reached and float(problem(state.x)) <= target:
            reached.append(state.k)

    ap.solve(problem, callbacks=[watch], tol=1e-7, max_steps=limit, throw=False)
    return reached[0]


def deblurring(values: dict[str, numpy.ndarray], optimum: float) -> Task:
    kernel, y = torch.from_numpy(values["kernel"]), torch.from_numpy(values["y"])

    def stated() -> ap.Problem:
        A = ap.operators.Convolution(kernel, boundary="circular")
        return ap.Problem(ap.LeastSquares(A, y), WEIGHT * ap.TotalVariation())

    count = steps_to(stated(), optimum * (1 + 1e-4), 300)
    return Task(lambda: ap.solve(stated(), max_steps=count, throw=False), notes={"iterations": count})


def tomography(case: str, x: torch.Tensor) -> Task:
    side, views = (512, 360) if "512" in case else (256, 60)
    A = ap.operators.XRayTransform(numpy.arange(views) * 180 / views, (side, side))
    if case in ("xray_forward", "xray_batch8"):
        return Task(lambda: A(x))
    y = torch.ones(1, 1, *A.codomain.shape[1:])
    return Task(lambda: A.adjoint(y))


def blur(case: str, kernel: torch.Tensor, x: torch.Tensor) -> Task:
    unknown, known = ap.operators.UnknownBoundaryConvolution, ap.operators.Convolution
    A = unknown(kernel) if "valid" in case else known(kernel, boundary="replicate")
    y = A(x)
    if case.endswith("ratio"):
        return Task(lambda: A.adjoint(y), over=lambda: A(x))
    return proximal_map(ap.LeastSquares(A, y), torch.zeros_like(x))


def proximal_map(fidelity: ap.LeastSquares, start: torch.Tensor) -> Task:
    # prepared, as `solve` does once: neither side's set-up is timed
    ready = fidelity.prepared(tuple(start.shape[-3:]), start.dtype)

    def prox() -> torch.Tensor:
        with torch.no_grad():
            return ready.prox(start, 1.0)

    return Task(prox, lambda: prox().numpy())


def magnetic_resonance(values: dict[str, numpy.ndarray]) -> Task:
    A = ap.operators.MultiCoilMRI(torch.from_numpy(values["mask"]), torch.from_numpy(values["maps"]))
    image, start = torch.from_numpy(values["image"])[None], torch.from_numpy(values["start"])[None]
    return proximal_map(ap.LeastSquares(A, A(image)), start)


def tomography_with_variation(values: dict[str, numpy.ndarray]) -> Task:
    A = ap.operators.XRayTransform(numpy.arange(60) * 3.0, (256, 256), 363)
    clean = A(torch.from_numpy(values["x"]))
    y = clean + CT_NOISE * clean.max() * torch.from_numpy(values["noise"])[None]

    def stated(y: torch.Tensor) -> ap.Problem:
        return ap.Problem(ap.LeastSquares(A, y), CT_WEIGHT * ap.TotalVariation())

    _, report = ap.solve(stated(y), max_steps=1200, tol=1e-9, throw=False)
    optimum = float(report.objective)
    count = steps_to(stated(y), optimum * (1 + 1e-4), 800)
    return Task(lambda: ap.solve(stated(y), max_steps=count, throw=False), notes={"optimum": optimum, "iterations": count})


if __name__ == "__main__":
    print(json.dumps({"apheleia": ap.__version__}))
