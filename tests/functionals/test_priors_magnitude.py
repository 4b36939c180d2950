"""Priors on magnitudes: against complex norms, a search over sizes and phases, conditions and wrong use."""

import itertools
import math

import pytest
import torch
from case_types import COMPLEX_IMAGE, randn

from apheleia.core import IMAGE, VECTOR, ArgumentError, CapabilityError, Space
from apheleia.functionals import L1, Ball, Box, GroupL1, Magnitude, NonNegativity, SmoothedVariation, TotalVariation
from apheleia.functionals.functional import Functional


@pytest.mark.parametrize(
    ("R", "twin", "shape"),
    [
        (L1(), L1(COMPLEX_IMAGE), (1, 3, 4)),
        (0.4 * L1(), 0.4 * L1(COMPLEX_IMAGE), (1, 3, 4)),
        (GroupL1(), GroupL1(space=COMPLEX_IMAGE), (3, 2, 2)),
        (Ball(1.5), Ball(1.5, COMPLEX_IMAGE), (1, 3, 4)),
    ],
    ids=["L1", "scaled L1", "groups", "ball"],
)
def test_norms_of_sizes_are_the_complex_norms(R, twin, shape):
    F, x = Magnitude(R), randn(4, *shape, dtype=torch.complex128)
    assert F.is_convex
    assert F.has_conjugate
    for step in (0.1, 0.7, 3.0):
        torch.testing.assert_close(F.prox(x, step), twin.prox(x, step))
        torch.testing.assert_close(F.conj_prox(x, step), twin.conj_prox(x, step))
    inside = twin.prox(x, 1.0)
    torch.testing.assert_close(F(inside), twin(inside))
    u = 0.3 * x / x.abs().amax()
    torch.testing.assert_close(F.conjugate(u), twin.conjugate(u))


@pytest.mark.parametrize("R", [Box(0.0, 0.6), Box(0.5, 2.0), 0.4 * TotalVariation()], ids=["box", "ring", "total variation"])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_prox_against_a_search_over_sizes_and_phases(R, seed):
    F, x, step = Magnitude(R), randn(1, 1, 2, seed=seed, dtype=torch.complex128), 0.8
    p = F.prox(x, step)

    def energy(u):
        return step * F(u) + 0.5 * F.space.inner(u - x, u - x)

    sizes = torch.linspace(0, 2, 41, dtype=torch.float64).tolist()
    phases = torch.linspace(0, 2 * math.pi, 25, dtype=torch.float64)[:-1].tolist()
    polar = torch.tensor(list(itertools.product(sizes, phases)), dtype=torch.float64)
    points = torch.polar(polar[:, 0], polar[:, 1])
    pairs = torch.cartesian_prod(points, points).reshape(-1, 1, 1, 2)
    least = energy(pairs).min()
    assert energy(p) <= least + 1e-6
    # the grid has a point within half its spacing of every other
    assert least <= energy(p) + 0.2


def test_zero_has_the_phase_zero():
    x = torch.tensor([[[0, 2j]]], dtype=torch.complex128)
    torch.testing.assert_close(Magnitude(Box(0.5, 1.0)).prox(x, 1.0), torch.tensor([[[0.5, 1j]]], dtype=torch.complex128))


def test_the_phase_stays():
    x = randn(2, 1, 4, 4, dtype=torch.complex128)
    p = Magnitude(0.2 * TotalVariation()).prox(x, 1.0)
    torch.testing.assert_close(p / p.abs(), x / x.abs())
    assert not Magnitude(TotalVariation()).is_convex


class Towards(Functional):
    """A user's prior that pulls towards a negative number: m -> 1/2 (m + 1)^2."""

    is_convex = True
    is_proximable = True
    has_exact_prox = True

    def _value(self, x):
        return 0.5 * (x + 1).square().sum(self.space.axes)

    def _prox(self, x, step):
        return (x - step) / (1 + step)


def test_a_prox_below_zero_is_refused():
    with pytest.raises(CapabilityError, match="the proximal map of Towards made a magnitude negative"):
        Magnitude(Towards()).prox(torch.ones(1, 2, 2), 3.0)


def test_wrong_use():
    with pytest.raises(ArgumentError, match="`R` must be a functional of real signals; got L1 on complex ones"):
        Magnitude(L1(COMPLEX_IMAGE))
    with pytest.raises(ArgumentError, match="`R` must be a functional of real signals; got float"):
        Magnitude(1.0)
    with pytest.raises(CapabilityError, match="`R` must be proximable; SmoothedVariation is not"):
        Magnitude(SmoothedVariation())


def test_text():
    F = Magnitude(0.5 * L1(VECTOR))
    assert (F.name, F.formula, F.space) == ("Magnitude(L1)", "0.5 ||x||₁", Space((None,), is_complex=True))
    assert not Magnitude(NonNegativity()).is_from_numpy


class Rounding(Functional):
    """A user's exact prior whose proximal map leaves, where it is zero, a number of the size of rounding, or more."""

    is_convex = True
    is_proximable = True
    has_exact_prox = True

    def __init__(self, left):
        super().__init__(IMAGE)
        self.left = left

    def _value(self, x):
        return x.sum(self.space.axes)

    def _prox(self, x, step):
        return x - self.left


def test_rounding_below_zero_is_forgiven_and_no_more():
    x = torch.nn.functional.pad(torch.ones(1, 1, 1, dtype=torch.float64), (0, 200, 0, 200))
    assert Magnitude(Rounding(1e-16)).prox(x, 1.0).abs().min() == 0
    with pytest.raises(CapabilityError, match="made a magnitude negative"):
        Magnitude(Rounding(1e-12)).prox(x, 1.0)
