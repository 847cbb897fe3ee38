"""Draws bar charts as SVG: no library, no script but for the values that are shown.

Lengths across are in percent, so that charts stretch without their text; heights are in pixels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from dragoman.translations import gettext as _
from dragoman.translations import number, translated

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


@dataclass(frozen=True, slots=True)
class ChartSeries:
    """One of the values that make up a column: its key, what it is called, and its colour."""

    key: str
    label: str
    hue: str


def stacked_svg(
    columns: Sequence[Mapping[str, int]], titles: Sequence[str], series: Sequence[ChartSeries], label: str
) -> Markup:
    """Draw a stacked chart; each column says its *titles* and values to the pointer, the focus and screen readers."""
    chart = stacked(columns, [one.key for one in series])
    of = {one.key: one for one in series}
    width = 100 / max(1, len(columns))
    every = max(1, math.ceil(len(columns) / 8))
    parts = [f'<svg width="100%" height="{HEIGHT + 36}" role="group" aria-label="{escape(label)}">']
    for value, y in chart.lines:
        parts.append(
            f'<line class="gl" x1="40" x2="100%" y1="{y + 8:.1f}" y2="{y + 8:.1f}"/>'
            f'<text class="ax" x="34" y="{y + 12:.1f}" text-anchor="end">{escape(number(value))}</text>'
        )
    parts.append(f'<svg x="44" y="8" width="93%" height="{HEIGHT + 28}" overflow="visible">')
    for place, (column, title) in enumerate(zip(chart.columns, titles, strict=True)):
        said = [f"{translated(of[segment.series].label)}: {number(segment.value)}" for segment in column.segments]
        parts.append(
            f'<g class="bar" role="img" tabindex="{0 if place == 0 else -1}" data-title="{escape(title)}" '
            f'data-values="{escape(chr(10).join(said) or _("No messages"))}" '
            f'aria-label="{escape(title)}: {escape(", ".join(said) or _("no messages"))}">'
            f'<rect class="hit" x="{place * width:.3f}%" y="0" width="{width:.3f}%" height="{HEIGHT}"/>'
        )
        for segment in column.segments:
            parts.append(
                f'<rect class="seg-{of[segment.series].hue}" x="{column.x:.3f}%" y="{segment.y:.2f}" '
                f'width="{column.width:.3f}%" height="{segment.height:.2f}"/>'
            )
        parts.append("</g>")
        if place % every == 0:
            parts.append(
                f'<text class="ax" x="{column.x + column.width / 2:.3f}%" y="{HEIGHT + 18}" '
                f'text-anchor="middle">{escape(title)}</text>'
            )
    parts.append("</svg></svg>")
    return Markup("".join(parts))  # noqa: S704 - every text in it is escaped


def table_rows(columns: Sequence[Mapping[str, int]], titles: Sequence[str], series: Sequence[ChartSeries]) -> Markup:
    """Write the same values as the rows of a table."""
    rows = "".join(
        f'<tr><th scope="row">{escape(title)}</th>'
        + "".join(f'<td class="num">{escape(number(column.get(one.key, 0)))}</td>' for one in series)
        + "</tr>"
        for column, title in zip(columns, titles, strict=True)
    )
    return Markup(rows)  # noqa: S704 - as above
