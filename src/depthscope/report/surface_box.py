"""The surface in space, to turn: a picture, the data of a mesh and the buttons, which ``surface.js`` brings to life."""

import base64
import json
from dataclasses import replace

import cv2
import torch

from depthscope.geometry import Surface
from depthscope.pictures import painted, surface_picture
from depthscope.report.images import data_uri
from depthscope.report.markup import Html, element, significant
from depthscope.report.mesh import described, shell, viewpoint
from depthscope.report.space import Distances, Space

STILL_PX = (1280, 800)
"""Size of the surface's picture."""

LOOKS = (("colours", "Video colours"), ("clay", "Clay"), ("distance", "Distance"))
"""Colours to choose from."""

ACTS = (
    ("path", "Camera path"),
    ("follow", "Through the camera"),
    ("nearer", "Nearer"),
    ("farther", "Farther"),
    ("reset", "Reset"),
)
"""What a view can do; those without anything to do it with are hidden."""


def surface_box(
    space: Space,
    key: str,
    *,
    around: Surface | None = None,
    around_title: str = "CT",
    focal: float | None = None,
    alone: bool = False,
) -> Html | None:
    """The view with its buttons, or None where there is no surface.

    Args:
        space: The surface and the path.
        key: Of the element.
        around: What is drawn about it like glass.
        around_title: What that is.
        focal: Of the camera, in half heights of its picture: how wide one looks through it.
        alone: The view fills its page: it zooms without being chosen first, and leaves the arrow keys to the page.
    """
    surface = space.surface
    if surface is None:
        return None
    view = viewpoint(surface, space.cameras)
    first = space.distances[0] if space.distances else None
    camera, motion = view.camera(STILL_PX)
    coloured = surface if first is None else _painted(surface, first)
    picture = surface_picture(coloured, camera, motion, coloured=surface.colours is not None or first is not None)
    seen = "coloured by its distance to " + first.against if first is not None else "in the colours of the video"
    still = element(
        "img", src=data_uri(picture, 80), alt=f"The surface from behind the camera, {seen}",
        width=STILL_PX[0], height=STILL_PX[1],
    )  # fmt: skip
    said = described(
        surface, view, space.unit, None if first is None else first.mm, 0.0 if first is None else first.most_mm,
        space.cameras,
    )  # fmt: skip
    if around is not None:
        said["around"] = shell(around)
    if focal is not None:
        said["focal"] = focal
    data = element("script", Html(json.dumps(said).replace("<", "\\u003c")), type="application/json")
    keys = "Arrow keys turn, with shift they shift" if not alone else "Shift and arrow keys turn"
    canvas = element(
        "canvas", "The surface, drawn to be turned.", tabindex=0, role="application",
        aria_label=f"Surface in space. {keys}, plus and minus zoom, 0 resets.",
    )  # fmt: skip
    stage = element("div", still, canvas, element("div", element("span", ""), class_="ruler"), class_="stage")
    start = "distance" if first is not None else "colours"
    ruler = None
    if first is not None:
        end = f"{significant(first.most_mm, 2)} mm and more"
        what = f"distance to {first.against}"
        ruler = element("div", colour_scale(cv2.COLORMAP_VIRIDIS, "0 mm", end, what), class_="key")
    acts = (("around", around_title), *ACTS)
    buttons = [element("button", title, type="button", data_look=look, aria_pressed="false") for look, title in LOOKS]
    buttons += [element("button", title, type="button", data_act=act) for act, title in acts]
    palette = base64.b64encode(bytes(levels(cv2.COLORMAP_VIRIDIS).flatten().tolist())).decode()
    return element(
        "div", stage, element("div", *buttons, class_="controls"), ruler, data,
        class_="surface", data_look=start, data_palette=palette, data_alone=alone, id=key,
    )  # fmt: skip


def colour_scale(colours: int, low: str, high: str, what: str) -> Html:
    """A bar of colours between the values of its ends."""
    stops = ", ".join(f"rgb({r},{g},{b})" for r, g, b in levels(colours)[::17].tolist())
    bar = element("span", "", class_="colourbar", style=f"background: linear-gradient(90deg, {stops})")
    return element("p", element("span", f"{what}: {low}", bar, high, class_="scale"))


def levels(colours: int) -> torch.Tensor:
    """The 256 colours of a map, uint8 RGB."""
    return painted(torch.arange(256)[None] / 255, torch.ones(1, 256, dtype=torch.bool), colours)[0]


def _painted(surface: Surface, distances: Distances) -> Surface:
    level = (distances.mm / distances.most_mm * 255).round().clamp(0, 255).long()
    return replace(surface, colours=levels(cv2.COLORMAP_VIRIDIS)[level])
