"""Every algorithm and every problem of the property tests, registered once; optima come from a solver that shares no code."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

import apheleia as ap
from apheleia.algorithms import Algorithm
from apheleia.functionals.fidelities.huber_loss import HuberDistance
from apheleia.functionals.fidelities.kullback_leibler import PoissonDistance
from apheleia.functionals.fidelities.least_absolute_deviations import AbsoluteDistance
from apheleia.functionals.fidelities.least_squares import SquaredDistance
from apheleia.operators import Convolution, Diagonal, Identity, LinearOperator, Matrix, MatrixProduct, WaveletTransform

SIDE = 8
IMAGE = (1, SIDE, SIDE)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def randn(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=rng(seed), dtype=torch.float64).to(dtype)


def scene(side: int = SIDE) -> Tensor:
    """A bright square, a darker bar, and a slope, in [0, 1]."""
    x = torch.zeros(1, side, side, dtype=torch.float64)
    x[:, side // 4 : 3 * side // 4, side // 4 : 3 * side // 4] = 0.6
    x[:, side // 2, 1 : side - 2] = 0.2
    return x + torch.linspace(0, 0.3, side, dtype=torch.float64)


KERNEL = torch.tensor([[0.05, 0.1, 0.05], [0.1, 0.35, 0.15], [0.05, 0.1, 0.05]], dtype=torch.float64)


# ---------------------------------------------------------------------------------------------------------------------
# An independent solver: dense matrices, its own proximal maps, ADMM with a factorised system. It shares no code with the
# library, takes weights as plain numbers, and is run far past every tolerance of the tests.


@dataclass(frozen=True)
class Block:
    """weight * phi(M x): `kind` names phi, `data` holds its y or its bounds."""

    kind: str
    matrix: np.ndarray
    weight: float = 1.0
    data: object = None

    def value(self, z: np.ndarray) -> float:
        if self.kind == "squares":
            return self.weight * 0.5 * float(np.sum((z - self.data) ** 2))
        if self.kind == "abs":
            return self.weight * float(np.sum(np.abs(z - self.data)))
        if self.kind == "groups":
            return self.weight * float(np.sum(np.hypot(*z.reshape(2, -1))))
        if self.kind == "huber":
            y, delta = self.data
            r = np.abs(z - y)
            return self.weight * float(np.sum(np.where(r <= delta, 0.5 * r**2, delta * r - 0.5 * delta**2)))
        if self.kind == "group_huber":
            r = np.hypot(*z.reshape(2, -1))
            return self.weight * float(np.sum(np.where(r <= self.data, r**2 / (2 * self.data), r - 0.5 * self.data)))
        if self.kind == "poisson":
            y, gain, background = self.data
            w = z + background
            return self.weight * float(np.sum(w - y + np.where(y > 0, y * np.log(np.where(y > 0, y, 1) / w), 0))) / gain
        return 0.0

    def prox(self, v: np.ndarray, step: float) -> np.ndarray:
        t = step * self.weight
        if self.kind == "squares":
            return (v + t * self.data) / (1 + t)
        if self.kind == "abs":
            r = v - self.data
            return self.data + np.sign(r) * np.maximum(np.abs(r) - t, 0)
        if self.kind == "groups":
            size = np.hypot(*v.reshape(2, -1))
            return (v.reshape(2, -1) * np.maximum(1 - t / np.maximum(size, 1e-300), 0)).reshape(v.shape)
        if self.kind == "huber":
            y, delta = self.data
            r = v - y
            return y + np.where(np.abs(r) <= delta * (1 + t), r / (1 + t), r - t * delta * np.sign(r))
        if self.kind == "group_huber":
            size = np.hypot(*v.reshape(2, -1))
            factor = np.where(size <= self.data + t, self.data / (self.data + t), 1 - t / np.maximum(size, 1e-300))
            return (v.reshape(2, -1) * factor).reshape(v.shape)
        if self.kind == "poisson":
            y, gain, background = self.data
            b = v + background - t / gain
            return 0.5 * (b + np.sqrt(b**2 + 4 * t * y / gain)) - background
        if self.kind == "box":
            return np.clip(v, *self.data)
        assert self.kind == "simplex"
        columns = v.reshape(self.data, -1)
        low, high = columns.min(0) - 1, columns.max(0)
        for _ in range(100):  # bisection for the threshold, column by column
            middle = 0.5 * (low + high)
            above = np.maximum(columns - middle, 0).sum(0) > 1
            low, high = np.where(above, middle, low), np.where(above, high, middle)
        return np.maximum(columns - low, 0).reshape(v.shape)


def solve_densely(blocks: list[Block], rho: float = 1.0, steps: int = 40_000) -> tuple[np.ndarray, float]:
    """Return the minimiser and the minimum of the sum of the blocks by ADMM; asserts that it has settled."""
    system = np.linalg.inv(sum(b.matrix.T @ b.matrix for b in blocks))
    z = [np.zeros(b.matrix.shape[0]) for b in blocks]
    u = [np.zeros_like(v) for v in z]
    for _ in range(steps):
        x = system @ sum(b.matrix.T @ (v - w) for b, v, w in zip(blocks, z, u, strict=True))
        images = [b.matrix @ x for b in blocks]
        new = [b.prox(image + w, 1 / rho) for b, image, w in zip(blocks, images, u, strict=True)]
        moved = max(float(np.abs(a - b).max()) for a, b in zip(new, z, strict=True))
        apart = max(float(np.abs(a - b).max()) for a, b in zip(new, images, strict=True))
        u = [w + image - v for w, image, v in zip(u, images, new, strict=True)]
        z = new
        if max(moved, apart) < 1e-13:
            break
    assert max(moved, apart) < 1e-9, (moved, apart)
    # the constraint's own copy of x is feasible, where there is one
    point = next((v for b, v in zip(blocks, z, strict=True) if b.kind in ("box", "simplex")), x)
    return point, sum(b.value(b.matrix @ point) for b in blocks)


def differences(side: int = SIDE) -> np.ndarray:
    """Forward differences with Neumann ends, vertical ones first, written out entry by entry."""
    n = side * side
    out = np.zeros((2, n, n))
    for i in range(side):
        for j in range(side):
            here = i * side + j
            for axis, (a, b) in enumerate(((i + 1, j), (i, j + 1))):
                if a < side and b < side:
                    out[axis, here, here] -= 1
                    out[axis, here, a * side + b] += 1
    return out.reshape(2 * n, n)


def dense(operator: LinearOperator, shape: tuple[int, ...] = IMAGE) -> np.ndarray:
    return operator.dense(shape).numpy()


def flat(x: Tensor) -> np.ndarray:
    return x.double().reshape(-1).numpy()


# ---------------------------------------------------------------------------------------------------------------------
# Problems: each in the library's words and as blocks for the independent solver.


@dataclass(frozen=True)
class ProblemCase:
    """A problem in the library's words, (dtype) -> Problem, and the same for the independent solver or in closed form."""

    name: str
    make: Callable[[torch.dtype], ap.Problem]
    blocks: Callable[[], list[Block]] | None
    shape: tuple[int, ...] = IMAGE
    closed: Callable[[], tuple[np.ndarray, float]] | None = None
    """A minimiser and the minimum, where the problem is not convex and has them in closed form."""
    x0: Tensor | None = None
    """Where to begin, where the fidelity suggests nothing."""

    def start(self, kind: str, dtype: torch.dtype = torch.float64) -> Tensor | None:
        """The default, zero, the solution, or an absurd point to begin from."""
        if kind == "default":
            return None if self.x0 is None else self.x0.to(dtype)
        if kind == "solution":
            return torch.from_numpy(optimum(self.name)[0]).reshape(self.shape).to(dtype)
        x = randn(*self.shape, seed=7, dtype=dtype)
        # zero itself is a stationary point of a problem in two factors
        return {"zero": 0.0 if self.x0 is None else 1e-3, "absurd": 1e6}[kind] * x


@lru_cache
def optimum(name: str) -> tuple[np.ndarray, float]:
    """The minimiser and the minimum of a registered problem, from the independent solver or in closed form."""
    case = PROBLEMS[name]
    if case.closed is not None:
        return case.closed()
    assert case.blocks is not None
    return solve_densely(case.blocks())


M_TALL = randn(20, 12, seed=1)
M_WIDE = randn(10, 16, seed=2)
Y_TALL = randn(20, seed=3)
Y_WIDE = M_WIDE @ torch.where(randn(16, seed=4).abs() > 1, randn(16, seed=4), 0.0) + 0.05 * randn(10, seed=5)
BLUR = Convolution(KERNEL, boundary="reflect")
CIRCULAR = Convolution(KERNEL, boundary="circular")
SYMMETRIC = Convolution(torch.outer(*2 * [torch.tensor([0.25, 0.5, 0.25], dtype=torch.float64)]), boundary="reflect")
NOISE = 0.05 * randn(*IMAGE, seed=6)
BLURRED, WRAPPED, NOISY = BLUR(scene()) + NOISE, CIRCULAR(scene()) + NOISE, scene() + NOISE
SALTED = torch.where(randn(*IMAGE, seed=8) > 1.3, 1.0, BLUR(scene()))
COUNTS = torch.poisson(20 * BLUR(scene()) + 2, generator=rng(9)) / 20
MASK = (randn(*IMAGE, seed=10) > -0.5).double()
MIXED = randn(3, 4, 4, seed=11).abs()
HAAR = WaveletTransform("haar", 2)


def _details() -> np.ndarray:
    """The rows of the Haar transform that are not the coarsest band."""
    keep = torch.ones(IMAGE, dtype=torch.bool)
    keep[:, : SIDE >> 2, : SIDE >> 2] = False
    return dense(HAAR)[keep.reshape(-1).numpy()]


def _tv(weight: float) -> Block:
    return Block("groups", differences(), weight)


EYE = np.eye(SIDE * SIDE)

FACTORS = MatrixProduct(6, 1, 5)
TABLE = 0.2 + randn(6, 1, seed=12).abs() @ randn(1, 5, seed=13).abs() + 0.05 * randn(6, 5, seed=14).abs()


def rank_one(dtype: torch.dtype) -> ap.Problem:
    """The best product of two non-negative vectors for a positive matrix."""
    sign = [ap.NonNegativity(block.codomain) @ block for block in FACTORS.blocks]
    return ap.Problem(ap.LeastSquares(FACTORS, TABLE.to(dtype)), sign[0] + sign[1])


def perron() -> tuple[np.ndarray, float]:
    """By Perron and Frobenius, the leading singular vectors of a positive matrix are positive, and serve."""
    U, s, V = np.linalg.svd(TABLE.numpy())
    pair = np.concatenate([np.abs(U[:, 0]), np.abs(V[0])]) * np.sqrt(s[0])
    return pair, 0.5 * float((s[1:] ** 2).sum())


_ALL = [
    ProblemCase(
        "least_squares",
        lambda t: ap.Problem(ap.LeastSquares(Matrix(M_TALL.to(t)), Y_TALL.to(t))),
        lambda: [Block("squares", M_TALL.numpy(), 1, Y_TALL.numpy())],
        (12,),
    ),
    ProblemCase(
        "tikhonov",
        lambda t: ap.Problem(ap.LeastSquares(BLUR, BLURRED.to(t), noise_std=0.5), 0.3 * ap.QuadraticSmoothness()),
        lambda: [Block("squares", dense(BLUR), 4, flat(BLURRED)), Block("squares", differences(), 0.3, 0.0)],
    ),
    ProblemCase(
        "huber_smoothed",
        lambda t: ap.Problem(ap.HuberLoss(BLUR, SALTED.to(t), delta=0.1), 0.05 * ap.SmoothedVariation(0.1, kind="huber")),
        lambda: [Block("huber", dense(BLUR), 1, (flat(SALTED), 0.1)), Block("group_huber", differences(), 0.05, 0.1)],
    ),
    ProblemCase(
        "lasso",
        lambda t: ap.Problem(ap.LeastSquares(Matrix(M_WIDE.to(t)), Y_WIDE.to(t)), 0.3 * ap.L1(ap.VECTOR)),
        lambda: [Block("squares", M_WIDE.numpy(), 1, Y_WIDE.numpy()), Block("abs", np.eye(16), 0.3, 0.0)],
        (16,),
    ),
    ProblemCase(
        "non_negative",
        lambda t: ap.Problem(ap.LeastSquares(Matrix(M_TALL.to(t)), Y_TALL.to(t)), ap.NonNegativity(ap.VECTOR)),
        lambda: [Block("squares", M_TALL.numpy(), 1, Y_TALL.numpy()), Block("box", np.eye(12), 1, (0, np.inf))],
        (12,),
    ),
    ProblemCase(
        "box_deblurring",
        lambda t: ap.Problem(ap.LeastSquares(BLUR, BLURRED.to(t)), ap.Box(0.1, 0.6)),
        lambda: [Block("squares", dense(BLUR), 1, flat(BLURRED)), Block("box", EYE, 1, (0.1, 0.6))],
    ),
    ProblemCase(
        "wavelet_inpainting",
        lambda t: ap.Problem(ap.LeastSquares(Diagonal(MASK.to(t)), (MASK * NOISY).to(t)), 0.1 * ap.WaveletL1("haar", 2)),
        lambda: [Block("squares", np.diag(flat(MASK)), 1, flat(MASK * NOISY)), Block("abs", _details(), 0.1, 0.0)],
    ),
    ProblemCase(
        "simplex_projection",
        lambda t: ap.Problem(ap.LeastSquares(Identity(), MIXED.to(t)), ap.Simplex()),
        lambda: [Block("squares", np.eye(48), 1, flat(MIXED)), Block("simplex", np.eye(48), 1, 3)],
        (3, 4, 4),
    ),
    ProblemCase(
        "tv_denoising",
        lambda t: ap.Problem(ap.LeastSquares(Identity(), NOISY.to(t)), 0.1 * ap.TotalVariation()),
        lambda: [Block("squares", EYE, 1, flat(NOISY)), _tv(0.1)],
    ),
    ProblemCase(
        "tv_deblurring",
        lambda t: ap.Problem(ap.LeastSquares(CIRCULAR, WRAPPED.to(t)), 0.02 * ap.TotalVariation()),
        lambda: [Block("squares", dense(CIRCULAR), 1, flat(WRAPPED)), _tv(0.02)],
    ),
    ProblemCase(
        "tv_deblurring_symmetric",
        lambda t: ap.Problem(ap.LeastSquares(SYMMETRIC, BLURRED.to(t), 0.5), 0.08 * ap.TotalVariation() + ap.Box(0.1, 0.7)),
        lambda: [Block("squares", dense(SYMMETRIC), 4, flat(BLURRED)), _tv(0.08), Block("box", EYE, 1, (0.1, 0.7))],
    ),
    ProblemCase(
        "tv_deblurring_box",
        lambda t: ap.Problem(
            ap.LeastSquares(BLUR, BLURRED.to(t)), ap.Box(0.1, 0.7), terms=((0.02 * ap.TotalVariation(), Identity()),)
        ),
        lambda: [Block("squares", dense(BLUR), 1, flat(BLURRED)), _tv(0.02), Block("box", EYE, 1, (0.1, 0.7))],
    ),
    ProblemCase(
        "lad_tv",
        lambda t: ap.Problem(2.0 * ap.LeastAbsoluteDeviations(BLUR, SALTED.to(t)), 0.3 * ap.TotalVariation()),
        lambda: [Block("abs", dense(BLUR), 2, flat(SALTED)), _tv(0.3)],
    ),
    ProblemCase(
        "poisson_tv",
        lambda t: ap.Problem(
            ap.KullbackLeibler(BLUR, COUNTS.to(t), gain=0.05, background=0.1),
            ap.NonNegativity(),
            terms=((2.0 * ap.TotalVariation(), Identity()),),
        ),
        lambda: [
            Block("poisson", dense(BLUR), 1, (flat(COUNTS), 0.05, 0.1)),
            _tv(2),
            Block("box", EYE, 1, (0, np.inf)),
        ],
    ),
    ProblemCase(
        "poisson",
        lambda t: ap.Problem(ap.KullbackLeibler(BLUR, COUNTS.to(t), gain=0.05, background=0.1), ap.NonNegativity()),
        lambda: [Block("poisson", dense(BLUR), 1, (flat(COUNTS), 0.05, 0.1)), Block("box", EYE, 1, (0, np.inf))],
    ),
    ProblemCase(
        "poisson_in_parts",
        lambda t: ap.Problem(
            0.8 * ap.KullbackLeibler(Diagonal(MASK.to(t)) @ BLUR, (MASK * COUNTS).to(t), gain=0.05, background=0.1)
            + ap.KullbackLeibler(CIRCULAR, COUNTS.to(t), gain=0.1, background=0.1),
            ap.NonNegativity(),
        ),
        lambda: [
            Block("poisson", dense(Diagonal(MASK) @ BLUR), 0.8, (flat(MASK * COUNTS), 0.05, 0.1)),
            Block("poisson", dense(CIRCULAR), 1, (flat(COUNTS), 0.1, 0.1)),
            Block("box", EYE, 1, (0, np.inf)),
        ],
    ),
    ProblemCase(
        # terms that are not homogeneous, with weights: a method that drops or squares a weight fails
        "weighted_terms",
        lambda t: ap.Problem(
            ap.LeastSquares(Identity(), NOISY.to(t), noise_std=0.5),
            terms=(
                (0.7 * AbsoluteDistance(SALTED.to(t), ap.IMAGE), BLUR),
                (1.7 * PoissonDistance(COUNTS.to(t), ap.IMAGE, 0.5, 0.3), CIRCULAR),
                (0.6 * HuberDistance(SALTED.to(t), ap.IMAGE, 0.1), BLUR),
                (2.5 * SquaredDistance(SALTED.to(t), ap.IMAGE, 0.8), CIRCULAR),
            ),
        ),
        lambda: [
            Block("squares", EYE, 4, flat(NOISY)),
            Block("abs", dense(BLUR), 0.7, flat(SALTED)),
            Block("poisson", dense(CIRCULAR), 1.7, (flat(COUNTS), 0.5, 0.3)),
            Block("huber", dense(BLUR), 0.6, (flat(SALTED), 0.1)),
            Block("squares", dense(CIRCULAR), 2.5 / 0.8**2, flat(SALTED)),
        ],
    ),
    ProblemCase(
        # three parts on x's side: one constraint, and one that must wait among the terms
        "several_parts",
        lambda t: ap.Problem(
            ap.LeastSquares(BLUR, BLURRED.to(t)) + 0.05 * ap.L1() + ap.Box(-0.2, 0.55), 0.05 * ap.TotalVariation()
        ),
        lambda: [
            Block("squares", dense(BLUR), 1, flat(BLURRED)),
            Block("abs", EYE, 0.05, 0.0),
            Block("box", EYE, 1, (-0.2, 0.55)),
            _tv(0.05),
        ],
    ),
    ProblemCase("rank_one", rank_one, None, (11,), perron, torch.linspace(0.5, 1.5, 11, dtype=torch.float64)),
]

PROBLEMS = {case.name: case for case in _ALL}


# ---------------------------------------------------------------------------------------------------------------------
# Algorithms: name, how to make one, and the problems it must solve.


@dataclass(frozen=True)
class AlgorithmCase:
    """An algorithm and the problems it must solve, to a tolerance `tol` that it reaches in `max_steps` steps."""

    name: str
    make: Callable[[], Algorithm]
    problems: tuple[str, ...]
    tol: float = 1e-7
    max_steps: int = 2000


_QUADRATIC = ("least_squares", "tikhonov")
_SMOOTH = (*_QUADRATIC, "huber_smoothed")
_PROXIMAL = ("lasso", "non_negative", "box_deblurring", "wavelet_inpainting", "simplex_projection")
_TERMS = (
    "tv_denoising",
    "tv_deblurring",
    "tv_deblurring_symmetric",
    "tv_deblurring_box",
    "lad_tv",
    "poisson_tv",
    "several_parts",
)

_PRECONDITIONED = ("tv_denoising", "tv_deblurring_box", "lad_tv", "poisson_tv", "several_parts", "weighted_terms", "non_negative")

ALGORITHMS = {
    case.name: case
    for case in [
        AlgorithmCase("ConjugateGradient", ap.ConjugateGradient, _QUADRATIC),
        AlgorithmCase("Gradient", ap.Gradient, _SMOOTH),
        AlgorithmCase("AcceleratedGradient", ap.AcceleratedGradient, _SMOOTH),
        AlgorithmCase("FISTA", ap.FISTA, (*_SMOOTH, *_PROXIMAL)),
        AlgorithmCase("ProximalGradient", ap.ProximalGradient, (*_SMOOTH, *_PROXIMAL)),
        AlgorithmCase("ChambollePock", ap.ChambollePock, ("tv_denoising", "tv_deblurring", "lad_tv", "poisson_tv")),
        AlgorithmCase("CondatVu", ap.CondatVu, (*_TERMS, "weighted_terms")),
        AlgorithmCase("ADMM", ap.ADMM, (*_PROXIMAL, *_TERMS), tol=1e-4),
        AlgorithmCase("LevenbergMarquardt", ap.LevenbergMarquardt, _QUADRATIC),
        AlgorithmCase("GaussNewton", ap.GaussNewton, _QUADRATIC),
        AlgorithmCase("LBFGS", ap.LBFGS, _SMOOTH),
        AlgorithmCase("PALM", ap.PALM, ("rank_one",)),
        AlgorithmCase("RichardsonLucy", ap.RichardsonLucy, ("poisson",), tol=1e-3, max_steps=1000),
        AlgorithmCase("OSEM", ap.OSEM, ("poisson_in_parts",), tol=1e-3, max_steps=1000),
        AlgorithmCase("SIRT", ap.SIRT, ("box_deblurring",)),
        AlgorithmCase("LSQR", ap.LSQR, ("least_squares",)),
        AlgorithmCase("DouglasRachford", ap.DouglasRachford, ("wavelet_inpainting", "simplex_projection")),
        AlgorithmCase("StochasticPrimalDual", ap.StochasticPrimalDual, ("tv_deblurring", "tv_deblurring_box"), tol=1e-3),
        AlgorithmCase("PreconditionedPrimalDual", ap.PreconditionedPrimalDual, _PRECONDITIONED, tol=1e-5, max_steps=5000),
        AlgorithmCase("MirrorDescent", ap.MirrorDescent, ("simplex_projection",), tol=1e-4),
        # a penalty method: it gets near
        AlgorithmCase("HalfQuadraticSplitting", ap.HalfQuadraticSplitting, (*_PROXIMAL, *_TERMS), tol=1e-1, max_steps=150),
    ]
}

PAIRS = [(algorithm.name, problem) for algorithm in ALGORITHMS.values() for problem in algorithm.problems]


def objective_excess(problem: str, x: Tensor) -> float:
    """(objective - minimum) / minimum of a registered problem at x, in float64; +inf outside a constraint."""
    least = optimum(problem)[1]
    value = float(PROBLEMS[problem].make(torch.float64)(x.double()))
    return (value - least) / abs(least) if math.isfinite(value) else math.inf
