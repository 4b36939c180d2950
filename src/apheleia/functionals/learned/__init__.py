"""Priors with learned parameters, and constants that follow from them."""

from apheleia.functionals.learned.ridge_regularizer import RidgeRegularizer
from apheleia.functionals.learned.weights import SHIPPED, load_prior, save_prior, shipped_prior

__all__ = ["SHIPPED", "RidgeRegularizer", "load_prior", "save_prior", "shipped_prior"]
