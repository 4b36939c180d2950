"""Line integrals of stacks of images and their transpose, compiled where numba is installed, else by torch; differentiable."""

from __future__ import annotations

import importlib
import importlib.util
import math
from collections.abc import Callable

import numpy
import torch
from torch import Tensor

from apheleia.operators import joseph
from apheleia.operators.foreign import linear_map
from apheleia.operators.joseph import ParallelRays, Rays

__all__ = ["line_integrals", "spread_along_lines"]


def line_integrals(x: Tensor, rays: Rays | ParallelRays, size: tuple[int, int]) -> Tensor:
    """Return the integrals of images (*batch, height, width) of `size` along rays, (*batch, view, detector)."""
    return linear_map(x, lambda x: _project(x, rays), lambda y: _backproject(y, rays, size))


def spread_along_lines(y: Tensor, rays: Rays | ParallelRays, size: tuple[int, int]) -> Tensor:
    """Return the exact transpose of `line_integrals`, (*batch, height, width) from (*batch, view, detector)."""
    return linear_map(y, lambda y: _backproject(y, rays, size), lambda x: _project(x, rays))


def _project(x: Tensor, rays: Rays | ParallelRays) -> Tensor:
    if not _is_compiled(x):
        return joseph.project(x, rays.listed())
    # numba costs a second to import: it waits until it is needed
    compiled = importlib.import_module("apheleia.operators.joseph_compiled")
    if isinstance(rays, ParallelRays):
        return _through_numpy(x, lambda x: compiled.project_parallel(x, rays, torch.get_num_threads()))
    return _through_numpy(x, lambda x: compiled.project(x, rays, torch.get_num_threads()))


def _backproject(y: Tensor, rays: Rays | ParallelRays, size: tuple[int, int]) -> Tensor:
    if not _is_compiled(y):
        return joseph.backproject(y, rays.listed(), size)
    compiled = importlib.import_module("apheleia.operators.joseph_compiled")
    if isinstance(rays, ParallelRays):
        return _through_numpy(y, lambda y: compiled.backproject_parallel(y, rays, size, torch.get_num_threads()))
    return _through_numpy(y, lambda y: compiled.backproject(y, rays, size, torch.get_num_threads()))


def _is_compiled(x: Tensor) -> bool:
    on_processor = x.device.type == "cpu" and x.dtype in (torch.float32, torch.float64)
    return on_processor and importlib.util.find_spec("numba") is not None


def _through_numpy(x: Tensor, apply: Callable[[numpy.ndarray], numpy.ndarray]) -> Tensor:
    """Return apply(x) for a function of ndarrays (batch, rows, columns)."""
    stack = x.reshape(math.prod(x.shape[:-2]), *x.shape[-2:]).contiguous().numpy()
    out = torch.from_numpy(apply(stack))
    return out.reshape(*x.shape[:-2], *out.shape[-2:])
