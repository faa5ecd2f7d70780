"""Charts as inline SVG: lines differ by dashes and words as well as by colour, so that they read in black and white."""

import math
from collections.abc import Sequence as Rows
from dataclasses import dataclass

from markupsafe import Markup

from depthscope.report.markup import significant
from depthscope.report.rendering import rendered

WIDTH, HEIGHT = 640, 260
LEFT, RIGHT, TOP, BOTTOM = 64, 16, 16, 44

DASHES = ("", "7 4", "2 3", "10 3 2 3")
"""One for each line of a chart."""


@dataclass(frozen=True)
class Line:
    """One curve.

    Attributes:
        name: What it is.
        x, y: Its points; values that are not finite break it.
        dots: Whether points are drawn in place of a line.
    """

    name: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    dots: bool = False


def line_chart(
    lines: Rows[Line],
    *,
    title: str,
    across: str,
    up: str,
    logarithmic: bool = False,
    within: tuple[float, float] | None = None,
) -> Markup | None:
    """Curves over one axis; None where no point is finite.

    Args:
        lines: The curves.
        title: What the chart shows, also its text for those who cannot see it.
        across: Label of the horizontal axis, with unit.
        up: Label of the vertical axis, with unit.
        logarithmic: Whether the vertical axis is.
        within: A range that the vertical axis covers at least.
    """
    drawn = [_finite(line, logarithmic) for line in lines]
    drawn = [line for line in drawn if line.x]
    if not drawn:
        return None
    xs = [x for line in drawn for x in line.x]
    ys = [y for line in drawn for y in line.y] + list(within or ())
    plot = _Plot(_range(xs), _range(ys, logarithmic), logarithmic)
    curves = [_curve(line, plot, number) for number, line in enumerate(drawn)]
    return _drawing(plot, title, across, up, curves=curves)


def histogram(
    values: Rows[float], *, title: str, across: str, up: str, most: float, colours: Rows[str]
) -> Markup | None:
    """Shares of values in bins from 0 to `most`; what is beyond stands in the last bin.

    Args:
        values: The values, not negative.
        title: What the chart shows.
        across: Label of the horizontal axis, with unit.
        up: Label of the vertical axis.
        most: End of the axis.
        colours: Of the bins, whose number they give.
    """
    values = [value for value in values if math.isfinite(value)]
    if not values or most <= 0:
        return None
    bins = len(colours)
    counts = [0] * bins
    for value in values:
        counts[min(bins - 1, int(value / most * bins))] += 1
    tallest = max(counts) / len(values)
    plot = _Plot((0.0, most), (0.0, 100 * tallest * 1.05), False)
    bars = []
    for number, count in enumerate(counts):
        left, right = plot.x(number * most / bins), plot.x((number + 1) * most / bins)
        top = plot.y(100 * count / len(values))
        bars.append((left, top, right - left - 1, HEIGHT - BOTTOM - top, colours[number]))
    return _drawing(plot, title, across, up, bars=bars)


CHARACTER = 6.6
"""Width of a letter of the labels."""

VIEW, GAP = 300, 20
"""Side of a view of a path, and the distance to the next one."""


def path_plot(
    views: Rows[tuple[str, str, Rows[tuple[float, float]]]], *, title: str, unit: str, names: Rows[str]
) -> Markup | None:
    """A path in several views of one scale, with its start and end named.

    Args:
        views: Of each the label across, the label down, and the places in the order of time.
        title: What the chart shows.
        unit: Of the places.
        names: Of the first and the last place.
    """
    if not views or len(views[0][2]) < 2:
        return None
    extent = max(max(p[axis] for p in places) - min(p[axis] for p in places) for *_, places in views for axis in (0, 1))
    if not extent > 0:
        return None
    step, factor = _nice(extent / 3), (VIEW - 90) / extent
    drawn = []
    for number, (across, down, places) in enumerate(views):
        left = number * (VIEW + GAP)
        middle = [(max(p[axis] for p in places) + min(p[axis] for p in places)) / 2 for axis in (0, 1)]
        at = [(left + VIEW / 2 + (p[0] - middle[0]) * factor, VIEW / 2 + (p[1] - middle[1]) * factor) for p in places]
        ends = []
        for (x, y), name, mark in ((at[0], names[0], "start"), (at[-1], names[-1], "end")):
            label = f"{mark}, {name}" if name else mark
            anchor = "end" if x + 9 + CHARACTER * len(f"{mark}, {name}") > left + VIEW else "start"
            beside = x + (-9 if anchor == "end" else 9), y + (-6 if mark == "start" else 14)
            ends.append({"x": x, "y": y, "mark": mark, "label": label, "anchor": anchor, "beside": beside})
        drawn.append({"left": left, "across": across, "down": down, "at": at, "points": _points(at), "ends": ends})
    return rendered(
        "path.svg.j2", title=title, size=VIEW, width=len(views) * (VIEW + GAP) - GAP, views=drawn, bar=step * factor,
        bar_label=f"{significant(step, 1)} {unit}",
    )  # fmt: skip


@dataclass(frozen=True)
class _Plot:
    """The area of a chart and how values map into it."""

    across: tuple[float, float]
    up: tuple[float, float]
    logarithmic: bool

    def x(self, value: float) -> float:
        low, high = self.across
        return LEFT + (value - low) / (high - low) * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        low, high = self.up
        if self.logarithmic:
            value, low, high = math.log10(value), math.log10(low), math.log10(high)
        return HEIGHT - BOTTOM - (value - low) / (high - low) * (HEIGHT - TOP - BOTTOM)


def _drawing(plot: _Plot, title: str, across: str, up: str, curves: Rows[dict] = (), bars: Rows[tuple] = ()) -> Markup:
    return rendered(
        "chart.svg.j2", title=title, across=across, up=up, width=WIDTH, height=HEIGHT, left=LEFT, right=WIDTH - RIGHT,
        bottom=HEIGHT - BOTTOM, middle=(HEIGHT - BOTTOM + TOP) / 2, curves=curves, bars=bars,
        rows=[(plot.y(value), _label(value)) for value in _ticks(*plot.up, logarithmic=plot.logarithmic)],
        columns=[(plot.x(value), _label(value)) for value in _ticks(*plot.across)],
    )  # fmt: skip


def _curve(line: Line, plot: _Plot, number: int) -> dict:
    at = [(plot.x(x), plot.y(y)) for x, y in zip(line.x, line.y, strict=True)]
    return {
        "name": line.name,
        "colour": f"c{number % len(DASHES)}",
        "dash": DASHES[number % len(DASHES)],
        "dots": line.dots,
        "at": at if line.dots or len(at) == 1 else (),
        "points": "" if line.dots or len(at) == 1 else _points(at),
    }


def _finite(line: Line, positive: bool) -> Line:
    pairs = [
        (x, y)
        for x, y in zip(line.x, line.y, strict=True)
        if math.isfinite(x) and math.isfinite(y) and (y > 0 or not positive)
    ]
    return Line(line.name, tuple(x for x, _ in pairs), tuple(y for _, y in pairs), line.dots)


def _range(values: Rows[float], logarithmic: bool = False) -> tuple[float, float]:
    low, high = min(values), max(values)
    if logarithmic:
        return low / 1.15, high * 1.15
    if low == high:
        return low - max(abs(low), 1) * 0.05, high + max(abs(high), 1) * 0.05
    return low, high


def _ticks(low: float, high: float, logarithmic: bool = False) -> list[float]:
    if logarithmic and high / low > 5:
        powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        steps = (1,) if high / low > 1000 else (1, 2, 5)
        return [m * 10.0**p for p in powers for m in steps if low <= m * 10.0**p <= high]
    step = _nice((high - low) / 5)
    first = math.ceil(low / step - 1e-9)
    return [number * step for number in range(first, math.floor(high / step + 1e-9) + 1)]


def _nice(step: float) -> float:
    """The nearest 1, 2 or 5 times a power of ten that is not smaller."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(m * power for m in (1, 2, 5, 10) if m * power >= step * (1 - 1e-9))


def _label(value: float) -> str:
    return f"{value:.6g}" if abs(value) < 1e5 else f"{value:.0e}"


def _points(places: Rows[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
