"""Operators: how data are formed from a signal, with exact adjoints and norms that say how they were obtained."""

from apheleia.operators.bayer_mosaic import BayerMosaic
from apheleia.operators.bilinear_map import BilinearMap
from apheleia.operators.blind_convolution import BlindConvolution
from apheleia.operators.boundary import Crop
from apheleia.operators.channel_blocks import ChannelBlocks
from apheleia.operators.check import check_adjoint, check_derivative, check_linear, check_norm
from apheleia.operators.convolution import Convolution
from apheleia.operators.convolution_bank import ConvolutionBank
from apheleia.operators.decimation import Decimation
from apheleia.operators.diagnose import AdjointFault, find_adjoint_fault
from apheleia.operators.diagonal import Diagonal
from apheleia.operators.duplication import Duplication
from apheleia.operators.fan_beam_transform import FanBeamTransform
from apheleia.operators.filters import CosineFilter, FourierFilter
from apheleia.operators.finite_differences import FiniteDifferences
from apheleia.operators.fourier_sampling import FourierSampling
from apheleia.operators.identity import Identity
from apheleia.operators.inverse import conjugate_gradient
from apheleia.operators.linear import LinearOperator, stack
from apheleia.operators.linearization import Linearization
from apheleia.operators.matrix import Matrix
from apheleia.operators.matrix_product import MatrixProduct
from apheleia.operators.multi_coil_mri import MultiCoilMRI
from apheleia.operators.operator import Operator
from apheleia.operators.phase_retrieval import PhaseRetrieval, coded_diffraction, spectral_initialization
from apheleia.operators.radar import NearFieldMIMO
from apheleia.operators.random_projection import RandomProjection
from apheleia.operators.segment import Segment
from apheleia.operators.spectral_mixing import SpectralMixing
from apheleia.operators.stationary_wavelet import StationaryWaveletTransform
from apheleia.operators.symmetrized_differences import SymmetrizedDifferences
from apheleia.operators.unknown_boundary_convolution import UnknownBoundaryConvolution
from apheleia.operators.varying_convolution import VaryingConvolution
from apheleia.operators.volume_convolution import VOLUME, VolumeConvolution
from apheleia.operators.warp import Warp
from apheleia.operators.wavelet import WaveletTransform
from apheleia.operators.xray_transform import XRayTransform

__all__ = [
    "VOLUME",
    "AdjointFault",
    "BayerMosaic",
    "BilinearMap",
    "BlindConvolution",
    "ChannelBlocks",
    "Convolution",
    "ConvolutionBank",
    "CosineFilter",
    "Crop",
    "Decimation",
    "Diagonal",
    "Duplication",
    "FanBeamTransform",
    "FiniteDifferences",
    "FourierFilter",
    "FourierSampling",
    "Identity",
    "LinearOperator",
    "Linearization",
    "Matrix",
    "MatrixProduct",
    "MultiCoilMRI",
    "NearFieldMIMO",
    "Operator",
    "PhaseRetrieval",
    "Segment",
    "SpectralMixing",
    "StationaryWaveletTransform",
    "SymmetrizedDifferences",
    "UnknownBoundaryConvolution",
    "VaryingConvolution",
    "VolumeConvolution",
    "Warp",
    "RandomProjection",
    "WaveletTransform",
    "XRayTransform",
    "check_adjoint",
    "check_derivative",
    "check_linear",
    "check_norm",
    "coded_diffraction",
    "conjugate_gradient",
    "find_adjoint_fault",
    "spectral_initialization",
    "stack",
]
