"""Point spread functions by their physics: seeing, diffraction, defocus and motion; each sums to 1, its peak at size // 2."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from apheleia.core.errors import ArgumentError
from apheleia.core.interop import is_number

__all__ = ["airy_psf", "defocus_psf", "defocus_stack_psf", "gaussian_psf", "moffat_psf", "motion_psf"]

SUBPIXELS = 5
"""Samples a pixel and axis: a pixel sees the mean over its area, not the value at its middle."""


def gaussian_psf(sigma: float | tuple[float, float], radius: int | None = None, angle_deg: float = 0.0) -> Tensor:
    """Return a Gaussian averaged over pixels, which may be longer in one direction.

    Parameters
    ----------
    sigma : float or (float, float)
        Standard deviation in pixels, above zero; two of them along the axes that `angle_deg` turns.
    radius : int, optional
        Half width in pixels; ceil(4 sigma) by default.
    angle_deg : float
        Direction of the first axis, counter-clockwise from the rows' direction of reading.

    Returns
    -------
    Tensor of float64, (2 radius + 1, 2 radius + 1)

    Raises
    ------
    ArgumentError
        If a length is not above zero.

    Examples
    --------
    >>> gaussian_psf(1.5).shape
    torch.Size([13, 13])
    """
    along, across = sigma if isinstance(sigma, tuple) else (sigma, sigma)
    _check("gaussian_psf", sigma=along)
    _check("gaussian_psf", sigma=across)
    y, x, count = _positions("gaussian_psf", math.ceil(4 * max(along, across)) if radius is None else radius)
    cos, sin = math.cos(math.radians(angle_deg)), math.sin(math.radians(angle_deg))
    return _pixels(torch.exp(-0.5 * (((cos * x - sin * y) / along) ** 2 + ((sin * x + cos * y) / across) ** 2)), count)


def moffat_psf(full_width: float, exponent: float, radius: int | None = None) -> Tensor:
    """Return Moffat's profile (1 + r^2 / a^2)^-exponent averaged over pixels: a star seen through the atmosphere.

    Parameters
    ----------
    full_width : float
        Full width at half maximum in pixels, above zero; a = full_width / (2 sqrt(2^(1 / exponent) - 1)).
    exponent : float
        Above 1; 2.5 to 5 in practice, small ones for wide wings.
    radius : int, optional
        Half width in pixels; ceil(4 full_width) by default.

    Returns
    -------
    Tensor of float64, (2 radius + 1, 2 radius + 1)

    Raises
    ------
    ArgumentError
        If the width is not above zero or the exponent not above 1.

    Notes
    -----
    Source: A. Moffat, Astronomy and Astrophysics 3 (1969), 455.
    """
    _check("moffat_psf", full_width=full_width)
    if not 1 < exponent < math.inf:
        raise ArgumentError(f"moffat_psf: `exponent` must be above 1, else the light is infinite; got {exponent!r}.")
    y, x, count = _positions("moffat_psf", math.ceil(4 * full_width) if radius is None else radius)
    core = full_width / (2 * math.sqrt(2 ** (1 / exponent) - 1))
    return _pixels((1 + (x**2 + y**2) / core**2) ** -exponent, count)


def airy_psf(numerical_aperture: float, wavelength_nm: float, pixel_size_um: float, radius: int | None = None) -> Tensor:
    """Return Airy's pattern (2 J1(v) / v)^2, v = 2 pi NA r / wavelength, averaged over pixels: diffraction in focus.

    Parameters
    ----------
    numerical_aperture : float
        On the object's side if the pixel size is; above zero.
    wavelength_nm : float
        Of the light in vacuum, in nanometres.
    pixel_size_um : float
        In micrometres, in the same plane as the aperture.
    radius : int, optional
        Half width in pixels; by default 5 radii of the first dark ring, within which 96 % of the light lies.

    Returns
    -------
    Tensor of float64, (2 radius + 1, 2 radius + 1)

    Raises
    ------
    ArgumentError
        If a number is not above zero, or the wavelength is not one in nanometres.

    Notes
    -----
    Source: M. Born, E. Wolf, Principles of Optics, 7th edition, section 8.5.2.

    Examples
    --------
    >>> airy_psf(0.8, 520, 0.1, radius=2).argmax().item()
    12
    """
    _check_optics("airy_psf", numerical_aperture, wavelength_nm, pixel_size_um)
    wavelength_um = 1e-3 * wavelength_nm
    ring = 0.61 * wavelength_um / numerical_aperture / pixel_size_um
    y, x, count = _positions("airy_psf", math.ceil(5 * ring) if radius is None else radius)
    v = 2 * math.pi * numerical_aperture / wavelength_um * pixel_size_um * torch.hypot(x, y)
    safe = torch.where(v > 1e-8, v, 1.0)
    return _pixels(torch.where(v > 1e-8, 2 * torch.special.bessel_j1(safe) / safe, 1.0) ** 2, count)


def defocus_psf(
    numerical_aperture: float,
    wavelength_nm: float,
    pixel_size_um: float,
    z_um: float,
    refractive_index: float = 1.0,
    radius: int | None = None,
) -> Tensor:
    """Return the intensity of a scalar wave through a round pupil, z_um away from focus, averaged over pixels.

    h(x) = |integral over |f| <= NA / wavelength of exp(2 pi i (z sqrt((n / wavelength)^2 - |f|^2) + f . x)) df|^2.

    Parameters
    ----------
    numerical_aperture, wavelength_nm, pixel_size_um
        As for `airy_psf`, which this is in focus.
    z_um : float
        Distance from focus in micrometres, of either sign.
    refractive_index : float
        n of the medium, above the numerical aperture; 1 in air, 1.33 in water, 1.515 in oil.
    radius : int, optional
        Half width in pixels; by default that of `airy_psf` and the geometric cone's besides.

    Returns
    -------
    Tensor of float64, (2 radius + 1, 2 radius + 1)

    Raises
    ------
    ArgumentError
        If a number is not above zero, the aperture is not below the index, or the wavelength is not one in nanometres.

    Notes
    -----
    Scalar, without aberrations and without apodisation: good below a numerical aperture of about 0.9.
    Source: J. Goodman, Introduction to Fourier Optics, 3rd edition, chapters 3 and 6.

    Examples
    --------
    >>> focused, blurred = (defocus_psf(0.5, 600, 0.3, z, radius=8).max() for z in (0.0, 4.0))
    >>> bool(blurred < 0.2 * focused)
    True
    """
    slices = _defocus("defocus_psf", numerical_aperture, wavelength_nm, pixel_size_um, [z_um], refractive_index, radius)
    return slices[0] / slices[0].sum()


def defocus_stack_psf(
    numerical_aperture: float,
    wavelength_nm: float,
    pixel_size_um: float,
    z_um: Sequence[float],
    refractive_index: float = 1.0,
    radius: int | None = None,
) -> Tensor:
    """Return `defocus_psf` at several distances as one volume that sums to 1: a wide-field microscope's response.

    Parameters
    ----------
    numerical_aperture, wavelength_nm, pixel_size_um, refractive_index, radius
        As for `defocus_psf`.
    z_um : sequence of float
        Distances from focus in micrometres, at least one; equally spaced around 0 for `operators.VolumeConvolution`.

    Returns
    -------
    Tensor of float64, (len(z_um), 2 radius + 1, 2 radius + 1)

    Raises
    ------
    ArgumentError
        As `defocus_psf`, or if there is no distance.
    """
    if len(z_um) == 0:
        raise ArgumentError("defocus_stack_psf: give at least one distance in `z_um`; got none.")
    stack = _defocus("defocus_stack_psf", numerical_aperture, wavelength_nm, pixel_size_um, list(z_um), refractive_index, radius)
    return stack / stack.sum()


def motion_psf(length: float, angle_deg: float = 0.0) -> Tensor:
    """Return a straight line of light, `length` pixels long, as a steady motion during the exposure draws it.

    Parameters
    ----------
    length : float
        In pixels, above zero.
    angle_deg : float
        Direction, counter-clockwise from the direction of reading; a line and its reverse are one.

    Returns
    -------
    Tensor of float64, (height, width), both odd

    Raises
    ------
    ArgumentError
        If the length is not above zero.

    Examples
    --------
    >>> motion_psf(3.0).shape, motion_psf(3.0, 90).shape
    (torch.Size([1, 5]), torch.Size([5, 1]))
    """
    _check("motion_psf", length=length)
    if not (is_number(angle_deg) and math.isfinite(angle_deg)):
        raise ArgumentError(f"motion_psf: `angle_deg` must be a finite number; got {angle_deg!r}.")
    count = max(2, math.ceil(16 * length))
    along = (torch.arange(count, dtype=torch.float64) + 0.5) / count * length - 0.5 * length
    x, y = along * math.cos(math.radians(angle_deg)), -along * math.sin(math.radians(angle_deg))
    # a direction along an axis stays there whatever the rounding of its cosine
    x, y = (torch.where(part.abs() < 1e-9, 0.0, part) for part in (x, y))
    reach_y, reach_x = (math.ceil(float(part.abs().max())) for part in (y, x))
    kernel = torch.zeros(2 * reach_y + 1, 2 * reach_x + 1, dtype=torch.float64)
    top, left = y.floor(), x.floor()
    for down in (0, 1):
        for right in (0, 1):
            share = (1 - (y - top - down).abs()) * (1 - (x - left - right).abs())
            rows = (top + down + reach_y).long().clamp(0, 2 * reach_y)
            columns = (left + right + reach_x).long().clamp(0, 2 * reach_x)
            kernel.index_put_((rows, columns), share, accumulate=True)
    return kernel / kernel.sum()


def _defocus(
    who: str, aperture: float, wavelength_nm: float, pixel_um: float, z_um: list[float], index: float, radius: int | None
) -> Tensor:
    """Return intensities (z, height, width) in one unit, so that slices of a stack keep their shares of the light."""
    _check_optics(who, aperture, wavelength_nm, pixel_um)
    if not aperture < index < math.inf:
        raise ArgumentError(f"{who}: `numerical_aperture` must be below `refractive_index`; got {aperture!r} and {index!r}.")
    if not all(math.isfinite(z) for z in z_um):
        raise ArgumentError(f"{who}: `z_um` must be finite distances in micrometres; got {z_um!r}.")
    wavelength = 1e-3 * wavelength_nm
    cutoff, farthest = aperture / wavelength, max(abs(z) for z in z_um)
    cone = farthest * aperture / math.sqrt(index**2 - aperture**2)
    reach = math.ceil(5 * 0.61 / cutoff / pixel_um + 1.2 * cone / pixel_um) if radius is None else radius
    _, x, count = _positions(who, reach)
    places = x * pixel_um
    # the pupil is a sum over frequencies: twice as fine as the field of view and the cone need, to keep their replicas away
    half = math.ceil(4 * cutoff * (float(places.abs().max()) + cone) + 32)
    f = torch.arange(-half, half + 1, dtype=torch.float64) / half * cutoff
    squared = f[:, None] ** 2 + f**2
    inside = squared <= cutoff**2
    axial = torch.where(inside, (index / wavelength) ** 2 - squared, 0.0).clamp(min=0).sqrt() - index / wavelength
    waves = torch.exp(2j * torch.pi * torch.outer(places, f))
    fields = (waves @ torch.where(inside, torch.exp(2j * torch.pi * z * axial), 0.0) @ waves.mT for z in z_um)
    return torch.stack([_binned(field.abs() ** 2, count) for field in fields])


def _positions(who: str, radius: int) -> tuple[Tensor, Tensor, int]:
    """Return the y column and the x row of the sub-pixels of 2 radius + 1 pixels, in pixels from the middle one."""
    if not isinstance(radius, int) or radius < 0:
        raise ArgumentError(f"{who}: `radius` must be a whole number of pixels >= 0; got {radius!r}.")
    count = 2 * radius + 1
    x = (torch.arange(count * SUBPIXELS, dtype=torch.float64) + 0.5) / SUBPIXELS - 0.5 * count
    return x[:, None], x, count


def _binned(values: Tensor, count: int) -> Tensor:
    return values.reshape(count, SUBPIXELS, count, SUBPIXELS).mean((1, 3))


def _pixels(values: Tensor, count: int) -> Tensor:
    kernel = _binned(values, count)
    return kernel / kernel.sum()


def _check(who: str, **lengths: float) -> None:
    for name, value in lengths.items():
        if not (is_number(value) and 0 < value < math.inf):
            raise ArgumentError(f"{who}: `{name}` must be above zero; got {value!r}.")


def _check_optics(who: str, aperture: float, wavelength_nm: float, pixel_um: float) -> None:
    _check(who, numerical_aperture=aperture, wavelength_nm=wavelength_nm, pixel_size_um=pixel_um)
    if wavelength_nm < 10:
        raise ArgumentError(
            f"{who}: `wavelength_nm` is in nanometres, such as 520 for green light; got {wavelength_nm!r}, "
            f"which as micrometres would be {1000 * wavelength_nm:g}."
        )
