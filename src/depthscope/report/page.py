"""The page: one HTML file that carries all it shows, no larger than mail and archives take."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from importlib.resources import files

from depthscope.report.clip_view import sequence_of, strip_of
from depthscope.report.folder import COMMANDS, STAGES, CaseFolder, Clip
from depthscope.report.markup import Html, Part, element, joined
from depthscope.report.policy import policy, script, sealed
from depthscope.report.provenance import provenance
from depthscope.report.sections import (
    distance_section,
    made_pictures,
    path_section,
    scale_section,
    strip_section,
    surface_section,
    training_section,
)
from depthscope.report.space import space_of
from depthscope.report.tables import checks_table, depth_table, key_figures, scene_table, surface_table
from depthscope.report.verdict import outcome, spoken

MOST_BYTES = 8_000_000
"""Of the page."""


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

WORDS = {"usable": "Usable", "limited": "Usable within limits", "unusable": "Not usable", "unknown": "Not known"}


def page(case: CaseFolder, told: Callable[[str], None] = lambda line: None, most_bytes: int = MOST_BYTES) -> str:
    """The whole page as text.

    Args:
        case: What lies in the case's folder.
        told: Is given a line where the page shows less than it could, to stay small.
        most_bytes: Bound of its size.
    """
    clips = len(case.clips)
    made = ""
    for detail in DETAILS:
        if clips > 4 and detail is DETAILS[0]:
            continue
        made = document(case, detail)
        if len(made.encode()) <= most_bytes:
            break
        told(f"the page would be larger than {most_bytes / 1e6:g} MB: shown with less detail")
    return made


def document(case: CaseFolder, detail: Detail) -> str:
    """The page with so much detail."""
    parts = [*_front(case), *_clips(case, detail), *_back(case)]
    title = f"{case.name} \N{EN DASH} depthscope"
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", http_equiv="Content-Security-Policy", content=policy()),
        element("meta", name="generator", content=f"depthscope {version('depthscope')}"),
        element("title", title),
        element("link", rel="icon", href="data:,"),
        element("style", Html(_asset("style.css"))),
        element(
            "noscript", element("style", Html(".strip .moment { display: grid } .scrub { display: none !important }"))
        ),
    )
    foot = element(
        "footer",
        element(
            "p",
            f"Made by depthscope {version('depthscope')} on {time.strftime('%Y-%m-%d')} from the files of this case.",
            " Point at a number to see the file that it stands in.",
        ),
    )  # fmt: skip
    scripts = [script(_asset(name)) for name in ("surface.js", "strip.js")]
    body = element("body", parts[0], element("main", *parts[1:]), foot, *scripts)
    return sealed(f"<!DOCTYPE html>\n{element('html', head, body, lang='en')}\n")


def _front(case: CaseFolder) -> list[Html]:
    """The verdict and the key figures."""
    said = spoken(case)
    reasons = None
    if said.reasons and said.standing == "unusable":
        reasons = joined(element("p", "Reasons:"), element("ul", *(element("li", reason) for reason in said.reasons)))
    header = element(
        "header",
        element("p", f"depthscope \N{MIDDLE DOT} {case.name}", class_="name"),
        element("p", WORDS[said.standing], class_=f"standing {said.standing}"),
        element("h1", said.headline),
    )
    why = element(
        "section", *(element("p", line) for line in said.sentences), reasons, class_="why", aria_label="Verdict"
    )
    figures = key_figures(case)
    return [header, why, _section("Key figures", "figures", figures)]


def _clips(case: CaseFolder, detail: Detail) -> list[Html]:
    several = len(case.clips) > 1
    parts = []
    if several:
        links = [
            element("li", element("a", clip.name, href=f"#clip-{n}"), f": {outcome(clip) or 'no verdict'}")
            for n, clip in enumerate(case.clips)
        ]
        parts.append(_section("Clips", "clips", element("ul", *links)))
    for number, clip in enumerate(case.clips):
        parts += _clip(case, clip, detail, f"clip-{number}", several)
    return parts


def _clip(case: CaseFolder, clip: Clip, detail: Detail, key: str, several: bool) -> list[Html]:
    """What there is of one clip; a heading of its own where there are several."""
    sequence = sequence_of(clip)
    strip = strip_of(clip, sequence, detail.moments, detail.height_px)
    space = space_of(case, clip, sequence, detail.faces)
    lines = _refusal(clip) if several else None
    level = "h3" if several else "h2"
    charts = [part for d in space.distances if (part := distance_section(d)) is not None]
    spread = element("div", *charts, class_="pair" if len(charts) > 1 else None) if charts else None
    lines_and_scale = [part for part in (path_section(space), scale_section(clip.surface)) if part is not None]
    titled = (
        ("What the camera saw", "seen", None if strip is None else strip_section(strip, key, clip.scale)),
        ("The surface", "surface", surface_section(space, clip, f"{key}-view")),
        ("Distances", "distances", spread),
        ("Path and scale", "path", element("div", *lines_and_scale, class_="pair") if lines_and_scale else None),
        ("Checks of the structure from motion", "checks", checks_table(clip.sequence)),
    )
    parts = [
        element(
            "section", element(level, title), content, aria_label=f"{clip.name} {title}".strip(), id=f"{key}-{name}"
        )
        for title, name, content in titled
        if content is not None
    ]
    if not several:
        return parts
    return [element("section", element("h2", clip.name), lines, *parts, id=key, aria_label=clip.name)]


def _refusal(clip: Clip) -> Html | None:
    word, reasons = outcome(clip), clip.sequence.lines("reasons")
    if not word:
        return None
    listed = element("ul", *(element("li", reason) for reason in reasons)) if reasons else None
    return joined(element("p", f"Verdict: {word}."), listed)


def _back(case: CaseFolder) -> list[Html]:
    """Errors where the truth is known, the training, what is missing, how it was made."""
    depth, surface = case.stages["depth_error"], case.stages["surface_error"]
    pictures = made_pictures(surface, (("depth.png", "Depth beside the truth, each frame at its own scale"),))
    measured = joined(depth_table(depth), scene_table(case), surface_table(surface), pictures)
    problems = [line for results in case.stages.values() for line in results.problems]
    problems += [
        line for clip in case.clips if clip.name for line in (*clip.prediction.problems, *clip.surface.problems)
    ]
    return [
        _section("Measured errors", "errors", measured or None),
        _section("Training", "training", training_section(case.stages["run"])),
        _section("What is not here", "missing", _missing(case, problems)),
        _section("How this was made", "provenance", provenance(case)),
    ]


def _missing(case: CaseFolder, problems: list[str]) -> Html | None:
    rows: list[Part] = [element("li", line) for line in problems]
    for name in case.missing:
        how = joined(" Made by ", element("code", COMMANDS[name]), ".") if name in COMMANDS else None
        rows.append(element("li", element("b", name), f": {STAGES[name]}.", how))
    return element("ul", *rows) if rows else None


def _section(title: str, key: str, content: Html | None) -> Html:
    if content is None:
        return Html("")
    return element("section", element("h2", title), content, id=key)


def _asset(name: str) -> str:
    return files("depthscope.report").joinpath(name).read_text(encoding="utf-8")
