"""The data of each case, made once and given to both sides as arrays."""

import numpy
from skimage import data, transform

WEIGHT = 1e-3
CT_WEIGHT, CT_NOISE = 2.0, 0.01


def gaussian() -> numpy.ndarray:
    profile = numpy.exp(-((numpy.arange(13) - 6) ** 2) / (2 * 1.5**2))
    kernel = numpy.outer(profile, profile)
    return kernel / kernel.sum()


def motion() -> numpy.ndarray:
    """A curved stroke on 13x13, smooth and without symmetry."""
    place = numpy.linspace(0, 1, 400)
    rows, columns = 2 + 8 * place, 2 + 9 * place**2
    grid = numpy.indices((13, 13))
    spread = (grid[0][..., None] - rows) ** 2 + (grid[1][..., None] - columns) ** 2
    kernel = (numpy.exp(-spread / (2 * 0.7**2)) * (0.3 + place)).sum(-1)
    return kernel / kernel.sum()


def photograph(side: int, colour: bool) -> numpy.ndarray:
    """The test photograph, (channel, side, side) in [0, 1]."""
    image = data.astronaut().transpose(2, 0, 1) if colour else data.camera()[None]
    image = image.astype(numpy.float64) / 255
    if side == 256:
        return image.reshape(len(image), 256, 2, 256, 2).mean((2, 4))
    return transform.resize(image, (len(image), side, side), order=3, anti_aliasing=False).clip(0, 1)


def blurred(case: str) -> dict[str, numpy.ndarray]:
    side, colour = 1024 if case == "tv1024" else 256, case == "tv256_rgb"
    image, kernel = photograph(side, colour), gaussian()
    grid = numpy.zeros((side, side))
    grid[:13, :13] = kernel
    transfer = numpy.fft.rfft2(numpy.roll(grid, (-6, -6), (0, 1)))
    y = numpy.fft.irfft2(transfer * numpy.fft.rfft2(image), s=(side, side))
    y = y + 0.02 * numpy.random.default_rng(0).standard_normal(y.shape)
    return {"kernel": kernel, "y": y}


def pictures(count: int, side: int) -> numpy.ndarray:
    return numpy.random.default_rng(0).random((count, 1, side, side)).astype(numpy.float32)


def coils() -> dict[str, numpy.ndarray]:
    """Eight smooth complex sensitivities around a head, four-fold undersampled lines with a full centre, noisy data."""
    rng, side = numpy.random.default_rng(0), 256
    rows, columns = numpy.indices((side, side)) / side - 0.5
    angles = 2 * numpy.pi * numpy.arange(8) / 8
    away = numpy.hypot(rows - 0.6 * numpy.sin(angles)[:, None, None], columns - 0.6 * numpy.cos(angles)[:, None, None])
    maps = numpy.exp(-((away / 0.5) ** 2)) * numpy.exp(1j * (angles[:, None, None] + 2 * rows + columns))
    maps /= numpy.sqrt((numpy.abs(maps) ** 2).sum(0))
    mask = numpy.zeros((side, side))
    lines = rng.random(side) < 0.2
    lines[side // 2 - 10 : side // 2 + 10] = True
    mask[:, lines] = 1
    image = photograph(256, False)[0] * numpy.exp(1j * columns)
    start = image + 0.1 * (rng.standard_normal(image.shape) + 1j * rng.standard_normal(image.shape))
    return {"maps": maps.astype(numpy.complex64), "mask": mask.astype(numpy.float32), "image": image.astype(numpy.complex64),
            "start": start.astype(numpy.complex64)}  # fmt: skip


def phantom() -> numpy.ndarray:
    return transform.resize(data.shepp_logan_phantom(), (256, 256), anti_aliasing=True).astype(numpy.float64)[None]


def arrays(case: str) -> dict[str, numpy.ndarray]:
    """Return what a case gives to both sides."""
    if case in ("tv256", "tv1024", "tv256_rgb"):
        return blurred(case)
    if case.startswith("xray512"):
        return {"x": pictures(1, 512)}
    if case.startswith("xray"):
        return {"x": pictures(8 if case == "xray_batch8" else 1, 256)}
    if case.startswith("blur"):
        return {"kernel": motion().astype(numpy.float32), "x": photograph(256, False)[None].astype(numpy.float32)}
    if case == "wavelet_prox":
        return {"x": photograph(256, False)[None].astype(numpy.float32)}
    if case == "mri8_prox":
        return coils()
    # noise in units of the largest integral; each side adds it to its own projections
    return {"x": phantom(), "noise": numpy.random.default_rng(0).standard_normal((60, 363))}
