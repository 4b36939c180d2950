import math
import re
import xml.etree.ElementTree as ET

import pytest

from apheleia.report.svg import log_curve, undrawn

NAN, INF = math.nan, math.inf


@pytest.mark.parametrize(
    ("steps", "values"),
    [
        ([], []),
        ([0], [1.0]),
        ([1], [1.0]),
        ([7], [0.3]),
        ([1, 2, 3], [0.0, 0.0, 0.0]),
        ([1, 2, 3], [NAN, INF, -INF]),
        ([1, 2, 3], [-1.0, -2.0, 1e-320]),
        ([1, 10, 100], [1e300, 1.0, 1e-300]),
        ([21, 30, 49], [1.0, 1.0, 1.0]),
        ([1, 10**9], [2.0, 1.0]),
        (list(range(5000)), [1 / (k + 1) for k in range(5000)]),
    ],
)
def test_any_history_gives_a_finite_drawing_inside_the_frame(steps, values):
    svg = log_curve(steps, values, "title", (1e-4, "tolerance"))
    ET.fromstring(svg)
    assert "nan" not in svg
    assert "inf" not in svg
    places = re.findall(r'points="([^"]*)"', svg)
    for x, y in (pair.split(",") for line in places for pair in line.split()):
        assert 52 <= float(x) <= 468
        assert 14 <= float(y) <= 232


def test_the_line_breaks_where_a_value_cannot_be_drawn():
    svg = log_curve([1, 2, 3, 4, 5, 6], [1.0, 0.5, NAN, 0.2, 0.1, 0.0], "t")
    assert svg.count("<polyline") == 2
    assert undrawn([0, 3, 6], [NAN, NAN, 0.0]) == "Not drawn: 1 not finite and 1 exactly at or below zero."
    assert undrawn([1, 2], [1.0, 0.5]) == ""


def test_a_lonely_point_is_a_dot_and_nothing_is_said():
    assert "<circle" in log_curve([5], [0.1], "t")
    assert "no value to draw" in log_curve([], [], "t")


def test_a_curve_falls_to_the_right():
    svg = log_curve([1, 10, 100], [1.0, 0.1, 0.01], "t")
    found = re.search(r'points="([^"]*)"', svg)
    assert found
    xs, ys = zip(*((float(x), float(y)) for x, y in (pair.split(",") for pair in found[1].split())), strict=True)
    assert list(xs) == sorted(xs)
    assert list(ys) == sorted(ys)
    assert ys[1] - ys[0] == pytest.approx(ys[2] - ys[1], abs=0.11)


def test_many_points_take_little_room_and_keep_their_spikes():
    steps = list(range(1, 200_001))
    values = [1.0] * len(steps)
    values[150_000] = 100.0
    svg = log_curve(steps, values, "t")
    assert len(svg) < 20_000
    ys = {float(pair.split(",")[1]) for pair in re.findall(r'points="([^"]*)"', svg)[0].split()}
    assert len(ys) == 2


def test_texts_are_escaped_and_colours_follow_the_page():
    svg = log_curve([1, 2], [1.0, 0.1], '"><script>', (0.5, "<b>"))
    ET.fromstring(svg)
    assert "<script" not in svg
    assert "<b>" not in svg
    assert "currentColor" in svg
