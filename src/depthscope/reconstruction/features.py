"""Features and verified matches of a clip in COLMAP's database; what an earlier attempt left there is used again."""

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pycolmap

from depthscope.reconstruction.attempts import EveryPair, Neighbours
from depthscope.reconstruction.front_end import working_name
from depthscope.reconstruction.further import add_keypoints, join_matches, keypoints_beside
from depthscope.reconstruction.job import Job, Lens
from depthscope.workspace import atomic_file

FEATURES_AT_ONCE = 8
"""Frames between two reports of progress."""

PAIRS_AT_ONCE = 200
"""Pairs of frames between two reports of progress; each time the features of their frames are indexed anew."""

MOST_ALIKE = 0.82
"""Distance to the best match over that to the second best: tissue looks alike, and geometry sorts out the rest."""

Tell = Callable[[str, int, int], None]
"""Told how far a stage is: its name, how much is done, of how much."""


@dataclass(frozen=True)
class MatchSupport:
    """What the features and matches of a clip look like before anything is put together: reasons come from here.

    Attributes:
        features_per_frame: Median over the frames.
        matched_pairs: Pairs of frames with enough verified matches.
        asked_pairs: Pairs that were looked at.
        matches_per_pair: Verified matches of a matched pair, median.
        displacement_px: How far verified matches of neighbouring frames move, median, pixels of the original frames.
        flat_share: Share of the matched pairs that a plane or a turn explains as well.
    """

    features_per_frame: float = 0.0
    matched_pairs: int = 0
    asked_pairs: int = 0
    matches_per_pair: float = 0.0
    displacement_px: float = 0.0
    flat_share: float = 0.0


def detect(job: Job, images: Path, masks: Path, database: Path, peak_threshold: float, tell: Tell) -> None:
    """Features of all frames, with one camera for all; a database that is there is complete and kept.

    Frames get their numbers before anything is detected, so that they do not depend on which thread was first.
    """
    if database.is_file():
        return
    with atomic_file(database) as draft:
        _detect(job, images, masks, draft, peak_threshold, tell)


def _detect(job: Job, images: Path, masks: Path, database: Path, peak_threshold: float, tell: Tell) -> None:
    names = [working_name(n) for n in range(len(job.frames))]
    pycolmap.Database.open(database).close()
    reader = pycolmap.ImageReaderOptions(mask_path=masks)
    single = pycolmap.CameraMode.SINGLE
    camera = camera_of(job, job.lenses[0])
    reader.camera_model = camera.model_name
    reader.camera_params = camera.params_to_string()
    pycolmap.import_images(database, images, single, names, reader)
    options = pycolmap.FeatureExtractionOptions(num_threads=job.threads)
    options.sift.max_num_features = job.front_end.most_features
    options.sift.peak_threshold = peak_threshold
    for start in range(0, len(names) if job.sift else 0, FEATURES_AT_ONCE):
        some = names[start : start + FEATURES_AT_ONCE]
        pycolmap.extract_features(database, images, some, single, reader, options)
        tell("features", start + len(some), len(names))
    if job.sift:
        trim(database, job.front_end.most_features)
    if beside := keypoints_beside(job, masks):
        add_keypoints(database, beside, len(job.frames))


def trim(database: Path, most: int) -> None:
    """Keeps the coarsest features of each frame, so many at most.

    SIFT's own limit lets half as many again through, as it takes a whole level of scale at a time; and matching costs
    the square of their number.

    Args:
        database: With the features of all frames.
        most: Features of a frame.
    """
    opened = pycolmap.Database.open(database)
    crowded = [i.image_id for i in opened.read_all_images() if opened.num_keypoints_for_image(i.image_id) > most]
    trimmed = {i: (opened.read_keypoints(i), opened.read_descriptors(i)) for i in crowded}
    opened.close()
    with sqlite3.connect(database) as connection:
        for table in ("keypoints", "descriptors"):
            connection.executemany(f"DELETE FROM {table} WHERE image_id = ?", [(i,) for i in crowded])
        connection.commit()
    connection.close()
    opened = pycolmap.Database.open(database)
    for image_id, (keypoints, descriptors) in trimmed.items():
        area = np.abs(keypoints[:, 2] * keypoints[:, 5] - keypoints[:, 3] * keypoints[:, 4])  # of the feature's shape
        kept = np.sort(np.argsort(-area, kind="stable")[:most])
        descriptors.data = np.ascontiguousarray(descriptors.data[kept])
        opened.write_keypoints(image_id, np.ascontiguousarray(keypoints[kept]))
        opened.write_descriptors(image_id, descriptors)
    opened.close()


def camera_of(job: Job, lens: Lens) -> pycolmap.Camera:
    """The camera of the working images."""
    width, height = job.size_px
    camera = pycolmap.Camera.create_from_model_name(1, lens.model, 1.0, width, height)
    camera.params = list(lens.numbers)
    camera.rescale(*job.front_end.working_size(job.size_px))
    left, top, camera.width, camera.height = job.working_window
    camera.principal_point_x -= left
    camera.principal_point_y -= top
    return camera


def use_lens(database: Path, job: Job, lens: Lens) -> None:
    """Puts a camera into the database; only one that is known takes part in verifying matches."""
    camera = camera_of(job, lens)
    camera.has_prior_focal_length = lens.fixed
    opened = pycolmap.Database.open(database)
    camera.camera_id = opened.read_all_cameras()[0].camera_id
    opened.update_camera(camera)
    opened.close()


def match(job: Job, database: Path, pairs: Neighbours | EveryPair, masks: Path, tell: Tell) -> None:
    """Matches and verifies pairs of frames; those in the database already are not done again."""
    wanted = list(pairs_of(len(job.frames), pairs))
    opened = pycolmap.Database.open(database)
    number_of = {image.name: image.image_id for image in opened.read_all_images()}
    ids = [number_of[working_name(n)] for n in range(len(job.frames))]
    left = [
        (a, b)
        for a, b in wanted
        if not (opened.exists_matches(ids[a], ids[b]) and opened.exists_two_view_geometry(ids[a], ids[b]))
    ]
    opened.close()
    matching = pycolmap.FeatureMatchingOptions(num_threads=job.threads)
    matching.sift.max_ratio = MOST_ALIKE
    verification = pycolmap.TwoViewGeometryOptions()
    verification.ransac.random_seed = job.seed
    beside = keypoints_beside(job, masks)
    listed = database.with_suffix(".pairs.txt")
    for start in range(0, len(left), PAIRS_AT_ONCE):
        some = left[start : start + PAIRS_AT_ONCE]
        listed.write_text("".join(f"{working_name(a)} {working_name(b)}\n" for a, b in some))
        pairing = pycolmap.ImportedPairingOptions(match_list_path=listed)
        if job.sift:
            pycolmap.match_image_pairs(database, matching, pairing, verification)
        if beside:
            join_matches(database, beside, some, job.seed)
        tell("matches", len(wanted) - len(left) + start + len(some), len(wanted))
    listed.unlink(missing_ok=True)


def pairs_of(frames: int, pairs: Neighbours | EveryPair):
    """Numbers of the frames that are matched."""
    reach = pairs.overlap if isinstance(pairs, Neighbours) else frames
    return ((a, b) for a in range(frames) for b in range(a + 1, min(a + 1 + reach, frames)))


def support(job: Job, database: Path) -> MatchSupport:
    """What was found."""
    opened = pycolmap.Database.open(database)
    images = sorted(opened.read_all_images(), key=lambda image: image.name)
    place = {image.image_id: number for number, image in enumerate(images)}
    counts = [opened.num_keypoints_for_image(image.image_id) for image in images]
    asked = opened.num_matched_image_pairs()
    numbers, geometries = opened.read_two_view_geometries()
    to_original = job.size_px[0] / job.front_end.working_size(job.size_px)[0]
    flat, moved, inliers = 0, [], []
    flat_kinds = {
        getattr(pycolmap.TwoViewGeometryConfiguration, kind)
        for kind in ("PLANAR", "PANORAMIC", "PLANAR_OR_PANORAMIC", "WATERMARK", "DEGENERATE")
    }
    for number, geometry in zip(numbers, geometries, strict=True):
        found = geometry.inlier_matches
        if not len(found):
            continue
        inliers.append(len(found))
        flat += geometry.config in flat_kinds
        a, b = number if isinstance(number, tuple) else pycolmap.pair_id_to_image_pair(number)
        if abs(place[a] - place[b]) == 1:
            one, other = (opened.read_keypoints(i)[:, :2] for i in (a, b))
            moved.append(np.median(np.linalg.norm(one[found[:, 0]] - other[found[:, 1]], axis=1)))
    opened.close()
    return MatchSupport(
        features_per_frame=float(np.median(counts)) if counts else 0.0,
        matched_pairs=len(inliers),
        asked_pairs=int(asked),
        matches_per_pair=float(np.median(inliers)) if inliers else 0.0,
        displacement_px=float(np.median(moved)) * to_original if moved else 0.0,
        flat_share=flat / len(inliers) if inliers else 0.0,
    )
