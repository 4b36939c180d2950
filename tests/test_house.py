"""The shape of the tree: public names documented and annotated, no forbidden habits."""

import ast
from pathlib import Path

import pytest

import apheleia

ROOT = Path(apheleia.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
INHERITED = {"forward", "grad", "prox", "init", "step", "residual", "certify"}


def public(tree):
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield node
            if isinstance(node, ast.ClassDef):
                for child in node.body:
                    hidden = child.name.startswith("_") if isinstance(child, ast.FunctionDef) else True
                    if not hidden and not (node.bases and child.name in INHERITED):
                        yield child


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_public_names_are_documented_and_annotated(path):
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree) or not path.read_text().strip()
    for node in public(tree):
        assert ast.get_docstring(node), f"{path}:{node.lineno} {node.name} has no docstring"
        if isinstance(node, ast.FunctionDef):
            arguments = [a for a in node.args.posonlyargs + node.args.args + node.args.kwonlyargs if a.arg not in ("self", "cls")]
            assert all(a.annotation for a in arguments), f"{path}:{node.lineno} {node.name} has an argument without annotation"
            assert node.args.kwarg is None, f"{path}:{node.lineno} {node.name} takes **kwargs"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_forbidden_habits(path):
    text = path.read_text()
    for habit in (
        "hasattr(",
        "allow_pickle=True",
        "weights_only=False",
        "NotImplementedError",
        "set_default_dtype",
        "set_num_threads",
    ):
        assert habit not in text, f"{path} uses {habit}"
    assert text.count("\n") < 600


def test_the_version_is_that_of_the_package():
    from importlib.metadata import version

    assert version("apheleia") == apheleia.__version__


def test_every_exported_name_exists():
    for name in apheleia.__all__:
        assert getattr(apheleia, name) is not None
