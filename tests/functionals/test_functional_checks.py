"""The diagnostics that users run on their own functionals find the usual mistakes."""

import pytest
import torch

from apheleia.core import VECTOR, CapabilityError, CheckError, Space
from apheleia.functionals import L1, Functional, SmoothedVariation, WaveletL1, check_gradient, check_prox
from apheleia.operators import WaveletTransform


class HiddenFactor(Functional):
    """|W x|_1 whose proximal map thresholds at a tenth of the step: the mistake of a known library."""

    is_convex = True
    is_proximable = True

    def __init__(self, factor=0.1):
        super().__init__()
        self.transform = WaveletTransform("haar", 1)
        self.factor = factor

    def _value(self, x):
        return L1()._value(self.transform._forward(x))

    def _prox(self, x, step):
        return self.transform._adjoint(L1()._prox(self.transform._forward(x), self.factor * step))


class Custom(Functional):
    """A functional on vectors from three functions."""

    is_convex = True
    is_smooth = True
    is_proximable = True

    def __init__(self, value, grad=None, prox=None):
        super().__init__(VECTOR)
        self.functions = (value, grad, prox)

    def _value(self, x):
        return self.functions[0](x)

    def _grad(self, x):
        return super()._grad(x) if self.functions[1] is None else self.functions[1](x)

    def _prox(self, x, step):
        return self.functions[2](x, step)


def half_squares(x):
    return 0.5 * x.square().sum(-1)


@pytest.mark.parametrize("step", [0.1, 1.0])
@pytest.mark.parametrize("factor", [0.1, 0.9, 1.1, 2.0])
def test_check_prox_finds_a_hidden_factor(factor, step):
    with pytest.raises(
        CheckError, match=rf"check_prox: HiddenFactor: a point near prox\(x, {step}\) falls short.*factor in the step"
    ):
        check_prox(HiddenFactor(factor), (1, 4, 4), step=step)


def test_check_prox_accepts_the_same_without_the_factor():
    assert check_prox(HiddenFactor(1.0), (1, 4, 4)) < 1e-10
    assert check_prox(WaveletL1("haar", 1), (1, 4, 4)) < 1e-10


def test_check_prox_finds_a_prox_that_is_none():
    with pytest.raises(CheckError, match="falls short of its energy"):
        check_prox(Custom(half_squares, prox=lambda x, step: x), (3,))


def test_check_prox_finds_a_point_outside_of_the_domain():
    positive = Custom(lambda x: torch.where((x >= 0).all(-1), 0.0, torch.inf), prox=lambda x, step: x)
    with pytest.raises(CheckError, match="the proximal point has energy inf; it must lie in the domain"):
        check_prox(positive, (4,))


def test_check_prox_finds_energies_that_are_not_numbers():
    nowhere = Custom(lambda x: torch.where((x == 0).all(-1), 0.0, torch.nan), prox=lambda x, step: torch.zeros_like(x))
    with pytest.raises(CheckError, match="falls short of its energy by nan"):
        check_prox(nowhere, (4,))


def test_check_prox_needs_a_prox():
    with pytest.raises(CapabilityError, match="SmoothedVariation is not proximable"):
        check_prox(SmoothedVariation(), (1, 3, 3))


@pytest.mark.parametrize("factor", [0.5, 1.001, -1.0, torch.nan])
def test_check_gradient_finds_a_factor(factor):
    with pytest.raises(CheckError, match="check_gradient: Custom: the gradient and central differences of the energy differ by"):
        check_gradient(Custom(half_squares, grad=lambda x: factor * x), (3,))


def test_check_gradient_accepts_the_automatic_one():
    assert check_gradient(Custom(half_squares), (3,)) < 1e-8


def test_check_gradient_needs_a_smooth_functional():
    with pytest.raises(CapabilityError, match="L1 is not smooth"):
        check_gradient(L1(), (1, 3, 3))


def test_checks_of_a_learned_functional_do_not_warn():
    weight = torch.nn.Parameter(torch.tensor(0.5, dtype=torch.float64))
    assert check_prox(weight * L1(), (1, 3, 3)) < 1e-10
    assert check_gradient(weight * SmoothedVariation(), (1, 3, 3)) < 1e-5


def test_checks_take_a_generator_and_leave_the_global_seed_alone():
    before = torch.get_rng_state()
    check_prox(L1(), (1, 3, 3), generator=torch.Generator().manual_seed(1))
    check_gradient(SmoothedVariation(), (1, 3, 3), generator=torch.Generator().manual_seed(1))
    assert torch.equal(before, torch.get_rng_state())


# what a subclass that declares and does not write is told


class Promises(Functional):
    """A functional that declares everything and writes nothing but its value."""

    is_convex = is_smooth = is_quadratic = is_proximable = has_conjugate = True

    def _value(self, x):
        return x.square().sum(self.space.axes)


@pytest.mark.parametrize(
    ("call", "hook"),
    [
        (lambda F, x: F.prox(x, 1.0), "_prox"),
        (lambda F, x: F.conjugate(x), "_conjugate"),
        (lambda F, x: F.smoothness((3,)), "_smoothness"),
        (lambda F, x: F.hessian((3,)), "_hessian"),
    ],
)
def test_a_promise_without_its_hook(call, hook):
    with pytest.raises(CapabilityError, match=f"Promises declares .* and does not write `{hook}`"):
        call(Promises(VECTOR), torch.ones(3))


def test_what_follows_without_any_hook():
    F, x = Promises(VECTOR), torch.ones(3)
    assert torch.equal(F.grad(x), 2 * x)
    assert (F.strong_convexity((3,)).value, F.strong_convexity((3,)).kind) == (0, "lower")
    assert F.start() is None
    assert torch.equal(F._dual_scale(x), torch.ones(()))


def test_abstract():
    with pytest.raises(TypeError, match="abstract"):
        Functional(Space((3,)))


def test_one_that_knows_what_it_couples_writes_an_entrywise_prox():
    class Separable(Promises):
        coupled_axes = ()

    F = Separable()
    for map_ in (F.prox, F.conj_prox):
        with pytest.raises(CapabilityError, match="Separable declares `coupled_axes` and does not write `_entrywise_prox`"):
            map_(torch.ones(1, 2, 2), 1.0)
