"""The commands as frozen dataclasses: a field is an option, its docstring the help."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from apheleia.cli.demo import run_demo
from apheleia.cli.list import run_list
from apheleia.cli.restore import run_restore
from apheleia.core.errors import ArgumentError
from apheleia.io import DEFAULT_BUDGET_BYTES

__all__ = ["Demo", "List", "Restore", "run"]


@dataclass(frozen=True)
class Demo:
    """Blur and roughen a real photograph, restore it, and write a report that says what is proved about the answer."""

    out: Path = Path("demo")
    """Folder for report.html, report.json and the pictures."""

    image: Literal["camera", "astronaut", "coins", "moon", "cell", "page"] = "camera"
    """Photograph, from scikit-image; astronaut is in colour."""

    blur: str = "gaussian:1.6"
    """Simulated blur: gaussian:SIGMA or box:SIZE, in pixels."""

    noise: float = 0.05
    """Simulated noise: standard deviation in units of full scale."""

    prior: Literal["tv", "smoothed-tv", "wavelet", "quadratic"] = "tv"
    """What is known of the photograph."""

    seed: int = 0
    """Seed of the simulated noise."""

    json: bool = False
    """Print report.json on standard output instead of words."""


@dataclass(frozen=True)
class Restore:
    """Restore your own image: remove noise and a known blur, fill in missing pixels, or enlarge it."""

    input: tyro.conf.Positional[Path]
    """PNG, JPEG, TIFF (8 or 16 bit, float, multi-page) or npy; grey or colour."""

    out: Path
    """Folder for the restored image (same format and depth as the input), report.html, report.json and previews."""

    blur: str | None = None
    """Blur to remove: gaussian:SIGMA or box:SIZE, in pixels of the restored image."""

    kernel: Path | None = None
    """Blur to remove, as a file: a grey image or npy array, normalised to sum 1."""

    mask: Path | None = None
    """Grey image or npy array of the input's size: non-zero (white) where pixels were measured, zero where they are missing."""

    scale: int = 1
    """Return an image this many times larger, each input pixel being the average of SCALE x SCALE."""

    noise: str = "auto"
    """Standard deviation of the noise in units of full scale (of the data range for floats), or auto."""

    prior: Literal["tv", "smoothed-tv", "wavelet", "quadratic"] = "tv"
    """What is known of the image; `apheleia list` explains."""

    weight: str = "auto"
    """Weight of the prior in the printed model, or auto: the discrepancy principle."""

    boundary: Literal["reflect", "replicate", "zero", "circular"] = "reflect"
    """What lies beyond the edge of the image."""

    axes: Literal["YX", "YXC", "ZYX", "ZYXC"] | None = None
    """Axes of an npy array, where its shape leaves them open: Z pages, Y height, X width, C channels."""

    tol: float = 1e-3
    """Relative tolerance of the solver."""

    max_steps: int = 2000
    """Steps of the solver at most, for each window of a large image."""

    max_bytes: int = DEFAULT_BUDGET_BYTES
    """Largest decoded size of an input file, in bytes."""

    json: bool = False
    """Print report.json on standard output instead of words."""


@dataclass(frozen=True)
class List:
    """List operators, priors, fidelities and algorithms with what is proved of them, from the code's own docstrings."""

    json: bool = False
    """Print JSON on standard output instead of words."""


Command = (
    Annotated[Demo, tyro.conf.subcommand("demo")]
    | Annotated[Restore, tyro.conf.subcommand("restore")]
    | Annotated[List, tyro.conf.subcommand("list")]
)


def run(arguments: Sequence[str]) -> int:
    """Parse the words of the command line, run the command, and return the exit code.

    Raises
    ------
    ApheleiaError
        For bad input; the message is the sentence to print.
    """
    try:
        command = tyro.cli(
            Command,  # type: ignore[arg-type]
            prog="apheleia",
            args=arguments,
            description="Restore images with models that you can read, and know what is proved about the answer.",
        )
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 2
    if isinstance(command, Demo):
        return run_demo(command.out, command.image, command.blur, command.noise, command.prior, command.seed, command.json)
    if isinstance(command, List):
        return run_list(command.json)
    if command.blur is not None and command.kernel is not None:
        raise ArgumentError("restore: give --blur or --kernel, not both.")
    return run_restore(command)
