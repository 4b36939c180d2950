"""An image from a quarter of k-space: eight coils, known maps, total variation on the complex image.

python examples/mri_from_undersampled_data.py

The scan is simulated: the Shepp-Logan phantom with a smooth phase, simulated coils, every fourth line of k-space, denser at its
centre, and noise. Zero-filling, the adjoint, shows what the data say without a prior.
"""

import torch
from skimage.data import shepp_logan_phantom

import apheleia as ap

phantom = torch.from_numpy(shepp_logan_phantom()[::2, ::2].copy())[None]
size = tuple(phantom.shape[-2:])
ticks = torch.linspace(-1, 1, size[0], dtype=torch.float64)
truth = torch.polar(phantom, (0.8 * ticks[:, None] + 0.5 * ticks**2).expand_as(phantom))

generator = torch.Generator().manual_seed(0)
mask = ap.imaging.variable_density_mask(size, acceleration=4, generator=generator)
A = ap.operators.MultiCoilMRI(mask, ap.imaging.birdcage_sensitivities(size, coils=8))
noise = torch.randn(8, *size, generator=generator, dtype=torch.complex128)
y = (A(truth) + 0.01 * mask * noise).to(torch.complex64)

x, report = ap.solve(ap.Problem(ap.LeastSquares(A, y), 2e-3 * ap.TotalVariation(is_complex=True)), tol=1e-3)
print(report)
before, after = (ap.metrics.psnr(image.abs(), phantom.float()) for image in (A.adjoint(y), x))
print(f"PSNR {before:.2f} dB -> {after:.2f} dB")
assert after > before + 10
