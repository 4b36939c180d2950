"""DeepInverse's physics and denoisers in, by their protocol alone; ours out as its physics and reconstructors."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable
from types import ModuleType
from typing import Any, Protocol, cast, final, runtime_checkable

import torch
from torch import Tensor, nn

from apheleia.bridges.array_operator import check_ours
from apheleia.core.errors import ArgumentError, MissingExtraError, ShapeError
from apheleia.core.interop import accepts_numpy
from apheleia.core.space import IMAGE, Space
from apheleia.operators.linear import LinearOperator
from apheleia.operators.operator import Operator

__all__ = [
    "Denoiser",
    "LinearPhysics",
    "Physics",
    "Reconstruct",
    "from_deepinv_denoiser",
    "from_deepinv_physics",
    "to_deepinv_physics",
    "to_deepinv_reconstructor",
]


@runtime_checkable
class Physics(Protocol):
    """What `deepinv.physics.Physics` offers: A(x) without noise, (batch, channel, height, width) -> (batch, ...)."""

    def A(self, x: Tensor, /) -> Tensor:
        """Return A(x)."""
        ...


@runtime_checkable
class LinearPhysics(Protocol):
    """What `deepinv.physics.LinearPhysics` offers beside: the transpose."""

    def A(self, x: Tensor, /) -> Tensor:
        """Return A x."""
        ...

    def A_adjoint(self, y: Tensor, /) -> Tensor:
        """Return A^T y."""
        ...


Denoiser = Callable[[Tensor, Any], Tensor]
"""What `deepinv.models.Denoiser` is: (images in [0, 1], standard deviation of the noise) -> images."""

Reconstruct = Callable[[LinearOperator, Tensor], Tensor]
"""(A, y) -> x for data y of shape (batch, *codomain)."""


def from_deepinv_physics(physics: LinearPhysics | Physics, shape: tuple[int, ...], dtype: torch.dtype | None = None) -> Operator:
    """Return the operator x -> physics.A(x), without noise: linear with the physics' own A_adjoint where it has one.

    Parameters
    ----------
    physics : LinearPhysics or Physics
        Any physics of DeepInverse, or an object that has its methods A and, where linear, A_adjoint.
    shape : tuple of int
        Signal shape (channel, height, width), without batch axes; signals (*batch, *shape) reach the physics as one batch.
    dtype : torch.dtype, optional
        Real precision in which the physics computes; by default that of its first parameter or buffer of real or complex
        numbers, or else that of the signal. Answers come back in the signal's.

    Returns
    -------
    LinearOperator where the physics has an A_adjoint, else Operator
        Derivatives go through the physics by torch, so that its parameters may be learned.

    Raises
    ------
    ArgumentError
        If the physics has no method A.
    ShapeError
        If A does not give one tensor with the batch in front, for instance a list of measurements.

    Notes
    -----
    Certificate: the norm is an estimate. Some physics bring an A_adjoint that is no transpose, such as filtered backprojection;
    `check_adjoint` tells.
    Source: J. Tachella et al., DeepInverse (2025), arXiv:2505.20160.
    """
    if not isinstance(physics, Physics):
        raise ArgumentError(f"from_deepinv_physics: `physics` must have a method A(x); {type(physics).__name__} has none.")
    shape = tuple(shape)
    with torch.no_grad():
        image = physics.A(torch.zeros(1, *shape, dtype=dtype or _precision(physics), device=_device(physics)))
    if not isinstance(image, Tensor) or image.ndim < 1 or image.shape[0] != 1:
        got = f"shape {tuple(image.shape)}" if isinstance(image, Tensor) else type(image).__name__
        raise ShapeError(
            f"from_deepinv_physics: {type(physics).__name__}.A must give one tensor of shape (1, ...) for one signal; got {got}. "
            "Bring the parts of a stacked physics one by one, each with its own fidelity."
        )
    codomain = Space(tuple(image.shape[1:]), image.is_complex())
    if isinstance(physics, LinearPhysics):
        return _LinearFromDeepinv(physics, Space(shape), codomain, dtype)
    return _FromDeepinv(physics, Space(shape), codomain, dtype)


@final
class _FromDeepinv(Operator):
    """x -> physics.A(x)."""

    def __init__(self, physics: Physics, domain: Space, codomain: Space, dtype: torch.dtype | None) -> None:
        super().__init__(domain, codomain)
        self.physics = physics
        self.dtype = dtype

    @property
    def name(self) -> str:
        return type(self.physics).__name__

    def _inner(self) -> torch.dtype | None:
        # the physics may be moved to another precision at any time
        return self.dtype or _precision(self.physics)

    def _forward(self, x: Tensor) -> Tensor:
        return _through(self.physics.A, x, self.domain, self.codomain, self._inner(), f"{self.name}.A")


@final
class _LinearFromDeepinv(LinearOperator):
    """x -> physics.A(x) with the adjoint physics.A_adjoint(y)."""

    def __init__(self, physics: LinearPhysics, domain: Space, codomain: Space, dtype: torch.dtype | None) -> None:
        super().__init__(domain, codomain)
        self.physics = physics
        self.dtype = dtype

    @property
    def name(self) -> str:
        return type(self.physics).__name__

    def _inner(self) -> torch.dtype | None:
        # the physics may be moved to another precision at any time
        return self.dtype or _precision(self.physics)

    def _forward(self, x: Tensor) -> Tensor:
        return _through(self.physics.A, x, self.domain, self.codomain, self._inner(), f"{self.name}.A")

    def _adjoint(self, y: Tensor) -> Tensor:
        back = self.physics.A_adjoint
        return _through(back, y, self.codomain, self.domain, self._inner(), f"{self.name}.A_adjoint")


def from_deepinv_denoiser(denoiser: Denoiser, dtype: torch.dtype | None = None) -> nn.Module:
    """Return the denoiser (x, noise_std) -> x for images (*batch, channel, height, width) and noise levels (*batch,).

    Parameters
    ----------
    denoiser : callable
        A `deepinv.models.Denoiser`, or any callable (x, sigma) on images (batch, channel, height, width) with one level an image.
        Most expect values in [0, 1].
    dtype : torch.dtype, optional
        Real precision in which it computes; by default that of its first parameter, or else that of the image.

    Returns
    -------
    torch.nn.Module
        Called as module(x, noise_std); a module that is brought in keeps its parameters and can be trained.

    Raises
    ------
    ArgumentError
        If it cannot be called.
    """
    if not callable(denoiser):
        raise ArgumentError(f"from_deepinv_denoiser: `denoiser` must be callable; got {type(denoiser).__name__}.")
    return _DeepinvDenoiser(denoiser, dtype)


@final
class _DeepinvDenoiser(nn.Module):
    """(x, noise_std) -> denoiser(x, sigma)."""

    def __init__(self, denoiser: Denoiser, dtype: torch.dtype | None) -> None:
        super().__init__()
        self.denoiser = denoiser
        self.dtype = dtype

    @accepts_numpy
    def forward(self, x: Tensor, noise_std: Tensor | float) -> Tensor:
        """Return the denoised images, (*batch, channel, height, width), in the precision of `x`."""
        x = IMAGE.check(x, "denoiser", "x")
        batch = IMAGE.batch_shape(x)
        inner = self.dtype or _precision(self.denoiser) or x.dtype
        level = torch.as_tensor(noise_std, dtype=inner, device=x.device)
        try:
            levels = level.expand(batch).reshape(-1)
        except RuntimeError:
            raise ShapeError(
                f"denoiser: `noise_std` must have the batch shape {batch} of `x` or be one number; got {tuple(level.shape)}."
            ) from None
        return _through(lambda images: self.denoiser(images, levels), x, IMAGE, IMAGE, inner, "denoiser")


def to_deepinv_physics(A: LinearOperator, shape: tuple[int, ...]) -> nn.Module:
    """Return A as a `deepinv.physics.LinearPhysics`, for its algorithms, losses and training.

    Parameters
    ----------
    A : LinearOperator
        Real on both sides.
    shape : tuple of int
        Signal shape (channel, height, width), without batch axes; it becomes `img_size`.

    Returns
    -------
    deepinv.physics.LinearPhysics
        A and A_adjoint are ours; parameters and buffers of A are its own and move with `.to`. Set its noise as DeepInverse does.

    Raises
    ------
    ArgumentError
        If A is complex, which DeepInverse writes as two real channels.
    ShapeError
        If A does not take signals of `shape`.
    MissingExtraError
        If DeepInverse is not installed.
    """
    check_ours(A, "to_deepinv_physics")
    if A.domain.is_complex or A.codomain.is_complex:
        raise ArgumentError(
            f"to_deepinv_physics: {A.name} is complex; DeepInverse's images are real, with two channels for complex."
        )
    A.output_shape(shape)
    base = cast(Any, _deepinv("to_deepinv_physics").physics.LinearPhysics)

    @final
    class FromApheleia(base):
        """Physics of an operator of ours."""

        def __init__(self) -> None:
            super().__init__(img_size=tuple(shape))
            self.operator = A

        # DeepInverse hands its parameters on to all physics; ours keeps its own and takes none
        def A(self, x: Tensor, **_: object) -> Tensor:
            return self.operator(x)

        def A_adjoint(self, y: Tensor, **_: object) -> Tensor:
            return self.operator.adjoint(y)

    return FromApheleia()


def to_deepinv_reconstructor(reconstruct: Reconstruct) -> nn.Module:
    """Return a `deepinv.models.Reconstructor` that solves with ours: model(y, physics) -> x.

    Parameters
    ----------
    reconstruct : callable
        (A, y) -> x with the physics as a LinearOperator A and data y, (batch, ...): a problem stated and solved, such as
        `lambda A, y: apheleia.solve(Problem(LeastSquares(A, y), 0.01 * TotalVariation()))[0]`. A module keeps its parameters;
        with `diff=Unrolled(steps)` in `solve` they are trained as those of any reconstructor.

    Returns
    -------
    deepinv.models.Reconstructor
        For linear physics of DeepInverse.

    Raises
    ------
    ArgumentError
        From the call, if the physics is not linear.
    MissingExtraError
        If DeepInverse is not installed.
    """
    base = cast(Any, _deepinv("to_deepinv_reconstructor").models.Reconstructor)

    @final
    class ApheleiaReconstructor(base):
        """A problem of ours, solved for each call."""

        def __init__(self) -> None:
            super().__init__()
            self.reconstruct = reconstruct

        def forward(self, y: Tensor, physics: LinearPhysics, **_: object) -> Tensor:
            return self.reconstruct(_operator_of(physics, y), y)

    return ApheleiaReconstructor()


def _operator_of(physics: LinearPhysics, y: Tensor) -> LinearOperator:
    """Return a physics as an operator of the images that its data come from."""
    if not isinstance(physics, LinearPhysics):
        raise ArgumentError(f"reconstructor: the physics must be linear, with A and A_adjoint; {type(physics).__name__} is not.")
    with torch.no_grad():
        back = physics.A_adjoint(y)
    domain, codomain = (Space(tuple(signal.shape[1:]), signal.is_complex()) for signal in (back, y))
    return _LinearFromDeepinv(physics, domain, codomain, None)


def _through(
    apply: Callable[[Tensor], Tensor], x: Tensor, source: Space, target: Space, dtype: torch.dtype | None, who: str
) -> Tensor:
    """Return apply(x) with all batch axes as the one that DeepInverse knows, computed in `dtype`, in the precision of `x`."""
    batch, real = source.batch_shape(x), x.real.dtype
    inner = real if dtype is None else dtype
    flat = x.reshape(math.prod(batch), *x.shape[len(batch) :]).to(inner.to_complex() if x.is_complex() else inner)
    out = apply(flat)
    if out.shape[:1] != flat.shape[:1] or not target.accepts(tuple(out.shape[1:])):
        raise ShapeError(f"{who} must give shape ({flat.shape[0]}, {target}) for {tuple(flat.shape)}; got {tuple(out.shape)}.")
    return out.reshape(*batch, *out.shape[1:]).to(real.to_complex() if out.is_complex() else real)


def _numbers(thing: object) -> Tensor | None:
    """Return the first parameter or buffer that holds real or complex numbers."""
    if not isinstance(thing, nn.Module):
        return None
    tensors = (*thing.parameters(), *thing.buffers())
    return next((t for t in tensors if t.is_floating_point() or t.is_complex()), None)


def _precision(thing: object) -> torch.dtype | None:
    first = _numbers(thing)
    return None if first is None else first.real.dtype


def _device(thing: object) -> torch.device | None:
    first = _numbers(thing)
    return None if first is None else first.device


def _deepinv(who: str) -> ModuleType:
    try:
        return importlib.import_module("deepinv")
    except ImportError:
        # it needs torchvision, which no extra of ours may bring
        raise MissingExtraError(who, "deepinv", None) from None
