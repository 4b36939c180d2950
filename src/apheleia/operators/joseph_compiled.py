"""Joseph's line integrals on the CPU, compiled by numba; the same numbers as `joseph` up to rounding, many times faster.

One or two images are taken one by one: two neighbours of a place make one complex number, which a single load brings, and what
comes before and after that load is vectorised along the line. A larger stack is vectorised across its images.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import reduce
from typing import Any

import numba
import numpy

from apheleia.operators.joseph import ParallelRays, Rays

__all__ = ["backproject", "backproject_parallel", "project", "project_parallel"]

Array = numpy.ndarray

ACROSS = 3
"""Images from which on a stack is vectorised across them."""


def _compiled(kernel: Callable[..., Any]) -> Callable[..., Any]:
    return numba.njit(fastmath=True, boundscheck=False, error_model="numpy", nogil=True, cache=True)(kernel)


def project_parallel(x: Array, rays: ParallelRays, threads: int) -> Array:
    """Return the line integrals of images, (batch, view, detector) from (batch, height, width)."""
    across = len(x) >= ACROSS
    images = [_images_last(_padded(side)) if across else _with_step(_padded(side)) for side in (x, x.swapaxes(-1, -2))]
    shape = (rays.start.size, rays.count)
    out = numpy.zeros((*shape, len(x)) if across else (len(x), *shape), x.dtype)
    kernel, length = _project_across if across else _project_along, rays.length.astype(x.dtype)
    beam = _columns(rays)
    _in_parts(lambda first, last: kernel(images[0], images[1], *beam, length, out, first, last), shape[0], threads)
    return _images_first(out) if across else out


def backproject_parallel(y: Array, rays: ParallelRays, size: tuple[int, int], threads: int) -> Array:
    """Return the exact transpose of `project_parallel`, (batch, height, width) from (batch, view, detector)."""
    across = len(y) >= ACROSS
    sides = [numpy.zeros((*own, len(y)) if across else (len(y), *own), y.dtype) for own in (size, size[::-1])]
    weighted = y * rays.length[:, None].astype(y.dtype)
    # a pixel lies between two rays where their places are at least a pixel apart: closer rays are taken in turns
    turns = max(1, math.ceil(1 / numpy.abs(rays.step).min() - 1e-12))
    for first in range(min(turns, rays.count)):
        part, padded = rays.every(turns, first), _padded(weighted[..., first::turns])
        values = _images_last(padded) if across else _with_next(padded)
        _backproject_turn(values, part, sides, across, threads)
    upright, transposed = (_images_first(side) if across else side for side in sides)
    return upright + transposed.swapaxes(-1, -2)


def _backproject_turn(values: Array, rays: ParallelRays, sides: list[Array], across: bool, threads: int) -> None:
    """Add the back-projection of one turn to the images of both orientations; threads share out their lines."""
    kernel, beam = _backproject_across if across else _backproject_along, _columns(rays)
    for which, out in enumerate(sides):
        chosen = (*beam, bool(which))

        def run(first: int, last: int, out: Array = out, chosen: tuple[Array | bool, ...] = chosen) -> None:
            kernel(values, *chosen, out, first, last)

        _in_parts(run, out.shape[0 if across else 1], threads)


def project(x: Array, rays: Rays, threads: int) -> Array:
    """Return the line integrals along rays of any direction, (batch, view, detector) from (batch, height, width)."""
    upright, transposed = (_images_last(_padded(side)) for side in (x, x.swapaxes(-1, -2)))
    out = numpy.zeros((rays.start.size, len(x)), x.dtype)
    listed = _listed(rays, x.dtype)
    _in_parts(lambda first, last: _project_rays(upright, transposed, *listed, out, first, last), len(out), threads)
    return _images_first(out.reshape(*rays.start.shape, len(x)))


def backproject(y: Array, rays: Rays, size: tuple[int, int], threads: int) -> Array:
    """Return the exact transpose of `project`, (batch, height, width) from (batch, view, detector)."""
    listed, values = _listed(rays, y.dtype), _images_last(y).reshape(-1, len(y))
    height, width = size

    def part(first: int, last: int) -> Array:
        # rays of one part add to pixels of their own: two threads never write to one place
        upright = numpy.zeros((height, width + 3, len(y)), y.dtype)
        transposed = numpy.zeros((width, height + 3, len(y)), y.dtype)
        _backproject_rays(values, *listed, upright, transposed, first, last)
        return upright[:, 1:-2] + transposed[:, 1:-2].swapaxes(0, 1)

    return _images_first(reduce(numpy.add, _in_parts(part, len(values), threads)))


# ------------------------------------------------------------------------------------------------------------- arrangement


def _in_parts(work: Callable[[int, int], Any], count: int, threads: int) -> list[Any]:
    """Return work(first, last) on consecutive parts of range(count), one a thread."""
    if threads <= 1 or count < 2:
        return [work(0, count)]
    edges = [count * i // threads for i in range(threads + 1)]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(work, edges[:-1], edges[1:]))


def _listed(rays: Rays, dtype: numpy.dtype) -> tuple[Array, ...]:
    """Return what a kernel needs to know of each ray, as flat arrays."""
    columns = (rays.start, rays.slope, rays.transposed, rays.length.astype(dtype))
    # a kernel is compiled once for each layout: broadcast arrays are copied
    return tuple(column.flatten() for column in columns)


def _columns(rays: ParallelRays) -> tuple[Array, ...]:
    """Return what a kernel needs to know of each view."""
    return tuple(numpy.ascontiguousarray(column) for column in (rays.start, rays.step, rays.slope, rays.transposed))


def _padded(x: Array) -> Array:
    """Return x with zeros at the ends of its last axis: one before, two behind, of which rounding alone may reach the last."""
    return numpy.pad(x, [(0, 0)] * (x.ndim - 1) + [(1, 2)])


def _images_last(x: Array) -> Array:
    return numpy.ascontiguousarray(numpy.moveaxis(x, 0, -1))


def _images_first(x: Array) -> Array:
    return numpy.ascontiguousarray(numpy.moveaxis(x, -1, 0))


def _with_next(x: Array) -> Array:
    """Return the complex numbers x[k] + i x[k + 1]."""
    return _as_complex(x[..., :-1], x[..., 1:])


def _with_step(x: Array) -> Array:
    """Return the complex numbers x[k] + i (x[k + 1] - x[k])."""
    return _as_complex(x[..., :-1], numpy.diff(x))


def _as_complex(real: Array, imaginary: Array) -> Array:
    out = numpy.empty(real.shape, numpy.result_type(real.dtype, numpy.complex64))
    out.real, out.imag = real, imaginary
    return out


# ----------------------------------------------------------------------------------------------------------------- kernels


@_compiled
def _within(start: float, step: float, end: float, count: int) -> tuple[int, int]:
    """Return the range of n in [0, count) with 0 < start + step n < end."""
    if step == 0.0:
        return 0, count if 0.0 < start < end else 0
    low, high = -start / step, (end - start) / step
    if low > high:
        low, high = high, low
    low, high = min(max(low, -1.0), count + 0.0), min(max(high, -1.0), count + 0.0)
    return max(math.floor(low) + 1, 0), min(math.ceil(high), count)


@_compiled
def _locate(start: float, step: float, first: int, count: int, scale: Array, index: Array, share: Array) -> None:
    """Write the whole part of start + step n, and `scale` times the rest, for n from `first` on."""
    for n in range(count):
        place = start + step * (n + first)
        whole = numpy.int32(place)
        index[n] = whole
        share[n] = scale * (place - whole)


@_compiled
def _fetch(values: Array, index: Array, count: int, out: Array) -> None:
    for n in range(count):
        out[n] = values[numpy.uint32(index[n])]


@_compiled
def _project_along(
    upright: Array,
    transposed: Array,
    start: Array,
    step: Array,
    slope: Array,
    is_transposed: Array,
    length: Array,
    out: Array,
    first: int,
    last: int,
) -> None:
    """Images (batch, line, place) of pairs; out (batch, view, detector)."""
    count = out.shape[2]
    index, share = numpy.empty(count, numpy.int32), numpy.empty(count, out.dtype)
    pairs = numpy.empty(count, upright.dtype)
    parts, one = pairs.view(out.dtype), length.dtype.type(1)
    for view in range(first, last):
        image = transposed if is_transposed[view] else upright
        for line in range(image.shape[1]):
            begin = start[view] + slope[view] * line + 1.0
            low, high = _within(begin, step[view], image.shape[2] - 1.0, count)
            if high <= low:
                continue
            _locate(begin, step[view], low, high - low, one, index, share)
            for one_image in range(image.shape[0]):
                _fetch(image[one_image, line], index, high - low, pairs)
                row = out[one_image, view]
                for n in range(high - low):
                    row[low + n] += length[view] * (parts[2 * n] + share[n] * parts[2 * n + 1])


@_compiled
def _backproject_along(
    values: Array,
    start: Array,
    step: Array,
    slope: Array,
    is_transposed: Array,
    side: bool,
    out: Array,
    first: int,
    last: int,
) -> None:
    """Pairs (batch, view, detector); out (batch, line, place), of which only views of one orientation write the lines."""
    width = out.shape[2]
    index, share = numpy.empty(width, numpy.int32), numpy.empty(width, out.dtype)
    pairs = numpy.empty(width, values.dtype)
    parts, zero, one = pairs.view(out.dtype), out.dtype.type(0), out.dtype.type(1)
    for view in range(len(start)):
        if is_transposed[view] != side:
            continue
        inverse, apart = 1.0 / step[view], out.dtype.type(abs(step[view]))
        for line in range(first, last):
            # the pixel n lies at the ray number begin + n / step, and takes of each ray 1 - the distance in pixels
            begin = 1.0 - (start[view] + slope[view] * line) * inverse
            low, high = _within(begin, inverse, values.shape[2] - 1.0, width)
            if high <= low:
                continue
            _locate(begin, inverse, low, high - low, apart, index, share)
            for image in range(out.shape[0]):
                _fetch(values[image, view], index, high - low, pairs)
                row = out[image, line]
                for n in range(high - low):
                    distance = share[n]
                    left, right = max(zero, one - distance), max(zero, one - apart + distance)
                    row[low + n] += left * parts[2 * n] + right * parts[2 * n + 1]


@_compiled
def _project_across(
    upright: Array,
    transposed: Array,
    start: Array,
    step: Array,
    slope: Array,
    is_transposed: Array,
    length: Array,
    out: Array,
    first: int,
    last: int,
) -> None:
    """Images (line, place, batch); out (view, detector, batch)."""
    count, following = out.shape[1], numpy.uint32(1)
    index, share = numpy.empty(count, numpy.int32), numpy.empty(count, out.dtype)
    for view in range(first, last):
        image = transposed if is_transposed[view] else upright
        for line in range(image.shape[0]):
            begin = start[view] + slope[view] * line + 1.0
            low, high = _within(begin, step[view], image.shape[1] - 2.0, count)
            if high <= low:
                continue
            _locate(begin, step[view], low, high - low, length[view], index, share)
            for n in range(high - low):
                k, right = numpy.uint32(index[n]), share[n]
                left = length[view] - right
                for i in range(out.shape[2]):
                    out[view, low + n, i] += left * image[line, k, i] + right * image[line, k + following, i]


@_compiled
def _backproject_across(
    values: Array,
    start: Array,
    step: Array,
    slope: Array,
    is_transposed: Array,
    side: bool,
    out: Array,
    first: int,
    last: int,
) -> None:
    """Values (view, detector, batch); out (line, place, batch)."""
    width, following = out.shape[1], numpy.uint32(1)
    index, share = numpy.empty(width, numpy.int32), numpy.empty(width, out.dtype)
    zero, one = out.dtype.type(0), out.dtype.type(1)
    for view in range(len(start)):
        if is_transposed[view] != side:
            continue
        inverse, apart = 1.0 / step[view], out.dtype.type(abs(step[view]))
        for line in range(first, last):
            begin = 1.0 - (start[view] + slope[view] * line) * inverse
            low, high = _within(begin, inverse, values.shape[1] - 2.0, width)
            if high <= low:
                continue
            _locate(begin, inverse, low, high - low, apart, index, share)
            for n in range(high - low):
                k, distance = numpy.uint32(index[n]), share[n]
                left, right = max(zero, one - distance), max(zero, one - apart + distance)
                for i in range(out.shape[2]):
                    out[line, low + n, i] += left * values[view, k, i] + right * values[view, k + following, i]


@_compiled
def _project_rays(
    upright: Array,
    transposed: Array,
    start: Array,
    slope: Array,
    is_transposed: Array,
    length: Array,
    out: Array,
    first: int,
    last: int,
) -> None:
    """Images (line, place, batch); out (ray, batch)."""
    following = numpy.uint32(1)
    for ray in range(first, last):
        image = transposed if is_transposed[ray] else upright
        begin = start[ray] + 1.0
        low, high = _within(begin, slope[ray], image.shape[1] - 2.0, image.shape[0])
        for line in range(low, high):
            place = begin + slope[ray] * line
            whole = numpy.int32(place)
            right = out.dtype.type(place - whole) * length[ray]
            k, left = numpy.uint32(whole), length[ray] - right
            for i in range(out.shape[1]):
                out[ray, i] += left * image[line, k, i] + right * image[line, k + following, i]


@_compiled
def _backproject_rays(
    values: Array,
    start: Array,
    slope: Array,
    is_transposed: Array,
    length: Array,
    upright: Array,
    transposed: Array,
    first: int,
    last: int,
) -> None:
    """Values (ray, batch); images (line, place, batch), to which the rays add."""
    following = numpy.uint32(1)
    for ray in range(first, last):
        image = transposed if is_transposed[ray] else upright
        begin = start[ray] + 1.0
        low, high = _within(begin, slope[ray], image.shape[1] - 2.0, image.shape[0])
        for line in range(low, high):
            place = begin + slope[ray] * line
            whole = numpy.int32(place)
            right = values.dtype.type(place - whole) * length[ray]
            k, left = numpy.uint32(whole), length[ray] - right
            for i in range(values.shape[1]):
                image[line, k, i] += left * values[ray, i]
                image[line, k + following, i] += right * values[ray, i]
