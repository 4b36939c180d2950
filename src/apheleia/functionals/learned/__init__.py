"""Priors with learned parameters, and constants that follow from them."""

from apheleia.functionals.learned.ridge_regularizer import RidgeRegularizer
from apheleia.functionals.learned.weights import load_prior, save_prior

__all__ = ["RidgeRegularizer", "load_prior", "save_prior"]
