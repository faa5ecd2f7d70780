"""The surface in space, to turn: a picture, the data of a mesh and the buttons, which ``surface.js`` brings to life."""

import base64
from dataclasses import dataclass, replace
from typing import Any

import cv2
import torch

from depthscope.geometry import Surface
from depthscope.pictures import Picture, painted, surface_picture
from depthscope.report.images import Embedded, embedded
from depthscope.report.markup import significant
from depthscope.report.mesh import described, shell, viewpoint
from depthscope.report.space import Space, SurfaceDistances

STILL_PX = (1280, 800)
"""Size of the surface's picture."""

LOOKS = (("colours", "Video colours"), ("clay", "Clay"), ("distance", "Distance"))
"""Colours to choose from."""

ACTS = (
    ("path", "Camera path"),
    ("others", "Other clips"),
    ("follow", "Through the camera"),
    ("measure", "Measure"),
    ("nearer", "Zoom in"),
    ("farther", "Zoom out"),
    ("reset", "Reset view"),
)
"""What a view can do; those without anything to do it with are hidden."""


@dataclass(frozen=True)
class ColourScale:
    """A bar of colours between the values of its ends.

    Attributes:
        what: What the colours mean.
        low, high: Values of the ends, with their unit.
        stops: CSS colours from the one end to the other.
    """

    what: str
    low: str
    high: str
    stops: str


@dataclass(frozen=True)
class SurfaceBox:
    """What the template of a surface is given.

    Attributes:
        key: Of the element.
        still: The picture that stands where nothing can be drawn, and on paper.
        data: The mesh and all that is drawn with it, for the script.
        looks, acts: Buttons, with their titles.
        look: The colours to start with.
        scale: Of the distances, or None.
        palette: The 256 colours of the distances, base64.
        alone: Whether the view fills its page.
        hint: How it is moved by keyboard.
    """

    key: str
    still: Embedded
    data: dict[str, Any]
    looks: tuple[tuple[str, str], ...]
    acts: tuple[tuple[str, str], ...]
    look: str
    scale: ColourScale | None
    palette: str
    alone: bool

    @property
    def hint(self) -> str:
        """For a screen reader."""
        keys = "Shift and arrow keys turn" if self.alone else "Arrow keys turn, shift and arrow keys move"
        return f"Surface in 3D. {keys}, plus and minus zoom, 0 resets."


def surface_box(
    space: Space,
    key: str,
    *,
    around: Surface | None = None,
    around_title: str = "CT",
    focal: float | None = None,
    alone: bool = False,
    scale_error: float | None = None,
    others: tuple[dict, ...] = (),
) -> SurfaceBox | None:
    """The view with its buttons, or None where there is no surface.

    Args:
        space: The surface and the path.
        key: Of the element.
        around: What is drawn about it like glass.
        around_title: What that is.
        focal: Of the camera, in half heights of its picture: how wide one looks through it.
        alone: The view fills its page: it zooms without being chosen first, and leaves the arrow keys to the page.
        scale_error: Relative standard deviation of the scale, which every length inherits.
        others: Surfaces and paths of other clips in the same frame.
    """
    surface = space.surface
    if surface is None:
        return None
    view = viewpoint(surface, space.cameras)
    first = space.distances[0] if space.distances else None
    against = "coloured by its distance to " + first.against if first is not None else "in the colours of the video"
    still = embedded(still_picture(space, STILL_PX), f"The surface from behind the camera, {against}", 80)
    data = described(
        surface, view, space.unit, None if first is None else first.mm, 0.0 if first is None else first.most_mm,
        space.cameras,
    )  # fmt: skip
    if around is not None:
        data["around"] = shell(around)
    if focal is not None:
        data["focal"] = focal
    if scale_error is not None:
        data["scale_error"] = round(scale_error, 5)
    if others:
        data["others"] = list(others)
    scale = None
    if first is not None:
        end = f"{significant(first.most_mm, 2)} mm and more"
        scale = colour_scale(cv2.COLORMAP_VIRIDIS, "0 mm", end, f"distance to {first.against}")
    palette = base64.b64encode(bytes(levels(cv2.COLORMAP_VIRIDIS).flatten().tolist())).decode()
    look = "distance" if first is not None else "colours"
    return SurfaceBox(key, still, data, LOOKS, (("around", around_title), *ACTS), look, scale, palette, alone)


def still_picture(space: Space, size_px: tuple[int, int]) -> Picture:
    """The surface as it is seen at first, coloured by its distances where there are any."""
    assert space.surface is not None
    first = space.distances[0] if space.distances else None
    camera, motion = viewpoint(space.surface, space.cameras).camera(size_px)
    coloured = space.surface if first is None else _painted(space.surface, first)
    return surface_picture(coloured, camera, motion, coloured=coloured.colours is not None)


def colour_scale(colours: int, low: str, high: str, what: str) -> ColourScale:
    """A bar of the colours of an OpenCV colour map."""
    return ColourScale(what, low, high, ", ".join(f"rgb({r},{g},{b})" for r, g, b in levels(colours)[::17].tolist()))


def levels(colours: int) -> torch.Tensor:
    """The 256 colours of a map, uint8 RGB."""
    return painted(torch.arange(256)[None] / 255, torch.ones(1, 256, dtype=torch.bool), colours)[0]


def _painted(surface: Surface, distances: SurfaceDistances) -> Surface:
    level = (distances.mm / distances.most_mm * 255).round().clamp(0, 255).long()
    return replace(surface, colours=levels(cv2.COLORMAP_VIRIDIS)[level])
