"""Noise: how measurements scatter around their means, drawn from a generator, with mean and variance in closed form."""

from apheleia.noise.gaussian import Gaussian
from apheleia.noise.impulse import Impulse
from apheleia.noise.noise_model import NoiseModel
from apheleia.noise.poisson import Poisson
from apheleia.noise.poisson_gaussian import PoissonGaussian
from apheleia.noise.quantisation import Quantisation
from apheleia.noise.rician import Rician
from apheleia.noise.speckle import Speckle

__all__ = ["Gaussian", "Impulse", "NoiseModel", "Poisson", "PoissonGaussian", "Quantisation", "Rician", "Speckle"]
