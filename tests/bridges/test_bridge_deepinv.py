"""DeepInverse's protocol: by small stand-ins that follow it, written here, and by the library itself where it can be imported."""

import contextlib
import importlib.util
import sys
import types
import warnings

import pytest
import torch
from case_types import randn, uniform
from torch import nn

import apheleia as ap
from apheleia.bridges import from_deepinv_denoiser, from_deepinv_physics, to_deepinv_physics, to_deepinv_reconstructor
from apheleia.core import ArgumentError, MissingExtraError, ShapeError
from apheleia.operators import Convolution, FiniteDifferences, LinearOperator, Operator, check_adjoint, check_linear

SHAPE = (1, 4, 5)


class Rows(nn.Module):
    """A stand-in for linear physics: a learnable weight for each row, then the sum of each column; no noise."""

    def __init__(self, dtype=torch.float32):
        super().__init__()
        self.weight = nn.Parameter(torch.arange(1.0, 5.0, dtype=dtype))
        self.seen = []

    def A(self, x, **_):
        self.seen.append(tuple(x.shape))
        return torch.einsum("h,bchw->bcw", self.weight, x)

    def A_adjoint(self, y, **_):
        return torch.einsum("h,bcw->bchw", self.weight, y)


class Squares:
    """A stand-in for physics that is not linear and no module."""

    def A(self, x):
        return x**2


def test_linear_physics_is_a_linear_operator():
    physics = Rows(torch.float64)
    A = from_deepinv_physics(physics, SHAPE)
    assert isinstance(A, LinearOperator)
    assert (A.name, A.domain.shape, A.codomain.shape) == ("Rows", SHAPE, (1, 5))
    assert check_adjoint(A, batch=(2, 3)) < 1e-14
    check_linear(A)
    assert A(randn(2, 3, *SHAPE)).shape == (2, 3, 1, 5)
    assert physics.seen[-1] == (6, *SHAPE)
    assert A(randn(*SHAPE)).shape == (1, 5)


def test_parameters_of_the_physics_are_learned():
    physics = Rows(torch.float64)
    A = from_deepinv_physics(physics, SHAPE)
    A(torch.ones(2, *SHAPE, dtype=torch.float64)).sum().backward()
    assert physics.weight.grad.tolist() == [10.0] * 4
    assert torch.autograd.gradgradcheck(A, (randn(*SHAPE).requires_grad_(),))


@pytest.mark.parametrize("own", [torch.float32, torch.float64])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_physics_keeps_its_precision_and_the_signal_its_own(own, dtype):
    A = from_deepinv_physics(Rows(own), SHAPE)
    y = A(randn(*SHAPE, dtype=dtype))
    assert y.dtype == dtype
    assert A.adjoint(y).dtype == dtype


def test_a_physics_may_move_to_another_precision():
    physics = Rows()
    A = from_deepinv_physics(physics, SHAPE)
    physics.double()
    assert check_adjoint(A) < 1e-14


def test_physics_that_is_not_linear():
    A, x, v = from_deepinv_physics(Squares(), SHAPE), randn(2, *SHAPE), randn(2, *SHAPE, seed=1)
    assert isinstance(A, Operator)
    assert not isinstance(A, LinearOperator)
    torch.testing.assert_close(A(x), x**2)
    torch.testing.assert_close(A.jvp(x, v), 2 * x * v)
    torch.testing.assert_close(A.linearize(x).adjoint(v), 2 * x * v)
    assert A.name == "Squares"


def test_no_physics():
    with pytest.raises(ArgumentError, match=r"`physics` must have a method A\(x\); Linear has none"):
        from_deepinv_physics(nn.Linear(2, 2), SHAPE)


def test_a_list_of_measurements():
    class Stack:
        def A(self, x):
            return [x, x]

    with pytest.raises(ShapeError, match=r"Stack.A must give one tensor of shape \(1, ...\) .* got list\. Bring the parts"):
        from_deepinv_physics(Stack(), SHAPE)


def test_a_physics_that_sums_over_the_batch():
    class Mean:
        def A(self, x):
            return x.mean(0, keepdim=True)

    A = from_deepinv_physics(Mean(), SHAPE)
    with pytest.raises(ShapeError, match=r"Mean\.A must give shape \(3, 1, 4, 5\) for \(3, 1, 4, 5\); got \(1, 1, 4, 5\)"):
        A(torch.ones(3, *SHAPE))


class Shrink(nn.Module):
    """A stand-in for a denoiser: it takes away a level an image."""

    def __init__(self):
        super().__init__()
        self.strength = nn.Parameter(torch.tensor(2.0))

    def forward(self, x, sigma):
        assert x.ndim == 4
        assert sigma.shape == x.shape[:1]
        return x - self.strength * sigma[:, None, None, None]


def test_a_denoiser_has_one_level_an_image():
    denoiser = from_deepinv_denoiser(Shrink())
    x, levels = uniform(2, 3, *SHAPE), uniform(2, 3, seed=1)
    torch.testing.assert_close(denoiser(x, levels), x - 2 * levels[..., None, None, None], rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(denoiser(x[0, 0], 0.5), x[0, 0] - 1, rtol=1e-6, atol=1e-6)
    assert denoiser(x, 0.1).dtype == torch.float64
    assert [name for name, _ in denoiser.named_parameters()] == ["denoiser.strength"]


def test_a_denoiser_that_is_a_function_takes_numpy():
    answer = from_deepinv_denoiser(lambda x, sigma: x * sigma[:, None, None, None])(uniform(*SHAPE).numpy(), 0.5)
    assert answer.tolist() == (0.5 * uniform(*SHAPE)).tolist()


def test_what_is_no_denoiser():
    with pytest.raises(ArgumentError, match="`denoiser` must be callable; got float"):
        from_deepinv_denoiser(0.3)


def test_levels_of_another_batch():
    with pytest.raises(ShapeError, match=r"`noise_std` must have the batch shape \(2,\) of `x` or be one number; got \(3,\)"):
        from_deepinv_denoiser(Shrink())(uniform(2, *SHAPE), torch.ones(3))


def test_out_needs_the_library(monkeypatch):
    monkeypatch.setitem(sys.modules, "deepinv", None)
    with pytest.raises(
        MissingExtraError,
        match=r"to_deepinv_physics needs deepinv, which is not installed. Install deepinv as its own documentation says",
    ):
        to_deepinv_physics(FiniteDifferences(), SHAPE)
    with pytest.raises(MissingExtraError, match="to_deepinv_reconstructor needs deepinv"):
        to_deepinv_reconstructor(lambda A, y: y)


def test_complex_operators_stay():
    with pytest.raises(ArgumentError, match="FiniteDifferences is complex; DeepInverse's images are real"):
        to_deepinv_physics(FiniteDifferences(True), SHAPE)


def test_sizes_must_fit_on_the_way_out():
    with pytest.raises(ShapeError, match=r"FiniteDifferences: signals must have shape .* got \(4, 5\)"):
        to_deepinv_physics(FiniteDifferences(), (4, 5))


class StandInPhysics(nn.Module):
    """The part of `deepinv.physics.LinearPhysics` that is built upon: a module made with `img_size`."""

    def __init__(self, img_size=None):
        super().__init__()
        self.img_size = img_size


@pytest.fixture
def stand_in(monkeypatch):
    """Put a stand-in of the two base classes where the library would be."""
    library = types.ModuleType("deepinv")
    library.physics = types.SimpleNamespace(LinearPhysics=StandInPhysics)
    library.models = types.SimpleNamespace(Reconstructor=nn.Module)
    monkeypatch.setitem(sys.modules, "deepinv", library)


def test_ours_out_and_in_again(stand_in):
    A = nn.Parameter(torch.tensor(2.0, dtype=torch.float64)) * Convolution(randn(3, 3), "reflect")
    physics = to_deepinv_physics(A, SHAPE)
    assert isinstance(physics, StandInPhysics)
    assert physics.img_size == SHAPE
    assert len(list(physics.parameters())) == 1
    x = randn(2, *SHAPE)
    torch.testing.assert_close(physics.A(x, sigma=0.1), A(x))
    torch.testing.assert_close(physics.A_adjoint(x), A.adjoint(x))
    torch.testing.assert_close(from_deepinv_physics(physics, SHAPE)(x), A(x))


def _denoise(A, y):
    return ap.solve(ap.Problem(ap.LeastSquares(A, y), 0.05 * ap.TotalVariation()), tol=1e-6)[0]


def test_a_reconstructor_solves(stand_in):
    A, y = Convolution(randn(3, 3).abs() / 9, "reflect"), uniform(2, *SHAPE)
    model = to_deepinv_reconstructor(_denoise)
    torch.testing.assert_close(model(y, to_deepinv_physics(A, SHAPE)), _denoise(A, y), rtol=1e-3, atol=1e-3)


def test_a_reconstructor_needs_linear_physics(stand_in):
    with pytest.raises(ArgumentError, match="the physics must be linear, with A and A_adjoint; Squares is not"):
        to_deepinv_reconstructor(_denoise)(uniform(1, *SHAPE), Squares())


# the library itself


@pytest.fixture(scope="module")
def deepinv():
    """Import DeepInverse, or skip. torchvision's compiled part may not load; two declarations let its import pass."""
    if importlib.util.find_spec("deepinv") is None:
        pytest.skip("DeepInverse is not installed")
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name in ("nms", "qnms"):
        with contextlib.suppress(RuntimeError):  # where torchvision has it
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return importlib.import_module("deepinv")


def test_blur_of_the_library_is_ours(deepinv):
    kernel = uniform(3, 3)
    physics = deepinv.physics.Blur(filter=kernel[None, None], padding="circular").double()
    A, x = from_deepinv_physics(physics, SHAPE), randn(2, *SHAPE)
    assert check_adjoint(A) < 1e-12
    torch.testing.assert_close(A(x), Convolution(kernel, "circular")(x))


def test_physics_of_the_library_that_is_not_linear(deepinv):
    A, x = from_deepinv_physics(deepinv.physics.Physics(A=lambda x, **_: x**2), SHAPE), randn(2, *SHAPE)
    assert not isinstance(A, LinearOperator)
    torch.testing.assert_close(A.jvp(x, x), 2 * x**2)


def test_a_denoiser_of_the_library(deepinv):
    noisy = uniform(2, *SHAPE)
    answer = from_deepinv_denoiser(deepinv.models.TVDenoiser())(noisy, 0.1)
    assert answer.shape == noisy.shape
    assert (answer.std() < noisy.std()).all()


def test_ours_in_the_library(deepinv):
    A, x = Convolution(uniform(3, 3), "reflect"), uniform(2, *SHAPE)
    physics = to_deepinv_physics(A, SHAPE)
    assert isinstance(physics, deepinv.physics.LinearPhysics)
    assert abs(float(physics.adjointness_test(x))) < 1e-10
    torch.testing.assert_close(physics(x), A(x))
    model = to_deepinv_reconstructor(_denoise)
    assert isinstance(model, deepinv.models.Reconstructor)
    torch.testing.assert_close(model(physics(x), physics), _denoise(A, A(x)), rtol=1e-3, atol=1e-3)
