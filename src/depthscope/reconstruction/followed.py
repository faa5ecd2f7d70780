"""Points that were followed elsewhere, as further keypoints and matches beside those of the features.

They go the same way as matches of features from there on: verified by the geometry of each pair, some of them hidden as
witnesses, and triangulated.
"""

from collections.abc import Sequence as Rows
from pathlib import Path

import cv2
import numpy as np
import pycolmap

from depthscope.reconstruction.front_end import TISSUE_FROM, read_picture, working_name
from depthscope.reconstruction.job import Job


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


def add_keypoints(job: Job, database: Path, masks: Path) -> None:
    """Puts the points behind the features of each frame, in the order of their numbers; they have no descriptors."""
    opened = pycolmap.Database.open(database)
    number_of = {image.name: image.image_id for image in opened.read_all_images()}
    for frame, points in enumerate(places_of(job, masks)):
        if not points:
            continue
        image_id = number_of[working_name(frame)]
        features = opened.read_keypoints(image_id)
        columns = features.shape[1] if len(features) else 6
        rows = np.zeros((len(points), columns), np.float32)
        rows[:, :2] = [points[point] for point in sorted(points)]
        if columns >= 4:
            rows[:, 2] = 1.0  # a scale, or the first entry of a shape
        if columns == 6:
            rows[:, 5] = 1.0
        every = np.concatenate([features, rows]) if len(features) else rows
        opened.update_keypoints(image_id, np.ascontiguousarray(every, np.float32))
    opened.close()


def join_matches(job: Job, database: Path, masks: Path, pairs: Rows[tuple[int, int]], seed: int) -> None:
    """Adds the points that two frames share to the matches of their features, and verifies all of them together.

    Args:
        job: The clip.
        database: With features, points and matches.
        masks: Of the frames.
        pairs: Numbers of the frames.
        seed: Of the verification.
    """
    points = places_of(job, masks)
    opened = pycolmap.Database.open(database)
    number_of = {image.name: image.image_id for image in opened.read_all_images()}
    ids = [number_of[working_name(n)] for n in range(len(job.frames))]
    index = [
        {point: opened.num_descriptors_for_image(ids[n]) + place for place, point in enumerate(sorted(points[n]))}
        for n in range(len(job.frames))
    ]
    joined = []
    for a, b in pairs:
        shared = sorted(points[a].keys() & points[b].keys())
        if not shared:
            continue
        more = np.array([[index[a][point], index[b][point]] for point in shared], np.uint32)
        before = opened.read_matches(ids[a], ids[b]) if opened.exists_matches(ids[a], ids[b]) else more[:0]
        for there, delete in (
            (opened.exists_two_view_geometry, opened.delete_two_view_geometry),
            (opened.exists_matches, opened.delete_matches),
        ):
            if there(ids[a], ids[b]):
                delete(ids[a], ids[b])
        opened.write_matches(ids[a], ids[b], np.ascontiguousarray(np.concatenate([before.reshape(-1, 2), more])))
        joined.append((a, b))
    opened.close()
    if not joined:
        return
    options = pycolmap.TwoViewGeometryOptions()
    options.ransac.random_seed = seed
    listed = database.with_suffix(".joined.txt")
    listed.write_text("".join(f"{working_name(a)} {working_name(b)}\n" for a, b in joined))
    pycolmap.verify_matches(database, listed, options)
    listed.unlink(missing_ok=True)
