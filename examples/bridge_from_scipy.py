"""A data formation that exists as a scipy.sparse.linalg.LinearOperator: bring it over, check it, solve with a prior.

python examples/bridge_from_scipy.py

A lens that is sharp on the left and soft on the right, written with scipy.ndimage years ago. Its adjoint comes along and is
checked; the same problem goes back to scipy's lsqr, which knows no prior.
"""

import numpy
import torch
from scipy.ndimage import gaussian_filter
from scipy.sparse.linalg import LinearOperator, lsqr

import apheleia as ap

HEIGHT = WIDTH = 96
softness = numpy.linspace(0, 1, WIDTH)


def blur(image: numpy.ndarray, sigma: float) -> numpy.ndarray:
    return gaussian_filter(image, sigma, mode="constant")  # zero beyond the edge: symmetric, its own adjoint


def matvec(x: numpy.ndarray) -> numpy.ndarray:
    image = x.reshape(HEIGHT, WIDTH)
    return ((1 - softness) * blur(image, 0.8) + softness * blur(image, 2.5)).ravel()


def rmatvec(y: numpy.ndarray) -> numpy.ndarray:
    image = y.reshape(HEIGHT, WIDTH)
    return (blur((1 - softness) * image, 0.8) + blur(softness * image, 2.5)).ravel()


lens = LinearOperator((HEIGHT * WIDTH, HEIGHT * WIDTH), matvec=matvec, rmatvec=rmatvec, dtype=float)
space = ap.Space((1, HEIGHT, WIDTH))
A = ap.bridges.from_scipy(lens, space, space)
defect = ap.check_adjoint(A)
print(f"adjoint: <A x, y> and <x, A^H y> differ by {defect:.1e}, relative")
assert defect < 1e-12

photograph = torch.from_numpy(ap.data.sample("camera")[60:156, 180:276] / 255)[None]
y = ap.noise.Gaussian(0.05).sample(A(photograph), torch.Generator().manual_seed(0))
x, report = ap.solve(ap.Problem(ap.LeastSquares(A, y, noise_std=0.05), 8 * ap.TotalVariation() + ap.Box(0, 1)))
print(report)

# and out again: the same operator, through ours, in scipy's solver
there_and_back = ap.bridges.to_scipy(A)
unregularised = lsqr(there_and_back, y.numpy().ravel(), iter_lim=30)[0].reshape(1, HEIGHT, WIDTH)
print(f"PSNR of lsqr after 30 steps, without a prior: {ap.metrics.psnr(unregularised, photograph.numpy()):.2f} (dB)")
gain = ap.metrics.psnr(x, photograph) - ap.metrics.psnr(y, photograph)
assert gain > 1
print(f"PSNR {ap.metrics.psnr(y, photograph):.2f} dB -> {ap.metrics.psnr(x, photograph):.2f} dB")
