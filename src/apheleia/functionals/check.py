"""Diagnostics that users run on their own functionals: an exact gradient, a proximal map that minimises."""

from __future__ import annotations

import torch

from apheleia.core.errors import ArgumentError, CheckError, ShapeError
from apheleia.core.space import Space, as_shape
from apheleia.functionals.functional import Functional

__all__ = ["check_gradient", "check_prox"]


def check_gradient(
    F: Functional,
    shape: tuple[int, ...],
    *,
    batch: tuple[int, ...] = (2,),
    scale: float = 1.0,
    tol: float = 1e-5,
    generator: torch.Generator | None = None,
) -> float:
    """Compare the gradient with central differences of the energy, along random directions, in float64.

    Parameters
    ----------
    F : Functional
        A smooth functional.
    shape : tuple of int
        Signal shape, without batch axes.
    batch : tuple of int
        Batch axes of the random points.
    scale : float
        Standard deviation of the random points.
    tol : float
        Largest relative defect.
    generator : torch.Generator, optional
        Source of randomness; a fixed seed by default.

    Returns
    -------
    float
        The largest relative defect found.

    Raises
    ------
    CheckError
        If it exceeds `tol`.
    CapabilityError
        If F is not smooth.

    Examples
    --------
    >>> from apheleia.functionals.priors import SmoothedVariation
    >>> check_gradient(SmoothedVariation(), (1, 4, 4)) < 1e-5
    True
    """
    generator = torch.Generator().manual_seed(0) if generator is None else generator
    space = _signals(F, shape, "check_gradient")
    defects = []
    for _ in range(3):
        x = scale * space.randn(batch, generator=generator, dtype=torch.complex128 if space.is_complex else torch.float64)
        v = space.randn(batch, generator=generator, dtype=x.dtype)
        slope = space.inner(F.grad(x), v).detach()
        h = 1e-6 * scale
        difference = (F(x + h * v) - F(x - h * v)).detach() / (2 * h)
        size = torch.maximum(slope.abs(), difference.abs()).clamp(min=1e-8 * float(space.norm(v).max()))
        defects.append(((slope - difference).abs() / size).max())
    worst = float(torch.stack(defects).max())
    if not worst <= tol:
        raise CheckError(
            f"check_gradient: {F.name}: the gradient and central differences of the energy differ by {worst:.3g} relative, "
            f"above {tol:.3g}. Correct `_grad`, or leave it out: the exact one then follows from `_value`."
        )
    return worst


def check_prox(
    F: Functional,
    shape: tuple[int, ...],
    *,
    step: float = 0.3,
    batch: tuple[int, ...] = (2,),
    scale: float = 1.0,
    samples: int = 200,
    tol: float = 1e-6,
    generator: torch.Generator | None = None,
) -> float:
    """Hunt for a point with a smaller step * F(u) + 1/2 |u - x|^2 than the proximal point of random x, in float64.

    For a convex F the proximal point p satisfies more, and is held to it: the energy at every u is at least that at p
    plus 1/2 |u - p|^2, which also catches a hidden factor in the step.

    Parameters
    ----------
    F : Functional
        A proximable functional.
    shape, batch, scale, generator
        As in `check_gradient`.
    step : float
        The step of the proximal map, above zero.
    samples : int
        Points u tried around each proximal point, at distances from 1e-4 to 1 times the scale.
    tol : float
        Largest shortfall, relative to the energy at p.

    Returns
    -------
    float
        The largest relative shortfall found; at most rounding for a correct map.

    Raises
    ------
    CheckError
        If it exceeds `tol`, or if the proximal point lies outside the domain.
    CapabilityError
        If F is not proximable.

    Examples
    --------
    >>> from apheleia.functionals.priors import L1
    >>> check_prox(L1(), (1, 3, 3)) < 1e-10
    True
    """
    generator = torch.Generator().manual_seed(0) if generator is None else generator
    space = _signals(F, shape, "check_prox")
    dtype = torch.complex128 if space.is_complex else torch.float64
    x = scale * space.randn(batch, generator=generator, dtype=dtype)
    p = F.prox(x, step).detach()

    def energy(u: torch.Tensor) -> torch.Tensor:
        return step * F(u).detach() + 0.5 * space.inner(u - x, u - x)

    least = energy(p)
    if not bool(least.isfinite().all()):
        raise CheckError(f"check_prox: {F.name}: the proximal point has energy {least.max().item()}; it must lie in the domain.")
    shortfalls = []
    for trial in range(samples):
        distance = scale * 10 ** (-4 * trial / max(samples - 1, 1))
        v = space.randn(batch, generator=generator, dtype=dtype)
        # anywhere, towards x, towards zero, and where a longer or a shorter step leads
        factor = (1 + distance) ** (1 if trial % 5 == 3 else -1)
        u = F.prox(x, step * factor).detach() if trial % 5 > 2 else p + distance * (v, x - p, -p)[trial % 5]
        margin = 0.5 * space.inner(u - p, u - p) if F.is_convex else 0.0
        shortfalls.append(((least + margin - energy(u)) / least.abs().clamp(min=1e-12)).max())
    worst = float(torch.stack(shortfalls).max().clamp(min=0))
    if not worst <= tol:
        raise CheckError(
            f"check_prox: {F.name}: a point near prox(x, {step}) falls short of its energy by {worst:.3g} relative, "
            f"above {tol:.3g}. The map is not argmin_u step * F(u) + 1/2 |u - x|^2; a common cause is a factor in the step."
        )
    return worst


def _signals(F: Functional, shape: tuple[int, ...], who: str) -> Space:
    """Return the space of signals of `shape`, if F takes them."""
    if not isinstance(F, Functional):
        raise ArgumentError(f"{who}: `F` must be a functional; got {type(F).__name__}.")
    space = Space(as_shape(shape, who, "shape"), F.space.is_complex)
    if not F.space.accepts(space.shape):
        raise ShapeError(f"{who}: {F.name} takes signals ({F.space}); got ({space}).")
    return space
