"""Fidelities: how far A x may be from the data, each called (A, y, ...)."""

from apheleia.functionals.fidelities.fidelity import DataLoss, Fidelity
from apheleia.functionals.fidelities.huber_loss import HuberLoss
from apheleia.functionals.fidelities.kullback_leibler import KullbackLeibler
from apheleia.functionals.fidelities.least_absolute_deviations import LeastAbsoluteDeviations
from apheleia.functionals.fidelities.least_squares import LeastSquares
from apheleia.functionals.fidelities.transmission_poisson import TransmissionPoisson

__all__ = [
    "DataLoss",
    "Fidelity",
    "HuberLoss",
    "KullbackLeibler",
    "LeastAbsoluteDeviations",
    "LeastSquares",
    "TransmissionPoisson",
]
