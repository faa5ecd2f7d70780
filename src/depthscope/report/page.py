"""The page: one HTML file that carries all it shows, no larger than mail and archives take."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from markupsafe import Markup

from depthscope.report.clip_view import clip_view, sequence_of, strip_of
from depthscope.report.downloads import Download
from depthscope.report.folder import COMMANDS, STAGES, CaseFolder, ClipResults
from depthscope.report.images import embedded
from depthscope.report.metadata import metadata
from depthscope.report.policy import policy, sealed
from depthscope.report.provenance import records
from depthscope.report.rendering import rendered
from depthscope.report.sections import (
    Chart,
    FramesSection,
    distance_chart,
    frames_section,
    hero,
    path_chart,
    scale_chart,
    stored_pictures,
    surface_caption,
    training_section,
)
from depthscope.report.space import Space, space_of
from depthscope.report.surface_box import SurfaceBox, still_picture, surface_box
from depthscope.report.tables import Checks, checks_of, depth_table, key_figures, scene_table, surface_table
from depthscope.report.verdict import RESEARCH_USE, outcome, verdict

MOST_BYTES = 8_000_000
"""Of the page."""

HERO_PX = (480, 384)
"""Size of the surface's picture on the first screen."""


@dataclass(frozen=True)
class Detail:
    """How much a page shows of each clip.

    Attributes:
        moments: Frames of the strip.
        height_px: Of its pictures.
        faces: Of the surface.
    """

    moments: int
    height_px: int
    faces: int


DETAILS = (
    Detail(12, 320, 60_000),
    Detail(8, 260, 30_000),
    Detail(5, 200, 15_000),
    Detail(3, 160, 6_000),
    Detail(1, 120, 2_000),
)
"""From the most to the least; the first with which the page is small enough is taken."""


@dataclass(frozen=True)
class ClipPart:
    """What the page shows of one clip.

    Attributes:
        key: Of its elements.
        name: Of the clip, "" where there is only one.
        outcome: Of its checks, in a word or two.
        reasons: Of a refusal.
        frames: Moments of the video.
        surface: The view in 3D.
        surface_caption: What it shows.
        distances: Histograms.
        charts: Of the path and the scale.
        checks: Of the structure from motion.
    """

    key: str
    name: str
    outcome: str
    reasons: tuple[str, ...]
    frames: FramesSection | None
    surface: SurfaceBox | None
    surface_caption: Markup
    distances: tuple[Chart, ...]
    charts: tuple[Chart, ...]
    checks: tuple[Checks, ...]


def page(
    case: CaseFolder,
    told: Callable[[str], None] = lambda line: None,
    most_bytes: int = MOST_BYTES,
    downloads: tuple[Download, ...] = (),
) -> str:
    """The whole page as text.

    Args:
        case: What lies in the case's folder.
        told: Is given a line where the page shows less than it could, to stay small.
        most_bytes: Bound of its size.
        downloads: Files that lie beside the page.
    """
    clips = len(case.clips)
    made = ""
    for detail in DETAILS:
        if clips > 4 and detail is DETAILS[0]:
            continue
        made = document(case, detail, downloads)
        if len(made.encode()) <= most_bytes:
            break
        told(f"the page would be larger than {most_bytes / 1e6:g} MB: shown with less detail")
    return made


def document(case: CaseFolder, detail: Detail, downloads: tuple[Download, ...] = ()) -> str:
    """The page with so much detail."""
    spaces = [space_of(case, clip, sequence_of(clip), detail.faces) for clip in case.clips]
    first = case.clips[0]
    view = clip_view(first, sequence_of(first), detail.height_px, detail.moments)
    surface = None
    if spaces[0].surface is not None:
        surface = embedded(still_picture(spaces[0], HERO_PX), "The surface seen from behind the camera", 80)
    truth = case.stages["surface_error"]
    tables = [depth_table(case.stages["depth_error"]), scene_table(case), surface_table(truth)]
    problems = [line for results in case.stages.values() for line in results.problems]
    problems += [p for clip in case.clips if clip.name for p in (*clip.prediction.problems, *clip.surface.problems)]
    clips = [
        _clip(clip, space, detail, number, len(case.clips) > 1)
        for number, (clip, space) in enumerate(zip(case.clips, spaces, strict=True))
    ]
    text = rendered(
        "report.html.j2",
        policy=policy(),
        title=f"{case.name} \N{EN DASH} depthscope report",
        name=case.name,
        verdict=verdict(case),
        research_use=RESEARCH_USE,
        hero=hero(view, surface, spaces[0]),
        metadata=metadata(case),
        figures=key_figures(case),
        downloads=downloads,
        clips=clips,
        tables=[table for table in tables if table is not None],
        pictures=stored_pictures(truth, (("depth.png", "Depth beside ground truth, each frame at its own scale"),)),
        training=training_section(case.stages["run"]),
        problems=problems,
        missing=[(name, STAGES[name], COMMANDS.get(name, "")) for name in case.missing],
        records=records(case),
        date=time.strftime("%Y-%m-%d"),
    )  # fmt: skip
    return sealed(text)


def _clip(clip: ClipResults, space: Space, detail: Detail, number: int, several: bool) -> ClipPart:
    """What there is of one clip."""
    key = f"clip-{number}"
    strip = strip_of(clip, sequence_of(clip), detail.moments, detail.height_px)
    charts = (path_chart(space), scale_chart(clip.surface))
    distances = (distance_chart(distance) for distance in space.distances)
    return ClipPart(
        key,
        clip.name if several else "",
        outcome(clip),
        tuple(clip.sequence.lines("reasons")),
        None if strip is None else frames_section(strip, clip.scale),
        surface_box(space, f"{key}-view", scale_error=scale_error(clip, space)),
        surface_caption(space, clip),
        tuple(chart for chart in distances if chart is not None),
        tuple(chart for chart in charts if chart is not None),
        checks_of(clip.sequence),
    )


def scale_error(clip: ClipResults, space: Space) -> float | None:
    """Relative standard deviation of the scale of a registration, which every length inherits; None without one."""
    scale, deviation = clip.registration.figure("scale"), clip.registration.figure("scale_sd")
    if space.unit != "mm" or scale is None or deviation is None or clip.registration.get("ambiguous") is True:
        return None
    return deviation.value / scale.value if scale.value > 0 else None
