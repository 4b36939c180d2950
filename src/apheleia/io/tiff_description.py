"""What the programs of microscopists state in a TIFF's description about its pages."""

from __future__ import annotations

import json
import math
import re

__all__ = ["TIFFFILE_SHAPE", "stack_sizes"]

LARGEST_STATEMENT = 1 << 20
TIFFFILE_SHAPE = '{"shape"'


def stack_sizes(description: str, pages: int) -> list[int]:
    """Find the sizes of the page axes that ImageJ, OME or tifffile state in the description.

    Parameters
    ----------
    description : str
        Of the first page.
    pages : int
        That the file lists or will list.

    Returns
    -------
    list of int
        Channels, planes and times in any order, 1 included; empty where nothing is stated.
    """
    # The bounds keep regular expressions linear on hostile text.
    description = description[:LARGEST_STATEMENT]
    if description.startswith("ImageJ="):
        stated = dict(re.findall(r"^(\w+)=(\d{1,9})\s*$", description, flags=re.MULTILINE))
        sizes = [int(stated.get(key, 1)) for key in ("channels", "slices", "frames")]
        count = int(stated.get("images", 1))
        return sizes if math.prod(sizes) == count else [count]
    if description.startswith(TIFFFILE_SHAPE):
        return _shaped(description, pages)
    pixels = re.search(r"<(?:\w+:)?Pixels\b[^>]{0,4096}>", description)
    if pixels is None:
        return []
    stated = dict(re.findall(r'\bSize([ZCT])="(\d{1,9})"', pixels.group()))
    samples = re.search(r'\bSamplesPerPixel="(\d{1,9})"', description)
    channels = int(stated.get("C", 1)) // max(int(samples.group(1)) if samples else 1, 1)
    return [int(stated.get("Z", 1)), int(stated.get("T", 1)), max(channels, 1)]


def _shaped(description: str, pages: int) -> list[int]:
    """Leading sizes of tifffile's own shape, where they are pages and not the planes of a colour image."""
    try:
        content = json.loads(description)
        shape, is_truncated = content["shape"], content.get("truncated") is True
    except (ValueError, RecursionError, KeyError, TypeError):
        return []
    if not isinstance(shape, list) or not all(isinstance(count, int) and count > 0 for count in shape):
        return []
    sizes = shape[: -3 if shape[-1] in (3, 4) else -2]
    return sizes if is_truncated or math.prod(sizes) == pages else []
