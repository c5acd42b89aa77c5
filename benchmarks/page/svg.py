"""Two plots as SVG: bars with their range, and lines over a growing size; both on logarithmic scales."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import NamedTuple

_WIDTH, _LABELS, _VALUES, _ROW, _TOP = 820, 230, 70, 20, 44
_HEIGHT, _MARGIN = 380, 56
_OURS, _OTHERS = "#1f6feb", "#8c959f"
_COLOURS = (
    "#1f6feb",
    "#d1242f",
    "#1a7f37",
    "#9a6700",
    "#8250df",
    "#57606a",
    "#bf3989",
    "#0550ae",
    "#953800",
    "#116329",
)


class Found(NamedTuple):
    """One measured value and its range."""

    median: float
    low: float
    high: float


class _Pen(NamedTuple):
    """What a line is drawn with."""

    colour: str
    dashes: str

    @classmethod
    def of(cls, number: int) -> _Pen:
        """Another one for each of many."""
        turn, colour = divmod(number, len(_COLOURS))
        return cls(_COLOURS[colour], "5 3" if turn else "none")


Series = Mapping[str, Found]
"""By system."""


def bars(title: str, cases: Mapping[str, Series]) -> str:
    """A bar a system, case under case."""
    scale = _Scale(_values(cases), _LABELS, _WIDTH - _VALUES)
    parts, y = list[str](), _TOP
    for case, series in cases.items():
        parts.append(_text(8, y + 13, case, bold=True))
        for system, found in series.items():
            y += _ROW
            parts += _bar(y, system, found, scale, _OURS if system.startswith("turnlog") else _OTHERS)
        y += _ROW + 8
    return _drawing(y, title, parts)


def lines(title: str, cases: Mapping[float, Series]) -> str:
    """A line a system over the sizes."""
    x = _Scale(list(cases), _MARGIN, _WIDTH - 170)
    y = _Scale(_values(cases), _HEIGHT - 30, _TOP)
    systems = list(dict.fromkeys(system for series in cases.values() for system in series))
    parts = [*_axis_x(x, cases), *_axis_y(y)]
    label = float("-inf")
    ends = sorted((y.at(_last(cases, system)[1].median), system) for system in systems)
    for end, system in ends:
        label = max(label + 15, end)
        parts += _line(cases, system, x, y, _Pen.of(systems.index(system)), label)
    return _drawing(max(_HEIGHT, int(label) + 20), title, parts)


class _Scale:
    """Logarithmic, from one pixel to another."""

    def __init__(self, values: Sequence[float], first: float, last: float) -> None:
        there = [value for value in values if value > 0] or [1.0]
        self.low = math.floor(math.log10(min(there)))
        self.high = max(self.low + 1, math.ceil(math.log10(max(there))))
        self._first, self._last = first, last

    def at(self, value: float) -> float:
        """The pixel; what is not above zero lies at the lower end."""
        share = (math.log10(value) - self.low) / (self.high - self.low) if value > 0 else 0.0
        return self._first + (self._last - self._first) * min(1.0, max(0.0, share))


def _values(cases: Mapping[str, Series] | Mapping[float, Series]) -> list[float]:
    return [value for series in cases.values() for found in series.values() for value in found]


def _bar(y: int, system: str, found: Found, scale: _Scale, colour: str) -> list[str]:
    end, low, high = scale.at(found.median), scale.at(found.low), scale.at(found.high)
    return [
        _text(_LABELS - 8, y + 13, system, anchor="end"),
        f'<rect x="{_LABELS}" y="{y + 2}" width="{max(1, end - _LABELS):.1f}" height="14" fill="{colour}"/>',
        f'<line x1="{low:.1f}" x2="{high:.1f}" y1="{y + 9}" y2="{y + 9}" stroke="#24292f"/>',
        _text(max(end, high) + 6, y + 13, _number(found.median)),
    ]


def _axis_x(x: _Scale, cases: Mapping[float, Series]) -> Iterator[str]:
    for size in cases:
        yield _text(x.at(size), _HEIGHT - 12, _number(size), anchor="middle")


def _axis_y(y: _Scale) -> Iterator[str]:
    for power in range(y.low, y.high + 1):
        at = y.at(10.0**power)
        yield f'<line x1="{_MARGIN}" x2="{_WIDTH - 170}" y1="{at:.1f}" y2="{at:.1f}" stroke="#d0d7de"/>'
        yield _text(_MARGIN - 6, at + 4, _number(10.0**power), anchor="end")


def _last(cases: Mapping[float, Series], system: str) -> tuple[float, Found]:
    return [(size, series[system]) for size, series in cases.items() if system in series][-1]


def _line(cases: Mapping[float, Series], system: str, x: _Scale, y: _Scale, pen: _Pen, label: float) -> Iterator[str]:
    points = [(x.at(size), y.at(series[system].median)) for size, series in cases.items() if system in series]
    path = " ".join(f"{left:.1f},{top:.1f}" for left, top in points)
    drawn = f'stroke="{pen.colour}" stroke-width="2" stroke-dasharray="{pen.dashes}"'
    yield f'<polyline points="{path}" fill="none" {drawn}/>'
    for left, top in points:
        yield f'<circle cx="{left:.1f}" cy="{top:.1f}" r="3" fill="{pen.colour}"/>'
    yield _text(_WIDTH - 162, label + 4, system, colour=pen.colour)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def _text(x: float, y: float, text: str, *, anchor: str = "start", bold: bool = False, colour: str = "#24292f") -> str:
    weight = ' font-weight="bold"' if bold else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}"{weight}>{escape(text)}</text>'


def _drawing(height: int, title: str, parts: Sequence[str]) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" font-family="sans-serif"'
    ground = f'<rect width="{_WIDTH}" height="{height}" fill="#ffffff"/>'
    return "\n".join([f'{head} font-size="12">', ground, _text(8, 20, title, bold=True), *parts, "</svg>", ""])
