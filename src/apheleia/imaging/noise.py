"""How much noise a photograph carries, estimated from its finest details."""

from __future__ import annotations

import torch
from torch import Tensor

from apheleia.core.errors import ShapeError
from apheleia.core.interop import accepts_numpy, as_tensor
from apheleia.operators.boundary import extend
from apheleia.operators.wavelet import WaveletTransform

__all__ = ["estimate_noise_std"]

_NORMAL_QUARTILE = 0.6744897501960817


@accepts_numpy
def estimate_noise_std(y: Tensor, known: Tensor | None = None) -> Tensor:
    """Estimate the standard deviation of white Gaussian noise from the finest diagonal wavelet details.

    The median of their absolute values over 0.6745. Edges leak little into these details and blurred images have none, so
    that noise is what they hold; a photograph of fine texture reads as noisier than it is. Saturated pixels carry no noise
    and are left out.

    Parameters
    ----------
    y : Tensor or ndarray, (channel, height, width)
        The image; height and width of at least 4.
    known : Tensor, (1 or channel, height, width), optional
        A mask, non-zero where pixels were measured.

    Returns
    -------
    Tensor
        The standard deviation in the units of `y`, averaged over channels (root mean square).

    Raises
    ------
    ShapeError
        If the image is too small.

    Notes
    -----
    Source: D. Donoho, I. Johnstone, Biometrika 81 (1994), doi:10.1093/biomet/81.3.425.
    """
    y = as_tensor(y, "estimate_noise_std", "y")
    height, width = (size - size % 2 for size in y.shape[-2:]) if y.ndim == 3 else (0, 0)
    if min(height, width) < 4:
        raise ShapeError(
            f"estimate_noise_std: `y` must be (channel, height, width) of at least 4 x 4 pixels; got {tuple(y.shape)}."
        )
    y = y[..., :height, :width].double()
    # a detail says nothing of the noise where it touches a flat (saturated) or an unknown neighbourhood; under a mask the
    # shortest filter leaves the most neighbourhoods that are wholly known
    support = 4 if known is None else 2
    details = WaveletTransform("db2" if known is None else "haar", levels=1)(y)[..., height // 2 :, width // 2 :].abs()
    blocks = _neighbourhoods(y, support)
    informative = blocks.amax((-2, -1)) > blocks.amin((-2, -1))
    if known is not None:
        informative &= _neighbourhoods(known[..., :height, :width].expand_as(y) != 0, support).flatten(-2).all(-1)
    medians = [d[use].median() if bool(use.any()) else d.new_zeros(()) for d, use in zip(details, informative, strict=True)]
    return (torch.stack(medians) / _NORMAL_QUARTILE).square().mean().sqrt()


def _neighbourhoods(image: Tensor, size: int) -> Tensor:
    """Return the size x size pixels behind each detail, (..., height / 2, width / 2, size, size), periodic."""
    wide = extend(image, (0, 0), (size - 2, size - 2), "circular")
    return wide.unfold(-2, size, 2).unfold(-2, size, 2)
