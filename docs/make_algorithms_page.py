"""Write docs/algorithms.md from the code's own declarations: `python docs/make_algorithms_page.py`."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from pathlib import Path

import torch

import apheleia as ap
from apheleia.algorithms import ALGORITHMS, choose
from apheleia.functionals.fidelities.least_squares import SquaredDistance
from apheleia.operators import (
    BlindConvolution,
    Convolution,
    Decimation,
    Diagonal,
    Identity,
    Matrix,
    MatrixProduct,
    Operator,
    XRayTransform,
)

PAGE = Path(__file__).parent / "algorithms.md"


class _Absorption(Operator):
    """x -> exp(-x), a map that is not linear."""

    def __init__(self) -> None:
        super().__init__(ap.IMAGE, ap.IMAGE)

    def _forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.exp(-x)


Y = torch.rand(1, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
RAYS = torch.rand(12, 9, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
SIGNED = RAYS - 0.5
KERNEL = torch.tensor([[0.0, 0.1, 0.0], [0.2, 0.4, 0.1], [0.0, 0.1, 0.1]], dtype=torch.float64)
EVEN = torch.outer(*2 * [torch.tensor([0.25, 0.5, 0.25], dtype=torch.float64)])
FACTORS, BLIND = MatrixProduct(12, 2, 9), BlindConvolution((1, 8, 8), (3, 3))
TV, DATA = 0.1 * ap.TotalVariation(), RAYS.sum(1)


def _reflect() -> ap.LeastSquares:
    return ap.LeastSquares(Convolution(KERNEL, boundary="reflect"), Y)


MODELS: dict[str, Callable[[], ap.Problem]] = {
    "least squares": lambda: ap.Problem(ap.LeastSquares(Matrix(SIGNED), DATA)),
    "Tikhonov": lambda: ap.Problem(ap.LeastSquares(Matrix(SIGNED), DATA), SquaredDistance(torch.zeros(9).double(), ap.VECTOR)),
    "sparse regression: l1": lambda: ap.Problem(ap.LeastSquares(Matrix(SIGNED), DATA), 0.1 * ap.L1(ap.VECTOR)),
    "denoising: total variation": lambda: ap.Problem(ap.LeastSquares(Identity(), Y), TV),
    "deblurring, edges that wrap: total variation": lambda: ap.Problem(
        ap.LeastSquares(Convolution(KERNEL, boundary="circular"), Y), TV
    ),
    "deblurring, symmetric kernel, edges that reflect: total variation and a box": lambda: ap.Problem(
        ap.LeastSquares(Convolution(EVEN, boundary="reflect"), Y), TV + ap.Box()
    ),
    "deblurring, any kernel, edges that reflect: total variation": lambda: ap.Problem(_reflect(), TV),
    "deblurring: smoothed variation": lambda: ap.Problem(_reflect(), 0.1 * ap.SmoothedVariation()),
    "deblurring: box": lambda: ap.Problem(_reflect(), ap.Box()),
    "inpainting: total variation": lambda: ap.Problem(ap.LeastSquares(Diagonal((Y > 0.5).double()), Y), TV),
    "inpainting: wavelets": lambda: ap.Problem(ap.LeastSquares(Diagonal((Y > 0.5).double()), Y), 0.1 * ap.WaveletL1("haar", 2)),
    "super-resolution, symmetric kernel: total variation": lambda: ap.Problem(
        ap.LeastSquares(Decimation(2) @ Convolution(EVEN, boundary="reflect"), Y[..., ::2, ::2]), TV
    ),
    "tomography: total variation": lambda: ap.Problem(
        ap.LeastSquares(XRayTransform([0.0, 45.0, 90.0, 135.0], (8, 8), 8), torch.ones(1, 4, 8).double()), TV
    ),
    "tomography, non-negative": lambda: ap.Problem(ap.LeastSquares(Matrix(RAYS), DATA), ap.NonNegativity(ap.VECTOR)),
    "data in subsets, non-negative": lambda: ap.Problem(
        ap.LeastSquares(Matrix(RAYS[:6]), DATA[:6]) + ap.LeastSquares(Matrix(RAYS[6:]), DATA[6:]), ap.NonNegativity(ap.VECTOR)
    ),
    "Poisson counts, non-negative": lambda: ap.Problem(ap.KullbackLeibler(Matrix(RAYS), DATA), ap.NonNegativity(ap.VECTOR)),
    "Poisson counts in subsets, non-negative": lambda: ap.Problem(
        ap.KullbackLeibler(Matrix(RAYS[:6]), DATA[:6]) + ap.KullbackLeibler(Matrix(RAYS[6:]), DATA[6:]),
        ap.NonNegativity(ap.VECTOR),
    ),
    "Poisson counts: total variation": lambda: ap.Problem(
        ap.KullbackLeibler(Convolution(KERNEL), Y), ap.NonNegativity(), terms=((TV, Identity()),)
    ),
    "impulse noise: total variation": lambda: ap.Problem(ap.LeastAbsoluteDeviations(Convolution(KERNEL), Y), TV),
    "abundances on the simplex": lambda: ap.Problem(ap.LeastSquares(Matrix(RAYS), DATA), ap.Simplex(1.0, -1, ap.VECTOR)),
    "a map that is not linear: least squares": lambda: ap.Problem(
        ap.LeastSquares(_Absorption(), Y), 0.1 * ap.QuadraticSmoothness()
    ),
    "a map that is not linear, robust": lambda: ap.Problem(ap.HuberLoss(_Absorption(), Y, 0.1), 0.1 * ap.SmoothedVariation()),
    "matrix factorisation, both factors unknown: non-negative and on the simplex": lambda: ap.Problem(
        ap.LeastSquares(FACTORS, RAYS),
        ap.NonNegativity(FACTORS.blocks[0].codomain) @ FACTORS.blocks[0]
        + ap.Simplex(1.0, -2, FACTORS.blocks[1].codomain) @ FACTORS.blocks[1],
    ),
    "blind deconvolution: box and l1": lambda: ap.Problem(
        ap.LeastSquares(BLIND, Y),
        ap.Box(0, 1, BLIND.blocks[0].codomain) @ BLIND.blocks[0] + ap.L1(BLIND.blocks[1].codomain) @ BLIND.blocks[1],
    ),
    "a map that is not linear, box": lambda: ap.Problem(ap.LeastSquares(_Absorption(), Y), ap.Box()),
}


def page() -> str:
    """Return the text of the page."""
    lines = [
        "# Which algorithm for which model",
        "",
        "Written by `python docs/make_algorithms_page.py` from what the algorithms declare and refuse. `solve` chooses",
        "the one in the second column; `solve(problem, algorithm)` takes any of the third.",
        "",
        "| model | chosen, and why | also able |",
        "| --- | --- | --- |",
    ]
    for name, make in MODELS.items():
        problem = make()
        chosen, why = choose(problem)
        able = [kind.__name__ for kind in ALGORITHMS if kind().obstacle(problem) is None and kind.__name__ != chosen.name]
        lines.append(f"| {name} | **{chosen.name}**: {why} | {', '.join(able)} |")
    lines += ["", "What each needs, and what it proves before it runs:", ""]
    for kind in ALGORITHMS:
        text = inspect.getdoc(kind) or ""
        first = " ".join(text.split("\n\n")[0].split())
        lines += [f"## {kind.__name__}", "", f"`{first}`", "", f"- Needs {kind.requires}."]
        lines += [f"- {title}: {_paragraph(text, title)}" for title in ("Certificate", "Source") if _paragraph(text, title)]
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def _paragraph(text: str, title: str) -> str:
    match = re.search(rf"^{title}: (.*?)(?=\n(?:Certificate|Complexity|Source):|\n\n|\Z)", text, re.DOTALL | re.MULTILINE)
    return " ".join(match.group(1).split()) if match else ""


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
