"""Weak labels of endoscopic frames without a network: colour, brightness and place tell the classes apart.

Instruments are grey and come from the border, highlights are small and nearly saturated, the lumen is the darkest
smooth region, outside is what the scope does not show, and the rest is tissue (the cues of AGSD, Liu et al. 2020). What
is not clear stays unknown and takes no part in the loss: wrong labels cost more than missing ones.
"""

import cv2
import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from depthscope.video import Image
from depthscope.video.class_masks import UNKNOWN, Classes, Ids, MaskClass
from depthscope.video.instruments import (
    GREY_CHROMA,
    GREY_SATURATION,
    LEAST_SHARE,
    LOOK_PX,
    NEAR_SHARE,
    colourfulness,
    instrument_pixels,
    stands_out,
)
from depthscope.video.masks import highlight_pixels

OUTSIDE, TISSUE, INSTRUMENT, HIGHLIGHT, LUMEN = range(5)

AUTOMATIC = Classes(
    (
        MaskClass(OUTSIDE, "outside", (0, 0, 0)),
        MaskClass(TISSUE, "tissue", None, tissue=True),
        MaskClass(INSTRUMENT, "instrument", (0, 160, 255)),
        MaskClass(HIGHLIGHT, "highlight", (255, 230, 0)),
        MaskClass(LUMEN, "lumen", (150, 0, 200), tissue=True),
    )
)
"""The classes that frames are labelled with automatically; the lumen is tissue far away."""

SMALL = 0.03
"""Highlights are pieces smaller than this share of the content; larger ones are over-exposed tissue, or steel."""

SMOOTHED = 0.03
"""Share of the width over which the lumen's darkness is averaged."""

LIT = 0.6
"""Quantile of the brightness of tissue that the lumen's is compared with."""

DARK, DIM = 0.62, 0.76
"""The lumen is darker than the first share of that; up to the second nothing is sure around it."""

LEAST_LUMEN, MOST_LUMEN = 0.004, 0.5
"""Shares of the content that a lumen covers."""

MOST_RIM = 0.25
"""A dark region that touches the rim along more than this share of its outline is a badly lit border."""

EDGE = 0.008
"""Share of the width on both sides of an edge within which the class is unknown."""

PALE, UNLIT = 1.5, 30
"""A grey piece may be a tool up to so many times the usual chroma and saturation, and is one where it is grey at the
usual ones, brighter than so many levels, and colour begins at its edge."""


def automatic_labels(image: Image, content: Bool[Tensor, "height width"]) -> Ids:
    """The class of each pixel of a frame by `AUTOMATIC`, `UNKNOWN` where the cues disagree.

    Args:
        image: sRGB bytes, shape (height, width, 3).
        content: Where the scope shows tissue.
    """
    height, width = content.shape
    scale = max(1.0, LOOK_PX / max(height, width))  # the cues are tuned at this width
    size = round(width * scale), round(height * scale)
    large = cv2.resize(image.numpy(), size, interpolation=cv2.INTER_CUBIC)
    inside = cv2.resize(content.numpy().astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0
    labels = np.full(inside.shape, TISSUE, np.uint8)
    if inside.any():
        tool, perhaps = _tools(large, inside)
        lumen, dim = _lumen(large, inside, tool | perhaps)
        labels[dim], labels[lumen] = UNKNOWN, LUMEN
        glints, blown_out = _highlights(large, inside)
        labels[blown_out], labels[glints] = UNKNOWN, HIGHLIGHT
        labels[perhaps], labels[tool] = UNKNOWN, INSTRUMENT
        labels[_edge(tool, EDGE * size[0])] = UNKNOWN
    small = cv2.resize(labels, (width, height), interpolation=cv2.INTER_NEAREST) if scale > 1 else labels
    small[~content.numpy()] = OUTSIDE
    return torch.from_numpy(small)


def _highlights(pixels: np.ndarray, inside: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Small glints, and what is as bright but too large to be one."""
    bright = (highlight_pixels(pixels) & inside).astype(np.uint8)
    count, pieces, stats, _ = cv2.connectedComponentsWithStats(bright)
    large = np.flatnonzero(stats[:, cv2.CC_STAT_AREA] > SMALL * inside.sum())
    blown_out = np.isin(pieces, large[large > 0])
    return (bright > 0) & ~blown_out, blown_out


def _lumen(pixels: np.ndarray, inside: np.ndarray, tool: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The darkest smooth region where it is much darker than the rest, and a dim band that is not sure."""
    none, tissue = np.zeros_like(inside), inside & ~_grown(tool, SMOOTHED * pixels.shape[1])
    if not tissue.any():
        return none, none
    sigma = SMOOTHED * pixels.shape[1]
    weight = cv2.GaussianBlur(tissue.astype(np.float32), (0, 0), sigma)
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY).astype(np.float32)
    smooth = cv2.GaussianBlur(grey * tissue, (0, 0), sigma) / np.maximum(weight, 1e-3)
    level = float(np.quantile(smooth[tissue], LIT))
    dim = (smooth < DIM * level) & tissue
    count, pieces, _, _ = cv2.connectedComponentsWithStats(((smooth < DARK * level) & tissue).astype(np.uint8))
    if count < 2:
        return none, dim
    darkest = np.where(pieces > 0, smooth, np.inf).argmin()
    lumen = pieces == pieces.flat[darkest]
    share = lumen.sum() / inside.sum()
    outline = _edge(lumen, 1.0) & lumen
    rim = outline & (cv2.erode(inside.astype(np.uint8), np.ones((5, 5), np.uint8), borderValue=0) == 0)
    if not LEAST_LUMEN < share < MOST_LUMEN or rim.sum() > MOST_RIM * max(1, outline.sum()):
        return none, dim
    return lumen, dim


def _tools(pixels: np.ndarray, inside: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Grey, lit pieces that reach the border and stand out from what is around, and pieces that may be tools."""
    chroma, saturation = colourfulness(pixels)
    tool = instrument_pixels(pixels, inside, None)
    if float(np.median(chroma[inside])) < 1.3 * GREY_CHROMA:
        return tool, np.zeros_like(inside)  # grey all over: colour says nothing here
    perhaps = _at_border((chroma < PALE * GREY_CHROMA) & (saturation < PALE * GREY_SATURATION) & inside, inside)
    grey = (chroma < GREY_CHROMA) & (saturation < GREY_SATURATION) & (pixels.max(2) > UNLIT) & inside
    _, pieces = cv2.connectedComponents(cv2.morphologyEx(grey.astype(np.uint8), cv2.MORPH_OPEN, _disc(3.0)))
    for number in np.unique(pieces[_at_border(pieces > 0, inside)]):
        piece = pieces == number
        if piece.sum() > LEAST_SHARE * piece.size and stands_out(piece, chroma, inside):
            tool |= piece
    return tool, perhaps & ~tool


def _at_border(mask: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """The connected parts of a mask that come near the border of the content, or of the frame."""
    _, pieces = cv2.connectedComponents(mask.astype(np.uint8))
    depth = cv2.distanceTransform(np.pad(inside.astype(np.uint8), 1), cv2.DIST_L2, 5)[1:-1, 1:-1]
    near = np.unique(pieces[(depth <= NEAR_SHARE * mask.shape[1]) & mask])
    return np.isin(pieces, near) & mask


def _grown(mask: np.ndarray, reach: float) -> np.ndarray:
    return cv2.dilate(mask.astype(np.uint8), _disc(reach)) > 0


def _edge(mask: np.ndarray, reach: float) -> np.ndarray:
    """Pixels within so many of the border of a mask, on both sides."""
    mask = mask.astype(np.uint8)
    return cv2.dilate(mask, _disc(reach)) != cv2.erode(mask, _disc(reach), borderValue=1)


def _disc(reach: float) -> np.ndarray:
    radius = max(1, round(reach))
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
