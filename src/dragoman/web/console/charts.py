"""Lays out bar charts for templates, which draw them as SVG: no library, no script but for the values that are shown.

Lengths across are in percent, so that charts stretch without their text; heights are in pixels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

HEIGHT = 190
"""How many pixels the highest column has."""

WIDEST = 78.0
"""How many percent the longest bar takes; beside it stands its number."""


@dataclass(frozen=True, slots=True)
class BarSegment:
    """Is a part of a column: which series, how many, and where it is drawn (pixels from the top)."""

    series: str
    value: int
    y: float
    height: float


@dataclass(frozen=True, slots=True)
class Column:
    """Is a column of a stacked chart; ``x`` and ``width`` in percent."""

    x: float
    width: float
    total: int
    segments: tuple[BarSegment, ...]


@dataclass(frozen=True, slots=True)
class StackedChart:
    """Holds columns, and the lines of the scale as (value, pixels from the top)."""

    columns: tuple[Column, ...]
    lines: tuple[tuple[int, float], ...]
    highest: int


def stacked(columns: Sequence[Mapping[str, int]], series: Sequence[str]) -> StackedChart:
    """Make one column for each mapping, with the values of *series* from the bottom up."""
    highest = max((sum(column.get(name, 0) for name in series) for column in columns), default=0)
    top = scale(highest)
    width = 100 / max(1, len(columns))
    return StackedChart(
        tuple(_column(column, series, place * width, width, top[-1]) for place, column in enumerate(columns)),
        tuple((value, HEIGHT - value / top[-1] * HEIGHT) for value in top),
        highest,
    )


def _column(values: Mapping[str, int], series: Sequence[str], x: float, width: float, top: int) -> Column:
    segments, below = [], 0
    for name in series:
        value = values.get(name, 0)
        if value:
            height = value / top * HEIGHT
            segments.append(BarSegment(name, value, HEIGHT - (below + value) / top * HEIGHT, height))
            below += value
    return Column(x + width * 0.12, width * 0.76, below, tuple(segments))


def scale(highest: int) -> list[int]:
    """Find round numbers from 0 to at least *highest*, for the lines of a chart."""
    if highest <= 0:
        return [0, 1]
    raw = highest / 4
    power = 10 ** math.floor(math.log10(raw)) if raw >= 1 else 1
    step = max(1, int(next(power * factor for factor in (1, 2, 5, 10) if power * factor >= raw)))
    return list(range(0, step * math.ceil(highest / step) + 1, step))


def length(value: int, highest: int) -> float:
    """Say how long the bar of *value* is, in percent; never nothing, so that it can be seen and pointed at."""
    return max(0.4, value / highest * WIDEST) if highest else 0.4
