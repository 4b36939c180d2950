"""Files of learned priors: their parameters, the constants that follow from them, and where they come from."""

from __future__ import annotations

import os
from importlib.resources import as_file, files

import torch
from torch import Tensor

from apheleia.core.errors import ApheleiaError, ArgumentError, FileError
from apheleia.functionals.learned.ridge_regularizer import RidgeRegularizer
from apheleia.io.tensors import TensorFile, read_tensors, write_tensors

__all__ = ["SHIPPED", "load_prior", "save_prior", "shipped_prior"]

FORMAT = 1
"""Version of the layout, raised when a file of before would be misread."""

SLACK = 1e-6
"""Relative difference between a stated constant and the recomputed one that rounding explains."""

SHIPPED = ("wcrr",)
"""Names of the priors that come with the package."""

PARAMETERS = ("kernels", "log_scale", "log_sharpness", "log_amplitude")


def save_prior(path: str | os.PathLike[str], prior: RidgeRegularizer, card: dict[str, object]) -> None:
    """Write a prior with its constants and its card to one safetensors file.

    Parameters
    ----------
    path : str or path
        Where to.
    prior : RidgeRegularizer
        Its noise level is not written.
    card : dict
        What JSON can hold: data, recipe, licence, figures.

    Raises
    ------
    FileError
        If the file cannot be written.
    """
    tensors = {name: getattr(prior, name).detach().float() for name in PARAMETERS}
    # the constants are those of the numbers as they are stored
    stored = _prior(tensors, prior.concavity, prior.knots)
    words = {
        "format": FORMAT,
        "kind": "RidgeRegularizer",
        "weak_convexity": prior.concavity,
        "knots": list(prior.knots),
        "constants": _constants(stored),
        "card": card,
    }
    write_tensors(path, TensorFile(tensors, words))


def load_prior(path: str | os.PathLike[str], noise_std: float | Tensor = 25 / 255) -> RidgeRegularizer:
    """Read a prior and compute its constants anew; a file whose constants do not hold is refused.

    Parameters
    ----------
    path : str or path
        What `save_prior` wrote, or a stranger.
    noise_std : float or Tensor, (*batch,)
        Noise level that the prior is for.

    Raises
    ------
    FileError
        If the file is damaged, of another kind, has parameters that do not fit together or are not finite, or states a constant
        that its parameters do not have.
    """
    found = read_tensors(path)
    words = found.words
    if words.get("format") != FORMAT or words.get("kind") != "RidgeRegularizer":
        raise FileError(
            f"{path} is no prior that this version reads: format {words.get('format')!r}, kind {words.get('kind')!r}; "
            f"expected format {FORMAT}, kind 'RidgeRegularizer'. Train it again, or use the version that wrote it."
        )
    missing = [name for name in PARAMETERS if name not in found.tensors]
    if missing:
        raise FileError(f"{path} lacks {', '.join(missing)}; copy it again.")
    tensors = {name: found.tensors[name] for name in PARAMETERS}
    bad = [name for name, value in tensors.items() if not value.is_floating_point() or not bool(value.isfinite().all())]
    if bad:
        raise FileError(f"{path} holds values of {', '.join(bad)} that are no finite numbers; copy it again.")
    try:
        knots = tuple(float(knot) for knot in words["knots"])  # type: ignore[attr-defined]
        prior = _prior(tensors, float(words["weak_convexity"]), knots, noise_std)  # type: ignore[arg-type]
        stated = {name: float(value) for name, value in words["constants"].items()}  # type: ignore[attr-defined]
    except (ApheleiaError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise FileError(f"{path} does not describe a prior: {error} Copy it again.") from error
    computed = _constants(prior)
    wrong = [name for name, value in computed.items() if not stated.get(name, -1.0) >= value * (1 - SLACK)]
    if wrong:
        claims = ", ".join(f"{name} {stated.get(name)!r}, but it is {computed[name]:.6g}" for name in wrong)
        raise FileError(
            f"{path} states a constant that its parameters do not have ({claims}); it proves nothing and is not used."
        )
    return prior


def shipped_prior(name: str, noise_std: float | Tensor = 25 / 255) -> RidgeRegularizer:
    """Return a prior that comes with the package; its constants are computed anew, as with any file.

    Parameters
    ----------
    name : str
        "wcrr", a weakly convex ridge regulariser for grey images, which takes the channels of colour one by one.
    noise_std : float or Tensor, (*batch,)
        Noise level that the prior is for, in units of full scale.

    Raises
    ------
    ArgumentError
        If there is no prior of that name.
    MissingExtraError
        If safetensors is not installed.
    """
    if name not in SHIPPED:
        raise ArgumentError(f"shipped_prior: `name` must be one of {', '.join(SHIPPED)}; got {name!r}.")
    with as_file(files("apheleia.functionals.learned") / "data" / f"{name}.safetensors") as path:
        return load_prior(path, noise_std)


def _prior(
    tensors: dict[str, Tensor], weak_convexity: float, knots: tuple[float, ...], noise_std: float | Tensor = 25 / 255
) -> RidgeRegularizer:
    kernels, log_scale, log_sharpness, log_amplitude = (tensors[name] for name in PARAMETERS)
    return RidgeRegularizer(kernels, log_scale, log_sharpness, log_amplitude, weak_convexity, knots, noise_std)


def _constants(prior: RidgeRegularizer) -> dict[str, float]:
    """Return the largest constants over all noise levels: those at the knots."""
    levels = prior.at(torch.tensor(prior.knots, dtype=torch.float64))
    return {
        "smoothness": float(levels._smoothness(()).value.max()),
        "weak_convexity": float(levels._weak_convexity(()).value.max()),
    }
