"""Every example runs, and its last image is better than its first."""

import os
import re
import runpy
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parent.parent / "examples").glob("*.py"))


@pytest.mark.slow
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example(path, tmp_path, monkeypatch, capsys):
    if "APHELEIA_DATA" in path.read_text() and "APHELEIA_DATA" not in os.environ:
        pytest.skip("APHELEIA_DATA is not set: the example's scene is not here")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", [path.name])
    runpy.run_path(str(path), run_name="__main__")
    gains = [float(number) for number in re.findall(r"([\d.]+) dB", capsys.readouterr().out)]
    assert gains[-1] > gains[0] + 2
