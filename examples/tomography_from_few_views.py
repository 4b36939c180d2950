"""A slice from forty views: filtered back-projection, and total variation with the noise's own weight.

python examples/tomography_from_few_views.py

The scan is simulated: the Shepp-Logan phantom, forty parallel views over half a turn, and noise of one per cent of the largest
line integral.
"""

import torch
from skimage.data import shepp_logan_phantom

import apheleia as ap

truth = torch.from_numpy(shepp_logan_phantom()[::2, ::2].copy())[None].float()
A = ap.operators.XRayTransform(torch.arange(40) * 4.5, tuple(truth.shape[-2:]))
clean = A(truth)
noise_std = 0.01 * float(clean.max())
y = clean + noise_std * torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))

direct = ap.imaging.filtered_back_projection(y, A, "hann")
x, report = ap.solve(ap.Problem(ap.LeastSquares(A, y, noise_std), 3.0 * ap.TotalVariation()), tol=1e-5)
print(report)
before, after = (ap.metrics.psnr(image, truth) for image in (direct, x))
print(f"PSNR {before:.2f} dB -> {after:.2f} dB")
assert after > before + 5
