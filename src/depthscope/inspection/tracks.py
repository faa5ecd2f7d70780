"""Tracks of our own: corners and projections followed from frame to frame by optical flow, forward and back.

They are the witness against which poses and points are held: structure from motion has not seen them, and bundle
adjustment cannot have absorbed them.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from depthscope.sequence import Sequence
from depthscope.video.optical_flow import follow

MOST_CORNERS = 300
"""Corners followed at a time."""

MOST_SEEDS = 60
"""Projections of points that start to be followed in each frame."""

FARTHEST = 10
"""Frames that a projection is followed for."""

WINDOW_PX, LEVELS = 21, 4

BACK_PX = 1.0
"""Forward and back again has to end so near to the start, in working pixels."""

CORNER = -1
"""In place of the point's number, for corners of our own."""


@dataclass(frozen=True, eq=False)
class ImageTracks:
    """Where things were seen, one row for each frame of each track, sorted by track and frame.

    Attributes:
        track: Number of the track.
        frame: Position of the frame.
        pixels: Where, in working pixels.
        point: For each track, the number of the point at whose projection it started, or -1 for a corner of our own.
        start: For each track, the frame in which it started.
        lost_share: Share of steps that did not come back to their start.
    """

    track: Int[Tensor, " rows"]
    frame: Int[Tensor, " rows"]
    pixels: Float[Tensor, "rows 2"]
    point: Int[Tensor, " tracks"]
    start: Int[Tensor, " tracks"]
    lost_share: float

    def of(self, chosen: Bool[Tensor, " tracks"]) -> "ImageTracks":
        """Some of the tracks, renumbered."""
        number = torch.cumsum(chosen, 0) - 1
        rows = chosen[self.track]
        return ImageTracks(
            number[self.track[rows]],
            self.frame[rows],
            self.pixels[rows],
            self.point[chosen],
            self.start[chosen],
            self.lost_share,
        )

    @property
    def lengths(self) -> Int[Tensor, " tracks"]:
        """Frames of each track."""
        return torch.bincount(self.track, minlength=len(self.point))

    @property
    def corners(self) -> "ImageTracks":
        """Those of our own corners, three frames or longer."""
        return self.of((self.point == CORNER) & (self.lengths >= 3))

    def pairs(self, gap: int) -> tuple[Int[Tensor, " pairs"], Int[Tensor, " pairs"]]:
        """Rows of the same track `gap` frames apart: no frame of a track is left out, so they are `gap` rows apart."""
        rows = torch.arange(max(0, len(self.track) - gap))
        same = self.track[rows] == self.track[rows + gap]
        return rows[same], rows[same] + gap


def followed(
    working: Sequence,
    grey: list[UInt8[np.ndarray, "height width"]],
    highlight: list[Bool[np.ndarray, "height width"]],
    seed: int = 0,
) -> ImageTracks:
    """Follows corners and projections through a clip (Lucas-Kanade 1981 in a pyramid; forward-backward check)."""
    allowed = np.ones(grey[0].shape, np.uint8) if working.mask is None else working.mask.numpy().astype(np.uint8)
    allowed = cv2.erode(allowed, np.ones((9, 9), np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=0)
    spacing = max(4.0, 0.012 * max(grey[0].shape))
    draw = torch.Generator().manual_seed(seed)
    seeds = _seeds(working, draw)
    number = np.zeros(0, np.int64)  # of the tracks that are alive
    place = np.zeros((0, 2), np.float32)
    point: list[int] = []
    start: list[int] = []
    rows: list[tuple[np.ndarray, int, np.ndarray]] = []
    steps = lost = 0
    before = None
    for f, image in enumerate(grey):
        clear = allowed.astype(bool) & ~highlight[f]
        if before is not None and len(number):
            place, kept = _step(before, image, place, clear)
            steps, lost = steps + len(kept), lost + int((~kept).sum())
            number, place = number[kept], place[kept]
            young = (np.asarray(point)[number] == CORNER) | (f - np.asarray(start)[number] <= FARTHEST)
            number, place = number[young], place[young]
        corners = number[np.asarray(point, dtype=np.int64)[number] == CORNER] if len(number) else number
        free = clear.astype(np.uint8)
        for x, y in place[np.isin(number, corners)]:
            cv2.circle(free, (int(x), int(y)), int(spacing), 0, -1)
        wanted = MOST_CORNERS - len(corners)
        fresh = None
        if wanted > 0 and free.any():
            fresh = cv2.goodFeaturesToTrack(image, wanted, 0.01, spacing, mask=free, blockSize=5)
        fresh = np.zeros((0, 2), np.float32) if fresh is None else fresh[:, 0]
        chosen, pixels = seeds[f]
        added = np.concatenate([fresh, (pixels.numpy() - 0.5).astype(np.float32)])  # to OpenCV's pixels
        first = len(point)
        point += [CORNER] * len(fresh) + chosen.tolist()
        start += [f] * len(added)
        number = np.concatenate([number, np.arange(first, first + len(added))])
        place = np.concatenate([place, added])
        rows.append((number.copy(), f, place + 0.5))
        before = image
    track = torch.from_numpy(np.concatenate([n for n, _, _ in rows]))
    frame = torch.cat([torch.full((len(n),), f) for n, f, _ in rows])
    pixels = torch.from_numpy(np.concatenate([p for _, _, p in rows])).double()
    order = torch.argsort(track * len(grey) + frame)
    return ImageTracks(
        track[order], frame[order], pixels[order], torch.tensor(point), torch.tensor(start), lost / max(1, steps)
    )


def _step(before, after, place: np.ndarray, clear: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Places in the next frame, and which of them are believed."""
    criteria = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 20, 0.02)
    there, followed = follow(
        before, after, place, window_px=WINDOW_PX, levels=LEVELS, back_px=BACK_PX, criteria=criteria
    )
    height, width = clear.shape
    column, row = np.round(there).astype(np.int64).T
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    shown = clear[row.clip(0, height - 1), column.clip(0, width - 1)]
    return there, followed & inside & shown


def _seeds(working: Sequence, draw: torch.Generator) -> list[tuple[Tensor, Tensor]]:
    """In each frame some of the points that it saw, with their projections."""
    size = torch.tensor(working.size_px, dtype=torch.float64)
    inside = ((working.projections > 4) & (working.projections < size - 4)).all(-1)
    seeds = []
    for f in range(len(working)):
        rows = ((working.observations.frame == f) & inside).nonzero().flatten()
        rows = rows[torch.randperm(len(rows), generator=draw)[:MOST_SEEDS]]
        seeds.append((working.observations.point[rows], working.projections[rows]))
    return seeds
