"""Points that were followed elsewhere, as further keypoints and matches beside those of the features."""

from pathlib import Path

import cv2
import numpy as np

from depthscope.reconstruction.front_end import TISSUE_FROM, read_picture, working_name
from depthscope.reconstruction.job import Job


class Followed:
    """The points of all frames, in the order of their numbers.

    Args:
        job: The clip; names the file of the points.
        masks: Of the frames.
    """

    def __init__(self, job: Job, masks: Path) -> None:
        self.points = places_of(job, masks)
        self.order = [sorted(points) for points in self.points]
        self.row = [{point: row for row, point in enumerate(order)} for order in self.order]

    def places(self, frame: int) -> np.ndarray:
        """Where they are in a frame, working pixels, shape (keypoints, 2)."""
        points = self.points[frame]
        return np.array([points[point] for point in self.order[frame]], np.float32).reshape(-1, 2)

    def matches(self, one: int, other: int) -> np.ndarray:
        """Rows of the points that two frames share, shape (matches, 2)."""
        shared = sorted(self.points[one].keys() & self.points[other].keys())
        rows = [[self.row[one][point], self.row[other][point]] for point in shared]
        return np.array(rows, np.uint32).reshape(-1, 2)


def places_of(job: Job, masks: Path) -> list[dict[int, np.ndarray]]:
    """For each frame the points in it, where its mask shows them, in working pixels."""
    found: list[dict[int, np.ndarray]] = [{} for _ in job.frames]
    with np.load(job.followed) as given:
        rows = [given[name] for name in ("frames", "points", "places")]
    factor = np.array(job.front_end.working_size(job.size_px)) / job.size_px
    shown = {}
    for frame, point, place in zip(rows[0].tolist(), rows[1].tolist(), rows[2], strict=True):
        if frame not in shown:
            shown[frame] = read_picture(masks / f"{working_name(frame)}.png", cv2.IMREAD_GRAYSCALE)
        at = place * factor - job.working_window[:2]
        column, row = np.floor(at).astype(int).tolist()
        height, width = shown[frame].shape
        if 0 <= column < width and 0 <= row < height and shown[frame][row, column] >= TISSUE_FROM:
            found[frame][point] = at
    return found
