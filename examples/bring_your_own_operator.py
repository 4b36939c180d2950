"""Bring your own data formation: write the forward map alone, check it, and solve with it.

python examples/bring_your_own_operator.py

A camera on a shaking table: every row is shifted by its own sub-pixel amount. The adjoint is not written: it follows exactly.
"""

import torch

import apheleia as ap
from apheleia.core.space import IMAGE


class RowShift(ap.operators.LinearOperator):
    """Shift row i of every image by shift[i] pixels, by the Fourier shift theorem."""

    def __init__(self, shift: torch.Tensor) -> None:
        super().__init__(IMAGE, IMAGE)
        self.register_buffer("shift", shift)

    def _forward(self, x: torch.Tensor) -> torch.Tensor:
        phase = torch.outer(self.shift, torch.fft.rfftfreq(x.shape[-1], dtype=self.shift.dtype))
        return torch.fft.irfft(torch.fft.rfft(x) * torch.exp(-2j * torch.pi * phase), n=x.shape[-1])


photograph = torch.from_numpy(ap.data.sample("camera")[100:228, 100:228] / 255)[None]
generator = torch.Generator().manual_seed(0)
A = RowShift(3 * torch.randn(128, generator=generator, dtype=torch.float64))
print(f"adjoint: <A x, y> and <x, A^H y> differ by {ap.operators.check_adjoint(A, (1, 128, 128)):.1e}, relative")

y = A(photograph) + 0.05 * torch.randn(1, 128, 128, generator=generator, dtype=torch.float64)
x, report = ap.solve(ap.Problem(ap.LeastSquares(A, y, noise_std=0.05), 8 * ap.TotalVariation()))
print(report)
print(f"PSNR {ap.metrics.psnr(y, photograph):.2f} dB -> {ap.metrics.psnr(x, photograph):.2f} dB")
