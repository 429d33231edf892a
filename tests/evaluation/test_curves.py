"""Charts and the numbers beside them."""

import itertools
import math
import re
from xml.etree import ElementTree

import pytest

from aquatint.evaluation import quantities
from aquatint.evaluation.curve import Frame, interval_chart, loss_chart, loss_ticks, rate_chart, round_ticks, smoothed


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0.031, 0.42), (-3, 17), (0, 2e-4), (1e-7, 3e-7), (999, 1001), (0, 123456)])
def test_ticks_are_round_and_cover(low: float, high: float) -> None:
    ticks = round_ticks(low, high)
    sizes = {float(f"{b - a:.6g}") for a, b in itertools.pairwise(ticks)}
    assert ticks[0] <= low < high <= ticks[-1]
    assert 3 <= len(ticks) <= 8
    assert len(sizes) == 1
    assert f"{sizes.pop():e}"[0] in "125"
    assert ticks[1] > low or ticks[0] == low
    assert ticks[-2] < high


@pytest.mark.parametrize("value", [0.0, 0.25, -3.0])
def test_ticks_of_one_value_have_room(value: float) -> None:
    ticks = round_ticks(value, value)
    assert ticks[0] <= value <= ticks[-1]
    assert ticks[0] < ticks[-1]


def test_smoothing_keeps_a_straight_line_and_does_not_lag() -> None:
    line = smoothed([(step, 3.0 + 0.01 * step) for step in range(1, 601)])
    inner = [(x, y) for x, y in line if 100 < x < 500]
    assert len(inner) > 100
    assert all(y == pytest.approx(3.0 + 0.01 * x, abs=1e-6) for x, y in inner)
    assert smoothed([(5, 1.0)]) == []


def test_smoothing_removes_noise() -> None:
    line = smoothed([(step, (-1.0) ** step) for step in range(1000)])
    assert max(abs(y) for x, y in line if 200 < x < 800) < 1e-6


def test_smoothing_of_a_long_run_is_the_plain_sum() -> None:
    points = [(step, math.sin(step * 7.3) + step / 9000) for step in range(1, 9001)]
    for x, y in smoothed(points)[::40]:
        weights = [math.exp(-0.5 * ((x - step) / 300) ** 2) for step, _ in points]
        assert y == pytest.approx(sum(w * value for w, (_, value) in zip(weights, points, strict=True)) / sum(weights), abs=1e-3)


def test_every_step_is_a_dot_where_it_belongs() -> None:
    losses = [(step, 0.1 * step) for step in range(1, 11)]
    drawing = ElementTree.fromstring(loss_chart(losses, num_steps=20))
    dots = next(e for e in drawing.iter("path") if "dots" in e.attrib["class"]).attrib["d"]
    places = [tuple(map(float, pair)) for pair in re.findall(r"M([\d.]+) ([\d.]+)h0", dots)]
    frame = Frame(20, loss_ticks(losses), 800, 320)
    assert places == [(frame.x(x), frame.y(y)) for x, y in losses]
    assert frame.y(loss_ticks(losses)[-1]) < frame.y(loss_ticks(losses)[0])


def test_a_wild_step_does_not_flatten_the_chart() -> None:
    losses = [(step, 0.1) for step in range(1, 1000)] + [(1000, 50.0)]
    assert loss_ticks(losses)[-1] < 10


def test_validation_is_a_second_line_with_its_values() -> None:
    chart = loss_chart([(1, 0.2), (2, 0.3)], [(1, 0.25), (2, 0.1234)])
    drawing = ElementTree.fromstring(chart)
    assert [e.attrib["class"] for e in drawing.iter("path") if "line" in e.attrib["class"]] == ["line training", "line validation"]
    assert "step 2: 0.123" in chart


def test_a_long_run_stays_small() -> None:
    losses = [(step, 0.1 + math.sin(step) / 50) for step in range(50_000)]
    assert len(loss_chart(losses)) < 60_000


@pytest.mark.parametrize("points", [[(1, 0.0)], [(1, 0.5)], [(1, 0.5), (2, 0.5)]])
def test_the_shortest_runs_have_charts(points: list[tuple[float, float]]) -> None:
    for chart in (loss_chart(points), loss_chart([], points), rate_chart(points), loss_chart(points, width=400)):
        assert "nan" not in ElementTree.tostring(ElementTree.fromstring(chart), encoding="unicode")


def test_no_points_no_chart() -> None:
    assert (loss_chart([]), rate_chart([])) == ("", "")


def test_intervals_share_one_scale() -> None:
    drawing = ElementTree.fromstring(interval_chart([0.0, 0.25, 0.5], [0.5, 0.75, 1.0]))
    before, after = (float(e.attrib["cx"]) for e in drawing.iter("circle"))
    assert (before - 6) / 148 == pytest.approx(0.25, abs=1e-3)
    assert (after - 6) / 148 == pytest.approx(0.75, abs=1e-3)
    assert interval_chart([0.3], [0.3])


def test_numbers_read_well() -> None:
    assert [quantities.duration(s) for s in (0.45, 9.96, 42, 59.7)] == ["0.45 s", "10 s", "42 s", "1 min 0 s"]
    assert [quantities.duration(s) for s in (200, 3599.8, 7500)] == ["3 min 20 s", "1 h 0 min", "2 h 5 min"]
    assert [quantities.num_bytes(n) for n in (999, 3213456, 12_000, 5.1e9)] == ["999 bytes", "3.2 MB", "12.0 kB", "5.1 GB"]
    assert quantities.num_bytes(999_600) == "1.0 MB"
    assert [quantities.figures(x) for x in (0.5, 1.23e-7, 123.4, 0)] == ["0.500", "1.23e-7", "123", "0.00"]
    assert quantities.aligned([0.08, 0.94, 0.5]) == ["0.080", "0.940", "0.500"]
    assert quantities.aligned([1234.5, 2.0]) == ["1,234", "2"]
    assert [quantities.short(x) for x in (0.0002, 5e-5, 0.0)] == ["0.0002", "5e-5", "0"]
    assert [quantities.finite(x) for x in (3, math.nan, "3", True, None)] == [3.0, None, None, None, None]
