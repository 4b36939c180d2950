"""A page as `apheleia demo` would write it: a real photograph, blurred, noisy, and put right a little by hand."""

from dataclasses import dataclass

import numpy as np
import torch
from skimage import data, filters, restoration

from apheleia.core.bound import Bound
from apheleia.core.certificate import Certificate
from apheleia.core.report import History, Report, Status
from apheleia.report import Images, Page, Verdict

NOISE = 0.02


def make_images(*, colour: bool = False, truth: bool = True) -> Images:
    clean = (data.astronaut() if colour else data.camera()).astype(np.float32) / 255
    axis = -1 if colour else None
    blurred = filters.gaussian(clean, 2.0, channel_axis=axis)
    observed = blurred + NOISE * np.random.default_rng(0).standard_normal(clean.shape, dtype=np.float32)
    sharp = observed + 1.5 * (observed - filters.gaussian(observed, 2.0, channel_axis=axis))
    restored = restoration.denoise_tv_chambolle(sharp, weight=0.06, channel_axis=axis).astype(np.float32)
    residual = filters.gaussian(restored, 2.0, channel_axis=axis) - observed
    return Images(observed, restored, residual, clean if truth else None)


def make_history(steps: int = 400) -> History:
    k = torch.arange(0, steps + 1, 4, dtype=torch.float64)
    return History(tuple(k.int().tolist()), 812.4 + 3e3 / (1 + k) ** 2, 0.8 / (1 + k) ** 1.45)


def make_report(history: History | None = None, x: torch.Tensor | None = None) -> Report:
    history = history or make_history()
    doi = "Condat, J. Optim. Theory Appl. 2013, doi:10.1007/s10957-012-0245-9"
    return Report(
        algorithm="CondatVu",
        why="f is smooth, and the total variation is the 1-norm of a linear map with a cheap prox",
        certificates=(
            Certificate(
                "convergence",
                "proved",
                None,
                "1/τ − σ|K|² = 1.2 ≥ L/2 = 1.1, with |K| ≤ 2.83 exact and L ≤ 2.2 a safe bound",
                doi,
            ),
            Certificate("uniqueness", "none", None, "A is singular, so the objective is not strongly convex", ""),
            Certificate("objective_gap", "none", None, "no finite dual value: A is singular and x unbounded", ""),
            Certificate(
                "distance", "estimated", Bound(1.9, "estimate", "residual over a sampled modulus"), "the modulus was sampled", ""
            ),
            Certificate("stability", "proved", Bound(50.0, "upper", "1 / noise_std²"), "the data term is quadratic", doi),
        ),
        x=torch.zeros(1, 512, 512) if x is None else x,
        duals=(),
        codes=torch.tensor(Status.CONVERGED.severity),
        objective=torch.tensor(812.4, dtype=torch.float64),
        residual=torch.tensor(9.3e-5, dtype=torch.float64),
        gap=None,
        steps=torch.tensor(400),
        tol=1e-4,
        seconds=6.21,
        history=history,
    )


@dataclass(frozen=True)
class Pages:
    """Makes pages that differ from the usual one in a few respects."""

    images: Images

    def make(
        self,
        *,
        images: Images | None = None,
        title: str = "Camera, deblurred",
        formula: str = "minimise over x:  ½ |A x − y|² / 0.02² + 0.5 TV(x)",
        verdicts: tuple[Verdict, ...] | None = None,
        solver: Report | None = None,
        no_solver: bool = False,
        provenance: tuple[tuple[str, str], ...] | None = None,
    ) -> Page:
        usual = (
            Verdict(
                "Noise explained?",
                "residual std / noise std",
                1.031,
                0.9,
                1.1,
                meaning="Below, noise was fitted; above, detail is unexplained.",
            ),
            Verdict(
                "Converged?",
                "normalised residual",
                9.3e-5,
                high=1e-4,
                meaning="The answer is the model's, not that of an early stop.",
            ),
            Verdict("Better than the observation?", "PSNR gain", 3.27, low=0.1, unit="dB", meaning="Measured against the truth."),
        )
        return Page(
            title=title,
            summary="A photograph was blurred and given noise of 2 % of full scale; this page shows what could be recovered.",
            images=images or self.images,
            formula=formula,
            legend=(
                ("A", "blur with a Gaussian of 2 pixels"),
                ("y", "the observed image"),
                ("TV(x)", "total variation: few, sharp edges"),
            ),
            figures=(
                ("PSNR of the observation", "24.91 dB"),
                ("PSNR of the restoration", "28.18 dB"),
                ("Residual std", "0.0206 (noise std 0.02)"),
            ),
            verdicts=usual if verdicts is None else verdicts,
            solver=None if no_solver else (make_report() if solver is None else solver),
            provenance=provenance
            or (
                ("Version", "apheleia 0.1.0"),
                ("Command", "apheleia demo --seed 0"),
                ("Seed", "0"),
                ("Date", "2025-01-31 12:00 UTC"),
                ("Input", "camera"),
            ),
            notes=("The noise level was given, not measured.", "The blur is assumed to be the same everywhere."),
        )
