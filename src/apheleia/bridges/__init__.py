"""Bridges: operators, solvers and denoisers of other libraries in, and ours out; each library is needed only by its users."""

from apheleia.bridges.astra import astra_fan_beam, astra_parallel_beam
from apheleia.bridges.deepinv import (
    from_deepinv_denoiser,
    from_deepinv_physics,
    to_deepinv_physics,
    to_deepinv_reconstructor,
)
from apheleia.bridges.nufft import NonuniformFourierTransform
from apheleia.bridges.pylops import from_pylops, to_pylops
from apheleia.bridges.scipy import from_scipy, to_scipy

__all__ = [
    "NonuniformFourierTransform",
    "astra_fan_beam",
    "astra_parallel_beam",
    "from_deepinv_denoiser",
    "from_deepinv_physics",
    "from_pylops",
    "from_scipy",
    "to_deepinv_physics",
    "to_deepinv_reconstructor",
    "to_pylops",
    "to_scipy",
]
