"""Charts as inline SVG: lines differ by dashes and words as well as by colour, so that they read in black and white."""

import math
from collections.abc import Sequence as Rows
from dataclasses import dataclass

from depthscope.report.markup import Html, element, joined, significant, text

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
) -> Html | None:
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
    legend = [_legend(line, number) for number, line in enumerate(drawn)] if len(drawn) > 1 else []
    return _figure(plot, title, across, up, joined(*curves), legend)


def histogram(values: Rows[float], *, title: str, across: str, up: str, most: float, colours: Rows[str]) -> Html | None:
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
        size = {"width": f"{right - left - 1:.2f}", "height": f"{HEIGHT - BOTTOM - top:.2f}"}
        bars.append(element("rect", x=f"{left:.2f}", y=f"{top:.2f}", fill=colours[number], class_="bar", **size))
    return _figure(plot, title, across, up, joined(*bars), [])


CHARACTER = 6.6
"""Width of a letter of the labels."""


def path_plot(
    views: Rows[tuple[str, str, Rows[tuple[float, float]]]], *, title: str, unit: str, names: Rows[str]
) -> Html | None:
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
    size, gap = 300, 20
    step = _nice(extent / 3)
    parts: list[Html] = []
    for number, (across, down, places) in enumerate(views):
        left = number * (size + gap)
        middle = [(max(p[axis] for p in places) + min(p[axis] for p in places)) / 2 for axis in (0, 1)]
        factor = (size - 90) / extent
        at = [(left + size / 2 + (p[0] - middle[0]) * factor, size / 2 + (p[1] - middle[1]) * factor) for p in places]
        parts.append(element("rect", x=left + 0.5, y=0.5, width=size - 1, height=size - 1, class_="frame"))
        parts.append(element("polyline", points=_points(at), class_="line c0"))
        parts += [element("circle", cx=f"{x:.1f}", cy=f"{y:.1f}", r=2.2, class_="dot c0") for x, y in at]
        for (x, y), name, mark in ((at[0], names[0], "start"), (at[-1], names[-1], "end")):
            parts.append(element("circle", cx=f"{x:.1f}", cy=f"{y:.1f}", r=5, class_=f"mark {mark}"))
            wide = CHARACTER * len(f"{mark}, {name}")
            anchor = "end" if x + 9 + wide > left + size else "start"
            shift = -9 if anchor == "end" else 9
            label = {"x": f"{x + shift:.1f}", "y": f"{y + (-6 if mark == 'start' else 14):.1f}"}
            parts.append(
                element("text", f"{mark}, {name}" if name else mark, text_anchor=anchor, class_="tick", **label)
            )
        parts.append(
            element("text", f"{across} \N{RIGHTWARDS ARROW}", x=left + size - 10, y=size - 10, text_anchor="end")
        )
        parts.append(element("text", f"{down} \N{DOWNWARDS ARROW}", x=left + 10, y=20))
        bar = step * factor
        parts.append(element("path", d=f"M{left + 12} {size - 26}v6h{bar:.1f}v-6", class_="axis"))
        parts.append(element("text", f"{significant(step, 1)} {unit}", x=left + 12, y=size - 32, class_="tick"))
    width = len(views) * (size + gap) - gap
    box = f"0 0 {width} {size}"
    return element("svg", *parts, viewBox=box, width=width, height=size, role="img", aria_label=title, class_="chart")


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


def _figure(plot: _Plot, title: str, across: str, up: str, content: Html, legend: list[Html]) -> Html:
    bottom, middle = HEIGHT - BOTTOM, (HEIGHT - BOTTOM + TOP) / 2
    parts: list[Html] = []
    for value in _ticks(*plot.up, logarithmic=plot.logarithmic):
        y = plot.y(value)
        parts.append(element("line", x1=LEFT, x2=WIDTH - RIGHT, y1=f"{y:.1f}", y2=f"{y:.1f}", class_="grid"))
        parts.append(element("text", _label(value), x=LEFT - 8, y=f"{y + 4:.1f}", text_anchor="end", class_="tick"))
    for value in _ticks(*plot.across):
        x = plot.x(value)
        parts.append(element("line", x1=f"{x:.1f}", x2=f"{x:.1f}", y1=bottom, y2=bottom + 4, class_="axis"))
        parts.append(element("text", _label(value), x=f"{x:.1f}", y=bottom + 18, text_anchor="middle", class_="tick"))
    parts.append(element("line", x1=LEFT, x2=WIDTH - RIGHT, y1=bottom, y2=bottom, class_="axis"))
    parts.append(element("text", across, x=(LEFT + WIDTH - RIGHT) / 2, y=HEIGHT - 6, text_anchor="middle"))
    turned = {"transform": f"translate(14 {middle:.1f}) rotate(-90)"}
    parts.append(element("text", up, text_anchor="middle", **turned))
    box = f"0 0 {WIDTH} {HEIGHT}"
    drawing = element(
        "svg", *parts, content, viewBox=box, width=WIDTH, height=HEIGHT, role="img", aria_label=title, class_="chart"
    )
    return joined(drawing, element("p", *legend, class_="legend") if legend else None)


def _curve(line: Line, plot: _Plot, number: int) -> Html:
    at = [(plot.x(x), plot.y(y)) for x, y in zip(line.x, line.y, strict=True)]
    colour = f"c{number % len(DASHES)}"
    if line.dots or len(at) == 1:
        return joined(*(element("circle", cx=f"{x:.1f}", cy=f"{y:.1f}", r=2.6, class_=f"dot {colour}") for x, y in at))
    dash = DASHES[number % len(DASHES)]
    return element("polyline", points=_points(at), class_=f"line {colour}", stroke_dasharray=dash or None)


def _legend(line: Line, number: int) -> Html:
    colour, dash = f"c{number % len(DASHES)}", DASHES[number % len(DASHES)]
    if line.dots:
        sign = element("circle", cx=14, cy=6, r=3, class_=f"dot {colour}")
    else:
        sign = element("line", x1=0, x2=28, y1=6, y2=6, class_=f"line {colour}", stroke_dasharray=dash or None)
    key = element("svg", sign, viewBox="0 0 28 12", width=28, height=12, aria_hidden="true")
    return element("span", key, text(line.name))


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
