"""Charts as inline SVG: the loss, the learning rate, and intervals. Colours come from the page's style."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from aquatint.evaluation.quantities import count, figures, short
from aquatint.markup import Markup, element, joined

Points = Sequence[tuple[float, float]]

WIDE, NARROW = 800, 400
"""Widths of a drawing; both are about its width on the screen (a desk's, a hand's), so that letters keep their size."""
LEFT, RIGHT, TOP, BOTTOM = 52, 10, 28, 28
MAX_DOTS, NUM_SMOOTHED = 1500, 240
SHOWN_SHARE = 0.98
"""Of the raw points; a few wild ones must not flatten the rest."""


@dataclass(frozen=True)
class Frame:
    """Data coordinates -> drawing."""

    x_max: float
    ticks: Sequence[float]
    width: int
    height: int

    def x(self, value: float) -> float:
        return round(LEFT + (self.width - LEFT - RIGHT) * value / self.x_max, 1)

    def y(self, value: float) -> float:
        low, high = self.ticks[0], self.ticks[-1]
        return round(self.height - BOTTOM - (self.height - TOP - BOTTOM) * (value - low) / (high - low), 1)

    def line(self, points: Points, class_: str) -> Markup:
        way = "L".join(f"{self.x(x):g} {self.y(y):g}" for x, y in points)
        return element("path", class_=f"line {class_}", d=f"M{way}") if len(points) > 1 else Markup()

    def dots(self, points: Points, class_: str) -> Markup:
        """One path of round dots: small for thousands of them."""
        way = "".join(f"M{self.x(x):g} {self.y(y):g}h0" for x, y in points)
        return element("path", class_=f"dots {class_}", d=way) if points else Markup()

    def axes(self, title: str) -> Markup:
        bottom = self.height - BOTTOM
        parts = [element("text", title, class_="title", x=0, y=13)]
        for tick in self.ticks:
            parts.append(element("path", class_="grid", d=f"M{LEFT} {self.y(tick):g}H{self.width - RIGHT}"))
            parts.append(element("text", _label(tick, self.ticks), class_="tick", x=LEFT - 8, y=self.y(tick) + 4, text_anchor="end"))
        steps = [tick for tick in round_ticks(0, self.x_max, num=max(4, self.width // 130)) if tick <= self.x_max and tick == round(tick)]
        for tick in steps:
            anchor = "end" if self.x(tick) > self.width - 30 else "middle"
            parts.append(element("text", count(tick), class_="tick", x=self.x(tick), y=bottom + 20, text_anchor=anchor))
        parts.append(element("text", "step", class_="tick", x=0, y=bottom + 20))
        return joined(*parts)


def loss_chart(losses: Points, validations: Points = (), *, num_steps: float = 0, width: int = WIDE) -> Markup:
    """Faint dots for the steps, a smoothed line through them, a second line for the validation loss. Empty without points."""
    if not losses and not validations:
        return Markup()
    ticks, line = loss_ticks(losses, validations), smoothed(losses)
    frame = Frame(max([num_steps, 1, *(x for x, _ in [*losses, *validations])]), ticks, width, 160 + width // 5)
    shown = [point for point in losses if point[1] <= ticks[-1]]
    marks = [
        element("circle", element("title", f"step {count(x)}: {figures(y)}"), class_="validation", cx=frame.x(x), cy=frame.y(y), r=3)
        for x, y in validations
    ]
    drawn = [frame.dots(_thinned(shown), "training"), frame.line(line, "training"), frame.line(validations, "validation"), *marks]
    return _drawing(frame, frame.axes("loss"), *drawn, label="Loss at each step")


def loss_ticks(losses: Points, validations: Points = ()) -> list[float]:
    """Of the loss axis; dots above the last are not drawn."""
    raw, measured = sorted(y for _, y in losses), [y for _, y in validations]
    cut = raw[min(len(raw) - 1, int(SHOWN_SHARE * len(raw))) :][:1]
    return round_ticks(min([*raw[:1], *measured]), max([*cut, *measured, *(y for _, y in smoothed(losses))]))


def rate_chart(rates: Points, *, num_steps: float = 0, width: int = WIDE) -> Markup:
    """The learning rate over the steps. Empty without points."""
    if not rates:
        return Markup()
    frame = Frame(max([num_steps, 1, *(x for x, _ in rates)]), round_ticks(0, max(y for _, y in rates), num=2), width, 130)
    return _drawing(frame, frame.axes("learning rate"), frame.line(_thinned(rates), "rate"), label="Learning rate at each step")


def interval_chart(before: Sequence[float], after: Sequence[float]) -> Markup:
    """Two intervals (low, mean, high) one above the other on one scale; lists of one number are points."""
    values = [*before, *after]
    low, high = min(values), max(values)
    span = (high - low) or 1.0
    parts = []
    for interval, class_, y in ((before, "before", 9), (after, "after", 23)):
        ends = [round(6 + 148 * (v - low) / span, 1) for v in (interval[0], interval[len(interval) // 2], interval[-1])] if interval else []
        if ends:
            parts.append(element("path", class_=f"interval {class_}", d=f"M{ends[0]:g} {y}H{ends[2]:g}"))
            parts.append(element("circle", class_=class_, cx=ends[1], cy=y, r=4))
    return element("svg", *parts, class_="intervals", viewBox="0 0 160 32", role="img", aria_label="intervals before and after")


def round_ticks(low: float, high: float, *, num: int = 5) -> list[float]:
    """Round numbers (1, 2, 5 times a power of ten) about `num` steps apart, from at or below `low` to at or above `high`."""
    if not high > low:
        low, high = (low - abs(low) / 2, high + abs(high) / 2) if low else (0.0, 1.0)
    rough = (high - low) / num
    power = 10.0 ** math.floor(math.log10(rough))
    size = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
    first, last = math.floor(low / size + 1e-9), math.ceil(high / size - 1e-9)
    return [float(f"{index * size:.12g}") for index in range(first, last + 1)]


def smoothed(points: Points) -> list[tuple[float, float]]:
    """Means under a Gaussian window; centred, so that they do not lag."""
    if len(points) < 2:
        return []
    starts = np.unique(np.linspace(0, len(points), min(MAX_DOTS, len(points)), endpoint=False).astype(int))
    num = np.diff([*starts, len(points)])  # neighbours far inside one window count as one point
    x, y = np.add.reduceat(np.array(points, dtype=np.float64), starts).T / num
    at = np.linspace(x[0], x[-1], min(NUM_SMOOTHED, len(points)))
    weights = num * np.exp(-0.5 * ((at[:, None] - x[None, :]) / window(points)) ** 2)
    return list(zip(at.tolist(), (weights @ y / weights.sum(axis=1)).tolist(), strict=True))


def window(points: Points) -> float:
    """Standard deviation of the smoothing window in steps."""
    return max(1.0, round((points[-1][0] - points[0][0]) / 30)) if points else 1.0


def _thinned(points: Points) -> Points:
    if len(points) <= MAX_DOTS:
        return points
    return [points[round(index * (len(points) - 1) / (MAX_DOTS - 1))] for index in range(MAX_DOTS)]


def _label(tick: float, ticks: Sequence[float]) -> str:
    size = ticks[1] - ticks[0]
    if size < 1e-3 or ticks[-1] >= 1e5:
        return short(tick)
    return f"{tick:.{max(0, -math.floor(math.log10(size) + 1e-9))}f}"


def _drawing(frame: Frame, *parts: Markup, label: str) -> Markup:
    class_ = "chart wide" if frame.width >= WIDE else "chart narrow"
    return element("svg", *parts, class_=class_, viewBox=f"0 0 {frame.width} {frame.height}", role="img", aria_label=label)
