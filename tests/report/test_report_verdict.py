import math

import pytest

from apheleia.core.errors import ArgumentError
from apheleia.report import Verdict


def test_the_rule_prints_number_bounds_and_outcome():
    verdict = Verdict("Noise explained?", "residual std / noise std", 1.031, 0.9, 1.1)
    assert verdict.passed
    assert verdict.rule == "residual std / noise std = 1.03, expected 0.9 to 1.1: pass"


@pytest.mark.parametrize(
    ("value", "low", "high", "passed"),
    [
        (0.9, 0.9, 1.1, True),
        (1.1, 0.9, 1.1, True),
        (0.89, 0.9, 1.1, False),
        (3.0, None, 2.0, False),
        (-3.0, None, 2.0, True),
        (math.inf, 1.0, None, True),
        (-math.inf, 1.0, None, False),
        (math.nan, None, math.inf, False),
        (math.nan, 0.0, 1.0, False),
    ],
)
def test_the_outcome_follows_from_the_value(value, low, high, passed):
    verdict = Verdict("?", "q", value, low, high)
    assert verdict.passed is passed
    assert verdict.rule.endswith(": pass" if passed else ": fail")


@pytest.mark.parametrize("value", [1.1004, 1.1 + 1e-12, math.nextafter(1.1, 2), 0.89999, 1.09999])
def test_rounding_never_contradicts_the_outcome(value):
    verdict = Verdict("?", "q", value, 0.9, 1.1)
    shown = float(verdict.rule.split(" = ")[1].split(",")[0])
    assert (0.9 <= shown <= 1.1) is verdict.passed


def test_units_and_open_sides():
    assert Verdict("?", "gain", 3.0, low=0.1, unit="dB").rule == "gain = 3 dB, expected at least 0.1 dB: pass"
    assert Verdict("?", "residual", 1e-3, high=1e-4).rule == "residual = 0.001, expected at most 0.0001: fail"
    assert Verdict("?", "residual", math.nan, high=1).rule == "residual = not a number, expected at most 1: fail"


def test_a_verdict_without_a_rule_is_refused():
    with pytest.raises(ArgumentError, match="needs a `low` or a `high`"):
        Verdict("?", "q", 1.0)
    with pytest.raises(ArgumentError, match="must be numbers"):
        Verdict("?", "q", 1.0, low=math.nan)
    with pytest.raises(ArgumentError, match="must not exceed"):
        Verdict("?", "q", 1.0, 2.0, 1.0)
