"""8-bit pixels as data URIs, and the ladder that keeps a page small."""

from __future__ import annotations

import base64
import io
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from apheleia.core.errors import MissingExtraError

__all__ = ["RUNGS", "Rung", "data_uri"]


class Rung(NamedTuple):
    """How previews are stored: the longer side in pixels, and the JPEG quality, 1 to 95, or None for lossless PNG."""

    side: int
    quality: int | None


# First the quality falls, then the size, until the page fits.
RUNGS = (Rung(1600, None), Rung(1600, 92), Rung(1600, 80), Rung(1600, 65), Rung(800, 65), Rung(800, 40), Rung(400, 40))


def data_uri(pixels: NDArray[np.uint8], quality: int | None = None) -> str:
    """Return an image (H, W) or (H, W, 3) as a data URI: lossless PNG, or JPEG of the given quality, 1 to 95.

    Raises
    ------
    MissingExtraError
        If Pillow is not installed.
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise MissingExtraError("report", "pillow", "app") from error
    buffer = io.BytesIO()
    picture = Image.fromarray(np.ascontiguousarray(pixels))
    if quality is None:
        picture.save(buffer, format="PNG")
    else:
        picture.save(buffer, format="JPEG", quality=quality)
    kind = "png" if quality is None else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
