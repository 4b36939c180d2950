"""Operators of complex imaging physics in the register of the suite."""

from __future__ import annotations

import torch
from case_types import EVERY, FunctionalCase, OperatorCase, randn, uniform
from torch import Tensor

from apheleia.bridges import NonuniformFourierTransform
from apheleia.core import Space
from apheleia.functionals import L1, Box, GroupL1, Magnitude, TotalVariation
from apheleia.operators import FourierSampling, Matrix, MultiCoilMRI, NearFieldMIMO, PhaseRetrieval, RandomProjection


def _mask(*shape: int, seed: int = 2) -> Tensor:
    return (uniform(*shape, seed=seed) > 0.4).double()


def _maps(*shape: int) -> Tensor:
    return randn(*shape, seed=4, dtype=torch.complex128)


MRI = [
    OperatorCase("MRI, one coil", lambda: MultiCoilMRI(_mask(4, 5)), (1, 4, 5)),
    OperatorCase("MRI, one coil, rows", lambda: MultiCoilMRI(_mask(4, 1).expand(4, 3)), (1, 4, 3)),
    OperatorCase("MRI, one coil, weights", lambda: MultiCoilMRI(randn(3, 4)), (1, 3, 4)),
    OperatorCase("MRI, one coil, all of k-space", lambda: MultiCoilMRI(torch.ones(3, 4)), (1, 3, 4)),
    OperatorCase("MRI, coils", lambda: MultiCoilMRI(_mask(5, 4), _maps(3, 5, 4)), (1, 5, 4), "upper"),
    OperatorCase("MRI, coils, columns", lambda: MultiCoilMRI(_mask(5).expand(3, 5), _maps(2, 3, 5)), (1, 3, 5), "upper"),
    OperatorCase("MRI, coils, rows", lambda: MultiCoilMRI(_mask(5, 1).expand(5, 3), _maps(2, 5, 3)), (1, 5, 3), "upper"),
    OperatorCase("MRI, coils, all of k-space", lambda: MultiCoilMRI(2 * torch.ones(3, 4), _maps(2, 3, 4)), (1, 3, 4)),
    OperatorCase("MRI, real maps", lambda: MultiCoilMRI(_mask(3, 4) > 0, randn(2, 3, 4)), (1, 3, 4), "upper"),
    OperatorCase(
        "MRI, a mask an image",
        lambda index=EVERY: MultiCoilMRI(_mask(3, 4, 3)[index], _maps(2, 4, 3)),
        (1, 4, 3),
        "upper",
        batch=(3,),
    ),
    OperatorCase(
        "MRI, maps an image",
        lambda index=EVERY: MultiCoilMRI(_mask(4, 3), _maps(3, 2, 4, 3)[index]),
        (1, 4, 3),
        "upper",
        batch=(3,),
    ),
    OperatorCase(
        "MRI, one coil, a mask an image", lambda index=EVERY: MultiCoilMRI(randn(3, 3, 3)[index]), (1, 3, 3), batch=(3,)
    ),
]

PHASE = [
    OperatorCase(
        "linearisation of phase retrieval",
        lambda: PhaseRetrieval(Matrix(_maps(5, 3))).linearize(_maps(3)),
        (3,),
        "upper",
    ),
]


def _frequencies(*shape: int) -> Tensor:
    return uniform(*shape, 2, seed=7, low=-0.7, high=0.7)


SAMPLING = [
    OperatorCase("Fourier sampling", lambda: FourierSampling(_frequencies(5), (4, 3)), (2, 4, 3), "upper"),
    OperatorCase("Fourier sampling, complex", lambda: FourierSampling(_frequencies(7), (3, 2), True), (1, 3, 2), "upper"),
    OperatorCase(
        "Fourier sampling an image",
        lambda index=EVERY: FourierSampling(_frequencies(3, 4)[index], (2, 3)),
        (2, 2, 3),
        "upper",
        batch=(3,),
    ),
    OperatorCase("NUFFT", lambda: NonuniformFourierTransform(_frequencies(6), (4, 5), 1e-12), (1, 4, 5), "upper"),
    OperatorCase("NUFFT, real", lambda: NonuniformFourierTransform(_frequencies(6), (3, 4), 1e-12, False), (2, 3, 4), "upper"),
]


def _radar(*grid: int, has_spreading: bool = False) -> NearFieldMIMO:
    antennas = uniform(5, 3, seed=8) * torch.tensor([1.0, 1.0, 0.0])
    voxels = uniform(*grid, 3, seed=9) + torch.tensor([0.0, 0.0, 0.5])
    return NearFieldMIMO(antennas[:2], antennas[2:], torch.tensor([1e9, 1.3e9, 2e9]), voxels, has_spreading)


RADAR = [
    OperatorCase("radar", lambda: _radar(1, 2, 3), (1, 2, 3), "upper"),
    OperatorCase("radar with spreading", lambda: _radar(4, has_spreading=True), (4,), "upper"),
]


def _projection(count: int, *shape: int) -> RandomProjection:
    return RandomProjection(count, Space(shape), generator=torch.Generator().manual_seed(0))


PROJECTIONS = [
    OperatorCase("random projection", lambda: _projection(5, 1, 3, 4), (1, 3, 4)),
    OperatorCase("random projection, orthonormal", lambda: _projection(7, 7), (7,)),
]

FOURIER_OPERATORS = [*MRI, *PHASE, *SAMPLING, *RADAR, *PROJECTIONS]

FOURIER_FUNCTIONALS = [
    FunctionalCase("magnitude, L1", lambda s: Magnitude(L1()), (1, 3, 4), (1, 1, 2)),
    FunctionalCase("magnitude, groups", lambda s: Magnitude(0.7 * GroupL1()), (2, 2, 3), (2, 1, 1)),
    FunctionalCase("box of magnitudes", lambda s: Magnitude(Box(0.0, 0.8)), (1, 3, 4), (1, 1, 1)),
    FunctionalCase(
        "magnitude, L1, a weight a sample",
        lambda s, index=EVERY: Magnitude(torch.tensor([0.3, 1.0, 4.0], dtype=torch.float64)[index] * L1()),
        (1, 3, 4),
        batch=(3,),
    ),
    FunctionalCase("magnitude, total variation", lambda s: Magnitude(TotalVariation()), (1, 3, 3), prox_tol=1e-4),
]
