"""Instruments, found without labels: grey where tissue is coloured, long, coming from the border, moving alone.

It finds metal shafts and jaws of some size. It misses coloured tools, thin wires and tools that stand in blood, and it
takes pale tissue for a tool where that is long, grey and reaches the border. A tool that rests on the tissue harms
structure from motion little, so what clearly moves with the scene is kept unless its form is that of a shaft.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import UInt8

from depthscope.video.optical_flow import follow

LOOK_PX = 640
GREY_CHROMA, GREY_SATURATION = 13.0, 64
"""CIE Lab chroma and HSV saturation (of 255) below which a pixel may be metal."""

BLOWN_OUT = 215
"""A piece of a higher median brightness is over-exposed tissue or a highlight."""

EDGE_CHROMA = 5.0
"""So much more chroma the surroundings of metal have."""

LEAST_SHARE = 0.0006
"""Share of the frame that a piece must cover."""

NEAR_SHARE = 0.04
"""A tool comes from the border: so near (of the frame's width) it must get."""

ACROSS = 0.35
"""A tool goes inward by so much of its length, or half of that where only so much of it lies at the border: along one
side of the frame it stays near that side, and so does a grey stretch of the rim, but not with one end alone."""

RANSAC_PX = 2.0


@dataclass(frozen=True, eq=False)
class Neighbour:
    """Another frame of the same clip.

    Attributes:
        image: sRGB bytes, shape (height, width, 3).
    """

    image: UInt8[np.ndarray, "height width 3"]


def instrument_pixels(pixels: np.ndarray, inside: np.ndarray, neighbour: Neighbour | None) -> np.ndarray:
    """Pixels of instruments, with a margin.

    Args:
        pixels: sRGB bytes, shape (height, width, 3).
        inside: Content area, shape (height, width).
        neighbour: Another frame to compare motions with, or None: then colour and form decide alone.
    """
    scale = min(1.0, LOOK_PX / max(inside.shape))
    size = round(inside.shape[1] * scale), round(inside.shape[0] * scale)
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    area = cv2.resize(inside.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
    chroma, saturation = colourfulness(small)
    shown = area > 0
    if not shown.any() or float(np.median(chroma[shown])) < 1.3 * GREY_CHROMA:
        return np.zeros(inside.shape, bool)  # grey all over: colour says nothing here
    tool = np.zeros(area.shape, np.uint8)
    pieces = _grey_pieces(small, chroma, saturation, shown)
    moving = None if neighbour is None or not pieces else _own_motion(small, neighbour, size, shown, pieces)
    depth = cv2.distanceTransform(np.pad(area, 1), cv2.DIST_L2, 5)[1:-1, 1:-1]
    for number, piece in enumerate(pieces):
        if _is_tool(piece, chroma, depth, None if moving is None else moving[number]):
            tool |= piece.astype(np.uint8)
    if not tool.any():
        return np.zeros(inside.shape, bool)
    weak = ((chroma < 1.5 * GREY_CHROMA) & (saturation < 1.5 * GREY_SATURATION) & shown).astype(np.uint8)
    near = np.asarray(cv2.dilate(tool, np.ones((25, 25), np.uint8)), np.uint8)
    _, labels = cv2.connectedComponents((weak & near) | tool)
    grown = np.logical_and(np.isin(labels, np.unique(labels[tool > 0])), labels > 0)
    grown = cv2.morphologyEx(grown.astype(np.uint8), cv2.MORPH_CLOSE, _ball(7))
    grown = cv2.dilate(grown, _ball(4))
    return cv2.resize(grown, (inside.shape[1], inside.shape[0]), interpolation=cv2.INTER_NEAREST) > 0


def colourfulness(small: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """CIE Lab chroma and HSV saturation, each by the median of 5 x 5 pixels."""
    lab = cv2.cvtColor(small, cv2.COLOR_RGB2LAB).astype(np.float32)
    chroma = np.hypot(lab[..., 1] - 128, lab[..., 2] - 128)
    saturation = cv2.cvtColor(small, cv2.COLOR_RGB2HSV)[..., 1]
    return cv2.medianBlur(chroma, 5), cv2.medianBlur(saturation, 5)


def _grey_pieces(small: np.ndarray, chroma: np.ndarray, saturation: np.ndarray, shown: np.ndarray) -> list[np.ndarray]:
    """Connected grey parts of some size that are not mere highlights."""
    value = small.max(2)
    grey = (chroma < GREY_CHROMA) & (saturation < GREY_SATURATION) & (value > 20) & shown
    grey = cv2.morphologyEx(grey.astype(np.uint8), cv2.MORPH_OPEN, _ball(1))
    grey = cv2.morphologyEx(grey, cv2.MORPH_CLOSE, _ball(5))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(grey)
    large = [n for n in range(1, count) if stats[n, cv2.CC_STAT_AREA] > LEAST_SHARE * grey.size]
    pieces = [labels == n for n in large]
    return [piece for piece in pieces if float(np.median(value[piece])) < BLOWN_OUT]


def _is_tool(piece: np.ndarray, chroma: np.ndarray, depth: np.ndarray, moves_alone: bool | None) -> bool:
    """Colour, form, place and motion together."""
    places = np.argwhere(piece)[:, ::-1].astype(np.float32)
    short, long = sorted(cv2.minAreaRect(places)[1])
    longer = long / max(short, 1.0)
    colour = float(chroma[piece].mean())
    near = depth[piece].min() <= NEAR_SHARE * piece.shape[1]
    reach = (depth[piece].max() - depth[piece].min()) / max(long, 1.0)
    across = reach >= ACROSS or (reach >= ACROSS / 2 and _contact(piece, depth) <= ACROSS * long)
    if not (near and across and stands_out(piece, chroma, depth > 0)):
        return False
    if moves_alone is False:
        return longer > 3.5 and colour < 9.0
    if moves_alone:
        return longer > 1.5 and colour < 11.0
    return longer > 2.6 and colour < 9.5


def _contact(piece: np.ndarray, depth: np.ndarray) -> float:
    """How long the part of a piece is that lies at the border, or nearest to it: of a tool, its width."""
    places = np.argwhere(piece & (depth <= depth[piece].min() + 2))[:, ::-1].astype(np.float32)
    return float(max(cv2.minAreaRect(places)[1]))


def stands_out(piece: np.ndarray, chroma: np.ndarray, shown: np.ndarray) -> bool:
    """Whether colour begins at its edge: tissue that is blown out fades into its surroundings."""
    mask = piece.astype(np.uint8)
    outside = (cv2.dilate(mask, _ball(6)) > 0) & (cv2.dilate(mask, _ball(2)) == 0) & shown
    inside = (cv2.erode(mask, _ball(2)) > 0) & (cv2.erode(mask, _ball(6)) == 0)
    inside = inside if inside.any() else piece
    return bool(outside.any()) and float(np.median(chroma[outside]) - np.median(chroma[inside])) > EDGE_CHROMA


def _own_motion(
    small: np.ndarray, neighbour: Neighbour, size: tuple[int, int], shown: np.ndarray, pieces: list[np.ndarray]
) -> list[bool | None]:
    """For each piece whether it moves against the scene around it; None where there is too little to tell."""
    other = cv2.resize(neighbour.image, size, interpolation=cv2.INTER_AREA)
    one, two = (cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in (small, other))
    mask = (shown & (small.max(2) < 240)).astype(np.uint8)
    start = cv2.goodFeaturesToTrack(one, 500, 0.005, 6, mask=mask)
    if start is None or len(start) < 30:
        return [None] * len(pieces)
    start = start[:, 0]
    end, kept = follow(one, two, start)
    start, end = start[kept], end[kept]
    if len(start) < 30:
        return [None] * len(pieces)
    scene, _ = cv2.findHomography(start, end, cv2.RANSAC, RANSAC_PX)
    if scene is None:
        return [None] * len(pieces)
    expected = cv2.perspectiveTransform(start[None], scene)[0]
    off = np.linalg.norm(end - expected, axis=1)
    columns, rows = np.clip(np.floor(start).astype(int), 0, np.array(size) - 1).T
    return [_alone(off, piece[rows, columns]) for piece in pieces]


def _alone(off: np.ndarray, on_piece: np.ndarray) -> bool | None:
    if on_piece.sum() < 5 or (~on_piece).sum() < 20:
        return None
    return bool(np.median(off[on_piece]) > 2.0 + 3.0 * np.median(off[~on_piece]))


def _ball(radius: int) -> np.ndarray:
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
