"""The viewer's page: it loads the pictures of the frame that is shown, from where it came from, and nothing else."""

from typing import Any

from markupsafe import Markup

from depthscope.report.folder import COMMANDS, CaseFolder
from depthscope.report.page import scale_error
from depthscope.report.policy import SERVED, policy
from depthscope.report.rendering import environment
from depthscope.report.sections import PANELS, depth_scale, deviation_scale
from depthscope.report.surface_box import ColourScale, surface_box
from depthscope.report.verdict import RESEARCH_USE, outcome, verdict
from depthscope.viewer.scene import ViewerScene

CHOICES = {"depth": "Depth", "deviation": "Uncertainty", "points": "Points", "masked": "Masks"}
"""What can be shown below the frame."""

KEYS = (
    ("\N{LEFTWARDS ARROW} \N{RIGHTWARDS ARROW}", "one frame"),
    ("Page up, Page down", "ten frames"),
    ("Home, End", "first, last"),
    ("Space", "play, pause (on a button: presses it)"),
    ("1 to 4", "depth, uncertainty, points, masks"),
    ("C", "through the camera"),
    ("M", "measure; Enter sets a point under the cross"),
    ("Drag, scroll, right drag", "turn, zoom, move the surface"),
    ("Shift and arrows, + \N{MINUS SIGN} 0", "the same by keyboard, on the surface"),
)
"""What the keys do."""


def page_name(number: int) -> str:
    """The page of a clip: the first one is where one comes in."""
    return "index.html" if number == 0 else f"clip-{number}.html"


def picture_name(number: int, panel: str, frame: int) -> str:
    """The address of a picture, from the page."""
    return f"clip-{number}/{panel}/{frame}.jpg"


def viewer_page(case: CaseFolder, scene: ViewerScene, number: int, images: str = SERVED) -> str:
    """The page of one clip as text, not yet sealed.

    Args:
        case: The case.
        scene: The clip.
        number: Of the clip in the case.
        images: Where its pictures may come from.
    """
    key = f"clip-{number}"
    box = surface_box(
        scene.space,
        f"{key}-view",
        around=scene.around,
        around_title=scene.around_title,
        focal=scene.focal,
        alone=True,
        scale_error=scale_error(scene.clip, scene.space),
        others=scene.other_surfaces,
    )
    standing, words = _verdict(case, scene)
    values = {
        "policy": policy(images),
        "title": f"{case.name} {scene.clip.name}".strip(),
        "name": case.name,
        "standing": standing,
        "verdict": words,
        "research_use": RESEARCH_USE,
        "clips": [(clip.name, page_name(n), n == number) for n, clip in enumerate(case.clips)],
        "keys": KEYS,
        "panels": [(panel, PANELS[panel][0]) for panel in _shown(scene)],
        "choices": [(panel, CHOICES[panel]) for panel in CHOICES if panel in scene.panels],
        "scales": _scales(scene),
        "notes": [(panel, f"{PANELS[panel][1].capitalize()}.") for panel in ("points", "masked")],
        "surface": box,
        "surface_note": "" if box is None else _note(scene),
        "surface_command": COMMANDS["surface"],
        "slices": None if scene.slices is None else {**scene.slices.described, "place": key},
        "planes": () if scene.slices is None else _planes(scene),
        "frames": None if scene.view is None else _frames(scene, key),
    }
    return environment("depthscope.viewer").get_template("viewer.html.j2").render(values)


def _verdict(case: CaseFolder, scene: ViewerScene) -> tuple[str, Markup | str]:
    """Standing and words: of the case, or of the clip where there are several."""
    found, word = verdict(case), outcome(scene.clip)
    if len(case.clips) == 1:
        return found.standing, found.headline
    standing = {"accepted": "limited", "refused": "unusable"}.get(word, "unknown")
    return standing, f"{scene.clip.name}: structure from motion {word or 'without a verdict'}. Case: {found.text}"


def _shown(scene: ViewerScene) -> list[str]:
    """The panels to start with: the frame, and one of what is known of it."""
    return (["frame"] if "frame" in scene.panels else []) + [panel for panel in CHOICES if panel in scene.panels][:1]


def _scales(scene: ViewerScene) -> list[tuple[str, ColourScale]]:
    """What the colours mean, one for each panel that has any; in mm where the case gives them."""
    view = scene.view
    if view is None:
        return []
    made = [] if view.limits is None else [("depth", depth_scale(view.limits, view.unit, scene.clip.scale))]
    return [*made, ("deviation", deviation_scale(view.most_deviation))]


def _note(scene: ViewerScene) -> str:
    """In what unit the surface is, and what else is drawn."""
    space, registration = scene.space, scene.clip.registration
    lines = [f"Millimetres from {space.scale_source}." if space.scale_source else "Lengths are in free units."]
    if registration.get("ambiguous") is True and "refused" in space.scale_source:
        lines = ["The registration was refused: place, size and distances are its best guess, and not known."]
    elif not space.distances:
        lines.append("No registration: nothing to measure distances to.")
    if scene.around is not None and space.distances:
        lines.append(f"Drawn like glass: {space.distances[0].against}.")
    if scene.others:
        lines.append(f"In the same CT: {', '.join(name for name, _ in scene.others)}.")
    return " ".join(lines)


def _planes(scene: ViewerScene) -> list[tuple[str, str, int]]:
    """Plane, its axis, and how many slices it has."""
    assert scene.slices is not None
    axes = {"axial": "z, up", "coronal": "y, back", "sagittal": "x, left"}
    return [(plane, axis, scene.slices.count(plane)) for plane, axis in axes.items()]


def _frames(scene: ViewerScene, key: str) -> dict[str, Any]:
    assert scene.view is not None
    return {"names": scene.view.names, "frames": scene.frames, "place": key, "view": f"{key}-view"}
