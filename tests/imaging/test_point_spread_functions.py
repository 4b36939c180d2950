"""Point spread functions against the formulas of their physics."""

import math

import pytest
import torch
from torch.testing import assert_close

from apheleia.core import ArgumentError
from apheleia.imaging import airy_psf, defocus_psf, defocus_stack_psf, gaussian_psf, moffat_psf, motion_psf

ALL = [
    gaussian_psf(1.3),
    gaussian_psf((3.0, 1.0), angle_deg=30),
    moffat_psf(3.0, 2.5),
    airy_psf(0.7, 550, 0.1),
    defocus_psf(0.7, 550, 0.1, 1.0),
    defocus_stack_psf(0.5, 600, 0.3, [-1.0, 0.0, 1.0]),
    motion_psf(7.5, 33),
]


@pytest.mark.parametrize("psf", ALL)
def test_they_sum_to_one_and_are_not_negative(psf):
    assert psf.sum() == pytest.approx(1, abs=1e-12)
    assert (psf >= 0).all()
    assert all(size % 2 for size in psf.shape[-2:])
    assert psf.dtype == torch.float64
    # turned by half a turn they are the same
    assert_close(psf, psf.flip(-1, -2), rtol=1e-8, atol=1e-12)


def second_moments(psf):
    y, x = (torch.arange(n, dtype=torch.float64) - n // 2 for n in psf.shape)
    return (psf * x**2).sum(), (psf * y[:, None] ** 2).sum(), (psf * x * y[:, None]).sum()


def test_gaussian_has_its_moments():
    # a pixel's own width adds (1 - 1 / 25) / 12 to the variance
    assert_close(second_moments(gaussian_psf(2.0, 20))[0].item(), 4 + 0.08, rtol=1e-6, atol=0)
    xx, yy, xy = second_moments(gaussian_psf((3.0, 1.0), 20, angle_deg=45))
    assert_close(xx, yy)
    # counter-clockwise: up, which is minus in rows, to the right
    assert xy == pytest.approx(-4.0, rel=1e-3)


def test_moffat_has_its_width():
    profile = moffat_psf(20.0, 3.0)[80]
    assert float(profile[80 + 10] / profile[80]) == pytest.approx(0.5, rel=5e-3)


def test_airy_has_its_first_dark_ring():
    # 0.61 wavelength / NA = 0.61 um, at 61 pixels of 10 nm
    profile = airy_psf(0.5, 500, 0.01, radius=90)[90, 90:]
    assert profile[:80].argmin() == 61
    assert profile[61] < 1e-4 * profile[0]


def test_in_focus_the_pupil_gives_airys_pattern():
    assert_close(defocus_psf(0.8, 520, 0.12, 0.0, radius=10), airy_psf(0.8, 520, 0.12, radius=10), rtol=0, atol=3e-4)


def test_on_the_axis_defocus_follows_its_sinc():
    # paraxial: I(z) / I(0) = sinc^2(NA^2 z / (2 n wavelength)), zero at z = 2 n wavelength / NA^2
    zero = 2 * 1.33 * 0.5 / 0.2**2
    stack = defocus_stack_psf(0.2, 500, 0.05, [0.0, zero / 2, zero], 1.33, radius=3)
    axis = stack[:, 3, 3] / stack[0, 3, 3]
    assert axis[1] == pytest.approx((2 / math.pi) ** 2, rel=2e-2)
    assert axis[2] < 2e-2


def test_defocus_is_the_same_on_both_sides_and_matches_its_stack():
    assert_close(defocus_psf(0.6, 520, 0.2, 2.0, radius=9), defocus_psf(0.6, 520, 0.2, -2.0, radius=9))
    stack = defocus_stack_psf(0.6, 520, 0.2, [-2.0, 0.0, 2.0], radius=9)
    assert_close(stack[0] / stack[0].sum(), defocus_psf(0.6, 520, 0.2, 2.0, radius=9))


def test_far_from_focus_the_light_fills_the_cone():
    psf = defocus_psf(0.5, 500, 0.4, 30.0)
    y, x = (torch.arange(n, dtype=torch.float64) - n // 2 for n in psf.shape)
    cone = 30 * 0.5 / math.sqrt(1 - 0.25) / 0.4
    assert psf[torch.hypot(x, y[:, None]) <= 1.1 * cone].sum() > 0.95


def test_motion_lies_along_its_line():
    # steady light between -2 and 2, shared between neighbouring pixels
    assert_close(motion_psf(4.0)[0], torch.tensor([0.125, 0.25, 0.25, 0.25, 0.125], dtype=torch.float64))
    xx, yy, xy = second_moments(motion_psf(20.0, 45))
    assert_close(xx, yy)
    assert xy < -0.9 * xx


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: gaussian_psf(0.0), "gaussian_psf: `sigma` must be above zero; got 0.0"),
        (lambda: gaussian_psf(1.0, radius=-1), "`radius` must be a whole number of pixels >= 0; got -1"),
        (lambda: moffat_psf(2.0, 1.0), "`exponent` must be above 1, else the light is infinite; got 1.0"),
        (lambda: airy_psf(0.5, 0.52, 0.1), "`wavelength_nm` is in nanometres, such as 520 for green light; got 0.52"),
        (lambda: airy_psf(0.5, 520, -0.1), "airy_psf: `pixel_size_um` must be above zero; got -0.1"),
        (lambda: defocus_psf(1.2, 520, 0.1, 0.0), "`numerical_aperture` must be below `refractive_index`; got 1.2 and 1.0"),
        (lambda: defocus_psf(0.5, 520, 0.1, math.inf), "`z_um` must be finite distances in micrometres"),
        (lambda: defocus_stack_psf(0.5, 520, 0.1, []), "give at least one distance in `z_um`; got none"),
        (lambda: motion_psf(0.0), "motion_psf: `length` must be above zero; got 0.0"),
    ],
)
def test_they_refuse(call, sentence):
    with pytest.raises(ArgumentError, match=sentence):
        call()
