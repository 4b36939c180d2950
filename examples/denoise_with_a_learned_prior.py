"""Denoise a photograph with a prior that was learned from others, and read what is proved of it.

python examples/denoise_with_a_learned_prior.py [OUT.png]
"""

import sys

import numpy

import apheleia as ap

out = sys.argv[1] if len(sys.argv) > 1 else "denoised.png"

# how the data are formed: noise of 25 in 255 on part of a photograph that trained nothing; single precision is faster
truth = (ap.data.sample("camera")[None, 128:384, 128:384] / 255).astype(numpy.float32)
noise_std = 25 / 255
y = truth + noise_std * numpy.random.default_rng(0).standard_normal(truth.shape, dtype=numpy.float32)

# what is known of the answer: eight thousand numbers, filters and their potentials, conditioned on the noise level
prior = ap.shipped_prior("wcrr", noise_std)
print(f"smoothness {prior.smoothness(truth.shape)}")
print(f"weak convexity {prior.weak_convexity(truth.shape)}")

# the sum is convex all the same: the data hold what the prior takes
f = ap.LeastSquares(ap.operators.Identity(), y)
x, report = ap.solve(ap.Problem(f, prior))
print(report)

# total variation with a weight that suits this noise
variation, _ = ap.solve(ap.Problem(f, 0.7 * noise_std * ap.TotalVariation()))
found = [ap.metrics.psnr(image, truth) for image in (y, variation, x)]
print("PSNR {:.2f} dB observed, {:.2f} dB by total variation, {:.2f} dB by the learned prior".format(*found))
picture = numpy.concatenate([image[0].clip(0, 1) for image in (truth, y, variation, x)], axis=1)
ap.io.write(out, ap.io.Measurement.from_array(numpy.rint(255 * picture).astype(numpy.uint8)))
print(f"wrote {out}")
