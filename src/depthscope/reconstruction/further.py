"""Keypoints that were not found by COLMAP: put into its database behind its own, and matched beside them.

They go the same way as matches of features from there on: verified by the geometry of each pair, some of them hidden as
witnesses, and triangulated.
"""

from collections.abc import Sequence as Rows
from pathlib import Path

import numpy as np
import pycolmap

from depthscope.reconstruction.described import Described
from depthscope.reconstruction.followed import Followed
from depthscope.reconstruction.front_end import working_name
from depthscope.reconstruction.job import Job

COLUMNS = 6
"""Of a keypoint without SIFT beside it: place and affine shape."""


Keypoints = Followed | Described
"""Keypoints of the frames of a clip: where they are, and which of two frames show the same."""


def keypoints_beside(job: Job, masks: Path) -> tuple[Keypoints, ...]:
    """Those that a job brings, in the order in which they stand in the database."""
    found: list[Keypoints] = []
    if job.followed:
        found.append(Followed(job, masks))
    if job.described:
        found.append(Described.read(Path(job.described)))
    return tuple(found)


def add_keypoints(database: Path, beside: Rows[Keypoints], frames: int) -> None:
    """Puts keypoints behind the features of each frame; they have no descriptors.

    Args:
        database: With the frames, and features of them or none.
        beside: The keypoints.
        frames: How many frames there are.
    """
    opened = pycolmap.Database.open(database)
    number_of = {image.name: image.image_id for image in opened.read_all_images()}
    for frame in range(frames):
        places = np.concatenate([one.places(frame) for one in beside])
        image_id = number_of[working_name(frame)]
        there = opened.exists_keypoints(image_id)
        features = opened.read_keypoints(image_id) if there else np.empty((0, COLUMNS), np.float32)
        columns = features.shape[1] if len(features) else COLUMNS
        rows = np.zeros((len(places), columns), np.float32)
        rows[:, :2] = places
        if columns >= 4:
            rows[:, 2] = 1.0  # a scale, or the first entry of a shape
        if columns == 6:
            rows[:, 5] = 1.0
        every = np.ascontiguousarray(np.concatenate([features, rows]) if len(features) else rows, np.float32)
        (opened.update_keypoints if there else opened.write_keypoints)(image_id, every)
    opened.close()


def join_matches(database: Path, beside: Rows[Keypoints], pairs: Rows[tuple[int, int]], seed: int) -> None:
    """Adds the matches of further keypoints to those of the features, and verifies all of them together.

    Args:
        database: With features, further keypoints and matches.
        beside: The keypoints.
        pairs: Numbers of the frames.
        seed: Of the verification.
    """
    opened = pycolmap.Database.open(database)
    number_of = {image.name: image.image_id for image in opened.read_all_images()}
    joined = []
    for a, b in pairs:
        ids = number_of[working_name(a)], number_of[working_name(b)]
        first = np.array([opened.num_descriptors_for_image(image_id) for image_id in ids])
        more = []
        for one in beside:
            more.append((one.matches(a, b).astype(np.int64) + first).astype(np.uint32))
            first = first + (len(one.places(a)), len(one.places(b)))
        if not sum(map(len, more)):
            continue
        if opened.exists_matches(*ids):
            more.insert(0, opened.read_matches(*ids).reshape(-1, 2))
        for there, delete in (
            (opened.exists_two_view_geometry, opened.delete_two_view_geometry),
            (opened.exists_matches, opened.delete_matches),
        ):
            if there(*ids):
                delete(*ids)
        opened.write_matches(*ids, np.ascontiguousarray(np.concatenate(more)))
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
