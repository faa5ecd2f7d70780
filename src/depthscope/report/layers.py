"""What is laid over a frame: the points of structure from motion, and stripes over what the masks hide."""

import cv2
import numpy as np
import torch

from depthscope.errors import DepthscopeError
from depthscope.geometry import depth_of
from depthscope.pictures import Picture, depth_picture, depth_range
from depthscope.report.folder import ClipResults
from depthscope.sequence import Sequence
from depthscope.supervision.view import View
from depthscope.video import read_grey

HATCH_PX = 10
"""Distance of the stripes over what a mask hides."""


def with_points(sequence: Sequence, number: int, window: View, frame: Picture | None) -> Picture | None:
    """The frame with the SfM points that it sees; near ones bright."""
    if frame is None:
        return None
    seen = sequence.points[sequence.observations.point[sequence.observations.frame == number]]
    inside, kind = sequence.camera_from_world[number].apply(seen), window.recorded.depth_kind
    depth = depth_of(inside, kind)
    shown = window.recorded.distortion.sees(inside) & (depth > 0)
    inside, depth = inside[shown], depth[shown]
    if not len(inside):
        return None
    pixels = window.camera.project(inside) * (frame.shape[1] / window.size_px[0])
    shades = depth_picture(depth[None].float(), depth_range(depth[None]))[0]
    canvas = np.ascontiguousarray((frame.float() * 0.55).byte().numpy())
    radius = max(2, frame.shape[1] // 150)
    for (x, y), shade in zip((pixels - 0.5).round().int().tolist(), shades.tolist(), strict=True):  # OpenCV border
        cv2.circle(canvas, (x, y), radius + 1, (20, 20, 20), -1, cv2.LINE_AA)
        cv2.circle(canvas, (x, y), radius, shade, -1, cv2.LINE_AA)
    return torch.from_numpy(canvas)


def masked(clip: ClipResults, sequence: Sequence, number: int, window: View, frame: Picture | None) -> Picture | None:
    """The frame with stripes over all that the content mask or the frame's own mask hides."""
    if frame is None:
        return None
    camera, image = sequence.cameras[number], sequence.images[number]
    kept = None if sequence.mask is None else window.mask(sequence.mask, camera, 0)
    own = clip.sequence.place / "masks" / f"{image.name}.png"
    if own.is_file():
        try:
            mask = read_grey(own) >= 128
        except DepthscopeError:
            mask = None
        if mask is not None and (mask.shape[1], mask.shape[0]) == camera.size_px:
            seen = window.mask(mask, camera, 0)
            kept = seen if kept is None else kept & seen
    if kept is None:
        return None
    size = frame.shape[1], frame.shape[0]
    shown = cv2.resize(kept.numpy().astype(np.uint8), size, interpolation=cv2.INTER_NEAREST).astype(bool)
    rows, columns = np.indices(shown.shape)
    stripe = (rows + columns) // (HATCH_PX // 2) % 2 == 0
    canvas = frame.numpy().copy()
    canvas[~shown] = np.where(stripe[~shown][:, None], 150, 70)
    return torch.from_numpy(canvas)
