"""Points that were followed elsewhere, as matches: alone they place all frames, and with features they stand beside."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pycolmap
import pytest
import torch

from depthscope.errors import BadInputError
from depthscope.formats import tracks
from depthscope.geometry import Similarity
from depthscope.pipeline.reconstruction import check_frames
from depthscope.reconstruction.attempts import Attempt, EveryPair
from depthscope.reconstruction.features import detect, match, support
from depthscope.reconstruction.followed import places_of
from depthscope.reconstruction.front_end import prepare, working_name
from depthscope.reconstruction.given_tracks import write_followed
from depthscope.reconstruction.held_out import spared
from depthscope.reconstruction.job import Job, JobFrame, Lens
from depthscope.reconstruction.mapping import mapped
from depthscope.video import survey, write_image
from miniatures.scene import CENTRE, FOCAL, SIZE, Scene, scene

FRAMES = 8


def quiet(*_) -> None:
    """Told nothing."""


def made(folder: Path, textured: bool) -> tuple[Job, Scene, tracks.Tracks]:
    """A clip with its exact tracks, some of them with little confidence and at wrong places."""
    seen = scene(FRAMES, 160, textured=textured)
    (folder / "images").mkdir(parents=True)
    rows = []
    for number, image in enumerate(seen.images):
        write_image(folder / "images" / f"{number:03d}.png", torch.from_numpy(image))
        for point in np.flatnonzero(seen.seen[number]):
            wrong = point % 10 == 0
            x, y = np.minimum(seen.pixels[number, point] + (7 * number if wrong else 0), SIZE)
            rows.append((f"{number:03d}", int(point), float(x), float(y), 0.2 if wrong else 0.9))
    found = tracks.read(tracks.write(folder / "tracks.csv", rows))
    frames = tuple(JobFrame(f"{n:03d}.png", str(folder / "images" / f"{n:03d}.png")) for n in range(FRAMES))
    followed = folder / "followed.npz"
    count = write_followed(followed, found, [f"{n:03d}" for n in range(FRAMES)], 0.5)
    assert count == int((found.confidence > 0.5).sum())
    lens = Lens("PINHOLE", (*FOCAL, *CENTRE))
    job = Job(str(folder / "child"), frames, SIZE, (lens,), followed=str(followed))
    for _ in prepare(job, folder / "work", folder / "masks"):
        pass
    return job, seen, found


def matched(job: Job, folder: Path) -> Path:
    detect(job, folder / "work", folder / "masks", folder / "features.db", 0.002, quiet)
    match(job, folder / "features.db", EveryPair(), folder / "masks", quiet)
    return folder / "features.db"


def test_tracks_alone_place_every_frame(tmp_path: Path):
    job, truth, _ = made(tmp_path, textured=False)
    database = matched(job, tmp_path)
    assert support(job, database).matched_pairs == FRAMES * (FRAMES - 1) // 2
    spared(database, tmp_path / "mapping.db", 0.0, 0)
    result = mapped(
        job, Attempt("test"), job.lenses[0], tmp_path / "mapping.db", tmp_path / "work", tmp_path / "s", 60.0, quiet
    )
    assert result.model is not None and result.size.registered == FRAMES and result.size.points > 80
    images = [result.model.images[i] for i in sorted(result.model.images)]
    found = torch.tensor(np.array([image.projection_center() for image in images]))
    true = torch.tensor(-np.einsum("fji,fj->fi", truth.rotation, truth.translation))
    true_from_found = Similarity.estimate(found, true)
    # tracks.csv has three digits: centres come back to a thousandth of the camera's way
    assert float((true_from_found.apply(found) - true).norm(dim=-1).max()) < 2e-3 * float((true[-1] - true[0]).norm())


def test_tracks_stand_behind_the_features_and_are_matched_with_them(tmp_path: Path):
    job, _, _ = made(tmp_path, textured=True)
    places = places_of(job, tmp_path / "masks")
    plain = tmp_path / "plain"
    plain.mkdir()
    detect(replace(job, followed=""), tmp_path / "work", tmp_path / "masks", plain / "features.db", 0.002, quiet)
    match(replace(job, followed=""), plain / "features.db", EveryPair(), tmp_path / "masks", quiet)
    both, alone = (pycolmap.Database.open(path) for path in (matched(job, tmp_path), plain / "features.db"))
    ids = {image.name: image.image_id for image in both.read_all_images()}
    one, other = ids[working_name(0)], ids[working_name(1)]
    features = alone.num_keypoints_for_image(one)
    assert both.num_keypoints_for_image(one) == features + len(places[0]) > features > 0
    assert both.num_descriptors_for_image(one) == features
    kept = both.read_keypoints(one)
    np.testing.assert_array_equal(kept[:features], alone.read_keypoints(one))
    np.testing.assert_allclose(kept[features:, :2], [places[0][p] for p in sorted(places[0])], atol=1e-4)
    shared = len(places[0].keys() & places[1].keys())
    assert len(both.read_matches(one, other)) == len(alone.read_matches(one, other)) + shared
    inliers = both.read_two_view_geometry(one, other).inlier_matches
    assert (inliers[:, 0] >= features).sum() > 0.9 * shared > 0
    both.close()
    alone.close()


def test_what_a_mask_hides_is_no_match(tmp_path: Path):
    job, _, _ = made(tmp_path, textured=False)
    before = places_of(job, tmp_path / "masks")
    hidden = torch.full((SIZE[1], SIZE[0]), 255, dtype=torch.uint8)
    hidden[:, :80] = 0
    write_image(tmp_path / "masks" / f"{working_name(2)}.png", hidden)
    after = places_of(job, tmp_path / "masks")
    assert after[1].keys() == before[1].keys() and 0 < len(after[2]) < len(before[2])
    assert min(place[0] for place in after[2].values()) >= 80


def test_places_follow_the_working_size_and_window(tmp_path: Path):
    job, _, _ = made(tmp_path, textured=False)
    small = replace(job, front_end=replace(job.front_end, most_pixels=80 * 64), window=(10, 5, 60, 50))
    for _ in prepare(small, tmp_path / "small", tmp_path / "small_masks"):
        pass
    found = places_of(small, tmp_path / "small_masks")
    whole = places_of(job, tmp_path / "masks")
    assert 0 < len(found[0]) < len(whole[0])
    for point, place in found[0].items():
        np.testing.assert_allclose(place, whole[0][point] / 2 - [10, 5])


def test_tracks_of_another_video_are_refused(tmp_path: Path):
    _, _, found = made(tmp_path, textured=True)
    surveyed = survey(tmp_path / "images")
    check_frames(found, tmp_path / "tracks.csv", tmp_path / "images", surveyed)
    other = replace(found, frames=("frame_000009", *found.frames[1:]))
    with pytest.raises(BadInputError, match="frame_000009"):
        check_frames(other, tmp_path / "tracks.csv", tmp_path / "images", surveyed)
    places = found.places.copy()
    places[0] = 500, 3
    with pytest.raises(BadInputError, match="outside of the frame"):
        check_frames(replace(found, places=places), tmp_path / "tracks.csv", tmp_path / "images", surveyed)
