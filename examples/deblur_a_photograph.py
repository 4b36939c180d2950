"""Deblur a photograph in Python: state the model, solve it, read what is proved, keep a picture and the numbers.

python examples/deblur_a_photograph.py [OUT.png]
"""

import sys

import numpy

import apheleia as ap

out = sys.argv[1] if len(sys.argv) > 1 else "deblurred.png"

# how the data are formed: a blur of 1.6 pixels whose edges reflect, and noise of 3 % of full scale
truth = ap.data.sample("camera")[None] / 255
A = ap.operators.Convolution(ap.imaging.gaussian_kernel(1.6), boundary="reflect")
y = A(truth) + 0.03 * numpy.random.default_rng(0).standard_normal(truth.shape)

# what is known of the answer: few edges, and values between black and white
problem = ap.Problem(ap.LeastSquares(A, y, noise_std=0.03), 10 * ap.TotalVariation() + ap.Box(0, 1))
x, report = ap.solve(problem, tol=1e-3)

print(problem.formula)
print(report)
print(f"PSNR {ap.metrics.psnr(y, truth):.2f} dB -> {ap.metrics.psnr(x, truth):.2f} dB")
ap.io.write(out, ap.io.Measurement.from_array(numpy.rint(255 * x[0]).astype(numpy.uint8)))
print(f"wrote {out}")
