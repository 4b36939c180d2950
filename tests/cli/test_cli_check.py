"""check: a user's operator is loaded, examined and judged; each misuse has its sentence."""

import json
import re

import pytest
from test_cli import refused, run

CODE = """
import torch
from torch import nn
from apheleia.core.space import IMAGE, VECTOR, Space
from apheleia.operators import LinearOperator, Operator

class Good(LinearOperator):
    def __init__(self):
        super().__init__(IMAGE, IMAGE)
    def _forward(self, x):
        return x.roll(1, -1) - x

class Twice(Good):
    def _adjoint(self, y):
        return 2 * (y.roll(-1, -1) - y)

class Edge(Good):
    def _adjoint(self, y):
        back = y.roll(-1, -1) - y
        return torch.cat((0 * back[..., :1], back[..., 1:]), -1)

class Offset(Good):
    def _forward(self, x):
        return x + 1

class Raising(Good):
    def _forward(self, x):
        raise ValueError("no light today")

class Mixing(Good):
    def _forward(self, x):
        return x - x.mean(0, keepdim=True) if x.ndim > 3 else x

class Announcing(Good):
    def _output_shape(self, shape):
        return (shape[0], shape[1], shape[2] + 1)

class Square(Operator):
    def __init__(self):
        super().__init__(VECTOR, VECTOR)
    def _forward(self, x):
        return x ** 2

class Crooked(Square):
    def _jvp(self, x, v):
        return x * v

class Single(Good):
    def _forward(self, x):
        return (x.roll(1, -1) - x).float().to(x.dtype)

class Deep(LinearOperator):
    def __init__(self):
        super().__init__(Space((None,) * 4), Space((None,) * 4))
    def _forward(self, x):
        return x

def made():
    return Good()

def wrong():
    return 3

def needing(kernel):
    return Good()

instance = 3 * Good()
number = 7
"""


@pytest.fixture
def code(tmp_path):
    path = tmp_path / "my_camera.py"
    path.write_text(CODE)
    return path


@pytest.mark.parametrize("name", ["Good", "made", "instance", "Square"])
def test_what_is_right_passes(capsys, code, name):
    exit_code, printed, _ = run(capsys, "check", f"{code}:{name}")
    assert exit_code == 0
    assert "FAIL" not in printed


@pytest.mark.parametrize(
    ("name", "failed", "words"),
    [
        ("Twice", {"adjoint"}, r"is 2 times the exact one\."),
        ("Edge", {"adjoint"}, r"within 1 pixel of the edge \(left\)"),
        ("Offset", {"linear", "adjoint"}, "is not linear"),
        (
            "Raising",
            {"shapes", "linear", "adjoint", "norm", "batch"},
            r"It raised ValueError: no light today at my_camera\.py:\d+\.",
        ),
        ("Mixing", {"adjoint", "batch"}, "A statistic over the batch"),
        ("Announcing", {"shapes"}, r"A x has shape \(2, 1, 16, 24\) where \(2, 1, 16, 25\) is announced"),
        ("Crooked", {"derivative"}, r"Crooked\.jvp differs from difference quotients"),
        ("Single", {"linear", "adjoint"}, "rounding in single precision"),
    ],
)
def test_what_is_wrong_fails(capsys, code, name, failed, words):
    exit_code, printed, _ = run(capsys, "check", f"{code}:{name}", "--json")
    assert exit_code == 1
    numbers = json.loads(printed)
    assert not numbers["passed"]
    checks = {row["name"]: row for row in numbers["checks"]}
    assert {key for key, row in checks.items() if not row["passed"]} == failed
    assert any(re.search(words, row["sentence"]) for row in checks.values())


def test_single_precision_passes_when_asked(capsys, code):
    assert run(capsys, "check", f"{code}:Single", "--dtype", "float32")[0] == 0


def test_the_table_shows_the_sentence(capsys, code):
    exit_code, printed, _ = run(capsys, "check", f"{code}:Twice", "--shape", "2,6,5")
    assert exit_code == 1
    assert "FAIL" in printed
    assert "is 2 times the exact one." in printed
    assert "(2, 6, 5)" in printed


def test_the_page_shows_where(capsys, code, tmp_path):
    exit_code, *_ = run(capsys, "check", f"{code}:Edge", "--out", tmp_path / "out")
    assert exit_code == 1
    page = (tmp_path / "out" / "report.html").read_text()
    assert "Where the adjoint is wrong" in page
    assert page.count("data:image/png") == 1
    assert "<script" not in page
    assert not json.loads((tmp_path / "out" / "report.json").read_text())["passed"]
    run(capsys, "check", f"{code}:Square", "--out", tmp_path / "good")
    assert "Where the adjoint" not in (tmp_path / "good" / "report.html").read_text()


def test_a_dotted_module_of_the_working_folder(capsys, code, monkeypatch):
    monkeypatch.chdir(code.parent)
    assert run(capsys, "check", "my_camera:Good")[0] == 0
    assert run(capsys, "check", "apheleia.operators:FiniteDifferences")[0] == 0


def test_a_file_imports_its_neighbours(capsys, code):
    (code.parent / "next_door.py").write_text("from my_camera import Good\n")
    assert run(capsys, "check", f"{code.parent / 'next_door.py'}:Good")[0] == 0


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("{code}", "name the operator as MODULE:OPERATOR, such as my_camera.py:Blur"),
        ("{code}:two words", "name the operator as MODULE:OPERATOR"),
        ("nowhere.py:Good", "there is no file nowhere.py"),
        ("no_such_module_here:Good", "cannot be imported: ModuleNotFoundError: No module named 'no_such_module_here'"),
        ("{code}:Missing", "has no 'Missing'. It has Good, Twice"),
        ("json:Missing", "has no 'Missing'. Nothing in it is an operator"),
        ("{code}:number", "must be an operator or make one; it is of type int"),
        ("{code}:wrong", r"wrong\(\) must return an Operator; got int"),
        ("{code}:needing", r"needing\(\) raised TypeError: .* is called without arguments; write a function"),
        ("{code}:Good --shape 3", r"takes signals \(channel, height, width\); --shape is 3"),
        ("{code}:Good --shape 3,x", "--shape must be whole numbers of at least 1 with commas"),
        ("{code}:Good --shape 3,0,1", "--shape must be whole numbers of at least 1 with commas"),
        ("{code}:Deep", "Deep leaves sizes open; give --shape"),
    ],
)
def test_misuse(capsys, code, tmp_path, words, sentence):
    first, *options = words.format(code=code).split(" --")
    rest = [word for option in options for word in f"--{option}".split(" ")]
    assert re.search(sentence, refused(capsys, tmp_path / "out", "check", first, *rest))


def test_code_that_raises(capsys, tmp_path):
    path = tmp_path / "broken.py"
    path.write_text("x = 1\nraise RuntimeError('half done')\n")
    sentence = refused(capsys, tmp_path / "out", "check", f"{path}:A")
    assert "cannot be imported: RuntimeError: half done at broken.py:2." in sentence


def test_a_file_that_is_no_python(capsys, tmp_path):
    path = tmp_path / "broken.py"
    path.write_text("def\n")
    assert "SyntaxError" in refused(capsys, tmp_path / "out", "check", f"{path}:A")


def test_help_says_that_code_is_run(capsys):
    exit_code, printed, _ = run(capsys, "check", "--help")
    assert exit_code == 0
    assert "RUNS THE CODE" in printed
