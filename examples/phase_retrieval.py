"""A complex image from the intensities of eight coded diffraction patterns: Levenberg-Marquardt from a spectral start.

python examples/phase_retrieval.py

The measurement is simulated: a photograph as the magnitude, a smooth phase, eight random masks, and noise of one hundredth of the
mean intensity. A global phase cannot be seen in intensities: it is aligned with the truth before the two are compared.
"""

import torch
from skimage.data import camera

import apheleia as ap


def aligned(x: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Return x times the phase that brings it closest to the truth."""
    return x * torch.sgn((x.conj() * truth).sum())


def psnr(x: torch.Tensor, truth: torch.Tensor) -> float:
    """Return the PSNR of the complex image, real and imaginary parts taken together."""
    return ap.metrics.psnr(torch.view_as_real(aligned(x, truth)), torch.view_as_real(truth))


photograph = torch.from_numpy(camera()[::4, ::4] / 255.0)[None]
size = (photograph.shape[-2], photograph.shape[-1])
ticks = torch.linspace(-1, 1, size[0], dtype=torch.float64)
truth = torch.polar(photograph, (0.8 * ticks[:, None] + 0.5 * ticks**2).expand_as(photograph))

generator = torch.Generator().manual_seed(0)
A = ap.operators.PhaseRetrieval(ap.operators.coded_diffraction(size, 8, generator=generator))
clean = A(truth)
y = clean + 0.01 * clean.mean() * torch.randn(clean.shape, generator=generator, dtype=torch.float64)

start = ap.operators.spectral_initialization(A, y)
x, report = ap.solve(ap.Problem(ap.LeastSquares(A, y)), ap.LevenbergMarquardt(), x0=start, tol=1e-4)
print(report)
print(f"PSNR {psnr(start, truth):.2f} dB -> {psnr(x, truth):.2f} dB")
