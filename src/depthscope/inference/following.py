"""Points and masks followed through a clip, with optical flow beside them."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from depthscope.errors import BadInputError
from depthscope.formats import tracks
from depthscope.inference.track_overlay import Overlay
from depthscope.inference.whole_clip import WholeClip
from depthscope.pretext.video_colorization.klt import Klt
from depthscope.pretext.video_colorization.task import Embedder
from depthscope.pretext.video_colorization.tracking import (
    MaskCarrier,
    PointTracker,
    Tracked,
    Tracking,
    content_cells,
    grid_of_points,
)
from depthscope.progress import track

SURE = 0.3
"""Confidence below which a point is drawn faintly."""


def points_in(path: Path, clip: WholeClip) -> Tensor:
    """The points of a file.

    Raises:
        BadInputError: One lies outside of the frame.
    """
    found = torch.from_numpy(tracks.read_points(path))
    width, height = clip.source.size_px
    outside = (found < 0).any(1) | (found[:, 0] > width) | (found[:, 1] > height)
    if outside.any():
        x, y = found[outside][0].tolist()
        raise BadInputError(
            f"{path}: ({x:g}, {y:g}) and {int(outside.sum()) - 1} more points lie outside of the frame",
            f"0 to {width} and 0 to {height}, in pixels of the video",
            "leave them out",
        )
    return found


def mask_in(path: Path, clip: WholeClip) -> Tensor:
    """The mask of a file as whole numbers.

    Raises:
        BadInputError: It is of another size than the frames, or shows nothing.
    """
    from depthscope.video import read_grey

    found = read_grey(path).long()
    size = clip.source.size_px
    if (found.shape[1], found.shape[0]) != size:
        raise BadInputError(
            f"{path} is {found.shape[1]} x {found.shape[0]} pixels",
            f"{size[0]} x {size[1]} as the first frame of the clip",
            "draw it on that frame",
        )
    if len(torch.unique(found)) < 2:
        raise BadInputError(f"{path} has one grey level", "0 where nothing is followed, and another one", "draw it")
    return found


class FollowedClip:
    """What is followed through a clip; rows and pictures come as the frames go by.

    Args:
        network: Embeds frames.
        clip: Its frames.
        options: How.
        points: In the first frame; None for a grid, or for none where there is a mask.
        mask: Of the first frame.
        grid: Points across.
    """

    def __init__(
        self,
        network: Embedder,
        clip: WholeClip,
        options: Tracking,
        points: Tensor | None,
        mask: Tensor | None,
        grid: int,
    ) -> None:
        self.network, self.clip = network, clip
        cells = content_cells(clip.content, network.stride)
        if points is None:
            points = grid_of_points(clip.content, clip.window, grid)
            if mask is not None:  # the points of a grid that lie on what is followed
                column, row = points.floor().long().unbind(-1)
                points = points[mask[row, column] > 0]
        self.points = points
        self.tracker = PointTracker(points, clip.window, cells, network.stride, options)
        self.carrier = None if mask is None else MaskCarrier(mask, clip.window, cells, options.propagation)
        self.klt = Klt(points.numpy())
        self.rows: list[tuple[str, int, float, float, float]] = []
        self.klt_rows: list[tuple[str, int, float, float, float]] = []
        self.last: Tracked | None = None
        self.frames = 0

    def pictures(self, folder: Path) -> Iterator[Tensor]:
        """Every frame with what is followed drawn on it; masks are written to ``folder/masks``."""
        from depthscope.video import write_image

        overlay = Overlay(len(self.points), self.clip.source.size_px, SURE)
        for name, small, image in track(self.clip, "follow", len(self.clip.corpus)):
            with torch.no_grad():
                features = self.network(small.to(self.network.palette.device))[0].float().cpu()
            self.last = self.tracker.step(features, image)
            flow, kept = self.klt.step(image.numpy())
            self.rows += _rows(name, self.last.places.numpy(), self.last.confidence.numpy())
            self.klt_rows += _rows(name, flow, kept.astype(float))
            found = None if self.carrier is None else self.carrier.step(features)
            if found is not None:
                write_image(folder / "masks" / f"{name}.png", found.byte())
            self.frames += 1
            yield overlay.picture(image, self.last, flow[kept], found)

    def figures(self) -> dict[str, object]:
        """What is told of it."""
        assert self.last is not None
        flow, kept = self.klt.places, self.klt.kept
        sure = self.last.confidence.numpy() >= SURE
        apart = np.linalg.norm(flow - self.last.places.numpy(), axis=1)[kept & sure]
        return {
            "frames": self.frames,
            "points": len(self.points),
            "sure_at_end": int(sure.sum()),
            "mean_confidence": float(np.mean([row[-1] for row in self.rows])) if self.rows else None,
            "klt_at_end": int(kept.sum()),
            "median_distance_to_klt_px": float(np.median(apart)) if len(apart) else None,
            "masks": 0 if self.carrier is None else self.frames,
        }


def _rows(name: str, places: np.ndarray, sure: np.ndarray) -> Iterator[tuple[str, int, float, float, float]]:
    for point, ((x, y), value) in enumerate(zip(places.tolist(), sure.tolist(), strict=True)):
        yield name, point, x, y, value
