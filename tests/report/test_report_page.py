import dataclasses
import re
import subprocess
import sys
from html.parser import HTMLParser

import jinja2
import numpy as np
import pytest
import torch
from report_samples import make_history, make_images, make_report

from apheleia.core.errors import ArgumentError, MissingExtraError
from apheleia.core.report import History, Status
from apheleia.report import Images, Verdict, page, render


class Outline(HTMLParser):
    """Collects what a browser would see."""

    def __init__(self):
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "link", "img"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data

    def named(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]


def read(text):
    outline = Outline()
    outline.feed(text)
    assert not outline.open
    return outline


@pytest.fixture(scope="module")
def usual(pages):
    return render(pages.make())


def test_the_page_says_everything(usual):
    text = re.sub(r"\s+", " ", read(usual).text)
    for words in (
        "Camera, deblurred",
        "3 checks pass",
        "residual std / noise std = 1.03, expected 0.9 to 1.1: pass",
        "½ |A x − y|² / 0.02² + 0.5 TV(x)",
        "total variation: few, sharp edges",
        "PSNR of the restoration",
        "CondatVu",
        "CONVERGED: the tolerance was reached",
        "Largest change",
        "Median change",
        "Smallest change",
        "✓ proved",
        "≈ estimated",
        "– not known",
        "doi:10.1007/s10957-012-0245-9",
        "The noise level was given, not measured.",
        "The run makes no statement at all on: How fast",
        "apheleia demo --seed 0",
    ):
        assert words in text


def test_it_asks_nothing_from_outside_and_runs_no_script(usual):
    outline = read(usual)
    assert not outline.named("script")
    assert not outline.named("iframe")
    assert {attrs["href"] for attrs in outline.named("link")} == {"data:,"}
    assert all(attrs["src"].startswith("data:image/") for attrs in outline.named("img"))
    assert all(attrs["href"].startswith(("#", "https://doi.org/10.")) for attrs in outline.named("a"))
    assert not re.search(r"https?://(?!doi\.org/)", usual)
    assert "@import" not in usual
    assert "url(" not in usual
    assert "default-src 'none'" in usual


def test_images_have_alternative_texts_and_identifiers_are_unique(usual):
    outline = read(usual)
    images = outline.named("img")
    assert len(images) == 4 + 3 * 4
    assert len({attrs["alt"] for attrs in images}) == len(images)
    names = [attrs["id"] for _, attrs in outline.tags if "id" in attrs]
    assert len(set(names)) == len(names)
    assert {attrs["href"][1:] for attrs in outline.named("a") if attrs["href"].startswith("#")} <= set(names)


def test_a_failing_check_says_so(pages):
    verdicts = (
        Verdict("Noise explained?", "residual std / noise std", 1.42, 0.9, 1.1),
        Verdict("Converged?", "normalised residual", float("nan"), high=1e-4),
        Verdict("Better than the observation?", "PSNR gain", 2.0, low=0.1, unit="dB"),
    )
    text = render(pages.make(verdicts=verdicts))
    assert "residual std / noise std = 1.42, expected 0.9 to 1.1: fail" in text
    assert "normalised residual = not a number, expected at most 0.0001: fail" in text
    assert "PSNR gain = 2 dB, expected at least 0.1 dB: pass" in text
    assert "✓ 1 check passes" in text
    assert "✗ 2 checks fail" in text
    assert text.count('<td class="mark fail">✗ fail</td>') == 2


def test_strangers_texts_are_escaped(pages):
    evil = '<script>alert("x")</script>"><img src=http://evil.example/x onerror=alert(1)>.png'
    report = make_report()
    bad = dataclasses.replace(report.certificates[0], why=evil, source=f'{evil} doi:10.1000/"><script>')
    made = pages.make(
        title=evil,
        formula=evil,
        verdicts=(Verdict(evil, evil, 1.0, low=0, unit=evil, meaning=evil),),
        provenance=((evil, evil),),
        solver=dataclasses.replace(report, algorithm=evil, why=evil, certificates=(bad,)),
    )
    made = dataclasses.replace(made, summary=evil, legend=((evil, evil),), figures=((evil, evil),), notes=(evil,))
    text = render(made)
    outline = read(text)
    assert "<script" not in text
    assert not outline.named("script")
    assert all(attrs["src"].startswith("data:") for attrs in outline.named("img"))
    assert outline.text.count("alert(1)") >= 10


def test_without_truth_the_page_says_that_the_error_is_unknown(pages):
    text = render(pages.make(images=make_images(colour=True, truth=False)))
    assert "The true image is not known here" in text
    assert "whole-truth" not in text
    assert len(read(text).named("img")) == 3 + 3 * 3


@pytest.mark.parametrize("shape", [(1, 1), (1, 1, 1), (1, 1, 3), (2000, 3), (3, 2000, 3), (130, 97, 1)])
def test_odd_shapes(pages, small, shape):
    read(render(pages.make(images=small(shape))))


def test_an_enlarged_restoration(pages):
    rng = np.random.default_rng(0)
    text = render(pages.make(images=Images(rng.random((50, 60)), rng.random((150, 180)), rng.random((50, 60)))))
    assert "Observed: 60 × 50 pixels. Restored: 180 × 150 pixels" in text


def test_values_that_are_not_finite_are_shown_and_counted(pages, small):
    images = small((120, 130, 3))
    spoilt = images.observed.copy()
    spoilt[5:7, 5:7] = np.nan
    text = render(pages.make(images=dataclasses.replace(images, observed=spoilt, residual=np.full_like(spoilt, np.nan))))
    assert "12 not finite (magenta)" in text
    read(render(pages.make(images=dataclasses.replace(images, observed=np.full_like(spoilt, np.inf)))))


def test_the_display_range_is_said_and_used(pages):
    dim = np.full((4, 4), 0.01)
    text = render(pages.make(images=Images(dim, dim, 0 * dim, display_range=(0.0, 0.02))))
    assert "Black is 0 and white 0.02" in text
    assert "clipped" not in read(text).text


def test_histories_that_went_wrong(pages):
    nan = History((0, 1, 2), torch.full((3,), torch.nan), torch.tensor([1.0, torch.inf, 0.1]))
    empty = History((), torch.zeros(0), torch.zeros(0))
    for history in (nan, empty, make_history(0)):
        report = dataclasses.replace(
            make_report(history), objective=torch.tensor(torch.nan), codes=torch.tensor(Status.DIVERGED.severity), tol=None
        )
        text = render(pages.make(solver=report))
        read(text)
        assert "DIVERGED: the iterates grew" in text
        assert "no tolerance was asked for" in text


def test_without_a_solver_there_is_no_curve_and_no_claim(pages):
    text = render(pages.make(no_solver=True, verdicts=()))
    assert "This result carries no certificate." in text
    assert 'id="run"' not in text
    assert 'id="checks"' not in text


def test_a_batch_is_refused(pages):
    report = dataclasses.replace(make_report(), codes=torch.zeros(3, dtype=torch.int64))
    with pytest.raises(ArgumentError, match=r"the report of one image; got a batch of shape \(3,\)"):
        pages.make(solver=report)


def test_a_name_missing_in_the_template_is_an_error():
    with pytest.raises(jinja2.UndefinedError):
        page.environment().from_string("{{ no_such_name }}").render()
    assert page.environment().from_string("{{ x }}").render(x="<&") == "&lt;&amp;"


def test_the_inputs_stay_as_they_were(pages):
    images = make_images()
    before = [image.copy() for _, image in images.named()]
    first = render(pages.make(images=images))
    assert all(np.array_equal(a, b) for a, (_, b) in zip(before, images.named(), strict=True))
    assert render(pages.make(images=images)) == first


def test_without_jinja2_the_extra_is_named(pages, monkeypatch):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(MissingExtraError, match=r"report needs jinja2.*apheleia\[app\]"):
        render(pages.make())


def test_importing_needs_neither_jinja2_nor_pillow():
    code = "import sys, apheleia.report; sys.exit(bool({'jinja2', 'PIL', 'matplotlib'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_quality_falls_until_the_page_fits(pages, small, monkeypatch):
    images = small((300, 300, 3))
    text = render(pages.make(images=images))
    assert "lossless PNG" in text
    monkeypatch.setattr(page, "_LIMIT_BYTES", 1_000_000)
    text = render(pages.make(images=images))
    assert len(text.encode()) < 1_000_000
    assert "JPEG of quality" in text


def test_texts_beyond_the_limit_are_refused(pages, small):
    with pytest.raises(ArgumentError, match="shorten its texts"):
        render(pages.make(images=small((4, 4)), title="x" * 5_000_000))


@pytest.mark.slow
def test_24_megapixels_of_noise_stay_below_5_megabytes(pages):
    rng = np.random.default_rng(0)
    observed, restored = (rng.random((4000, 6000, 3), dtype=np.float32) for _ in range(2))
    text = render(pages.make(images=Images(observed, restored, restored - observed, truth=restored)))
    assert len(text.encode()) < 5_000_000
    assert "as means over 4 × 4 pixels" in text
