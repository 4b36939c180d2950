"""Total-variation deblurring of a 256x256 photograph: time until the objective lies within 1e-4 of the optimum.

python benchmarks/tv_deblurring.py [--repeats 15]

Problem: skimage's camera / 255 in 2x2 block means, float64; Gaussian of sigma 1.5 sampled on 13x13, normalised, circular;
y = A x + 0.02 numpy.random.default_rng(0).standard_normal, not clipped; minimise 1/2 |A x - y|^2 + 1e-3 TV(x), isotropic,
Neumann differences. One thread. The optimum comes from long runs of a plain Chambolle-Pock loop, independent of the library.
Methods, run in turn: "apheleia" (`solve` as a user writes it, nothing tuned), "bare_torch" (the same iteration as a plain
loop over tensors, with the penalty that the library found from its start, no checks: the floor), "chambolle_pock" (that plain
loop, its step the best of a few).
Prints one JSON object a line.
"""

import argparse
import json
import statistics
import time

import numpy
import torch
from skimage import data

import apheleia as ap

WEIGHT = 1e-3
TARGET = 1e-4


def problem_data() -> tuple[torch.Tensor, torch.Tensor]:
    image = data.camera().astype(numpy.float64) / 255
    image = image.reshape(256, 2, 256, 2).mean((1, 3))
    profile = numpy.exp(-((numpy.arange(13) - 6) ** 2) / (2 * 1.5**2))
    kernel = numpy.outer(profile, profile)
    kernel /= kernel.sum()
    blurred = ap.operators.Convolution(kernel, boundary="circular")(image[None])[0]
    y = blurred + 0.02 * numpy.random.default_rng(0).standard_normal((256, 256))
    return torch.from_numpy(kernel), torch.from_numpy(y)


class Bare:
    """The model on bare tensors, and two iterations for it."""

    def __init__(self, kernel: torch.Tensor, y: torch.Tensor) -> None:
        grid = torch.zeros_like(y)
        grid[:13, :13] = kernel
        self.transfer = torch.fft.rfft2(grid.roll((-6, -6), (0, 1)))
        self.y = y
        self.back = self.transfer.conj() * torch.fft.rfft2(y)
        wave = [2 - 2 * torch.cos(2 * torch.pi * torch.arange(n, dtype=y.dtype) / n) for n in y.shape]
        self.laplacian = wave[0][:, None] + wave[1][: self.transfer.shape[1]]

    @staticmethod
    def differences(x: torch.Tensor) -> torch.Tensor:
        out = x.new_zeros(2, *x.shape)
        out[0, :-1] = x[1:] - x[:-1]
        out[1, :, :-1] = x[:, 1:] - x[:, :-1]
        return out

    @staticmethod
    def divergence(p: torch.Tensor) -> torch.Tensor:
        out = torch.zeros_like(p[0])
        out[:-1] -= p[0, :-1]
        out[1:] += p[0, :-1]
        out[:, :-1] -= p[1, :, :-1]
        out[:, 1:] += p[1, :, :-1]
        return out

    def objective(self, x: torch.Tensor) -> float:
        residual = torch.fft.irfft2(self.transfer * torch.fft.rfft2(x), s=x.shape) - self.y
        sizes = (self.differences(x) ** 2).sum(0).sqrt()
        return float(0.5 * (residual**2).sum() + WEIGHT * sizes.sum())

    def run(self, steps: int, penalty: float, target: float | None = None) -> tuple[torch.Tensor, int]:
        """Over-relaxed ADMM, its linear system in Fourier space by differences that wrap around; as `chambolle_pock`."""
        inverse = 1 / (self.transfer.abs() ** 2 + penalty * self.laplacian)
        x, moved = self.y, self.differences(self.y)
        scaled, radius = torch.zeros_like(moved), WEIGHT / penalty
        for k in range(steps):
            rhs = self.divergence(moved - 2 * scaled)
            across, along = x[0] - x[-1], x[:, 0] - x[:, -1]
            rhs[0] += across
            rhs[-1] -= across
            rhs[:, 0] += along
            rhs[:, -1] -= along
            x = torch.fft.irfft2((penalty * torch.fft.rfft2(rhs) + self.back) * inverse, s=x.shape)
            moved = torch.lerp(moved, self.differences(x) + scaled, 1.8)
            scaled = moved * (radius / (moved[0] ** 2 + moved[1] ** 2).sqrt().clamp(min=radius))
            if target is not None and self.objective(x) <= target:
                return x, k + 1
        return x, steps

    def chambolle_pock(self, steps: int, tau: float, target: float | None = None) -> tuple[torch.Tensor, int]:
        """Run `steps` steps, or until the objective is below `target`; return the point and the steps done."""
        relaxation, sigma = 1.9, 1 / (8 * tau)
        inverse = 1 / (1 + tau * self.transfer.abs() ** 2)
        x, p = self.y.clone(), self.differences(self.y) * 0
        point = x
        for k in range(steps):
            spectrum = torch.fft.rfft2(x - tau * self.divergence(p))
            point = torch.fft.irfft2((spectrum + tau * self.back) * inverse, s=x.shape)
            q = p + sigma * self.differences(2 * point - x)
            q = q * (WEIGHT / (q[0] ** 2 + q[1] ** 2).sqrt().clamp(min=WEIGHT))
            x = x + relaxation * (point - x)
            p = p + relaxation * (q - p)
            if target is not None and self.objective(point) <= target:
                return point, k + 1
        return point, steps


def emit(method: str, metric: str, value: float) -> None:
    print(json.dumps({"benchmark": "tv_deblurring", "case": "camera256", "method": method, "metric": metric, "value": value}))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=15)
    repeats = parser.parse_args().repeats
    torch.set_num_threads(1)
    kernel, y = problem_data()
    bare = Bare(kernel, y)
    optimum = min(bare.objective(bare.chambolle_pock(6000, tau)[0]) for tau in (3.0, 10.0))
    target = optimum * (1 + TARGET)

    def stated() -> ap.Problem:
        A = ap.operators.Convolution(kernel, boundary="circular")
        return ap.Problem(ap.LeastSquares(A, y[None]), WEIGHT * ap.TotalVariation())

    reached: list[int] = []
    penalties: list[float] = []

    def watch(state, residual) -> None:
        penalties.append(float(state.penalties[0]))
        if not reached and bare.objective(state.x[0]) <= target:
            reached.append(state.k)

    _, report = ap.solve(stated(), callbacks=[watch], throw=False)
    count = reached[0]
    penalty = penalties[count - 1]
    _, floor_count = bare.run(1000, penalty, target)
    plain_count, tau = min((bare.chambolle_pock(1000, tau, target)[1], tau) for tau in (2.0, 4.0, 6.0, 8.0, 12.0))

    times: dict[str, list[float]] = {"apheleia": [], "bare_torch": [], "chambolle_pock": [], "default": []}
    for _ in range(repeats):
        began = time.perf_counter()
        ap.solve(stated(), max_steps=count, throw=False)
        times["apheleia"].append(time.perf_counter() - began)
        began = time.perf_counter()
        bare.run(floor_count, penalty)
        times["bare_torch"].append(time.perf_counter() - began)
        began = time.perf_counter()
        bare.chambolle_pock(plain_count, tau)
        times["chambolle_pock"].append(time.perf_counter() - began)
        began = time.perf_counter()
        _, report = ap.solve(stated())
        times["default"].append(time.perf_counter() - began)

    emit("apheleia", "seconds", statistics.median(times["apheleia"]))
    emit("apheleia", "iterations", count)
    emit("bare_torch", "seconds", statistics.median(times["bare_torch"]))
    emit("bare_torch", "iterations", floor_count)
    emit("chambolle_pock", "seconds", statistics.median(times["chambolle_pock"]))
    emit("chambolle_pock", "iterations", plain_count)
    emit("apheleia", "seconds_default_tol", statistics.median(times["default"]))
    emit("apheleia", "iterations_default_tol", int(report.steps))
    emit("apheleia", "residual_default_tol", float(report.residual))
    emit("apheleia", "objective_excess_default_tol", float(report.objective) / optimum - 1)
    emit("optimum", "objective", optimum)


if __name__ == "__main__":
    main()
