"""Magnetic resonance imaging: simulated coil maps, sampling patterns of k-space, and the plain combination of coil images."""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
from torch import Tensor

from apheleia.core.errors import ArgumentError, ShapeError
from apheleia.core.interop import accepts_numpy, as_tensor, is_number
from apheleia.core.space import as_size

__all__ = ["birdcage_sensitivities", "root_sum_of_squares", "variable_density_mask"]

Pattern = Literal["lines", "points"]


def birdcage_sensitivities(size: tuple[int, int], coils: int, radius: float = 1.5) -> Tensor:
    """Simulate the maps of coils evenly around the object, S_c = exp(i angle_c) / distance_c, with sum_c |S_c|^2 = 1.

    Each coil is a straight conductor through the plane: by Ampère's law its field falls off with the distance and is
    perpendicular to the line from the conductor, so that the phase of S_c is the angle of that line less the coil's own.

    Parameters
    ----------
    size : (int, int)
        Height and width in pixels; the field of view is taken to be square, from -1 to 1.
    coils : int
        At least one.
    radius : float, default 1.5
        Of the circle that the coils stand on, in units of half the field of view; above sqrt(2), outside of the image.

    Returns
    -------
    Tensor, (coil, height, width), complex128
        The maps.

    Raises
    ------
    ArgumentError
        If a size or the number of coils is below one, or a coil would stand inside the image.

    Notes
    -----
    A simulation for tests and examples: real maps come from a calibration scan.

    Examples
    --------
    >>> maps = birdcage_sensitivities((8, 8), 4)
    >>> torch.allclose(root_sum_of_squares(maps), torch.ones(1, 8, 8, dtype=torch.float64))
    True
    """
    size = as_size(size, "birdcage_sensitivities", "size")
    if not isinstance(coils, int) or coils < 1 or not math.sqrt(2) < radius < math.inf:
        raise ArgumentError(
            f"birdcage_sensitivities: `coils` must be at least 1 and `radius` finite and above sqrt(2); "
            f"got {coils!r} and {radius:.4g}."
        )
    # centres of pixels on [-1, 1]
    rows, columns = ((2 * torch.arange(n, dtype=torch.float64) + 1) / n - 1 for n in size)
    angles = 2 * math.pi * torch.arange(coils, dtype=torch.float64)[:, None, None] / coils
    down, right = rows[:, None] - radius * angles.sin(), columns - radius * angles.cos()
    # seen from the centre every coil has phase zero
    maps = torch.polar(1 / torch.hypot(down, right), torch.atan2(down, right) - angles)
    return maps / root_sum_of_squares(maps)


def variable_density_mask(
    size: tuple[int, int],
    acceleration: float,
    center_fraction: float = 0.08,
    *,
    pattern: Pattern = "lines",
    power: float = 3.0,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Draw which part of k-space to sample: all of its centre, and the rest with a density (1 - |k|)^power, |k| <= 1.

    Parameters
    ----------
    size : (int, int)
        Height and width of k-space.
    acceleration : float
        How many times fewer samples than a full grid, at least 1: 1 / acceleration of the lines or points are sampled, to the
        nearest whole number.
    center_fraction : float, default 0.08
        The part of all lines or points around the zero frequency that is always sampled, from 0 to 1 / acceleration.
    pattern : {"lines", "points"}, default "lines"
        Whole columns, one a phase-encoding step of a planar scan, or single points, one a read-out of a volume.
    power : float, default 3
        How fast the density falls off towards the edge, at least 0.
    generator : torch.Generator, optional
        Source of randomness.

    Returns
    -------
    Tensor, (height, width), float64
        Ones and zeros, the zero frequency at (height // 2, width // 2).

    Raises
    ------
    ArgumentError
        If an argument lies outside of its range.

    Notes
    -----
    Source: M. Lustig, D. Donoho, J. Pauly, Magnetic Resonance in Medicine 58 (2007), doi:10.1002/mrm.21391.

    Examples
    --------
    >>> mask = variable_density_mask((16, 64), 4, generator=torch.Generator().manual_seed(0))
    >>> int(mask.sum()) == 16 * 64 // 4
    True
    """
    who = "variable_density_mask"
    size = as_size(size, who, "size")
    if pattern not in get_args(Pattern):
        raise ArgumentError(f"{who}: `pattern` must be one of {', '.join(get_args(Pattern))}; got {pattern!r}.")
    if not (is_number(acceleration) and acceleration >= 1):
        raise ArgumentError(f"{who}: `acceleration` must be at least 1; got {acceleration!r}.")
    if not 0 <= center_fraction <= 1 / acceleration:
        raise ArgumentError(
            f"{who}: `center_fraction` must lie between 0 and 1 / acceleration = {1 / acceleration:.4g}; got {center_fraction}."
        )
    if not power >= 0:
        raise ArgumentError(f"{who}: `power` must be at least 0; got {power}.")
    height, width = size
    rows, columns = ((torch.arange(n, dtype=torch.float64) - n // 2) / max(n // 2, 1) for n in size)
    distance = columns.abs() if pattern == "lines" else torch.hypot(rows[:, None], columns).flatten() / math.sqrt(2)
    count = max(round(distance.numel() / acceleration), 1)
    centre = min(max(round(distance.numel() * center_fraction), 1), count)
    chosen = torch.zeros_like(distance)
    chosen[distance.argsort(stable=True)[:centre]] = 1
    if count > centre:
        # the outermost samples keep a little of a chance, so that there is always something left to draw
        density = (1 - distance).clamp(min=1e-3) ** power * (1 - chosen)
        chosen[torch.multinomial(density, count - centre, generator=generator)] = 1
    return chosen.expand(height, width).clone() if pattern == "lines" else chosen.reshape(height, width)


@accepts_numpy
def root_sum_of_squares(images: Tensor) -> Tensor:
    """Combine coil images without maps, (sum_c |x_c|^2)^(1/2).

    Parameters
    ----------
    images : Tensor or ndarray, (*batch, coil, height, width)
        Complex or real.

    Returns
    -------
    Tensor, (*batch, 1, height, width)
        The magnitude, at least zero.

    Raises
    ------
    ShapeError
        If there is no axis of coils.
    """
    images = as_tensor(images, "root_sum_of_squares", "images")
    if images.ndim < 3:
        raise ShapeError(f"root_sum_of_squares: `images` must be (*batch, coil, height, width); got {tuple(images.shape)}.")
    return torch.linalg.vector_norm(images, dim=-3, keepdim=True)
