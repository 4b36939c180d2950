"""Tomography with total variation from 20 views: steps until the objective lies near the best that any method found.

python benchmarks/preconditioning.py [--steps 1500]

Problem: skimage's Shepp-Logan phantom in block means, 64 x 64, float64; 20 parallel views over half a turn; x >= 0 and weight
times TV(x). Four fidelities: least squares with noise of 1 %; least squares weighted by the counts of a dense object (10^4
counts, e^-6 through its thickest part); least absolute deviations; Poisson counts of emission with a background.
Methods at their defaults, nothing tuned; a step applies each operator and its transpose once, in StochasticPrimalDual one of
them. Steps, and not seconds, so that the machine plays no part. Prints one JSON object a line.
"""

import argparse
import json

import numpy
import torch
from skimage import data

import apheleia as ap
from apheleia.operators import Diagonal, Identity, XRayTransform

SIDE, VIEWS = 64, 20
TARGETS = (1e-1, 1e-2, 1e-3, 1e-4)


def problems() -> dict[str, ap.Problem]:
    block = 400 // SIDE
    image = data.shepp_logan_phantom().astype(numpy.float64)[: block * SIDE, : block * SIDE]
    x = torch.from_numpy(image.reshape(SIDE, block, SIDE, block).mean((1, 3)))[None]
    A = XRayTransform(180 / VIEWS * numpy.arange(VIEWS), (SIDE, SIDE))
    clean, generator = A(x), torch.Generator().manual_seed(0)
    noisy = clean + 0.01 * clean.max() * torch.randn(clean.shape, generator=generator, dtype=torch.float64)
    thickness = 6 / clean.max()
    transmitted = torch.poisson(1e4 * torch.exp(-thickness * clean), generator=generator).clamp(min=1)
    root = Diagonal((transmitted / transmitted.max()).sqrt())
    logarithm = -(transmitted / 1e4).log() / thickness
    emitted = torch.poisson(20 * clean, generator=generator)
    fidelities = {
        "least squares": (ap.LeastSquares(A, noisy), 1.0),
        "weighted least squares": (ap.LeastSquares(root @ A, root(logarithm)), 0.1),
        "least absolute deviations": (ap.LeastAbsoluteDeviations(A, noisy), 1.0),
        "Poisson counts": (ap.KullbackLeibler(20 * A, emitted, background=1.0), 1.0),
    }
    terms = {name: ((weight * ap.TotalVariation(), Identity()),) for name, (_, weight) in fidelities.items()}
    return {name: ap.Problem(f, ap.NonNegativity(), terms=terms[name]) for name, (f, _) in fidelities.items()}


def objectives(problem: ap.Problem, algorithm: ap.algorithms.Algorithm, steps: int) -> list[float]:
    """Return the objective after each step, of the point with its rounding below zero taken away."""
    seen: list[float] = []
    ap.solve(
        problem,
        algorithm,
        tol=1e-14,
        max_steps=steps,
        throw=False,
        callbacks=[lambda state, _: seen.append(float(problem(state.x.clamp(min=0))))],
    )
    return seen


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=1500)
    steps = parser.parse_args().steps
    torch.set_num_threads(1)
    kinds = (ap.PreconditionedPrimalDual, ap.ChambollePock, ap.CondatVu, ap.StochasticPrimalDual, ap.ADMM)
    for name, problem in problems().items():
        runs = {kind.__name__: objectives(problem, kind(), steps) for kind in kinds if kind().obstacle(problem) is None}
        best = min(min(run) for run in runs.values())
        for kind, run in runs.items():
            needed = [next((k for k, value in enumerate(run, 1) if value <= (1 + goal) * best), None) for goal in TARGETS]
            print(
                json.dumps({"problem": name, "method": kind, "steps": dict(zip(map(str, TARGETS), needed, strict=True))}),
                flush=True,
            )


if __name__ == "__main__":
    main()
