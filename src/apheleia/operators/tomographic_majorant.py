"""A diagonal that stays above the Gram operator of a tomograph: closed-form updates for problems with many line integrals."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from apheleia.operators.transforms import CosineTransform, cosine_layout

__all__ = ["tomographic_majorant"]

CORNER, FLOOR = 2.0, 2.0
"""Waves across the image where the spectrum begins to fall, and views' worth of energy below which it does not."""

STEPS, MARGIN = 15, 1.05
"""Lanczos steps that measure how high the spectrum must be raised, and what is added to the measurement."""


def tomographic_majorant(gram: Callable[[Tensor], Tensor], size: tuple[int, int], views: int) -> Tensor:
    """Return eigenvalues m in the cosine basis, laid out like its coefficients, with A^H A <= C^{-1} m C as measured.

    Backprojected projections of many views weigh the frequency k by 1 / |k| (the ramp filter's inverse). Few views do so up to
    where they lie a wave apart, and beyond each view alone reaches its own norm. The spectrum 1 / sqrt(1 + (k / 2)^2),
    at least 2 / views, has both features; the Lanczos method measures the factor.

    Parameters
    ----------
    gram : callable
        x -> A^H A x for images (1, height, width).
    size : (int, int)
        Height and width.
    views : int
        Number of views.

    Returns
    -------
    Tensor, (1, height, width // 2 + 1, 2)
        In float64. A measurement and no proof: a direction may have been missed, by less than the margin of 5 %, one hopes.
    """
    height, width = size
    waves = [0.5 * torch.arange(n, dtype=torch.float64) * max(size) / n for n in size]
    falling = 1 / (1 + (waves[0][:, None] ** 2 + waves[1] ** 2) / CORNER**2).sqrt()
    shape = cosine_layout(falling.clamp(min=min(1.0, FLOOR / views)))[None]
    change, root = CosineTransform(size), shape.rsqrt()
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1, height, width, dtype=torch.float64, generator=generator)
    before, beside = torch.zeros_like(x), torch.zeros((), dtype=torch.float64)
    diagonal, off_diagonal = [], []
    with torch.no_grad():
        x = x / x.norm()
        for _ in range(min(STEPS, height * width)):
            image = change.synthesise(root * change.analyse(gram(change.synthesise(root * change.analyse(x)))))
            diagonal.append((x * image).sum())
            rest = image - diagonal[-1] * x - beside * before
            before, beside = x, rest.norm()
            off_diagonal.append(beside)
            if beside <= 1e-12 * image.norm():
                break
            x = rest / beside
        # without orthogonalising again, copies of eigenvalues appear, but none above the largest
        off = torch.stack(off_diagonal[:-1]) if len(off_diagonal) > 1 else x.new_zeros(0)
        small = torch.diag(torch.stack(diagonal)) + torch.diag(off, 1) + torch.diag(off, -1)
        return MARGIN * torch.linalg.eigvalsh(small)[-1].clamp(min=0) * shape
