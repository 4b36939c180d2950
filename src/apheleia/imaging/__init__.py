"""Imaging: photographs and micrographs, from blur and noise to a restoration with a report."""

from apheleia.imaging.kernels import box_kernel, gaussian_kernel, read_kernel, sampling_kernel
from apheleia.imaging.model import PRIORS, ImagingModel
from apheleia.imaging.mri import birdcage_sensitivities, root_sum_of_squares, variable_density_mask
from apheleia.imaging.noise import estimate_noise_std
from apheleia.imaging.point_spread_functions import airy_psf, defocus_psf, defocus_stack_psf, gaussian_psf, moffat_psf, motion_psf
from apheleia.imaging.restore import Restoration, restore
from apheleia.imaging.tomography import filtered_back_projection
from apheleia.imaging.weight import discrepancy_weight

__all__ = [
    "PRIORS",
    "ImagingModel",
    "Restoration",
    "airy_psf",
    "defocus_psf",
    "defocus_stack_psf",
    "gaussian_psf",
    "moffat_psf",
    "motion_psf",
    "birdcage_sensitivities",
    "box_kernel",
    "discrepancy_weight",
    "estimate_noise_std",
    "filtered_back_projection",
    "gaussian_kernel",
    "read_kernel",
    "restore",
    "root_sum_of_squares",
    "sampling_kernel",
    "variable_density_mask",
]
