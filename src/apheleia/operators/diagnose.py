"""What is wrong with an adjoint: the claimed one is laid beside the exact one and tried against the usual mistakes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from apheleia.core.space import Space
from apheleia.operators.linear import LinearOperator

__all__ = ["AdjointFault", "FaultKind", "find_adjoint_fault"]

FaultKind = Literal[
    "none",
    "rounding",
    "not finite",
    "zero",
    "offset",
    "factor",
    "conjugate",
    "real part",
    "not transposed",
    "factor per sample",
    "factor per channel",
    "shift",
    "mirrored",
    "axes swapped",
    "boundary",
    "region",
    "spread",
    "unknown",
]

LARGEST_DENSE = 4096
"""Largest signal whose exact adjoint is made one column at a time where torch cannot see into `_forward`."""


@dataclass(frozen=True, eq=False)
class AdjointFault:
    """What is wrong with an adjoint.

    Attributes
    ----------
    kind : FaultKind
        The mistake; "none" where there is none, "rounding" where a part computes in lower precision, "unknown" where the exact
        adjoint could not be made.
    sentence : str
        The mistake in words with its numbers, empty for "none" and "unknown".
    defect : Tensor or None
        |claimed - exact| for each entry of the signal, root mean square over the samples, shape of the signal.
    """

    kind: FaultKind
    sentence: str
    defect: Tensor | None


def find_adjoint_fault(A: LinearOperator, x: Tensor, y: Tensor) -> AdjointFault:
    """Compare A.adjoint(y) with the exact A^H y and name the mistake.

    The exact one follows from `_forward` by automatic differentiation where that agrees with <A x, y>, else, for signals of at
    most `LARGEST_DENSE` numbers, column by column.

    Parameters
    ----------
    A : LinearOperator
        The operator to examine.
    x : Tensor, (*batch, *domain)
        Random signals of the shapes to examine.
    y : Tensor, (*batch, *codomain)
        Random data, as many.
    """
    claimed = A.adjoint(y).detach()
    if not bool(torch.isfinite(claimed).all()):
        return AdjointFault("not finite", "The adjoint holds numbers that are not finite.", None)
    exact = _exact_adjoint(A, x, y)
    if exact is None:
        return AdjointFault("unknown", "", None)
    tol = torch.finfo(claimed.real.dtype).eps ** 0.4
    batch = A.domain.batch_shape(x)
    axes = tuple(range(len(batch)))
    defect = (claimed - exact).abs().square().mean(axes).sqrt() if axes else (claimed - exact).abs()
    if _close(claimed, exact, tol):
        size = float(torch.linalg.vector_norm(exact))
        relative = float(torch.linalg.vector_norm(claimed - exact)) / size if size else 0.0
        if relative <= 1e3 * torch.finfo(claimed.real.dtype).eps:
            return AdjointFault("none", "", defect)
        return AdjointFault("rounding", f"The adjoint is right to {relative:.1g}: a part computes in lower precision.", defect)
    kind, sentence = _name(A, y, claimed, exact, tol)
    if kind == "spread":
        kind, sentence = _place(defect, tol * float(exact.abs().square().mean().sqrt()))
    return AdjointFault(kind, sentence, defect)


def _name(A: LinearOperator, y: Tensor, claimed: Tensor, exact: Tensor, tol: float) -> tuple[FaultKind, str]:
    """Return the mistake that turns the exact adjoint into the claimed one, "spread" where none of the usual does."""
    if not bool(claimed.any()):
        return "zero", "The adjoint is zero."
    offset = A.adjoint(torch.zeros_like(y)).detach()
    if bool(offset.abs().max() > tol * exact.abs().max()):
        return "offset", f"The adjoint is not linear: A^H 0 has entries up to {float(offset.abs().max()):.3g} and must be 0."
    conjugate = _exact_adjoint(A, torch.zeros_like(claimed), y.conj()) if y.is_complex() else None
    if conjugate is not None and _close(claimed, conjugate.conj(), tol):
        return "conjugate", "The adjoint computes A^T y and not A^H y: a complex conjugate is missing."
    factor = _ratio(claimed, exact, tuple(range(claimed.ndim)))
    if _close(claimed, factor * exact, tol):
        return "factor", f"The adjoint is {_number(factor)} times the exact one."
    if claimed.is_complex() and _close(claimed, exact.real.to(claimed.dtype), tol):
        return "real part", "The adjoint keeps the real part alone; the imaginary part is lost."
    if exact.shape == y.shape and A.domain.is_complex == A.codomain.is_complex and _close(claimed, A(y).detach(), tol):
        return "not transposed", "The adjoint applies A itself and not A^H: a kernel that is not flipped, or a missing transpose."
    scaled = _per_part(A.domain, claimed, exact, tol)
    return _moved(claimed, exact, min(A.domain.rank, 2), tol) if scaled is None else scaled


def _per_part(space: Space, claimed: Tensor, exact: Tensor, tol: float) -> tuple[FaultKind, str] | None:
    """Return the mistake if each sample, or each channel, has a factor of its own."""
    if claimed.ndim > space.rank:
        factors = _ratio(claimed, exact, space.axes)
        if _close(claimed, factors * exact, tol):
            return "factor per sample", f"The adjoint has another factor for each sample: {_numbers(factors)}."
    if space.rank >= 3 and claimed.shape[-3] > 1:
        factors = _ratio(claimed, exact, tuple(axis for axis in range(claimed.ndim) if axis != claimed.ndim - 3))
        if _close(claimed, factors * exact, tol):
            return "factor per channel", f"The adjoint has another factor for each channel: {_numbers(factors)}."
    return None


def _moved(claimed: Tensor, exact: Tensor, rank: int, tol: float) -> tuple[FaultKind, str]:
    """Return the mistake if pixels went elsewhere: shifted, mirrored, axes swapped."""
    axes = tuple(range(-rank, 0))
    names = {-1: "columns", -2: "rows"} if rank == 2 else {-1: "entries"}
    shift = _shift(claimed, exact, axes)
    inner = tuple(slice(n // 4, n - n // 4) for n in claimed.shape[claimed.ndim - rank :])
    if any(shift) and _close(claimed[(..., *inner)], exact.roll(shift, axes)[(..., *inner)], tol):
        words = " and ".join(f"{s:+d} {names[axis]}" for s, axis in zip(shift, axes, strict=True) if s)
        return "shift", f"The adjoint is shifted by {words}: its centre is not that of `_forward`."
    for flipped in ((-1,), (-2,), (-2, -1))[: 3 if rank == 2 else 1]:
        if _close(claimed, exact.flip(flipped), tol):
            return "mirrored", f"The adjoint is mirrored along its {' and '.join(names[axis] for axis in flipped)}."
    if rank == 2 and claimed.shape[-1] == claimed.shape[-2] and _close(claimed, exact.mT, tol):
        return "axes swapped", "The adjoint has rows and columns swapped."
    return "spread", ""


def _shift(claimed: Tensor, exact: Tensor, axes: tuple[int, ...]) -> tuple[int, ...]:
    """Return the translation, at most a quarter of the size, by which the exact one resembles the claimed one most."""
    likeness = torch.fft.ifftn(torch.fft.fftn(claimed, dim=axes) * torch.fft.fftn(exact, dim=axes).conj(), dim=axes).real
    total = likeness.sum(tuple(range(likeness.ndim - len(axes))))
    best = torch.unravel_index(total.argmax(), total.shape)
    signed = [int(s) - n if int(s) > n // 2 else int(s) for s, n in zip(best, total.shape, strict=True)]
    near = all(abs(s) <= n // 4 for s, n in zip(signed, total.shape, strict=True))
    return tuple(signed) if near else (0,) * len(axes)


def _place(defect: Tensor, threshold: float) -> tuple[FaultKind, str]:
    """Return where the defect sits: at the edges, in a part, or everywhere."""
    rank = min(defect.ndim, 2)
    wrong = (defect > threshold).reshape(-1, *defect.shape[defect.ndim - rank :]).any(0)
    sizes = tuple(wrong.shape)
    index = wrong.nonzero()
    if index.numel() == 0:
        return "spread", ""
    far = torch.tensor(sizes) - 1 - index.cpu()
    width = int(torch.minimum(index.cpu(), far).amin(-1).max()) + 1
    # an axis of one entry is all edge and tells nothing
    if width <= max(1, min((n for n in sizes if n > 1), default=0) // 4) and max(sizes) > 2:
        return "boundary", (
            f"The adjoint is wrong only within {width} {'pixel' if width == 1 else 'pixels'} of the edge "
            f"({_sides(wrong, width)}): it treats the boundary otherwise than `_forward` does."
        )
    first, last = index.amin(0).tolist(), index.amax(0).tolist()
    spans = [b - a + 1 for a, b in zip(first, last, strict=True)]
    names = ("rows", "columns") if rank == 2 else ("entries",)
    if torch.tensor(spans).prod() <= torch.tensor(sizes).prod() // 2:
        parts = [f"{name} {a} to {b}" for name, a, b in zip(names, first, last, strict=True)]
        return "region", f"The adjoint is wrong only in {' and '.join(parts)}."
    return "spread", f"The adjoint is wrong at {100 * float(wrong.double().mean()):.0f} % of the positions."


def _sides(wrong: Tensor, width: int) -> str:
    """Return which edges hold wrong positions away from the corners, or the corners."""
    if wrong.ndim == 1:
        sides = {"start": wrong[:width], "end": wrong[wrong.shape[0] - width :]}
    else:
        height, breadth = wrong.shape
        rows = slice(width, height - width) if height > 2 * width else slice(None)
        columns = slice(width, breadth - width) if breadth > 2 * width else slice(None)
        sides = {
            "top": wrong[:width, columns],
            "bottom": wrong[height - width :, columns],
            "left": wrong[rows, :width],
            "right": wrong[rows, breadth - width :],
        }
    return ", ".join(name for name, part in sides.items() if bool(part.any())) or "corners"


def _exact_adjoint(A: LinearOperator, x: Tensor, y: Tensor) -> Tensor | None:
    """Return A^H y by automatic differentiation of `_forward`, or column by column, or None."""
    probe = _random_like(x)
    image = A(probe).detach()
    back = _by_differentiation(A._forward, x, y)
    if back is not None and _agree(A, probe, image, y, back):
        return back
    if A.domain.is_complex and not x.is_complex():
        x = x.to(x.dtype.to_complex())
    shape = tuple(x.shape[x.ndim - A.domain.rank :])
    if torch.Size(shape).numel() > LARGEST_DENSE:
        return None
    back = _by_columns(A, shape, x, y)
    return back if _agree(A, probe, image, y, back) else None


def _agree(A: LinearOperator, x: Tensor, image: Tensor, y: Tensor, back: Tensor) -> bool:
    left, right = A.codomain.inner(image, y), A.domain.inner(x, back)
    scale = A.codomain.norm(image) * A.codomain.norm(y) + A.domain.norm(x) * A.domain.norm(back)
    return bool(((left - right).abs() <= torch.finfo(left.dtype).eps ** 0.5 * scale).all())


def _by_differentiation(forward: Callable[[Tensor], Tensor], x: Tensor, y: Tensor) -> Tensor | None:
    start = torch.zeros_like(x).requires_grad_()
    try:
        with torch.enable_grad():
            (back,) = torch.autograd.grad(forward(start), start, y)
    except RuntimeError:
        return None  # code outside of torch, or one that writes in place
    return back.detach()


def _by_columns(A: LinearOperator, shape: tuple[int, ...], x: Tensor, y: Tensor) -> Tensor:
    """Return A^H y from one application of A a column; linear over the real numbers is enough."""
    back = torch.zeros_like(x).reshape(*A.domain.batch_shape(x), -1)
    for k in range(back.shape[-1]):
        unit = torch.zeros_like(x).reshape(back.shape)
        unit[..., k] = 1
        value = A.codomain.inner(A(unit.reshape(x.shape)).detach(), y)
        if A.domain.is_complex:
            value = value + 1j * A.codomain.inner(A(1j * unit.reshape(x.shape)).detach(), y)
        back[..., k] = value
    return back.reshape(*A.domain.batch_shape(x), *shape)


def _random_like(x: Tensor) -> Tensor:
    return torch.randn(x.shape, generator=torch.Generator().manual_seed(1), dtype=x.dtype).to(x.device)


def _close(a: Tensor, b: Tensor, tol: float) -> bool:
    return bool(torch.linalg.vector_norm(a - b) <= tol * (torch.linalg.vector_norm(a) + torch.linalg.vector_norm(b)))


def _ratio(claimed: Tensor, exact: Tensor, axes: tuple[int, ...]) -> Tensor:
    """Return the factor that brings the exact one nearest to the claimed one, over `axes`, which stay as axes of size 1."""
    size = exact.abs().square().sum(axes, keepdim=True)
    return (exact.conj() * claimed).sum(axes, keepdim=True) / torch.where(size > 0, size, 1.0)


def _number(value: Tensor) -> str:
    number = value.reshape(()).item()
    if isinstance(number, complex):
        return f"{number.real:.6g}" if abs(number.imag) < 1e-9 * abs(number) else f"{number:.6g}"
    return f"{number:.6g}"


def _numbers(values: Tensor) -> str:
    listed = [_number(value) for value in values.reshape(-1)[:6]]
    return ", ".join(listed) + (", ..." if values.numel() > 6 else "")
