"""The parts of the page: what the camera saw, the surface, the path, the checks, the training."""

import math

import cv2
import torch

from depthscope.report.charts import Line, histogram, line_chart, path_plot
from depthscope.report.clip_view import Moment, Strip
from depthscope.report.folder import Clip, Results
from depthscope.report.images import embedded, picture_file
from depthscope.report.markup import Figure, Html, amount, element, joined, share, significant, whole
from depthscope.report.space import Distances, Space
from depthscope.report.surface_box import colour_scale, levels, surface_box

PANELS = {
    "frame": ("frame", "as the camera saw it, lens distortion removed"),
    "depth": ("depth", "near is bright"),
    "deviation": ("its uncertainty", "sure is dark"),
    "points": ("points of structure from motion", "near is bright"),
    "masked": ("what counts", "striped: hidden by the masks"),
}
"""Pictures of a moment, and what they show."""

PRINTED = 3
"""Moments that are printed."""

CURVES = ("loss", "sparse", "consistency", "flow")
"""Columns of the training log that are drawn."""


def strip_section(strip: Strip, key: str, scale: Figure | None = None) -> Html:
    """The video, one moment at a time; depth in mm where `scale`, in mm to its unit, is known."""
    moments, last = strip.moments, len(strip.moments) - 1
    printed = {round(i * last / max(1, PRINTED - 1)) for i in range(PRINTED)}
    shown = [_moment(moment, number, number in printed) for number, moment in enumerate(moments)]
    slider = element("input", type="range", min=0, max=last, value=last // 2, step=1, id=f"{key}-slider")
    scrub = element(
        "div", element("label", "moment", for_=f"{key}-slider"), slider, element("output", "", for_=f"{key}-slider"),
        class_="scrub",
    )  # fmt: skip
    keys = []
    if strip.limits is not None:
        unit = "mm" if strip.unit == "mm" else "units" if strip.unit == "sfm" else "units of each frame"
        factor, title = 1.0, "depth"
        if strip.unit == "sfm" and scale is not None:
            factor, unit, title = scale.value, "mm", "depth, at the scale of the registration"
        near, far = (significant(factor * value, 2) for value in strip.limits)
        keys.append(colour_scale(cv2.COLORMAP_INFERNO, f"{far} {unit}", f"{near} {unit}", title))
    if any(moment.deviation is not None for moment in moments):
        end = f"{100 * strip.most_deviation:.0f}\N{NO-BREAK SPACE}% of depth"
        keys.append(colour_scale(cv2.COLORMAP_VIRIDIS, "0", end, "standard deviation"))
    total = f"{len(moments)} of {strip.total} frames" if strip.total > len(moments) else f"All {strip.total} frames"
    note = element("p", f"{total}. Depth is coloured by its inverse, one scale for the clip.", class_="note")
    return element(
        "div", *shown, scrub, joined(*keys), note if strip.limits else None, class_="strip", data_view=f"{key}-view"
    )


def _moment(moment: Moment, number: int, printed: bool) -> Html:
    figures = []
    for key, (title, hint) in PANELS.items():
        picture = getattr(moment, key)
        if picture is not None:
            caption = element("figcaption", element("b", title[:1].upper() + title[1:]), f", {hint}")
            figures.append(element("figure", embedded(picture, f"Frame {moment.name}: {title}, {hint}"), caption))
    classes = "moment" + (" shown" if number == 0 else "") + (" printed" if printed else "")
    return element("div", *figures, class_=classes, data_name=moment.name, data_frame=moment.number)


def surface_section(space: Space, clip: Clip, key: str) -> Html | None:
    """The surface in space, to turn; a picture of it where that cannot be, and on paper."""
    surface = space.surface
    if surface is None:
        return None
    box = surface_box(space, key)
    shown = f"{len(surface.faces) if surface.faces is not None else 0:,}".replace(",", "\N{NARROW NO-BREAK SPACE}")
    faces = whole(clip.surface.figure("faces")) or f"{space.faces:,}"
    hint = element(
        "span", "Click or tap the view, then drag to turn, scroll or pinch to zoom, shift or two fingers to move. ",
        class_="screen",
    )  # fmt: skip
    line = "The orange line is the path of the camera, the white frame where it is at the moment above. "
    orange = line if space.cameras is not None else ""
    path = element("span", orange, class_="screen")
    source = f"Millimetres from {space.scale_source}. " if space.scale_source else "Lengths are in free units. "
    caption = element(
        "figcaption", hint, path, source,
        f"Grey-blue is the back of the wall. Shown with {shown} of ", faces, " faces.",
    )  # fmt: skip
    return element("figure", box, caption)


def distance_section(distances: Distances) -> Html | None:
    """How the distances spread."""
    chosen = levels(cv2.COLORMAP_VIRIDIS)[(torch.arange(40) * 255 / 39).round().long()]
    colours = [f"rgb({r},{g},{b})" for r, g, b in chosen.tolist()]
    title = f"Distances of the surface to {distances.against}"
    chart = histogram(
        distances.mm.tolist(), title=title, across="distance in mm, the rest in the last bar", up="share in %",
        most=distances.most_mm, colours=colours,
    )  # fmt: skip
    if chart is None:
        return None
    results, path = distances.results, distances.path
    mean, middle = results.figure(*path, "mean"), results.figure(*path, "median")
    how = f", {distances.how}" if distances.how else ""
    told = joined(f"{title}{how}, at {len(distances.mm)} vertices of the shown surface. ")
    if mean is not None and middle is not None:
        deviation = results.figure(*path, "std")
        plus = joined(" \N{PLUS-MINUS SIGN} ", amount(deviation)) if deviation is not None else None
        told = joined(told, "As measured: mean ", amount(mean), plus, " mm, median ", amount(middle, "mm"), ".")
    return element("figure", chart, element("figcaption", told))


def path_section(space: Space) -> Html | None:
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
    title = "Path of the camera, seen along its view and from above"
    ends = (space.names[0], space.names[-1])
    if len(max(ends, key=len)) > 18:
        ends = ("", "")
    chart = path_plot(views, title=title, unit=space.unit, names=ends)
    return None if chart is None else element("figure", chart, element("figcaption", f"{title}, one scale for both."))


def scale_section(results: Results) -> Html | None:
    """The factor that brings the depth of each frame to its points."""
    columns = results.table("scales.csv")
    factor, measured = _numbers(columns.get("factor")), _numbers(columns.get("measured"))
    if len(factor) < 2:
        return None
    frames = tuple(float(n) for n in range(len(factor)))
    lines = [Line("used, smoothed over the clip", frames, factor)]
    if len(measured) == len(factor):
        lines.append(Line("by the frame's own points", frames, measured, dots=True))
    chart = line_chart(lines, title="Scale of every frame", across="frame", up="factor", within=(0.98, 1.02))
    drift = share(results.figure("scale_drift"))
    told = joined("Scale of every frame: a flat line means depth that agrees over the clip.")
    told = told if drift is None else joined(told, " Drift ", drift, ".")
    return None if chart is None else element("figure", chart, element("figcaption", told))


def training_section(run: Results) -> Html | None:
    """The curves of the loss and of validation."""
    log, validation = run.table("log.csv"), run.table("validation.csv")
    steps, parts = _numbers(log.get("step")), []
    lines = [Line(name, steps, v) for name in CURVES if len(v := _numbers(log.get(name))) == len(steps) > 0]
    loss = line_chart(lines, title="Losses over the steps", across="step", up="loss", logarithmic=True)
    if loss is not None:
        parts.append(element("figure", loss, element("figcaption", "Losses of training, as logged.")))
    at = _numbers(validation.get("step"))
    columns = (
        ("abs_rel", "relative error, mean"),
        ("median", "relative error, median"),
        ("scale_drift", "drift of scale"),
    )
    lines = [
        Line(title, at, tuple(100 * v for v in values))
        for name, title in columns
        if len(values := _numbers(validation.get(name))) == len(at) > 0
    ]
    checked = line_chart(lines, title="Validation over the steps", across="step", up="%", within=(0.0, 1.0))
    if checked is not None:
        parts.append(
            element("figure", checked, element("figcaption", "Validation, against points of structure from motion."))
        )
    if not parts and not run:
        return None
    told = _list_of(
        ("recipe ", run.said("recipe") or None), ("", whole(run.figure("steps"), "steps")),
        ("", amount(run.figure("pairs_per_second"), "pairs per second")),
    )  # fmt: skip
    return joined(element("p", told) if told else None, element("div", *parts, class_="pair") if parts else None)


def made_pictures(place: Results, names: tuple[tuple[str, str], ...]) -> Html:
    """Pictures that a stage left, with what they show."""
    made = []
    for name, alt in names:
        picture = picture_file(place.place / name, alt, 1200)
        if picture is not None:
            made.append(element("figure", picture, element("figcaption", f"{alt} ({place.name}/{name}).")))
    return joined(*made)


def _list_of(*pairs: tuple[str, Html | str | None]) -> Html | None:
    parts = [joined(name, value) for name, value in pairs if value is not None]
    return joined(*(joined(", " if i else "", part) for i, part in enumerate(parts)), ".") if parts else None


def _numbers(column: list[str] | None) -> tuple[float, ...]:
    """A column as numbers; what is none becomes NaN."""

    def number(word: str) -> float:
        try:
            return float(word)
        except ValueError:
            return math.nan

    return tuple(number(word) for word in column or ())
