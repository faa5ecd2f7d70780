"""Content area: where the scope shows tissue, and where the frame is only its dark surround.

Edge points of each frame give a circle (arXiv 2210.14771); the pixels that any frame lights give the rest: rectangle,
octagon, ellipse, a free form, or no border at all. The simplest outline that explains what is seen is taken.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
import torch
from jaxtyping import Bool, UInt8
from torch import Tensor

from depthscope.errors import BadInputError
from depthscope.video.outlines import Disc, FreeForm, Outline, Pair, Polygon, WholeFrame
from depthscope.video.packing import Packing, packing_of, split
from depthscope.video.polygons import convex_polygons, fitted_ellipse
from depthscope.video.rim import Circle, RimPoints, fit_circle, pool, rim_confidence, rim_points, tolerance_px
from depthscope.video.stills import Grey

LEAST_CONFIDENCE = 0.5
"""Below this the border is not believed, and the whole frame is taken."""

FRAME_CONFIDENCE = 0.35
"""A circle in one frame that is less certain does not count among those of the others."""

DARK_SHARE = 0.004
"""So much of the frame at least is dark surround where there is a border."""

DARKEST_SURROUND = 40.0
"""Grey level that the surround stays below; above it, nothing in a frame is surround."""

SURROUND_NOISE = 12.0
"""So many grey levels above the surround's own level is lit."""

OUTSIDE_SHARE = 0.005
"""A circle outside of which so much is lit, relative to its area, is not the border."""

LEAST_AGREEMENT = 0.985
"""Intersection over union with the lit pixels from which a form explains them."""

OTHER_CONFIDENCE, OTHER_RADIUS = 0.7, 0.05
"""Circles so certain, whose radii differ by more than this share, are content areas of different times."""

NOTCH_DEPTH = (0.012, 0.03)
"""How deep into the disc a notch reaches at least and is looked for, as shares of the radius."""

NOTCH_WIDEST_RAD = 0.25
WORKING_PX = 1920
"""Frames with longer sides are made smaller first: 8K has no sharper border."""

BITE_SHARE = 0.01
"""A circle of which so much is never lit is no circle: it was warped, or something stands before it."""


INSET_SIDE, INSET_FILL = 0.1, 0.85
"""Another picture has sides of this share of the frame's shorter one, and fills so much of its box; text does not."""

INSET_RIM_PX = 6
"""So far its edge is blurred, at working size."""

Box = tuple[int, int, int, int]
"""(left, top, width, height) in pixels."""


@dataclass(frozen=True)
class ContentArea:
    """Where the scope shows tissue.

    Attributes:
        outline: The form.
        size_px: (width, height) of the frames.
        confidence: 0..1; how well the outline explains the edges that are seen.
        notch_angle_rad: Direction of the orientation notch from the centre, from the x axis toward the y axis; NaN if
            none is seen. It turns with the shaft where the camera head is held still.
        spread_px: How far the centre moves over the frames (largest distance from the median); 0 if it is not a circle.
        packing: How two pictures lie in each frame, where there are two; the outline is that of the left or upper one.
        insets_px: Boxes (left, top, width, height) of other pictures beside it, as a second source is mixed in; none of
            them is content.
    """

    outline: Outline
    size_px: tuple[int, int]
    confidence: float
    notch_angle_rad: float = float("nan")
    spread_px: float = 0.0
    packing: Packing = ""
    insets_px: tuple[Box, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.confidence <= 1:
            raise BadInputError(f"a content area of confidence {self.confidence}", "0 to 1")

    @property
    def shape(self) -> str:
        """circle, ellipse, octagon, rectangle, polygon of n corners, free, or none."""
        return self.outline.name

    @property
    def centre_px(self) -> Pair:
        """Centre of the outline."""
        return self.outline.centre_px

    @property
    def radius_px(self) -> float | None:
        """Radius of a circle, None for other forms."""
        return self.outline.radius_px if isinstance(self.outline, Disc) else None

    @property
    def corners(self) -> tuple[Pair, ...]:
        """Corners of a polygon, none for other forms."""
        return self.outline.corners_px if isinstance(self.outline, Polygon) else ()

    def mask(self, size_px: tuple[int, int] | None = None, *, erode_px: float = 0.0) -> Bool[Tensor, "height width"]:
        """Which pixels show tissue.

        Args:
            size_px: (width, height) of the mask; that of the frames if None.
            erode_px: So far from the border (not from the sides of the frame) they must be.
        """
        size = size_px or self.size_px
        across, down = size[0] / self.size_px[0], size[1] / self.size_px[1]
        same = size == self.size_px
        inside = (self.outline if same else self.outline.scaled(across, down)).mask(size)
        if erode_px <= 0 or bool(inside.all()):
            return inside
        distance = cv2.distanceTransform(inside.numpy().astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        return torch.from_numpy(distance > erode_px + 0.5)

    def figures(self) -> dict[str, Any]:
        """The area as plain values, for a result file."""
        return {
            "shape": self.shape,
            "centre_px": list(self.centre_px),
            "radius_px": self.radius_px,
            "corners_px": [list(corner) for corner in self.corners],
            "confidence": self.confidence,
            "notch_angle_rad": self.notch_angle_rad,
            "spread_px": self.spread_px,
            "packing": self.packing,
            "insets_px": [list(box) for box in self.insets_px],
        }


def whole_frame(size_px: tuple[int, int], confidence: float = 1.0) -> ContentArea:
    """The content area of frames without a border."""
    return ContentArea(WholeFrame(size_px), size_px, confidence)


def circle_of_frame(grey: Grey, like: ContentArea | None = None) -> ContentArea | None:
    """The circle in a single frame, or None where no clear one is seen.

    Args:
        grey: Its brightness.
        like: The content area of its clip, which says whether it holds two pictures.
    """
    size = grey.shape[1], grey.shape[0]
    if like is not None and like.packing:
        first = circle_of_frame(torch.from_numpy(split(grey.numpy(), like.packing)[0]))
        return None if first is None else _in_whole_frame(first, size, like.packing)
    small = _smaller(grey.numpy())
    circle = fit_circle(rim_points(small), (small.shape[1], small.shape[0]))
    if circle is None or circle.confidence < FRAME_CONFIDENCE:
        return None
    return _disc(circle, size, size[0] / small.shape[1])


def content_area(frames: Sequence[Grey]) -> ContentArea:
    """The content area that about 20 frames of a clip agree on.

    Args:
        frames: Brightness of frames spread over the clip.

    Raises:
        BadInputError: There are no frames.
    """
    if not frames:
        raise BadInputError("no frames to find the content area in", "at least one")
    size = frames[0].shape[1], frames[0].shape[0]
    if packing := packing_of([frame.numpy() for frame in frames]):
        first = _content_area([torch.from_numpy(split(frame.numpy(), packing)[0]) for frame in frames])
        return _in_whole_frame(first, size, packing)
    return _content_area(frames)


def _in_whole_frame(area: ContentArea, size_px: tuple[int, int], packing: Packing) -> ContentArea:
    """The content area of the left or upper picture as one of the whole frame."""
    width, height = area.size_px
    outline = area.outline
    if isinstance(outline, WholeFrame):
        right, bottom = float(width), float(height)
        outline = Polygon(((0.0, 0.0), (right, 0.0), (right, bottom), (0.0, bottom)))
    elif isinstance(outline, FreeForm):  # pixels of the one picture, not of a frame that may be stretched
        outline = outline.in_corner_of(size_px)
    else:
        lit = outline.mask(size_px)
        within = torch.zeros_like(lit)
        within[:height, :width] = True
        if bool((lit & ~within).any()):
            outline = FreeForm(lit & within)
    return replace(area, outline=outline, size_px=size_px, packing=packing)


def _content_area(frames: Sequence[Grey]) -> ContentArea:
    """That of frames with one picture each."""
    size = frames[0].shape[1], frames[0].shape[0]
    greys = [_smaller(frame.numpy()) for frame in frames]
    small_size = greys[0].shape[1], greys[0].shape[0]
    lit, insets = lit_parts(greys)
    if 1 - lit.mean() < DARK_SHARE or not lit.any():
        return whole_frame(size)
    points = [rim_points(darkened(grey, insets)) for grey in greys]
    first = like_the_first([fit_circle(found, small_size) for found in points])
    if 3 <= len(first) < len(frames):
        return _content_area([frames[place] for place in first])
    area = _round_area(points, lit, small_size) or _other_area(pool(points), lit, small_size)
    if area.confidence < LEAST_CONFIDENCE and not insets:  # dark lies between two pictures: there is a border
        return whole_frame(size, 1 - area.confidence)
    across, down = size[0] / small_size[0], size[1] / small_size[1]
    outline, spread = area.outline.scaled(across, down), area.spread_px * across
    boxes = tuple((round(x * across), round(y * down), round(w * across), round(h * down)) for x, y, w, h in insets)
    return replace(area, outline=outline, size_px=size, spread_px=spread, insets_px=boxes)


def content_of_image(image: UInt8[Tensor, "height width 3"]) -> Bool[Tensor, "height width"] | None:
    """Where a single image shows tissue, or None where it does so everywhere."""
    area = content_area([torch.from_numpy(cv2.cvtColor(image.numpy(), cv2.COLOR_RGB2GRAY))])
    return None if area.shape == "none" else area.mask()


def lit_parts(greys: Sequence[np.ndarray]) -> tuple[np.ndarray, list[Box]]:
    """What any of the frames lights: the content, and other pictures that lie beside it.

    Args:
        greys: Brightness of the frames, bytes, shape (height, width) each.

    Returns:
        The largest piece without holes (all but the dark that is joined to the frame's sides), shape (height, width),
        and the boxes of other pieces that are upright rectangles.
    """
    brightest = nearly_brightest([cv2.blur(grey, (3, 3)) for grey in greys])
    surround = float(np.percentile(brightest, 1))
    if surround > DARKEST_SURROUND:
        return np.ones(brightest.shape, bool), []
    lit = (brightest > min(surround + SURROUND_NOISE, DARKEST_SURROUND)).astype(np.uint8)
    lit = cv2.morphologyEx(lit, cv2.MORPH_OPEN, np.ones((5, 5), np.uint8))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(lit)
    if count < 2:
        return np.zeros(lit.shape, bool), []
    largest = 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())
    padded = cv2.copyMakeBorder((labels != largest).astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=1)
    _, dark = cv2.connectedComponents(padded, connectivity=4)
    insets, least = [], INSET_SIDE * min(brightest.shape)
    for number in range(1, count):
        left, top, width, height, area = (int(value) for value in stats[number])
        if number != largest and min(width, height) >= least and area >= INSET_FILL * width * height:
            insets.append((left, top, width, height))
    return (dark != dark[0, 0])[1:-1, 1:-1], insets


def darkened(grey: np.ndarray, insets: Sequence[Box]) -> np.ndarray:
    """A frame without other pictures, whose sides would count against the border of the scope's."""
    if not insets:
        return grey
    grey, surround = grey.copy(), np.percentile(grey, 1)
    for left, top, width, height in insets:
        grey[max(0, top - INSET_RIM_PX) : top + height + INSET_RIM_PX,
             max(0, left - INSET_RIM_PX) : left + width + INSET_RIM_PX] = surround  # fmt: skip
    return grey


def like_the_first(circles: Sequence[Circle | None]) -> list[int]:
    """Which frames show a circle of the size of the first clear one, where others clearly show another; else none.

    Args:
        circles: The circle of each frame.
    """
    clear = [
        (place, circle)
        for place, circle in enumerate(circles)
        if circle is not None and circle.confidence > OTHER_CONFIDENCE
    ]
    alike = [place for place, circle in clear if abs(circle.radius / clear[0][1].radius - 1) < OTHER_RADIUS]
    return alike if len(clear) - len(alike) >= 3 else []


def nearly_brightest(greys: Sequence[np.ndarray]) -> np.ndarray:
    """The brightest value at each pixel but one or two, where there are enough frames: one may be blurred or foreign.

    Args:
        greys: Brightness of the frames, bytes, shape (height, width) each.
    """
    rank = 1 if len(greys) < 5 else 2 if len(greys) < 10 else 3
    highest = [np.zeros_like(greys[0]) for _ in range(rank)]
    for grey in greys:
        for place in range(rank):
            highest[place], grey = np.maximum(highest[place], grey), np.minimum(highest[place], grey)
    return highest[-1]


def _round_area(points: list[RimPoints], lit: np.ndarray, size_px: tuple[int, int]) -> ContentArea | None:
    """A circle, where the frames agree on one that is lit all over; None otherwise, as where it is bitten."""
    circles = [fit_circle(found, size_px) for found in points]
    clear = [circle for circle in circles if circle is not None and circle.confidence >= FRAME_CONFIDENCE]
    if 2 * len(clear) >= len(points):
        centres = np.stack([circle.centre for circle in clear])
        centre, radius = np.median(centres, 0), float(np.median([circle.radius for circle in clear]))
        spread = float(np.linalg.norm(centres - centre, axis=1).max())
        pooled = rim_confidence(pool(points), centre, radius, size_px, slack_px=spread, frames=len(points))
        circle = Circle(centre, radius, max(pooled, float(np.median([circle.confidence for circle in clear]))))
    else:
        found = fit_circle(pool(points), size_px, frames=len(points))
        if found is None or found.confidence < LEAST_CONFIDENCE:
            return None
        circle, spread = found, 0.0
    disc = Disc((float(circle.centre[0]), float(circle.centre[1])), circle.radius)
    inside = disc.mask(size_px).numpy()
    grown = Disc(disc.centre_px, disc.radius_px + 2 * tolerance_px(size_px) + spread).mask(size_px).numpy()
    if (lit & ~grown).sum() > OUTSIDE_SHARE * inside.sum():
        return None
    shrunk = Disc(disc.centre_px, disc.radius_px - 2 * tolerance_px(size_px)).mask(size_px).numpy()
    bites = cv2.morphologyEx((shrunk & ~lit).astype(np.uint8), cv2.MORPH_OPEN, np.ones((5, 5), np.uint8))
    if bites.sum() > BITE_SHARE * inside.sum():
        return None
    return ContentArea(disc, size_px, circle.confidence, notch_angle(lit, disc), spread)


def _other_area(pooled: RimPoints, lit: np.ndarray, size_px: tuple[int, int]) -> ContentArea:
    """The simplest of rectangle, octagon, ellipse and free form that agrees with the lit pixels."""
    found: list[Outline] = [*convex_polygons(lit, pooled, size_px), *fitted_ellipse(lit, pooled, size_px)]
    for outline in found:
        inside = outline.mask(size_px).numpy()
        if agreement(inside, lit) > LEAST_AGREEMENT:
            return ContentArea(outline, size_px, edge_support(inside, pooled, size_px))
    outline = FreeForm(torch.from_numpy(lit))
    return ContentArea(outline, size_px, edge_support(lit, pooled, size_px))


def agreement(a: np.ndarray, b: np.ndarray) -> float:
    """Intersection over union of two masks."""
    return float((a & b).sum() / max(1, (a | b).sum()))


def edge_support(inside: np.ndarray, points: RimPoints, size_px: tuple[int, int]) -> float:
    """Share of the rim points, by clearness, on the border of a mask, times the root of how clear these are."""
    if not len(points):
        return 0.0
    padded = np.pad(inside, 1, mode="edge").astype(np.uint8)  # the sides of the frame are no border
    inner, outer = (cv2.distanceTransform(side, cv2.DIST_L2, 5)[1:-1, 1:-1] for side in (padded, 1 - padded))
    columns, rows = np.clip(points.places.astype(int), 0, np.array(size_px) - 1).T
    near = np.maximum(inner, outer)[rows, columns] < 2 * tolerance_px(size_px)
    weight = points.clearness
    if not near.any():
        return 0.0
    return float((weight * near).sum() / weight.sum() * np.sqrt(weight[near].mean()))


def notch_angle(lit: np.ndarray, disc: Disc) -> float:
    """Direction of the one short stretch of a circle's rim that is dark deep into the disc; NaN without one.

    Args:
        lit: Pixels that are ever lit, shape (height, width).
        disc: The circle.
    """
    turns = np.deg2rad(np.arange(0, 360, 0.5))
    depths = disc.radius_px * np.linspace(1 - NOTCH_DEPTH[1], 1 - NOTCH_DEPTH[0], 8)
    x = disc.centre_px[0] + depths[:, None] * np.cos(turns)
    y = disc.centre_px[1] + depths[:, None] * np.sin(turns)
    seen = (x >= 0) & (y >= 0) & (x < lit.shape[1]) & (y < lit.shape[0])
    columns, rows = np.clip(x, 0, lit.shape[1] - 1).astype(int), np.clip(y, 0, lit.shape[0] - 1).astype(int)
    dark = (seen & ~lit[rows, columns]).mean(0) > 0.5
    if not dark.any() or dark.mean() > NOTCH_WIDEST_RAD / (2 * np.pi):
        return float("nan")
    direction = complex(np.exp(1j * turns[dark]).mean())
    if abs(direction) < 0.99:  # several places, or one too wide
        return float("nan")
    return float(np.angle(direction))


def _disc(circle: Circle, size_px: tuple[int, int], scale: float) -> ContentArea:
    centre = (float(circle.centre[0] * scale), float(circle.centre[1] * scale))
    return ContentArea(Disc(centre, circle.radius * scale), size_px, circle.confidence)


def _smaller(grey: np.ndarray) -> np.ndarray:
    """A frame of at most `WORKING_PX`, by averaging."""
    shrink = max(1.0, max(grey.shape) / WORKING_PX)
    if shrink == 1:
        return grey
    size = round(grey.shape[1] / shrink), round(grey.shape[0] / shrink)
    return cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
