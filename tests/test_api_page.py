"""The page of public names is what the code says of itself."""

import importlib.util
import re
from pathlib import Path

import pytest

import apheleia

SCRIPT = Path(__file__).parents[1] / "docs" / "make_api_page.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("make_api_page", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_committed_page_is_up_to_date(script):
    assert script.PAGE.read_text(encoding="utf-8") == script.page(), "run: python docs/make_api_page.py"


def test_every_public_name_is_on_the_page_once_with_its_file(script):
    lines = re.findall(r"^- \[`ap\.([\w.]+)`\]\(([^)]+)\) `", script.page(), re.MULTILINE)
    names = [name for name, _ in lines]
    packages = {name for name in apheleia.__all__ if (script.SOURCE / name).is_dir()}
    assert set(apheleia.__all__) - packages <= set(names)
    assert len(names) == len(set(names))
    for name, path in lines:
        file = script.DOCS / path
        assert re.search(rf"^(class |def )?{name.split('.')[-1]}\b", file.read_text(encoding="utf-8"), re.MULTILINE), name
