"""Witnesses: whole tracks of verified matches are hidden from mapping, to be asked afterwards whether they agree.

Single matches would be no witnesses: their features would still be joined through other frames. So the tracks, which
are the connected parts of the graph of all matches, are hidden whole.
"""

import sqlite3
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pycolmap
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from depthscope.reconstruction.job import Job

LEFT_BEHIND = ("descriptors", "matches", "two_view_geometries")
"""Tables that a database for mapping does not need, or has of its own."""

LEAST_MATCHES = 60
"""Verified matches of a pair (median) from which some can be spared."""


@dataclass(frozen=True, eq=False)
class HiddenPairs:
    """Hidden matches: rows of two frames and a keypoint in each.

    Attributes:
        images: COLMAP's numbers of the two images, shape (matches, 2).
        keypoints: Numbers of the keypoints, shape (matches, 2).
        pixels: Where they are, working size, shape (matches, 2, 2).
    """

    images: np.ndarray
    keypoints: np.ndarray
    pixels: np.ndarray

    def __len__(self) -> int:
        return len(self.images)


def spared(database: Path, target: Path, share: float, seed: int) -> HiddenPairs:
    """Writes a database for mapping that lacks the matches of a share of the tracks, and returns them."""
    target.unlink(missing_ok=True)
    pycolmap.Database.open(target).close()
    _copy_tables(database, target)
    source, mapping = pycolmap.Database.open(database), pycolmap.Database.open(target)
    places = {image.image_id: source.read_keypoints(image.image_id)[:, :2] for image in source.read_all_images()}
    numbers, geometries = source.read_two_view_geometries()
    found = [(_pair(n), g) for n, g in zip(numbers, geometries, strict=True) if len(g.inlier_matches)]
    hidden = _hidden_keypoints(places, [(pair, g.inlier_matches) for pair, g in found], share, seed)
    images, keypoints, pixels = [], [], []
    for (a, b), geometry in found:
        rows = np.asarray(geometry.inlier_matches)
        away = hidden[a][rows[:, 0]]
        geometry.inlier_matches = np.ascontiguousarray(rows[~away])
        mapping.write_two_view_geometry(a, b, geometry)
        rows = rows[away].astype(np.int64)
        images.append(np.tile([a, b], (len(rows), 1)))
        keypoints.append(rows)
        pixels.append(np.stack([places[a][rows[:, 0]], places[b][rows[:, 1]]], 1))
    source.close()
    mapping.close()
    if not images:
        return HiddenPairs(np.empty((0, 2), np.int64), np.empty((0, 2), np.int64), np.empty((0, 2, 2)))
    return HiddenPairs(np.concatenate(images), np.concatenate(keypoints), np.concatenate(pixels).astype(np.float64))


def sampson_px(held_out: HiddenPairs, model: pycolmap.Reconstruction) -> np.ndarray:
    """Distance of each hidden match from the epipolar geometry of the model, working pixels; NaN if not registered."""
    errors = np.full(len(held_out), np.nan)
    camera = next(iter(model.cameras.values()))
    posed = {i: image.cam_from_world() for i, image in model.images.items() if image.has_pose}
    for pair in np.unique(held_out.images, axis=0):
        a, b = pair.tolist()
        if a not in posed or b not in posed:
            continue
        rows = (held_out.images == pair).all(1)
        rays = [camera.cam_from_img(np.ascontiguousarray(held_out.pixels[rows, side])) for side in (0, 1)]
        essential = pycolmap.essential_matrix_from_pose(posed[b] * posed[a].inverse())
        squared = pycolmap.compute_squared_sampson_error(rays[0], rays[1], essential)
        errors[rows] = np.sqrt(np.asarray(squared)) * camera.mean_focal_length()
    return errors


def write_held_out(path: Path, held_out: HiddenPairs, model: pycolmap.Reconstruction, job: Job) -> None:
    """``held_out_matches.npz``: names of the frames, and of each hidden match the frames, pixels and Sampson error.

    Pixels are those of the original frames; errors are those of the working images, against poses that never saw the
    matches.
    """
    factor = np.array(job.size_px) / job.front_end.working_size(job.size_px)
    names = [frame.name for frame in job.frames]
    number = {image_id: int(image_id) - 1 for image_id in np.unique(held_out.images)}
    frames = np.vectorize(number.get, otypes=[np.int64])(held_out.images) if len(held_out) else held_out.images
    np.savez_compressed(
        path,
        names=np.array(names),
        frames=frames,
        pixels=(held_out.pixels + job.working_window[:2]) * factor,
        sampson_px=sampson_px(held_out, model),
    )


def _pair(number) -> tuple[int, int]:
    return number if isinstance(number, tuple) else pycolmap.pair_id_to_image_pair(number)


def _copy_tables(database: Path, target: Path) -> None:
    with sqlite3.connect(target) as connection:
        connection.execute("ATTACH DATABASE ? AS source", (str(database),))
        listed = connection.execute("SELECT name FROM source.sqlite_master WHERE type = 'table'").fetchall()
        for (name,) in listed:
            if name not in LEFT_BEHIND and not name.startswith("sqlite_"):
                connection.execute(f'DELETE FROM main."{name}"')
                connection.execute(f'INSERT INTO main."{name}" SELECT * FROM source."{name}"')
        connection.commit()
        connection.execute("DETACH DATABASE source")
    connection.close()


def _hidden_keypoints(
    places: dict[int, np.ndarray], found: list[tuple[tuple[int, int], np.ndarray]], share: float, seed: int
) -> dict[int, np.ndarray]:
    """For each image, which keypoints belong to a hidden track."""
    ids = sorted(places)
    starts = dict(zip(ids, np.cumsum([0, *(len(places[i]) for i in ids)])[:-1].tolist(), strict=True))
    total = sum(len(p) for p in places.values())
    ends = [
        (rows[:, 0].astype(np.int64) + starts[a], rows[:, 1].astype(np.int64) + starts[b]) for (a, b), rows in found
    ]
    one = np.concatenate([e[0] for e in ends]) if ends else np.empty(0, np.int64)
    other = np.concatenate([e[1] for e in ends]) if ends else np.empty(0, np.int64)
    graph = coo_matrix((np.ones(len(one), np.int8), (one, other)), shape=(total, total))
    count, part = connected_components(graph, directed=False)
    away = np.random.default_rng(seed).random(count) < share
    return {i: away[part[starts[i] : starts[i] + len(places[i])]] for i in ids}
