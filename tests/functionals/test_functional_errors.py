"""Every refusal of a functional is a sentence that says who, what was expected and what came."""

import numpy
import pytest
import torch
from case_types import COMPLEX_IMAGE, randn
from cases import FUNCTIONALS, Square

from apheleia.core import VECTOR, ArgumentError, CapabilityError, ShapeError, Space
from apheleia.functionals import (
    L1,
    Ball,
    Box,
    Composition,
    GroupL1,
    HuberLoss,
    KullbackLeibler,
    LeastAbsoluteDeviations,
    LeastSquares,
    NonNegativity,
    QuadraticSmoothness,
    Simplex,
    SmoothedVariation,
    Sum,
    TotalVariation,
    WaveletL1,
)
from apheleia.operators import Convolution, Decimation, FiniteDifferences, Identity, Matrix

every_functional = pytest.mark.parametrize("case", FUNCTIONALS, ids=lambda case: case.name)
every_fidelity = pytest.mark.parametrize(
    "fidelity",
    [LeastSquares, KullbackLeibler, LeastAbsoluteDeviations, lambda A, y: HuberLoss(A, y, 1.0)],
    ids=["LeastSquares", "KullbackLeibler", "LeastAbsoluteDeviations", "HuberLoss"],
)
y = torch.ones(1, 4, 4)


@every_functional
def test_signals_are_checked(case):
    F, x = case(), case.x(())
    calls = [F] + [F.grad] * F.is_smooth + [F.conjugate] * F.has_conjugate
    calls += [lambda x: F.prox(x, 1.0), lambda x: F.conj_prox(x, 1.0), lambda x: F.prox_and_gap(x, 1.0)] * F.is_proximable
    for call in calls:
        with pytest.raises(ShapeError, match=r"must have at least \d axes"):
            call(x[(0,) * x.ndim])
        with pytest.raises(ShapeError, match=r"must hold floating-point numbers; got torch.int64"):
            call(torch.ones(case.shape, dtype=torch.int64))


@pytest.mark.parametrize("case", [c for c in FUNCTIONALS if not c().space.is_complex], ids=lambda case: case.name)
def test_complex_into_real(case):
    with pytest.raises(ShapeError, match=r"`x` must be real; got torch.complex128"):
        case()(randn(*case.shape, dtype=torch.complex128))


@every_functional
@pytest.mark.parametrize("weight", [-1.0, float("nan"), float("inf"), 1j, torch.tensor([1.0, -1.0])])
def test_weights(case, weight):
    with pytest.raises(ArgumentError, match="a weight must be a finite number >= 0; got"):
        weight * case()


def test_a_weight_is_a_number():
    with pytest.raises(ArgumentError, match="L1: `weight` must be a tensor or an array of numbers; got str"):
        "2" * L1()


def test_numbers_that_depend_on_the_size():
    for call in (QuadraticSmoothness().smoothness, QuadraticSmoothness().strong_convexity, QuadraticSmoothness().hessian):
        with pytest.raises(CapabilityError, match=r"QuadraticSmoothness: the number depends on the image size; give shape="):
            call()


def test_modulus_of_what_is_not_convex():
    F = LeastSquares(Square(), torch.ones(3))
    with pytest.raises(CapabilityError, match="LeastSquares is not convex and has no modulus of convexity"):
        F.strong_convexity()


# data


@every_fidelity
def test_data_of_integers(fidelity):
    with pytest.raises(ShapeError, match=r": `y` must hold floating-point numbers; got torch.uint8\. Convert it"):
        fidelity(Identity(), torch.ones(1, 4, 4, dtype=torch.uint8))
    with pytest.raises(ShapeError, match="`y` must hold floating-point numbers"):
        fidelity(Identity(), numpy.ones((1, 4, 4), dtype=numpy.uint16))


@every_fidelity
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_data_that_are_not_finite(fidelity, value):
    broken = torch.ones(1, 4, 4)
    broken[0, :2, 1] = value
    with pytest.raises(
        ShapeError, match=r"`y` must be finite; got 2 NaN or infinite values\. Mask them with operators\.Diagonal"
    ):
        fidelity(Identity(), broken)


@every_fidelity
def test_data_without_a_channel(fidelity):
    with pytest.raises(ShapeError, match=r"`y` must have at least 3 axes.*Add a channel axis"):
        fidelity(Identity(), torch.ones(4, 4))


@every_fidelity
def test_data_that_are_no_array(fidelity):
    with pytest.raises(ArgumentError, match="`y` must be a tensor or an array of numbers; got str"):
        fidelity(Identity(), "data.tif")


@every_fidelity
@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 3, 4), (2, 4, 4)])
def test_a_signal_of_another_size_is_never_broadcast(fidelity, shape):
    F = fidelity(Identity(), y)
    with pytest.raises(ShapeError, match=r"`x` must have shape \(\*batch, 1, 4, 4\); got"):
        F(torch.ones(shape))
    with pytest.raises(ShapeError, match=r"`x` must have shape \(\*batch, 1, 4, 4\); got"):
        F.loss(torch.ones(shape))


def test_the_data_fix_the_size_of_the_signal():
    assert LeastSquares(Decimation(2), y).space.shape == (1, 8, 8)
    assert LeastSquares(Matrix(torch.ones(4, 3)), torch.ones(4)).signal_shape == (3,)


@every_fidelity
def test_a_non_linear_operator_gives_no_bounds(fidelity):
    F = fidelity(Square(), torch.ones(3))
    assert not (F.is_convex)
    assert not (F.is_smooth)
    assert not (F.is_proximable)
    assert F.split is None
    assert F.start() is None
    assert F(torch.ones(3)).shape == ()
    with pytest.raises(ShapeError, match="this needs a linear A; Square is not"):
        F._strong_convexity((3,))


@pytest.mark.parametrize("std", [0.0, -1.0, float("nan"), float("inf"), torch.tensor([1.0, 0.0])])
def test_noise_level(std):
    with pytest.raises(ArgumentError, match=r"LeastSquares: `noise_std` must be above zero; got .*Leave it out for weight 1"):
        LeastSquares(Identity(), y, noise_std=std)


def test_noise_levels_and_data_must_broadcast():
    F = LeastSquares(Identity(), torch.ones(3, 1, 4, 4), noise_std=torch.ones(2))
    with pytest.raises(ShapeError, match=r"LeastSquares: batch shapes \(3,\), \(2,\) do not broadcast"):
        F.loss.batch_shape  # noqa: B018


@pytest.mark.parametrize("delta", [0.0, -1.0, float("nan")])
def test_huber_delta(delta):
    with pytest.raises(ArgumentError, match="HuberLoss: `delta` must be above zero"):
        HuberLoss(Identity(), y, delta)


def test_kullback_leibler():
    with pytest.raises(ArgumentError, match="KullbackLeibler: `gain` must be above zero; got 0"):
        KullbackLeibler(Identity(), y, gain=0)
    with pytest.raises(ArgumentError, match="KullbackLeibler: `background` must be at least zero; got -1"):
        KullbackLeibler(Identity(), y, background=-1)
    with pytest.raises(ArgumentError, match=r"KullbackLeibler: `y` must be at least zero; .*pass `background`"):
        KullbackLeibler(Identity(), -y)
    with pytest.raises(ArgumentError, match="KullbackLeibler: counts are real"):
        KullbackLeibler(Identity(COMPLEX_IMAGE), y)


# priors


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Box(1.0, 1.0), "Box: `lower` must be below `upper`; got 1.0 and 1.0"),
        (lambda: Box(float("nan"), 1.0), "Box: `lower` must be below `upper`"),
        (lambda: Box(space=COMPLEX_IMAGE), "Box: complex numbers have no order; give a real space"),
        (lambda: NonNegativity(COMPLEX_IMAGE), "NonNegativity: complex numbers have no order"),
        (lambda: Simplex(space=COMPLEX_IMAGE), "Simplex: complex numbers have no order"),
        (lambda: Ball(0.0), "Ball: `radius` must be a finite number above zero; got 0.0"),
        (lambda: Ball(float("inf")), "Ball: `radius` must be a finite number above zero; got inf"),
        (lambda: Simplex(0.0), "Simplex: `total` must be a finite number above zero; got 0.0"),
        (lambda: Simplex(axis=0), "Simplex: `axis` must lie between -3 and -1; got 0"),
        (lambda: GroupL1(axis=-4), "GroupL1: `axis` must lie between -3 and -1; got -4"),
        (lambda: SmoothedVariation(0.0), r"SmoothedVariation: `epsilon` must be above zero; got 0.0\. Zero is TotalVariation"),
        (lambda: SmoothedVariation(kind="l2"), "SmoothedVariation: `kind` must be charbonnier or huber; got 'l2'"),
        (lambda: WaveletL1(levels=0), "WaveletTransform: `levels` must be a whole number >= 1"),
        (lambda: Sum([]), "Sum: give at least one functional; got none"),
    ],
)
def test_constructors(make, sentence):
    with pytest.raises(ArgumentError, match=sentence):
        make()


def test_wavelet_prior_of_a_size_that_does_not_halve():
    with pytest.raises(ShapeError, match=r"multiples of 2\^levels = 4; got 6 x 8"):
        WaveletL1("haar", 2)(torch.ones(1, 6, 8))


def test_steps_of_total_variation_must_broadcast():
    with pytest.raises(ShapeError, match=r"TotalVariation.prox: batch shapes \(3,\), \(2,\) do not broadcast"):
        TotalVariation().prox(torch.ones(3, 1, 4, 4), torch.ones(2))


# calculus


def test_sum_of_unlike_spaces():
    with pytest.raises(
        ShapeError, match=r"L1 \+ L1: the spaces .* do not fit\. Give the prior its space, for instance L1\(space=VECTOR\)"
    ):
        L1() + L1(VECTOR)
    with pytest.raises(
        ShapeError, match=r"the spaces .* do not fit\. Give the prior its space, Space\(\.\.\., is_complex=True\)"
    ):
        L1() + L1(COMPLEX_IMAGE)
    with pytest.raises(ShapeError, match=r"L1 \+ L1: the spaces \(2, 2, 2\) and \(3, 2, 2\) do not fit\.$"):
        L1(Space((2, 2, 2))) + L1(Space((3, 2, 2)))


def test_sum_of_unlike_batches():
    F = torch.ones(2) * L1() + torch.ones(3) * L1()
    with pytest.raises(ShapeError, match=r"batch shapes \(2,\), \(3,\) do not broadcast"):
        F.batch_shape  # noqa: B018


def test_composition_of_unlike_spaces():
    with pytest.raises(
        ShapeError, match=r"L1 @ FiniteDifferences: the functional takes \(channel, height, width\), the operator gives"
    ):
        L1() @ FiniteDifferences()
    with pytest.raises(
        ShapeError, match="NonNegativity @ Identity: the functional takes real signals, the operator gives complex"
    ):
        NonNegativity() @ Identity(COMPLEX_IMAGE)


def test_functionals_combine_with_their_like_only():
    with pytest.raises(ArgumentError, match=r"L1 \+ \.\.\.: `\+` joins two functionals; got int"):
        L1() + 1
    with pytest.raises(ArgumentError, match=r"L1 @ \.\.\.: a functional is composed with a linear operator, F @ K; got Square"):
        L1() @ Square()
    assert isinstance(L1() @ Convolution(torch.ones(3, 3)), Composition)
