"""The page of algorithms is what the code declares."""

import importlib.util
from pathlib import Path

import pytest

import apheleia as ap
from apheleia.algorithms import ALGORITHMS

SCRIPT = Path(__file__).parents[1] / "docs" / "make_algorithms_page.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("make_algorithms_page", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_committed_page_is_up_to_date(script):
    written = script.PAGE.read_text(encoding="utf-8")
    assert written == script.page(), "run: python docs/make_algorithms_page.py"


def test_every_algorithm_is_on_the_page_with_what_it_proves(script):
    text = script.page()
    for kind in ALGORITHMS:
        section = text.split(f"## {kind.__name__}\n")[1].split("\n## ")[0]
        assert f"- Needs {kind.requires}." in section
        assert "- Certificate: " in section
        assert "doi:" in section


@pytest.mark.parametrize("name", ["denoising: total variation", "a map that is not linear", "data in subsets"])
def test_the_models_are_solved_by_what_is_chosen(script, name):
    problem = next(make for model, make in script.MODELS.items() if model.startswith(name))()
    x0 = None if problem.f.start() is not None else 0.5 * script.Y
    report = ap.solve(problem, x0=x0, tol=1e-3)[1]
    assert report.status is ap.Status.CONVERGED
