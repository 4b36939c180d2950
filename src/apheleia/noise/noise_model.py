"""NoiseModel: how measured data scatter, y ~ p(y | x) for noise-free data x, with mean and variance in closed form."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import final

import torch
from torch import Tensor

from apheleia.core.errors import ArgumentError, ShapeError
from apheleia.core.interop import ArrayLike, accepts_numpy, as_tensor
from apheleia.core.space import Space, batch_shape

__all__ = ["Level", "NoiseModel", "draw_gamma", "draw_normal", "draw_poisson", "draw_uniform"]

Level = float | ArrayLike
"""A level of noise: one number, or one a sample, (*batch,)."""


class NoiseModel(ABC):
    """y ~ p(y | x); a subclass is a frozen dataclass of its levels and writes `_sample`, `_mean` and `_variance`.

    Levels are numbers or tensors (*batch,), one a sample; the batch is the broadcast of theirs and the signal's, so that one
    image under ten levels is a batch of ten.
    """

    space: Space

    @property
    def name(self) -> str:
        """The name that messages use."""
        return type(self).__name__

    @abstractmethod
    def _levels(self) -> tuple[Level, ...]:
        """Return the levels in the order in which the hooks take them."""

    @abstractmethod
    def _sample(self, x: Tensor, levels: tuple[Tensor, ...], generator: torch.Generator | None) -> Tensor:
        """Return data for checked x of the full shape and levels that broadcast with it."""

    @abstractmethod
    def _mean(self, x: Tensor, levels: tuple[Tensor, ...]) -> Tensor: ...

    @abstractmethod
    def _variance(self, x: Tensor, levels: tuple[Tensor, ...]) -> Tensor: ...

    def _check(self, x: Tensor) -> None:
        """Raise for signals outside of the model's range; the default takes all."""
        return None

    @final
    @accepts_numpy
    def sample(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Draw data y for noise-free data x, (*batch, *space), in the precision of `x`.

        Parameters
        ----------
        x : Tensor or ndarray, (*batch, *space)
            Noise-free data, A x of a signal; in the units of the levels.
        generator : torch.Generator, optional
            Source of randomness: the same seed gives the same data. Without one torch's default generator is used.

        Raises
        ------
        ShapeError
            If `x` does not live in the space, or the batch of the levels does not broadcast with its own.
        ArgumentError
            If `x` is out of range, or `generator` is no torch.Generator.
        """
        if generator is not None and not isinstance(generator, torch.Generator):
            raise ArgumentError(
                f"{self.name}.sample: `generator` must be a torch.Generator, such as torch.Generator().manual_seed(0); "
                f"got {type(generator).__name__}."
            )
        full, levels = self._prepare(x, "sample")
        return self._sample(full, levels, generator)

    @final
    @accepts_numpy
    def mean(self, x: Tensor) -> Tensor:
        """Return E[y | x], (*batch, *space)."""
        full, levels = self._prepare(x, "mean")
        return self._mean(full, levels)

    @final
    @accepts_numpy
    def variance(self, x: Tensor) -> Tensor:
        """Return Var[y | x], (*batch, *space), real; of complex data that of the real part, which the imaginary part shares."""
        full, levels = self._prepare(x, "variance")
        return self._variance(full, levels)

    @final
    @accepts_numpy
    def std(self, x: Tensor) -> Tensor:
        """Return the standard deviation of y given x, (*batch, *space)."""
        full, levels = self._prepare(x, "std")
        return self._variance(full, levels).sqrt()

    def _prepare(self, x: Tensor, what: str) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Return the signal with its full batch, and the levels ready to broadcast with it."""
        x = self.space.check(x, f"{self.name}.{what}", "x")
        if not bool(torch.isfinite(x).all()):
            raise ArgumentError(f"{self.name}.{what}: `x` must be finite.")
        self._check(x)
        values = [as_tensor(level, self.name, "level") for level in self._levels()]
        batch = batch_shape(self.space.batch_shape(x), *(tuple(value.shape) for value in values), who=self.name)
        wide = tuple(value.to(device=x.device, dtype=x.real.dtype)[(...,) + (None,) * self.space.rank] for value in values)
        return x.expand(*batch, *x.shape[x.ndim - self.space.rank :]), wide

    def _require(self, arg: str, value: Level, low: float, high: float = float("inf"), *, strict: bool = True) -> None:
        """Raise if a level is not a finite real number above `low` (or at it, if not strict) and at most `high`."""
        level = as_tensor(value, self.name, arg).detach()
        inside = not level.is_complex() and (level > low if strict else level >= low) & (level <= high) & level.isfinite()
        if isinstance(inside, bool) or not bool(inside.all()):
            word = "above" if strict else "at least"
            limit = "" if high == float("inf") else f" and at most {high:g}"
            raise ArgumentError(f"{self.name}: `{arg}` must be {word} {low:g}{limit}; got {value!r}.")

    def _require_real(self) -> None:
        if self.space.is_complex:
            raise ShapeError(f"{self.name}: its data are real; the space is ({self.space}).")

    def _require_at_least(self, x: Tensor, low: float, hint: str) -> None:
        """Raise if noise-free data lie below `low`; `hint` says what to do."""
        if x.numel() and not bool((x >= low).all()):
            raise ArgumentError(
                f"{self.name}: noise-free data must be at least {low:g}; the least is {float(x.min()):.6g}. {hint}"
            )


def draw_normal(x: Tensor, generator: torch.Generator | None) -> Tensor:
    """Return standard normal numbers of the shape, precision and device of `x`; a complex number has two."""
    device = x.device if generator is None else generator.device
    if x.is_complex():
        pairs = torch.randn((*x.shape, 2), generator=generator, dtype=x.real.dtype, device=device)
        return torch.view_as_complex(pairs).to(x.device)
    return torch.randn(x.shape, generator=generator, dtype=x.dtype, device=device).to(x.device)


def draw_uniform(x: Tensor, generator: torch.Generator | None) -> Tensor:
    """Return numbers uniform on [0, 1) of the shape, real precision and device of `x`."""
    device = x.device if generator is None else generator.device
    return torch.rand(x.shape, generator=generator, dtype=x.real.dtype, device=device).to(x.device)


def draw_poisson(rate: Tensor, generator: torch.Generator | None) -> Tensor:
    """Return Poisson counts with the expectations `rate`, in its precision and on its device."""
    where = rate if generator is None else rate.to(generator.device)
    return torch.poisson(where.clamp(min=0), generator=generator).to(rate.device)


def draw_gamma(shape: Tensor, generator: torch.Generator | None) -> Tensor:
    """Return gamma variables of the shape parameters `shape` >= 1 and scale 1, in its precision and on its device.

    Notes
    -----
    By rejection, at most five of a hundred a round. Torch's own sampler with a generator is not public.
    Source: G. Marsaglia, W. Tsang, ACM Transactions on Mathematical Software 26 (2000), doi:10.1145/358407.358414.
    """
    d = shape.double() - 1 / 3
    c = 1 / (9 * d).sqrt()
    out, missing = torch.zeros_like(d), torch.ones_like(d, dtype=torch.bool)
    while bool(missing.any()):
        normal, uniform = draw_normal(d, generator), draw_uniform(d, generator)
        cube = (1 + c * normal) ** 3
        safe = torch.where(cube > 0, cube, 1.0)
        taken = (cube > 0) & (uniform.log() < 0.5 * normal**2 + d * (1 - safe + safe.log()))
        out = torch.where(missing & taken, d * safe, out)
        missing &= ~taken
    return out.to(shape.dtype)
