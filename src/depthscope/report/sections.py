"""The parts of the page, ready for its template: frames, surface, distances, path, training."""

import math
from dataclasses import dataclass

import cv2
import torch
from markupsafe import Markup

from depthscope.report.charts import Line, histogram, line_chart, path_plot
from depthscope.report.clip_view import ClipView, Strip, StripFrame
from depthscope.report.folder import ClipResults, Results
from depthscope.report.images import Embedded, embedded, picture_file
from depthscope.report.markup import Figure, Part, amount, joined, phrase, share, significant, thousands, whole
from depthscope.report.space import Space, SurfaceDistances
from depthscope.report.surface_box import ColourScale, colour_scale, levels

PANELS = {
    "frame": ("frame", "as recorded"),
    "depth": ("depth", "near is bright"),
    "deviation": ("uncertainty of depth", "certain is dark"),
    "points": ("points of structure from motion", "near is bright"),
    "masked": ("masks", "striped: left out"),
}
"""Pictures of a moment, and how to read them."""

PRINTED = 2
"""Moments that are printed."""

CURVES = ("loss", "sparse", "consistency", "flow")
"""Columns of the training log that are drawn."""


@dataclass(frozen=True)
class Chart:
    """A chart and what it shows."""

    drawing: Markup
    caption: Markup


@dataclass(frozen=True)
class Shown:
    """One moment of a clip.

    Attributes:
        name: Of the frame.
        number: Of the frame in the sequence, or None.
        pictures: Picture, title and hint.
        printed: Whether it is on paper too.
    """

    name: str
    number: int | None
    pictures: tuple[tuple[Embedded, str, str], ...]
    printed: bool


@dataclass(frozen=True)
class FramesSection:
    """Moments of a clip to step through.

    Attributes:
        moments: In the order of time.
        scales: What the colours mean.
        note: How many of the frames these are.
    """

    moments: tuple[Shown, ...]
    scales: tuple[ColourScale, ...]
    note: str


def frames_section(strip: Strip, scale: Figure | None = None) -> FramesSection:
    """The video, one moment at a time; depth in mm where `scale`, in mm to its unit, is known."""
    last = len(strip.moments) - 1
    printed = {round((i + 0.5) * last / PRINTED) for i in range(PRINTED)}
    shown = tuple(_shown(moment, number in printed) for number, moment in enumerate(strip.moments))
    scales = [] if strip.limits is None else [depth_scale(strip.limits, strip.unit, scale)]
    if any(moment.deviation is not None for moment in strip.moments):
        scales.append(deviation_scale(strip.most_deviation))
    total = len(strip.moments)
    note = f"{total} of {strip.total} frames" if strip.total > total else f"All {strip.total} frames"
    if strip.limits is not None:
        note += ". Colour follows inverse depth, on one scale for the clip"
    return FramesSection(shown, tuple(scales), note + ".")


def _shown(moment: StripFrame, printed: bool) -> Shown:
    pictures = []
    for key, (title, hint) in PANELS.items():
        picture = getattr(moment, key)
        if picture is not None:
            alt = f"Frame {moment.name}: {title}, {hint}"
            pictures.append((embedded(picture, alt), title[:1].upper() + title[1:], hint))
    return Shown(moment.name, moment.number, tuple(pictures), printed)


def depth_scale(limits: tuple[float, float], unit: str, scale: Figure | None) -> ColourScale:
    """The colours of depth, in mm where the unit or a registration gives them.

    Args:
        limits: Nearest and farthest depth.
        unit: Of the depth maps.
        scale: Millimetres to a unit of the reconstruction by a registration that was not refused, or None.
    """
    shown = {"mm": "mm", "sfm": "units"}.get(unit, "units of each frame")
    factor, title = 1.0, "depth"
    if unit == "sfm" and scale is not None:
        factor, shown, title = scale.value, "mm", "depth, at the scale of the registration"
    near, far = (significant(factor * value, 2) for value in limits)
    return colour_scale(cv2.COLORMAP_INFERNO, f"{far} {shown}", f"{near} {shown}", title)


def deviation_scale(most: float) -> ColourScale:
    """The colours of the relative standard deviation."""
    return colour_scale(
        cv2.COLORMAP_VIRIDIS, "0", f"{100 * most:.0f}\N{NO-BREAK SPACE}% of depth", "standard deviation"
    )


def surface_caption(space: Space, clip: ClipResults) -> Markup:
    """What the view of the surface shows, and in what unit."""
    shown = thousands(0 if space.surface is None or space.surface.faces is None else len(space.surface.faces))
    faces = whole(clip.surface.figure("faces")) or thousands(space.faces)
    path = "Orange: the camera path; white: the camera at the moment above. " if space.cameras is not None else ""
    source = f"Millimetres from {space.scale_source}. " if space.scale_source else "Lengths are in free units. "
    return phrase(
        '<span class="screen">{}</span>{}Grey-blue is the back of the wall. Shown with {} of {} faces.',
        path, source, shown, faces,
    )  # fmt: skip


def distance_chart(distances: SurfaceDistances) -> Chart | None:
    """How the distances spread."""
    chosen = levels(cv2.COLORMAP_VIRIDIS)[(torch.arange(40) * 255 / 39).round().long()]
    colours = [f"rgb({r},{g},{b})" for r, g, b in chosen.tolist()]
    title = f"Distances of the surface to {distances.against}"
    drawing = histogram(
        distances.mm.tolist(), title=title, across="distance in mm; the last bar holds all beyond", up="share in %",
        most=distances.most_mm, colours=colours,
    )  # fmt: skip
    if drawing is None:
        return None
    results, path = distances.results, distances.path
    mean, middle = results.figure(*path, "mean"), results.figure(*path, "median")
    how = f", {distances.how}" if distances.how else ""
    caption = phrase("{}{}, at {} vertices of the shown surface. ", title, how, thousands(len(distances.mm)))
    if mean is not None and middle is not None:
        deviation = results.figure(*path, "std")
        plus = None if deviation is None else phrase(" \N{PLUS-MINUS SIGN} {}", amount(deviation))
        measured = phrase("Figures of the whole surface: mean {}{} mm, ", amount(mean), plus)
        caption = joined(caption, measured, phrase("median {}.", amount(middle, "mm")))
    return Chart(drawing, caption)


def path_chart(space: Space) -> Chart | None:
    """Where the camera went, in the axes of its middle frame."""
    if space.cameras is None or len(space.names) < 2:
        return None
    middle = len(space.names) // 2
    axes = space.cameras.rotation[middle]
    places = (space.cameras.origin - space.cameras.origin[middle]) @ axes.T
    views = [
        ("right", "down", [(p[0], p[1]) for p in places.tolist()]),
        ("right", "forward", [(p[0], p[2]) for p in places.tolist()]),
    ]
    title = "Camera path, seen along its view and from above"
    ends = (space.names[0], space.names[-1])
    if len(max(ends, key=len)) > 18:
        ends = ("", "")
    drawing = path_plot(views, title=title, unit=space.unit, names=ends)
    return None if drawing is None else Chart(drawing, phrase("{}, on one scale.", title))


def scale_chart(results: Results) -> Chart | None:
    """The factor that brings the depth of each frame to its points."""
    columns = results.table("scales.csv")
    factor, measured = _numbers(columns.get("factor")), _numbers(columns.get("measured"))
    if len(factor) < 2:
        return None
    frames = tuple(float(n) for n in range(len(factor)))
    lines = [Line("used, smoothed over the clip", frames, factor)]
    if len(measured) == len(factor):
        lines.append(Line("by the frame's own points", frames, measured, dots=True))
    drawing = line_chart(lines, title="Scale of every frame", across="frame", up="factor", within=(0.98, 1.02))
    drift = share(results.figure("scale_drift"))
    beside = None if drift is None else phrase(" Drift {}.", drift)
    caption = phrase("Scale of every frame: a flat line means that depth agrees over the clip.{}", beside)
    return None if drawing is None else Chart(drawing, caption)


@dataclass(frozen=True)
class TrainingSection:
    """What is shown of a training.

    Attributes:
        summary: In one line.
        charts: Of losses and validation.
    """

    summary: Markup
    charts: tuple[Chart, ...]


def training_section(run: Results) -> TrainingSection | None:
    """The curves of the loss and of validation."""
    log, validation = run.table("log.csv"), run.table("validation.csv")
    steps, charts = _numbers(log.get("step")), []
    lines = [Line(name, steps, v) for name in CURVES if len(v := _numbers(log.get(name))) == len(steps) > 0]
    loss = line_chart(lines, title="Losses over the steps", across="step", up="loss", logarithmic=True)
    if loss is not None:
        charts.append(Chart(loss, Markup("TrainingSection losses, as logged.")))
    at = _numbers(validation.get("step"))
    columns = (("abs_rel", "AbsRel, mean"), ("median", "relative error, median"), ("scale_drift", "scale drift"))
    lines = [
        Line(title, at, tuple(100 * v for v in values))
        for name, title in columns
        if len(values := _numbers(validation.get(name))) == len(at) > 0
    ]
    checked = line_chart(lines, title="Validation over the steps", across="step", up="%", within=(0.0, 1.0))
    if checked is not None:
        charts.append(Chart(checked, Markup("Validation against points of structure from motion.")))
    if not charts and not run:
        return None
    parts: list[Part] = [
        f"recipe {run.said('recipe')}" if run.said("recipe") else None,
        whole(run.figure("steps"), "steps"),
        amount(run.figure("pairs_per_second"), "pairs per second"),
    ]
    summary = joined(*parts, by=", ")
    return TrainingSection(phrase("{}.", summary[:1].upper() + summary[1:]) if summary else Markup(""), tuple(charts))


def stored_pictures(stage: Results, names: tuple[tuple[str, str], ...]) -> list[tuple[Embedded, str]]:
    """Pictures that a stage left, with what they show."""
    made = [(picture_file(stage.place / name, alt, 1200), f"{alt} ({stage.name}/{name}).") for name, alt in names]
    return [(picture, caption) for picture, caption in made if picture is not None]


def hero(view: ClipView | None, surface: Embedded | None, space: Space) -> list[tuple[Embedded, str]]:
    """The pictures of the first screen: the middle frame, its depth, and the surface."""
    made: list[tuple[Embedded, str]] = []
    if view is not None:
        name = view.names[len(view.names) // 2]
        for panel, title in (("frame", "Frame"), ("depth", "Depth"), *(() if surface else (("points", "Points"),))):
            picture = view.picture(name, panel)
            if picture is not None:
                made.append((embedded(picture, f"{title} of the frame in the middle of the video", 80), title))
    if surface is not None:
        first = space.distances[0] if space.distances else None
        ends = "" if first is None else f": dark 0, yellow {significant(first.most_mm, 2)} mm or more"
        made.append((surface, "Surface" if first is None else f"Surface by distance to {first.against}{ends}"))
    return made


def _numbers(column: list[str] | None) -> tuple[float, ...]:
    """A column as numbers; what is none becomes NaN."""

    def number(word: str) -> float:
        try:
            return float(word)
        except ValueError:
            return math.nan

    return tuple(number(word) for word in column or ())
