"""The viewer's page: it loads the pictures of the frame that is shown, from where it came from, and nothing else."""

import json
from importlib.metadata import version
from importlib.resources import files

import cv2

from depthscope.report.folder import COMMANDS, CaseFolder
from depthscope.report.markup import Html, element, joined, significant
from depthscope.report.policy import SERVED, policy, script
from depthscope.report.sections import PANELS
from depthscope.report.surface_box import colour_scale, surface_box
from depthscope.report.verdict import outcome, spoken
from depthscope.viewer.scene import Scene

CHOICES = {"depth": "Depth", "deviation": "Uncertainty", "points": "Points", "masked": "Masks"}
"""What can be shown below the frame."""

KEYS = (
    ("\N{LEFTWARDS ARROW} \N{RIGHTWARDS ARROW}", "one frame"),
    ("Page up, Page down", "ten frames"),
    ("Home, End", "first, last"),
    ("Space", "play, stop"),
    ("1 to 4", "depth, uncertainty, points, masks"),
    ("C", "through the camera"),
    ("Drag, scroll, right drag", "turn, zoom, shift the surface"),
    ("Shift and arrows, + \N{MINUS SIGN} 0", "the same by keyboard"),
)
"""What the keys do."""


def page_name(number: int) -> str:
    """The page of a clip: the first one is where one comes in."""
    return "index.html" if number == 0 else f"clip-{number}.html"


def picture_name(number: int, panel: str, frame: int) -> str:
    """The address of a picture, from the page."""
    return f"clip-{number}/{panel}/{frame}.jpg"


def viewer_page(case: CaseFolder, scene: Scene, number: int, images: str = SERVED) -> str:
    """The page of one clip as text, not yet sealed.

    Args:
        case: The case.
        scene: The clip.
        number: Of the clip in the case.
        images: Where its pictures may come from.
    """
    title = f"{case.name} {scene.clip.name}".strip()
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", http_equiv="Content-Security-Policy", content=policy(images)),
        element("meta", name="referrer", content="no-referrer"),
        element("title", f"{title} \N{EN DASH} depthscope"),
        element("link", rel="icon", href="data:,"),
        element("style", Html(_asset("depthscope.report", "style.css") + _asset("depthscope.viewer", "view.css"))),
    )
    scripts = [
        script(_asset(*place)) for place in (("depthscope.report", "surface.js"), ("depthscope.viewer", "view.js"))
    ]
    body = element(
        "body", _bar(case, scene, number), _pictures(scene), _space(scene, number), _time(scene, number), *scripts,
        class_="viewer",
    )  # fmt: skip
    return f"<!DOCTYPE html>\n{element('html', head, body, lang='en')}\n"


def _bar(case: CaseFolder, scene: Scene, number: int) -> Html:
    """What this is, and whether it may be trusted."""
    said = spoken(case)
    clips = [
        element("a", clip.name, href=page_name(n), aria_current="page" if n == number else None)
        for n, clip in enumerate(case.clips)
    ]
    word = outcome(scene.clip)
    verdict = f"{scene.clip.name}: {word or 'no verdict'}" if len(clips) > 1 else said.headline
    standing = {"accepted": "usable", "refused": "unusable"}.get(word, "unknown") if len(clips) > 1 else said.standing
    rows = [joined(element("dt", keys), element("dd", what)) for keys, what in KEYS]
    keys = element("details", element("summary", "Keys"), element("dl", *rows), class_="keys")
    return element(
        "header",
        element("h1", case.name),
        element("p", verdict, class_=f"standing {standing}"),
        element("nav", *clips, aria_label="Clips") if len(clips) > 1 else None,
        keys,
    )


def _pictures(scene: Scene) -> Html:
    """The frame, and one of what is known of it."""
    panels = scene.panels
    if not panels:
        text = "No frames: neither depth maps nor a sequence can be read."
        return element("section", element("p", text, class_="none"), class_="pictures", aria_label="Frames")
    others = [panel for panel in CHOICES if panel in panels]
    choices = [
        element("button", CHOICES[panel], type="button", data_panel=panel, aria_pressed="false")
        for panel in CHOICES
        if panel in others
    ]
    shown = ["frame"] if "frame" in panels else []
    shown += others[:1]
    figures = [
        element("figure", element("img", alt=PANELS[panel][0], data_panel=panel), class_="picture") for panel in shown
    ]
    bar = element("div", *choices, class_="choice", role="group", aria_label="What is shown below the frame")
    if "frame" in panels:
        figures.insert(1, bar)
    else:
        figures.insert(0, bar)
    return element("section", *figures, *_scales(scene), class_="pictures", aria_label="Frames")


def _scales(scene: Scene) -> list[Html]:
    """What the colours mean, one for each panel that has any."""
    view = scene.view
    if view is None:
        return []
    made = []
    if view.limits is not None:
        near, far = (significant(value, 2) for value in view.limits)
        unit = {"mm": "mm", "sfm": "units"}.get(view.unit, "units of each frame")
        bar = colour_scale(cv2.COLORMAP_INFERNO, f"{far} {unit}", f"{near} {unit}", "depth")
        made.append(element("div", bar, data_scale="depth", hidden=True))
    end = f"{100 * view.most_deviation:.0f}\N{NO-BREAK SPACE}% of depth"
    bar = colour_scale(cv2.COLORMAP_VIRIDIS, "0", end, "standard deviation")
    made.append(element("div", bar, data_scale="deviation", hidden=True))
    for panel in ("points", "masked"):
        made.append(element("p", PANELS[panel][1].capitalize() + ".", class_="note", data_scale=panel, hidden=True))
    return made


def _space(scene: Scene, number: int) -> Html:
    """The surface, or why there is none."""
    box = surface_box(
        scene.space,
        f"clip-{number}-view",
        around=scene.around,
        around_title=scene.around_title,
        focal=scene.focal,
        alone=True,
    )
    if box is None:
        text = joined("No surface here yet. Made by ", element("code", COMMANDS["surface"]), ".")
        return element("section", element("p", text, class_="none"), class_="space", aria_label="Surface")
    space, registration = scene.space, scene.clip.registration
    lines = [f"Millimetres from {space.scale_source}." if space.scale_source else "Lengths are in free units."]
    if registration.get("ambiguous") is True and "refused" in space.scale_source:
        lines = ["The registration was refused: place, size and distances are its best guess, and not known."]
    elif not space.distances:
        lines.append("No registration: nothing to measure distances to.")
    if scene.around is not None and space.distances:
        lines.append(f"Like glass: {space.distances[0].against}.")
    return element("section", box, element("p", " ".join(lines), class_="note"), class_="space", aria_label="Surface")


def _time(scene: Scene, number: int) -> Html:
    """The slider."""
    view = scene.view
    if view is None:
        return Html("")
    said = {"names": view.names, "frames": scene.frames, "place": f"clip-{number}", "view": f"clip-{number}-view"}
    return element(
        "footer",
        element("button", "Play", type="button", class_="play"),
        element(
            "input", type="range", min=0, max=len(view.names) - 1, value=0, step=1, aria_label="Frame", class_="time"
        ),
        element("output", ""),
        element("script", Html(json.dumps(said).replace("<", "\\u003c")), type="application/json"),
        element("p", f"depthscope {version('depthscope')}", class_="made"),
    )


def _asset(package: str, name: str) -> str:
    return files(package).joinpath(name).read_text(encoding="utf-8")
