"""Where a signal lives: its shape behind the batch axes, and whether it is complex."""

from __future__ import annotations

import numbers
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from apheleia.core.errors import ArgumentError, ShapeError
from apheleia.core.interop import is_floating, is_number

__all__ = ["IMAGE", "VECTOR", "Space", "batch_shape", "expand_batch", "per_sample"]

PRECISIONS = (torch.float32, torch.float64, torch.complex64, torch.complex128)
"""What signals may hold: half precision has no FFT on CPUs, and its rounding is coarser than any tolerance."""


def _holds_sizes(value: object) -> bool:
    return isinstance(value, Sequence) and all(size is None or isinstance(size, numbers.Integral) for size in value)


@dataclass(frozen=True)
class Space:
    """The space of signals of one shape; all axes before the last `rank` ones are batch axes.

    A complex space is a *real* Hilbert space: its inner product is Re<x, y>, so that gradients, proximal maps and
    adjoints mean the same for real and for complex signals. Precision and device come from the data, never from a space.

    Parameters
    ----------
    shape : tuple of (int or None)
        Sizes of the signal axes; None stands for any size of at least 1. Images are (channel, height, width).
    is_complex : bool, default False
        Whether signals are complex.

    Raises
    ------
    ArgumentError
        If a size is no whole number of at least 1, or `is_complex` no boolean.

    Examples
    --------
    >>> Space((1, None, None)).check(torch.ones(8, 1, 4, 5), "Example", "x").shape
    torch.Size([8, 1, 4, 5])
    """

    shape: tuple[int | None, ...]
    is_complex: bool = False

    def __post_init__(self) -> None:
        if not _holds_sizes(self.shape) or any(size is not None and size < 1 for size in self.shape):
            raise ArgumentError(f"Space: sizes must be whole numbers of at least 1, or None for any; got {self.shape!r}.")
        object.__setattr__(self, "shape", tuple(self.shape))
        if not isinstance(self.is_complex, bool):
            raise ArgumentError(
                f"Space: `is_complex` must be True or False; got {self.is_complex!r}. "
                "A weight stands before its prior: 0.1 * TotalVariation()."
            )

    @property
    def rank(self) -> int:
        """Number of signal axes."""
        return len(self.shape)

    @property
    def is_fixed(self) -> bool:
        """Whether every size is known."""
        return all(size is not None for size in self.shape)

    @property
    def axes(self) -> tuple[int, ...]:
        """The signal axes as negative indices, for reductions per sample."""
        return tuple(range(-self.rank, 0))

    def accepts(self, shape: tuple[int | None, ...]) -> bool:
        """Return whether a signal of `shape` (without batch axes) can live here; None matches any size."""
        fits = len(shape) == self.rank and 0 not in shape
        return fits and all(a is None or b is None or a == b for a, b in zip(shape, self.shape, strict=True))

    def check(self, x: Tensor, who: str, arg: str) -> Tensor:
        """Return `x` if it lives here, whatever its batch axes; in a complex space a real signal comes back as a complex one.

        Raises
        ------
        ShapeError
            If its trailing axes do not fit or are empty, if it holds integers or half-precision numbers, or if it is complex
            and the space is real.
        """
        if not isinstance(x, Tensor):
            raise ShapeError(f"{who}: `{arg}` must be a tensor or an ndarray; got {type(x).__name__}.")
        if x.ndim < self.rank:
            hint = " Add a channel axis: x[None] makes (1, height, width)." if (self.rank, x.ndim) == (3, 2) else ""
            raise ShapeError(
                f"{who}: `{arg}` must have at least {self.rank} axes, shape (*batch, {self}); got {tuple(x.shape)}.{hint}"
            )
        if not self.accepts(tuple(x.shape[x.ndim - self.rank :])):
            raise ShapeError(f"{who}: `{arg}` must have shape (*batch, {self}); got {tuple(x.shape)}.")
        if not is_floating(x):
            raise ShapeError(
                f"{who}: `{arg}` must hold floating-point numbers; got {x.dtype}. Convert it, for instance x / 255 for bytes."
            )
        if x.dtype not in PRECISIONS:
            raise ShapeError(
                f"{who}: `{arg}` must hold single or double precision numbers; got {x.dtype}. "
                f"Convert it: {arg}.to({PRECISIONS[0]})."
            )
        if x.is_complex() and not self.is_complex:
            raise ShapeError(f"{who}: `{arg}` must be real; got {x.dtype}. Take its real part or a complex operator.")
        return x.to(x.dtype.to_complex()) if self.is_complex and not x.is_complex() else x

    def inner(self, x: Tensor, y: Tensor) -> Tensor:
        """Return Re<x, y> per sample, shape (*batch,)."""
        if x.is_complex() and y.is_complex():
            # as pairs of real numbers, four times faster than by real and imaginary parts
            return (_pairs(x) * _pairs(y)).sum((*(axis - 1 for axis in self.axes), -1))
        product = (x * y).real if x.is_complex() or y.is_complex() else x * y
        return product.sum(self.axes) if self.rank else product

    def norm(self, x: Tensor) -> Tensor:
        """Return the Euclidean norm |x| per sample, shape (*batch,)."""
        if x.is_complex():
            # as pairs of real numbers, without the magnitude of every entry
            return torch.linalg.vector_norm(_pairs(x), dim=(*(axis - 1 for axis in self.axes), -1))
        return torch.linalg.vector_norm(x, dim=self.axes) if self.rank else x.abs()

    def batch_shape(self, x: Tensor) -> tuple[int, ...]:
        """Return the shape of the batch axes of `x`."""
        return tuple(x.shape[: x.ndim - self.rank])

    def randn(
        self,
        batch: tuple[int, ...] = (),
        *,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> Tensor:
        """Draw standard normal signals, shape (*batch, *shape).

        Parameters
        ----------
        batch : tuple of int
            Batch axes to put in front.
        generator : torch.Generator, optional
            Source of randomness; without one torch's default generator is used.
        dtype : torch.dtype, optional
            Defaults to torch's default dtype, made complex in a complex space.
        device : torch.device, optional
            Defaults to the generator's device.

        Raises
        ------
        ArgumentError
            If a size is None.
        """
        if not self.is_fixed:
            raise ArgumentError(f"Space.randn needs fixed sizes; this space is ({self}).")
        if dtype is None:
            dtype = torch.get_default_dtype()
        if self.is_complex and not dtype.is_complex:
            dtype = dtype.to_complex()
        if device is None and generator is not None:
            device = generator.device
        return torch.randn((*batch, *self.shape), generator=generator, dtype=dtype, device=device)  # type: ignore[arg-type]

    def __str__(self) -> str:
        names = ("channel", "height", "width") if self.rank == 3 else tuple("n" for _ in self.shape)
        sizes = ", ".join(name if size is None else str(size) for name, size in zip(names, self.shape, strict=True))
        return sizes + (" complex" if self.is_complex else "")


IMAGE = Space((None, None, None))
"""Real images of any size, (channel, height, width)."""

VECTOR = Space((None,))
"""Real vectors of any length."""


def as_shape(value: Sequence[int], who: str, arg: str) -> tuple[int, ...]:
    """Return `value` as a tuple of sizes.

    Raises
    ------
    ArgumentError
        If it is no sequence of whole numbers.
    """
    if not _holds_sizes(value) or None in value:
        raise ArgumentError(f"{who}: `{arg}` must be a tuple of whole numbers such as (1, 64, 48); got {value!r}.")
    return tuple(value)


def as_size(value: Sequence[int], who: str, arg: str) -> tuple[int, int]:
    """Return `value` as height and width.

    Raises
    ------
    ArgumentError
        If it is no pair of whole numbers of at least 1.
    """
    if not _holds_sizes(value) or len(value) != 2 or None in value or min(value) < 1:
        raise ArgumentError(f"{who}: `{arg}` must be (height, width), whole numbers of at least 1; got {value!r}.")
    return int(value[0]), int(value[1])


def check_space(value: object, who: str, arg: str) -> None:
    """Refuse what is no space.

    Raises
    ------
    ArgumentError
        If `value` is something else.
    """
    if not isinstance(value, Space):
        hint = f" A weight stands before its prior: {value} * {who}()." if is_number(value) else ""
        raise ArgumentError(f"{who}: `{arg}` must be a Space such as IMAGE or Space((1, 64, 48)); got {value!r}.{hint}")


def _pairs(x: Tensor) -> Tensor:
    """Return complex numbers as pairs along a new last axis, (real, imaginary)."""
    return torch.view_as_real(x.resolve_conj())


def per_sample(value: Tensor | float, x: Tensor, rank: int) -> Tensor | float:
    """Return a per-sample `value` of shape (*batch,) ready to multiply `x` of shape (*batch, *space).

    Its precision becomes that of `x`; python numbers and 0-dimensional tensors pass unchanged, because they never promote.
    """
    if not isinstance(value, Tensor) or value.ndim == 0:
        return value
    return as_wide(value, x, rank)


def as_wide(value: Tensor, x: Tensor, rank: int) -> Tensor:
    """Return a per-sample tensor (*batch,) in the precision of `x` with `rank` axes of size 1 behind, also without a batch."""
    return value.to(x.real.dtype)[(...,) + (None,) * rank]


def batch_shape(*shapes: tuple[int, ...], who: str) -> tuple[int, ...]:
    """Return the broadcast of several batch shapes.

    Raises
    ------
    ShapeError
        If they do not broadcast.
    """
    try:
        return tuple(torch.broadcast_shapes(*shapes))
    except RuntimeError:
        listed = ", ".join(map(str, shapes))
        raise ShapeError(f"{who}: batch shapes {listed} do not broadcast. Give every part one batch shape or none.") from None


def expand_batch(x: Tensor, batch: tuple[int, ...], rank: int) -> Tensor:
    """Return `x` with its batch axes expanded to `batch`; a view where nothing is repeated."""
    return x.expand(*batch, *x.shape[x.ndim - rank :])


def common_space(first: Space, second: Space, who: str) -> Space:
    """Return the space that fixes every size that either of the two fixes.

    Raises
    ------
    ShapeError
        If the two do not fit together.
    """
    alike = first.rank == second.rank and first.is_complex == second.is_complex
    if not alike or not first.accepts(second.shape):
        hint = "" if alike else " Give the prior its space, for instance L1(space=VECTOR)."
        if first.rank == second.rank and first.is_complex != second.is_complex:
            hint = " Give the prior its space, Space(..., is_complex=True), or is_complex=True if it takes that."
        raise ShapeError(f"{who}: the spaces ({first}) and ({second}) do not fit.{hint}")
    sizes = tuple(a if a is not None else b for a, b in zip(first.shape, second.shape, strict=True))
    return Space(sizes, first.is_complex)
