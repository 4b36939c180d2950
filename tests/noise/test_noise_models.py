"""Noise: mean and variance against theory to 4 standard errors, distributions against scipy, and wrong use."""

import math

import numpy
import pytest
import scipy.stats
import torch
from case_types import COMPLEX_IMAGE, randn, uniform

import apheleia as ap
from apheleia.core import VECTOR, ArgumentError, ShapeError, Space
from apheleia.noise import Gaussian, Impulse, NoiseModel, Poisson, PoissonGaussian, Quantisation, Rician, Speckle

LEVELS = torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)
MODELS = {
    "Gaussian": lambda level=1.0: Gaussian(0.3 * level),
    "Gaussian, none": lambda level=1.0: Gaussian(0.0 * level),
    "Poisson": lambda level=1.0: Poisson(0.7 * level),
    "Poisson with background": lambda level=1.0: Poisson(0.7 * level, 0.4),
    "Poisson-Gaussian": lambda level=1.0: PoissonGaussian(0.2 * level, 0.3, 5.0 * level),
    "Rician": lambda level=1.0: Rician(0.9 * level),
    "speckle, one look": lambda level=1.0: Speckle(2.0 * level),
    "speckle, looks and a half": lambda level=1.0: Speckle(7.5 + level),
    "impulses": lambda level=1.0: Impulse(0.3 * level, 0.2, -1.0, 4.0),
    "quantisation": lambda level=1.0: Quantisation(0.3 * level),
    "quantisation, dithered": lambda level=1.0: Quantisation(0.3 * level, dithered=True),
}
every_model = pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
CLEAN = uniform(1, 2, 3, low=0.2, high=4.0)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@every_model
def test_mean_and_variance_are_those_of_theory(make):
    model, count = make(), 40_000
    y = model.sample(CLEAN.expand(count, *CLEAN.shape), seeded())
    mean, variance = model.mean(CLEAN), model.variance(CLEAN)
    centred = y - y.mean(0)
    assert ((y.mean(0) - mean).abs() <= 4 * (variance / count).sqrt() + 1e-9).all()
    fourth = (centred**4).mean(0)
    error = ((fourth - variance**2).clamp(min=0) / count).sqrt()
    assert ((y.var(0) - variance).abs() <= 4 * error + 1e-9).all()
    torch.testing.assert_close(model.std(CLEAN), variance.sqrt())


@every_model
def test_the_seed_decides(make):
    model, before = make(), torch.get_rng_state()
    first = model.sample(CLEAN, seeded(3))
    assert torch.equal(first, model.sample(CLEAN, seeded(3)))
    assert torch.equal(before, torch.get_rng_state())


@every_model
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_shape_precision_and_input_stay(make, dtype):
    model, x = make(), CLEAN.to(dtype).expand(4, *CLEAN.shape).contiguous()
    kept = x.clone()
    for answer in (model.sample(x, seeded()), model.mean(x), model.variance(x)):
        assert (answer.shape, answer.dtype) == (x.shape, dtype)
        answer += 1
    assert torch.equal(x, kept)


@every_model
def test_a_level_a_sample(make):
    model = make(LEVELS)
    for answer in (model.sample(CLEAN, seeded()), model.mean(CLEAN), model.variance(CLEAN)):
        assert answer.shape == (3, *CLEAN.shape)
    for i in range(3):
        torch.testing.assert_close(model.mean(CLEAN)[i], make(LEVELS[i]).mean(CLEAN))
        torch.testing.assert_close(model.variance(CLEAN)[i], make(LEVELS[i]).variance(CLEAN))


@every_model
def test_numpy_in_numpy_out(make):
    model = make(LEVELS.numpy())
    y = model.sample(CLEAN.numpy(), seeded())
    assert isinstance(y, numpy.ndarray)
    assert torch.equal(torch.from_numpy(y), make(LEVELS).sample(CLEAN, seeded()))


@every_model
def test_what_is_not_finite(make):
    with pytest.raises(ArgumentError, match="`x` must be finite"):
        make().sample(CLEAN * torch.nan)


@every_model
def test_a_seed_is_no_generator(make):
    with pytest.raises(ArgumentError, match=r"`generator` must be a torch.Generator, such as .* got int"):
        make().sample(CLEAN, 0)


@every_model
def test_an_image_needs_its_channel(make):
    with pytest.raises(ShapeError, match=r"sample: `x` must have at least 3 axes"):
        make().sample(CLEAN[0])


def test_without_a_generator_torchs_own_is_drawn_from():
    torch.manual_seed(5)
    first = Gaussian(1.0).sample(CLEAN)
    torch.manual_seed(5)
    assert torch.equal(first, Gaussian(1.0).sample(CLEAN))


@pytest.mark.parametrize("ratio", [0.0, 0.5, 2.0, 10.0, 20.0])
def test_rician_moments_are_scipys(ratio):
    x, law = torch.full((1, 1, 1), 1.3 * ratio, dtype=torch.float64), scipy.stats.rice(ratio, scale=1.3)
    assert float(Rician(1.3).mean(x)) == pytest.approx(law.mean(), rel=1e-10)
    assert float(Rician(1.3).variance(x)) == pytest.approx(law.var(), rel=1e-9)


def test_rician_moments_where_the_signal_is_strong():
    # scipy overflows here; the expansion in 1 / ratio^2 is known
    x = torch.full((1, 1, 1), 1e3, dtype=torch.float64)
    assert float(Rician(1.0).mean(x)) == pytest.approx(1e3 + 0.5e-3, rel=1e-12)
    assert float(Rician(1.0).variance(x)) == pytest.approx(1.0, rel=1e-5)


@pytest.mark.parametrize(
    ("model", "law"),
    [
        (Gaussian(0.5), scipy.stats.norm(1.7, 0.5)),
        (Rician(0.5), scipy.stats.rice(1.7 / 0.5, scale=0.5)),
        (Speckle(1.0), scipy.stats.gamma(1.0, scale=1.7)),
        (Speckle(3.5), scipy.stats.gamma(3.5, scale=1.7 / 3.5)),
    ],
    ids=["Gaussian", "Rician", "speckle, one look", "speckle"],
)
def test_the_distribution_is_scipys(model, law):
    y = model.sample(torch.full((1, 100, 200), 1.7, dtype=torch.float64), seeded(1)).flatten()
    assert scipy.stats.kstest(y.numpy(), law.cdf).pvalue > 1e-3


def test_counts_are_whole_and_of_the_law():
    y = Poisson(0.5, 0.3).sample(torch.full((1, 100, 200), 1.2, dtype=torch.float64), seeded()) / 0.5
    assert torch.equal(y, y.round())
    law = scipy.stats.poisson(3.0)
    counts = torch.bincount(y.flatten().long(), minlength=12)[:12].numpy()
    assert scipy.stats.chisquare(counts, law.pmf(range(12)) * counts.sum() / law.cdf(11)).pvalue > 1e-3


def test_complex_gaussian_noise_has_its_level_on_both_parts():
    model = Gaussian(0.5, space=COMPLEX_IMAGE)
    y = model.sample(torch.zeros(1, 100, 200, dtype=torch.complex128), seeded())
    assert float(y.real.std()) == pytest.approx(0.5, rel=0.02)
    assert float(y.imag.std()) == pytest.approx(0.5, rel=0.02)
    assert model.variance(y).dtype == torch.float64
    assert float(model.variance(y).max()) == 0.25


def test_vectors_and_dark_frames():
    assert Gaussian(LEVELS, space=VECTOR).sample(torch.zeros(5), seeded()).shape == (3, 5)
    assert Poisson().sample(torch.zeros(1, 2, 2)).tolist() == [[[0, 0], [0, 0]]]
    assert Poisson(1.0, 2.0).sample(torch.full((1, 2, 2), -2.0)).max() == 0


def test_impulses_are_of_two_values():
    y = Impulse(0.3, 0.2, -1.0, 4.0).sample(torch.full((1, 200, 200), 0.5), seeded())
    assert y.unique().tolist() == [-1, 0.5, 4]
    assert float((y == 4).double().mean()) == pytest.approx(0.06, abs=0.005)


def test_quantisation_is_within_half_a_step():
    y = Quantisation(0.3).sample(CLEAN)
    assert ((y - CLEAN).abs() <= 0.15 + 1e-12).all()
    dithered = Quantisation(0.3, dithered=True).sample(CLEAN, seeded())
    assert ((dithered - CLEAN).abs() <= 0.3 + 1e-12).all()


def test_the_fidelity_that_matches_is_centred_on_the_truth():
    # the score of a correct likelihood has mean zero at the truth
    x = uniform(1, 1, 4, low=1.0, high=3.0)
    for model, fidelity in (
        (Poisson(0.3, 0.5), lambda y: ap.KullbackLeibler(ap.operators.Identity(), y, gain=0.3, background=0.5).loss),
        (Gaussian(0.4), lambda y: ap.LeastSquares(ap.operators.Identity(), y, noise_std=0.4).loss),
    ):
        y = model.sample(x.expand(20_000, 1, 1, 4), seeded())
        point = x.expand_as(y).clone().requires_grad_()
        (score,) = torch.autograd.grad(fidelity(y)(point).sum(), point)
        assert (score.mean(0).abs() <= 4 * score.std(0) / math.sqrt(20_000)).all()


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Gaussian(-0.1), r"Gaussian: `noise_std` must be at least 0; got -0.1"),
        (lambda: Gaussian(torch.tensor([0.1, torch.nan])), r"Gaussian: `noise_std` must be at least 0"),
        (lambda: Gaussian(1j), r"Gaussian: `noise_std` must be at least 0; got 1j"),
        (lambda: Gaussian("loud"), r"`noise_std` must be a tensor or an array of numbers; got str"),
        (lambda: Poisson(0.0), r"Poisson: `gain` must be above 0; got 0.0"),
        (lambda: Poisson(1.0, -1.0), r"Poisson: `background` must be at least 0"),
        (lambda: PoissonGaussian(0.0, 1.0), r"PoissonGaussian: `gain` must be above 0"),
        (lambda: PoissonGaussian(1.0, -1.0), r"PoissonGaussian: `read_std` must be at least 0"),
        (lambda: PoissonGaussian(1.0, 1.0, float("nan")), r"PoissonGaussian: `offset` must be above -inf; got nan"),
        (lambda: Rician(0.0), r"Rician: `noise_std` must be above 0"),
        (lambda: Speckle(0.5), r"Speckle: `looks` must be at least 1; got 0.5"),
        (lambda: Impulse(1.5), r"Impulse: `fraction` must be at least 0 and at most 1; got 1.5"),
        (lambda: Impulse(0.5, 2.0), r"Impulse: `salt` must be at least 0 and at most 1"),
        (lambda: Impulse(0.5, low=2.0), r"Impulse: `low` must be above -inf and at most 1; got 2.0"),
        (lambda: Quantisation(0.0), r"Quantisation: `step` must be above 0"),
    ],
)
def test_levels_out_of_range(make, sentence):
    with pytest.raises(ArgumentError, match=sentence):
        make()


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        (Poisson(), r"Poisson: noise-free data must be at least 0; the least is -1. Clip it, or give the `background`"),
        (Poisson(1.0, 0.5), r"noise-free data must be at least -0.5"),
        (PoissonGaussian(1.0, 1.0), r"at least 0; the least is -1. Clip it; the black level is `offset`"),
        (Rician(1.0), r"Take the magnitude first"),
        (Speckle(), r"Speckle acts on intensities"),
    ],
)
def test_negative_data(model, sentence):
    with pytest.raises(ArgumentError, match=sentence):
        model.sample(-torch.ones(1, 1, 1), seeded())


@pytest.mark.parametrize("kind", [Poisson, Rician, Speckle, Impulse, Quantisation, PoissonGaussian])
def test_real_models_refuse_complex_spaces(kind):
    levels = {Poisson: (), Speckle: (), PoissonGaussian: (1.0, 1.0)}.get(kind, (0.5,))
    with pytest.raises(ShapeError, match=f"{kind.__name__}: its data are real; the space is"):
        kind(*levels, space=COMPLEX_IMAGE)


def test_levels_of_another_batch():
    with pytest.raises(ShapeError, match=r"Gaussian: batch shapes .* do not broadcast"):
        Gaussian(torch.ones(3)).sample(torch.ones(2, 1, 4, 4))


def test_a_model_of_the_users():
    class Doubling(NoiseModel):
        space = Space((None,))

        def _levels(self):
            return ()

        def _sample(self, x, levels, generator):
            return 2 * x

        def _mean(self, x, levels):
            return 2 * x

        def _variance(self, x, levels):
            return 0 * x

    assert Doubling().sample(randn(3, 4)).shape == (3, 4)
    assert Doubling().std(randn(4)).max() == 0


@pytest.mark.parametrize("ratio", [99.0, 101.0, 1e4, 1e9])
def test_the_variance_of_rician_noise_does_not_cancel(ratio):
    x = torch.full((1, 1, 1), 2 * ratio, dtype=torch.float64)
    assert float(Rician(2.0).variance(x)) == pytest.approx(4 * (1 - 0.5 / ratio**2 - 0.5 / ratio**4), rel=1e-10)


def test_impulses_have_the_precision_of_the_data():
    y = Impulse(1.0, 1.0, high=0.7).sample(torch.zeros(1, 1, 1, dtype=torch.float64))
    assert y.item() == 0.7
