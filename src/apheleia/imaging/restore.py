"""restore: a photograph or a micrograph in, its restoration with a report out."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy
import torch
from torch import Tensor

from apheleia.core.errors import ArgumentError, ShapeError
from apheleia.core.interop import is_number
from apheleia.core.report import Report
from apheleia.imaging.model import ImagingModel
from apheleia.imaging.noise import estimate_noise_std
from apheleia.imaging.pilot import find_schedule, whole_schedule
from apheleia.imaging.tiles import plan_tiles
from apheleia.imaging.weight import discrepancy_weight

__all__ = ["Progress", "Restoration", "restore"]

Progress = Callable[[str, float], None]
"""Called with what is being done and the share that is done, 0 to 1."""

TILE = 512
"""Kept pixels a side of a tile of the answer."""

_FAINTEST = 1e-6
"""Least noise ever estimated, as a share of the largest value: below it, single precision is noise itself."""

OVERLAP = 32
"""Margin of a tile beyond the reach of the blur."""


@dataclass(frozen=True, eq=False)
class Restoration:
    """The answer of `restore` and how it came about.

    Attributes
    ----------
    image : ndarray, (height, width), (height, width, channel) or (page, ...)
        The restored image in the layout of the input, in units of full scale; `scale` times larger.
    residual : ndarray
        A x - y, in the layout and size of the input; zero where nothing was measured.
    model : ImagingModel
        The model.
    formula : str
        The objective as it was minimised.
    noise_std, weight : float
        Standard deviation of the noise in units of full scale, and weight of the prior.
    noise_how, weight_how : str
        Where the two come from.
    report : Report
        The solver's report; of several tiles or pages, that of the one that fared worst.
    measured : int
        How many values of the input were measured: all that the mask does not exclude.
    tiles : int
        How many windows were solved.
    seconds : float
        Wall-clock time of everything.
    """

    image: numpy.ndarray
    residual: numpy.ndarray
    model: ImagingModel
    formula: str
    noise_std: float
    weight: float
    noise_how: str
    weight_how: str
    report: Report
    measured: int
    tiles: int
    seconds: float

    @property
    def residual_std(self) -> float:
        """Root mean square of the residual over measured pixels, in units of full scale."""
        return float(numpy.sqrt(numpy.square(self.residual, dtype=numpy.float64).sum() / self.measured))


def restore(
    image: numpy.ndarray,
    model: ImagingModel | None = None,
    *,
    mask: numpy.ndarray | None = None,
    noise_std: float | None = None,
    weight: float | None = None,
    resolution: float = 0.0,
    tol: float = 1e-3,
    max_steps: int = 2000,
    tile: int = TILE,
    progress: Progress | None = None,
) -> Restoration:
    """Restore an image under a model; what is not given is estimated.

    Parameters
    ----------
    image : ndarray, (height, width), (height, width, 1, 3 or 4) or (page, height, width[, channel])
        The observation as floats in units of full scale; pages are restored one by one under one model.
    model : ImagingModel, optional
        Blur, scale, boundary and prior; denoising by total variation by default.
    mask : ndarray, (height, width), optional
        Non-zero where pixels were measured.
    noise_std : float, optional
        Standard deviation of the noise in units of full scale; estimated from the finest details by default.
    weight : float, optional
        Weight of the prior in the printed model; by the discrepancy principle by default.
    resolution : float, default 0
        One unit of the file's numbers in units of full scale, 1/255 for bytes: less noise than its rounding is never estimated.
    tol : float, default 1e-3
        Relative tolerance of the solver.
    max_steps : int, default 2000
        Steps a tile at most; one that runs out keeps its answer, and the report says so.
    tile : int, default 512
        Kept pixels a side of a tile of the answer; smaller images are solved whole.
    progress : callable, optional
        Called with words and the share done.

    Returns
    -------
    Restoration

    Raises
    ------
    ShapeError
        If image or mask have the wrong axes.
    ArgumentError
        If a number is out of range.

    Examples
    --------
    >>> noisy = 0.5 + 0.1 * numpy.random.default_rng(0).standard_normal((16, 16))
    >>> restore(noisy, noise_std=0.1, weight=20.0).report.status.name
    'CONVERGED'
    """
    began = time.perf_counter()
    model = ImagingModel() if model is None else model
    if not isinstance(model, ImagingModel):
        got = type(model).__name__
        raise ArgumentError(f"restore: `model` must be an ImagingModel, such as ImagingModel(kernel=...); got {got}.")
    tell = progress or (lambda words, share: None)
    pages = _pages(image)
    known = None if mask is None else _mask(mask, tuple(pages.shape[-2:]), pages.dtype)
    if noise_std is not None and not (is_number(noise_std) and noise_std > 0):
        raise ArgumentError(
            f"restore: the noise must be above zero, in units of full scale; got {noise_std}. Leave it out: auto."
        )
    if weight is not None and not (is_number(weight) and weight >= 0):
        raise ArgumentError(f"restore: `weight` must be at least zero; got {weight}. Leave it out: auto.")
    middle = pages[len(pages) // 2]
    std, noise_how = (noise_std, "given") if noise_std is not None else _estimated(middle, known, resolution, tell)
    tell("choosing the weight", 0.02)
    chosen, weight_how = (weight, "given") if weight is not None else discrepancy_weight(model, middle, known, std)
    answer, residual, worst, count = _solved(model, pages, known, std, chosen, tol, max_steps, tile, tell)
    return Restoration(
        image=_layout(answer, image.shape),
        residual=_layout(residual, image.shape),
        model=model,
        formula=model.formula(std, chosen, mask is not None),
        noise_std=std,
        weight=chosen,
        noise_how=noise_how,
        weight_how=weight_how,
        report=worst,
        measured=image.size if mask is None else image.size // mask.size * int(numpy.count_nonzero(mask)),
        tiles=count,
        seconds=time.perf_counter() - began,
    )


def _estimated(y: Tensor, known: Tensor | None, resolution: float, tell: Progress) -> tuple[float, str]:
    tell("estimating the noise", 0.0)
    if min(y.shape[-2:]) < 4:
        raise ShapeError(f"restore: {y.shape[-2]} x {y.shape[-1]} pixels are too few to estimate the noise from. Give the noise.")
    std = float(estimate_noise_std(y, known))
    floor = max(resolution / 12**0.5, _FAINTEST * float(y.abs().max()), torch.finfo(torch.float32).tiny)
    if std >= floor:
        return std, "estimated from the finest wavelet details (median absolute deviation)"
    what = "the rounding of the file's numbers" if resolution / 12**0.5 == floor else "a millionth of the largest value"
    return floor, f"estimated {std:.2g} is below {what}, which is taken instead"


def _solved(
    model: ImagingModel,
    pages: Tensor,
    known: Tensor | None,
    noise_std: float,
    weight: float,
    tol: float,
    max_steps: int,
    size: int,
    tell: Progress,
) -> tuple[numpy.ndarray, numpy.ndarray, Report, int]:
    """Return the answer and the residual, (page, channel, height, width), the worst report and the number of windows."""
    scale = model.scale
    height, width = pages.shape[-2:]
    part = max(1, size // scale)
    tiles = plan_tiles(height, width, part, OVERLAP + model.reach)
    if height * width <= (part + 2 * OVERLAP) ** 2:
        tiles = plan_tiles(height, width, max(height, width), 0)
        schedule = whole_schedule(model.problem(pages[0], known, noise_std, weight), tol, max_steps)
    else:
        tell("finding the step sizes", 0.05)
        schedule = find_schedule(model, pages[len(pages) // 2], known, noise_std, weight, tol, max_steps)
    answer = torch.empty(*pages.shape[:2], scale * height, scale * width, dtype=pages.dtype)
    residual = torch.empty_like(pages)
    worst: Report | None = None
    total = len(pages) * len(tiles)
    for done, (page, tile) in enumerate((p, t) for p in range(len(pages)) for t in tiles):
        tell("solving" if total == 1 else f"solving window {done + 1} of {total}", 0.1 + 0.9 * done / total)
        rows, columns = tile.window
        y, mask = pages[page][:, rows, columns], None if known is None else known[:, rows, columns]
        x, report = schedule.run(model.problem(y, mask, noise_std, weight), model.start(y))
        misfit = model.operator(tuple(y.shape), mask)(x) - (y if mask is None else mask * y)
        answer[(page, slice(None), *tile.target(scale))] = x[(slice(None), *tile.inner(scale))]
        residual[(page, slice(None), *tile.target(1))] = misfit[(slice(None), *tile.inner(1))]
        # the report keeps the image's shape but not its memory: a large image has many windows
        report = replace(report, x=x.new_zeros(()).expand_as(x), duals=())
        if worst is None or _rank(report) > _rank(worst):
            worst = report
    tell("solved", 1.0)
    assert worst is not None
    return answer.numpy(), residual.numpy(), worst, total


def _rank(report: Report) -> tuple[int, float]:
    return report.status.severity, float(report.residual.nan_to_num(float("inf")))


def _pages(image: numpy.ndarray) -> Tensor:
    """Return the image as (page, channel, height, width)."""
    if not isinstance(image, numpy.ndarray) or image.dtype.kind != "f" or image.ndim not in (2, 3, 4) or 0 in image.shape:
        got = f"{image.dtype} {image.shape}" if isinstance(image, numpy.ndarray) else type(image).__name__
        raise ShapeError(f"restore: `image` must be a float array (height, width[, channel]) or (page, ...); got {got}.")
    if not numpy.isfinite(image).all():
        raise ArgumentError("restore: `image` holds NaN or infinite values. Mask these pixels and set them to zero.")
    dtype = numpy.float64 if image.dtype == numpy.float64 else numpy.float32
    image = numpy.moveaxis(image, -1, -3) if _has_channels(image.shape) else image[..., None, :, :]
    image = image if image.ndim == 4 else image[None]
    return torch.from_numpy(numpy.ascontiguousarray(image, dtype=dtype))


def _has_channels(shape: tuple[int, ...]) -> bool:
    return len(shape) == 4 or (len(shape) == 3 and shape[-1] in (1, 3, 4))


def _layout(pages: numpy.ndarray, shape: tuple[int, ...]) -> numpy.ndarray:
    """Return (page, channel, height, width) in the layout of the input."""
    pages = numpy.moveaxis(pages, -3, -1) if _has_channels(shape) else pages[:, 0]
    stack = len(shape) == 4 or (len(shape) == 3 and not _has_channels(shape))
    return pages if stack else pages[0]


def _mask(mask: numpy.ndarray, size: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    if not isinstance(mask, numpy.ndarray):
        raise ShapeError(f"restore: `mask` must be an ndarray {size}; got {type(mask).__name__}.")
    if mask.shape != size:
        raise ShapeError(f"restore: `mask` must have the image's height and width {size}; got {mask.shape}.")
    known = torch.from_numpy(mask != 0).to(dtype)[None]
    if not bool(known.any()):
        raise ArgumentError("restore: `mask` has no measured pixel; non-zero marks measured ones.")
    return known
