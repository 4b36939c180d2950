"""Diagnostics that users run on their own operators: an exact adjoint, a linear map, a norm that holds."""

from __future__ import annotations

import torch
from torch import Tensor

from apheleia.core.errors import ArgumentError, CheckError, ShapeError
from apheleia.core.space import Space, as_shape
from apheleia.operators.diagnose import find_adjoint_fault
from apheleia.operators.linear import LinearOperator
from apheleia.operators.operator import Operator

__all__ = ["check_adjoint", "check_derivative", "check_linear", "check_norm"]

ROUNDING_OF_SINGLES = 1e-5
"""A defect below it may come from single precision somewhere."""


def check_adjoint(
    A: LinearOperator,
    shape: tuple[int, ...] | None = None,
    *,
    batch: tuple[int, ...] = (2,),
    dtype: torch.dtype = torch.float64,
    tol: float = 1e-10,
    generator: torch.Generator | None = None,
) -> float:
    """Check <A x, y> = <x, A^H y> for random x and y, and the shapes on both sides.

    Parameters
    ----------
    A : LinearOperator
        The operator to examine.
    shape : tuple of int, optional
        Signal shape of x, without batch axes; needed where A takes any size.
    batch : tuple of int
        Batch axes of the random signals.
    dtype : torch.dtype
        Real precision of the check; `tol` should suit it.
    tol : float
        Largest defect |<A x, y> - <x, A^H y>| relative to |A x| |y| + |x| |A^H y|.
    generator : torch.Generator, optional
        Source of randomness; a fixed seed by default.

    Returns
    -------
    float
        The largest relative defect found.

    Raises
    ------
    CheckError
        If it exceeds `tol`; the usual mistakes are named: see `find_adjoint_fault`.

    Examples
    --------
    >>> from apheleia.operators import FiniteDifferences
    >>> check_adjoint(FiniteDifferences(), (1, 5, 6)) < 1e-12
    True
    """
    generator = torch.Generator().manual_seed(0) if generator is None else generator
    x = _draw(A, shape, batch, dtype, generator)
    image = A(x).detach()
    y = _randn(Space(tuple(image.shape[len(batch) :]), A.codomain.is_complex), batch, dtype, generator).to(image.device)
    if A.codomain.check(image, A.name, "A x").shape != y.shape:
        raise CheckError(f"check_adjoint: {A.name} lost the batch axes {batch}; A x has shape {tuple(image.shape)}.")
    back = A.adjoint(y).detach()
    if back.shape != x.shape:
        raise CheckError(
            f"check_adjoint: {A.name}.adjoint(y) must have the shape of x, {tuple(x.shape)}; got {tuple(back.shape)}."
        )
    left, right = A.codomain.inner(image, y), A.domain.inner(x, back)
    scale = A.codomain.norm(image) * A.codomain.norm(y) + A.domain.norm(x) * A.domain.norm(back)
    defect = float(((left - right).abs() / torch.where(scale > 0, scale, 1.0)).max())
    if not defect <= tol:
        fault = find_adjoint_fault(A, x, y)
        hint = f" {fault.sentence}" if fault.sentence else ""
        if not hint and dtype == torch.float64 and defect < ROUNDING_OF_SINGLES:
            hint = " That is rounding in single precision: a part computes in it; check it with dtype=torch.float32 and tol=1e-4."
        raise CheckError(
            f"check_adjoint: {A.name}: <A x, y> and <x, A^H y> differ by {defect:.3g} relative, above {tol:.3g}.{hint}"
            " Correct `_adjoint`, or leave it out: the exact one then follows from `_forward`."
        )
    return defect


def check_linear(
    A: LinearOperator,
    shape: tuple[int, ...] | None = None,
    *,
    batch: tuple[int, ...] = (2,),
    dtype: torch.dtype = torch.float64,
    tol: float = 1e-10,
    generator: torch.Generator | None = None,
) -> float:
    """Check A(2 x - 3 y) = 2 A x - 3 A y for random x and y.

    Parameters, returns and raises are those of `check_adjoint`; the defect is relative to 2 |A x| + 3 |A y|.

    Raises
    ------
    CheckError
        If the defect exceeds `tol`.
    """
    generator = torch.Generator().manual_seed(0) if generator is None else generator
    x, y = (_draw(A, shape, batch, dtype, generator) for _ in range(2))
    image_x, image_y = A(x).detach(), A(y).detach()
    difference = A(2 * x - 3 * y).detach() - (2 * image_x - 3 * image_y)
    scale = 2 * A.codomain.norm(image_x) + 3 * A.codomain.norm(image_y)
    defect = float((A.codomain.norm(difference) / torch.where(scale > 0, scale, 1.0)).max())
    if not defect <= tol:
        raise CheckError(
            f"check_linear: {A.name} is not linear: A(2x - 3y) differs from 2Ax - 3Ay by {defect:.3g} relative, above {tol:.3g}. "
            "An offset, a clip or an absolute value in `_forward` does this; derive from Operator instead."
        )
    return defect


def check_derivative(
    A: Operator,
    shape: tuple[int, ...] | None = None,
    *,
    x: Tensor | None = None,
    batch: tuple[int, ...] = (2,),
    tol: float = 1e-6,
    generator: torch.Generator | None = None,
) -> float:
    """Check J(x) v against (A(x + h v) - A(x - h v)) / 2h, and <J(x) v, w> = <v, J(x)^H w>, in float64.

    Parameters
    ----------
    A : Operator
        The operator to examine.
    shape : tuple of int, optional
        Signal shape of x, without batch axes; needed where A takes any size.
    x : Tensor, (*batch, *domain), optional
        Where, if not at standard normal numbers; inside of where A is differentiable.
    batch : tuple of int
        Batch axes of the random signals, if `x` is not given.
    tol : float
        Largest |difference quotient - J v| / |J v|, taken at the best h of several; that of the adjointness is 1e-4 times it.
    generator : torch.Generator, optional
        Source of randomness; a fixed seed by default.

    Returns
    -------
    float
        The relative deviation from the difference quotient.

    Raises
    ------
    CheckError
        If the derivative is not that of A, if jvp and vjp are not adjoint, or if a number is not finite.

    Examples
    --------
    >>> from apheleia.operators import FiniteDifferences
    >>> check_derivative(FiniteDifferences(), (1, 5, 6)) < 1e-8
    True
    """
    generator = torch.Generator().manual_seed(0) if generator is None else generator
    x = _draw(A, shape, batch, torch.float64, generator) if x is None else A.domain.check(x, "check_derivative", "x")
    v = torch.randn(x.shape, generator=generator, dtype=x.dtype).to(x.device)
    exact, image = A.jvp(x, v).detach(), A(x).detach()
    if not bool(torch.isfinite(image).all() and torch.isfinite(exact).all()):
        raise CheckError(
            f"check_derivative: {A.name} or its derivative is not finite at x. Give an `x` where it is differentiable."
        )
    size = float(torch.linalg.vector_norm(exact))
    # too small a step drowns in rounding, too large a one in curvature
    deviation = min(
        float(torch.linalg.vector_norm((A(x + h * v) - A(x - h * v)).detach() / (2 * h) - exact)) / (size if size else 1.0)
        for h in (1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
    )
    if not deviation <= tol:
        raise CheckError(
            f"check_derivative: {A.name}.jvp differs from difference quotients by {deviation:.3g} relative, above {tol:.3g}. "
            "Correct `_jvp` or leave it out; a kink or a jump near x does this too."
        )
    w = torch.randn(image.shape, generator=generator, dtype=image.dtype).to(x.device)
    back = A.vjp(x, w).detach()
    left, right = A.codomain.inner(exact, w), A.domain.inner(v, back)
    scale = A.codomain.norm(exact) * A.codomain.norm(w) + A.domain.norm(v) * A.domain.norm(back)
    defect = float(((left - right).abs() / torch.where(scale > 0, scale, 1.0)).max())
    if not defect <= 1e-4 * tol:
        raise CheckError(
            f"check_derivative: {A.name}: <J v, w> and <v, J^H w> differ by {defect:.3g} relative, above {1e-4 * tol:.3g}. "
            "Correct `_vjp`, or leave it out."
        )
    return deviation


def check_norm(
    A: LinearOperator,
    shape: tuple[int, ...] | None = None,
    *,
    dtype: torch.dtype = torch.float64,
    samples: int = 8,
    power_steps: int = 30,
    tol: float = 1e-8,
    generator: torch.Generator | None = None,
) -> float:
    """Hunt for an x with |A x| > |A| |x|, by power iterations from random starts.

    Parameters
    ----------
    A, shape, dtype, generator
        As in `check_adjoint`.
    samples, power_steps : int
        Random starts, and steps of x <- A^H A x from each.
    tol : float
        Relative excess that is forgiven to rounding.

    Returns
    -------
    float
        The largest |A x| / (|x| |A|) found; at most 1 for a correct bound, and near 1 for a tight one.

    Raises
    ------
    CheckError
        If it exceeds 1 + tol and A.norm() claims to be exact or an upper bound, or falls short of an exact one by over 5 %.
    """
    generator = torch.Generator().manual_seed(0) if generator is None else generator
    bound = A.norm(tuple(_draw(A, shape, (), dtype, generator).shape))
    # an operator with parameters per sample has a norm a sample
    x = _draw(A, shape, (samples, *bound.value.shape), dtype, generator)
    claimed = bound.value.detach().to(x.real)
    worst = torch.zeros((), dtype=x.real.dtype, device=x.device)
    for _ in range(power_steps):
        image = A(x).detach()
        ratio = A.codomain.norm(image) / A.domain.norm(x)
        # nothing at all is within a norm of zero, anything else exceeds it
        worst = torch.maximum(worst, torch.where(ratio == 0, 0.0, ratio / claimed).max())
        x = A.adjoint(image).detach()
        size = A.domain.norm(x)
        x = x / torch.where(size > 0, size, 1.0)[(...,) + (None,) * A.domain.rank]
        if not bool((size > 0).all()):
            break
    largest = float(worst)
    if bound.is_upper and not largest <= 1 + tol:
        raise CheckError(
            f"check_norm: {A.name}: |A x| / |x| reaches {largest:.6g} times the claimed norm {bound}. Raise `_norm`'s value."
        )
    if bound.kind == "exact" and largest < 0.95 and bound.is_positive:
        raise CheckError(
            f"check_norm: {A.name}: no x came closer than {largest:.3g} times the norm {bound}. "
            "Call it an upper bound, not exact."
        )
    return largest


def _randn(space: Space, batch: tuple[int, ...], dtype: torch.dtype, generator: torch.Generator) -> Tensor:
    return space.randn(batch, generator=generator, dtype=dtype.to_complex() if space.is_complex else dtype)


def _draw(
    A: Operator, shape: tuple[int, ...] | None, batch: tuple[int, ...], dtype: torch.dtype, generator: torch.Generator
) -> Tensor:
    """Draw x in the domain of A, on the device of A's parameters."""
    if not isinstance(A, Operator):
        raise ArgumentError(f"The checks of operators take an Operator; got {type(A).__name__}.")
    if shape is None and not A.domain.is_fixed:
        raise ArgumentError(f"The checks of {A.name} need a signal shape, ({A.domain}); give one after the operator.")
    space = A.domain if shape is None else Space(as_shape(shape, "The checks of operators", "shape"), A.domain.is_complex)
    if not A.domain.accepts(space.shape):
        raise ShapeError(f"The checks of {A.name} need a signal shape, ({A.domain}); got ({space}).")
    device = next((t.device for t in (*A.parameters(), *A.buffers())), None)
    return _randn(space, batch, dtype, generator).to(device)
