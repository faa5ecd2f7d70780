"""Structure from motion: known scenes come back, and whatever fails ends in a sentence."""

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pycolmap
import pytest
import torch
from scipy.spatial.transform import Rotation

from depthscope.cli import main
from depthscope.errors import BadInputError
from depthscope.formats import camera_file, read_sequence
from depthscope.geometry import Brown, Camera, KannalaBrandt, Scaramuzza, Similarity
from depthscope.geometry.lens import pixel_grid
from depthscope.reconstruction import child, clip_task, clips, mapping, outcome, process
from depthscope.reconstruction.attempts import Attempt, EveryPair, Halves, Incremental, Neighbours, Size, ladder
from depthscope.reconstruction.clip_task import reconstruct_clip
from depthscope.reconstruction.features import MatchSupport, camera_of, pairs_of
from depthscope.reconstruction.front_end import (
    HUSHED_FROM_PX,
    continued,
    eroded,
    hushed,
    prepare,
    window_of,
    working_image,
    working_name,
)
from depthscope.reconstruction.held_out import sampson_px, spared, write_held_out
from depthscope.reconstruction.job import FrontEnd, Job, JobFrame, Lens, read_job, write_job
from depthscope.reconstruction.lens import (
    SELF_CALIBRATED,
    camera_from_report,
    field_of_view_deg,
    fitted,
    guessed_lenses,
    known_lens,
)
from depthscope.reconstruction.mapping import Mapped, finished, mapped
from depthscope.reconstruction.outcome import depth_order_notes, lens_note, no_lens_because, unregistered_because
from depthscope.reconstruction.process import Limits, read_step, run_child
from depthscope.reconstruction.refinement import Refined, refine, shifts
from depthscope.reconstruction.reversal import (
    Choice,
    adjusted,
    brightness,
    chosen,
    falloff,
    reflected,
    right_way_round,
)
from depthscope.reconstruction.runaway import folds, runaway
from depthscope.reconstruction.sightings import Sightings
from depthscope.reconstruction.ways import SIFT
from depthscope.reconstruction.witnesses import HELD_OUT
from depthscope.video import image_size, read_image, survey, write_image
from depthscope.video.class_masks import Classes, MaskClass, write_classes
from depthscope.video.content_area import ContentArea
from depthscope.video.outlines import Disc
from miniatures.scene import CENTRE, FOCAL, SIZE, scene, write_images
from moving_pictures import dicom_video

LENS = Lens("PINHOLE", (260.0, 261.0, 160.5, 127.0))
LIMITS = Limits(seconds=120.0, silent_seconds=120.0)


def job_of(folder: Path, frames: int = 12, **changes) -> Job:
    rows = tuple(JobFrame(f"{n:03d}.png", str(folder / f"{n:03d}.png")) for n in range(frames))
    return replace(Job(str(folder), rows, (320, 256), (LENS,)), **changes)


def quiet(*_) -> None:
    """Told nothing."""


# --- options and the front end


def test_a_job_comes_back_from_its_file(tmp_path):
    job = job_of(tmp_path, window=(1, 2, 3, 4), front_end=FrontEnd(clip_limit=2.5))
    assert read_job(write_job(job, tmp_path / "job.json")) == job
    assert [p.name for p in tmp_path.iterdir()] == ["job.json"]


@pytest.mark.parametrize(
    ("size", "working"),
    [((1920, 1080), (960, 540)), ((320, 256), (320, 256)), ((3840, 2160), (960, 540)), ((1280, 720), (960, 540))],
)
def test_large_frames_are_made_smaller_and_small_ones_stay(size, working):
    assert FrontEnd().working_size(size) == working


def test_the_camera_follows_size_and_window(tmp_path):
    lens = Lens("PINHOLE", (677.0, 680.0, 870.0, 470.0))
    job = job_of(tmp_path, size_px=(1920, 1080), window=(100, 40, 600, 480))
    camera = camera_of(job, lens)
    assert (camera.width, camera.height) == (600, 480)
    np.testing.assert_allclose(camera.params, [338.5, 340.0, 435.0 - 100, 235.0 - 40])


def test_working_images_are_the_green_channel_cut_out():
    bgr = np.zeros((80, 120, 3), np.uint8)
    bgr[..., 1] = np.random.default_rng(0).integers(0, 255, (80, 120))
    whole = working_image(bgr, (60, 40), (0, 0, 60, 40), FrontEnd())
    part = working_image(bgr, (60, 40), (10, 5, 30, 20), FrontEnd())
    assert whole.shape == (40, 60) and part.shape == (20, 30) and whole.std() > 20
    swapped = working_image(np.ascontiguousarray(bgr[..., [1, 0, 2]]), (60, 40), (0, 0, 60, 40), FrontEnd())
    assert swapped.std() == 0


def test_masks_are_eroded_from_the_border_but_not_from_the_frame():
    mask = np.zeros((60, 80), np.uint8)
    mask[:, :40] = 255
    kept = eroded(mask, (80, 60), 5) > 0
    assert kept[:, :35].all() and not kept[:, 35:].any()
    assert (eroded(np.full((60, 80), 255, np.uint8), (40, 30), 5) == 255).all()
    left, top, width, height = window_of(mask, (40, 30))
    assert (left, top, width, height) == (0, 0, 20, 30)
    assert window_of(np.zeros((60, 80), np.uint8), (40, 30)) == (0, 0, 40, 30)


def test_far_from_what_is_shown_there_is_nothing_to_detect():
    grey = np.random.default_rng(0).integers(0, 255, (90, 120), np.uint8)
    shown = np.zeros((90, 120), np.uint8)
    shown[30:50, 20:60] = 255
    quiet_image = hushed(grey, shown)
    near = cv2.distanceTransform(255 - shown, cv2.DIST_C, 3) <= HUSHED_FROM_PX
    assert (quiet_image[near] == grey[near]).all() and np.ptp(quiet_image[~near]) == 0
    assert (hushed(grey, np.zeros_like(shown)) == grey).all()


def test_the_border_of_the_content_leaves_no_edge():
    lit = np.zeros((90, 120), np.uint8)
    cv2.circle(lit, (60, 45), 40, 255, -1)
    grey = np.where(lit > 0, np.random.default_rng(0).integers(100, 140, lit.shape), 3).astype(np.uint8)
    found = continued(grey, lit)
    assert (found[lit > 0] == grey[lit > 0]).all() and found.min() >= 100
    rows, columns = np.nonzero(lit == 0)
    nearest = np.hypot(rows[:, None] - np.nonzero(lit)[0], columns[:, None] - np.nonzero(lit)[1]).argmin(1)
    assert np.mean(found[rows, columns] == grey[lit > 0][nearest]) > 0.8  # distances are nearly exact
    assert (continued(grey, np.zeros_like(lit)) == grey).all() and (continued(grey, lit | 255) == grey).all()


@pytest.mark.parametrize(("size", "margin"), [((320, 256), 3), ((192, 192), 2), ((640, 512), 6), ((960, 540), 6)])
def test_small_frames_keep_features_closer_to_the_border(size, margin):
    assert FrontEnd().area_margin_at(size) == margin


# --- the ladder


@pytest.mark.parametrize("frames", [2, 5, 16, 17, 31, 60, 150, 151, 1000])
def test_the_ladder_never_tries_the_same_twice(frames):
    tried = ladder(frames)
    assert tried[0] == Attempt("standard")
    assert len({(a.peak_threshold, a.pairs, a.mapper) for a in tried}) == len(tried)
    assert any(isinstance(a.pairs, EveryPair) for a in tried) == (31 < frames <= 150)
    assert any(isinstance(a.mapper, Halves) for a in tried) == (frames >= 12)
    counts = [len(list(pairs_of(frames, a.pairs))) for a in tried]
    assert counts == sorted(counts)


def test_matching_neighbours_costs_in_proportion_to_the_frames():
    assert len(list(pairs_of(1000, Neighbours()))) < 1000 * 15
    assert set(pairs_of(4, EveryPair())) == {(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)}


def test_more_frames_beat_more_points():
    assert Size(20, 100, 10) > Size(19, 900, 90) and Size(20, 101, 9) > Size(20, 100, 10)


# --- law 1: noise-free tracks


@pytest.fixture(scope="module")
def synthetic(tmp_path_factory):
    """A job with a database of noise-free matches, and the truth."""
    folder = tmp_path_factory.mktemp("synthetic")
    job = job_of(folder)
    for frame in job.frames:
        cv2.imwrite(frame.image, np.full((256, 320, 3), 90, np.uint8))
    for _ in prepare(job, folder / "images", folder / "masks"):
        pass
    pycolmap.set_random_seed(1)
    options = pycolmap.SyntheticDatasetOptions(
        num_rigs=1,
        num_cameras_per_rig=1,
        num_frames_per_rig=12,
        num_points3D=400,
        camera_width=320,
        camera_height=256,
        camera_model_id=pycolmap.CameraModelId.PINHOLE,
        camera_params=list(LENS.numbers),
    )
    database = pycolmap.Database.open(folder / "features.db")
    truth = pycolmap.synthesize_dataset(options, database)
    for number, image in enumerate(database.read_all_images()):
        image.name = working_name(number)
        database.update_image(image)
    database.close()
    return job, folder / "features.db", truth


@pytest.mark.parametrize("mapper", [Incremental(), Halves()], ids=["incremental", "halves"])
def test_noise_free_tracks_come_back(synthetic, tmp_path, mapper):
    job, database, truth = synthetic
    hidden = spared(database, tmp_path / "mapping.db", 0.0, 0)
    assert not len(hidden)
    attempt = Attempt("test", mapper=mapper)
    result = mapped(job, attempt, LENS, tmp_path / "mapping.db", tmp_path, tmp_path / "scratch", 60.0, quiet)
    assert result.size.registered == (6 if isinstance(mapper, Halves) else 12)
    model = result.model
    posed = [i for i, image in model.images.items() if image.has_pose]
    found = torch.tensor(np.array([model.images[i].projection_center() for i in posed]))
    true = torch.tensor(np.array([truth.images[i].projection_center() for i in posed]))
    true_from_found = Similarity.estimate(found, true)
    assert float((true_from_found.apply(found) - true).norm(dim=-1).max()) < 1e-4 * float(true.std())
    image = model.images[posed[0]]
    pairs = [
        (model.points3D[p.point3D_id].xyz, truth.points3D[truth.images[posed[0]].points2D[k].point3D_id].xyz)
        for k, p in enumerate(image.points2D)
        if p.has_point3D()
    ]
    points, true_points = (torch.tensor(np.array(side)) for side in zip(*pairs, strict=True))
    assert len(points) > 100
    error = (true_from_found.apply(points) - true_points).norm(dim=-1)
    assert float(error.max()) < 1e-4 * float(true_points.std())


def test_hidden_tracks_are_hidden_whole_and_agree_with_true_poses(synthetic, tmp_path):
    job, database, truth = synthetic
    hidden = spared(database, tmp_path / "mapping.db", 0.3, 5)
    opened = pycolmap.Database.open(tmp_path / "mapping.db")
    numbers, geometries = opened.read_two_view_geometries()
    opened.close()
    away = {(int(i), int(k)) for row in range(len(hidden)) for i, k in zip(*rows(hidden, row), strict=True)}
    kept = 0
    for number, geometry in zip(numbers, geometries, strict=True):
        a, b = pycolmap.pair_id_to_image_pair(number)
        for k, other in geometry.inlier_matches:
            kept += 1
            assert (a, int(k)) not in away and (b, int(other)) not in away
    assert 0.2 < len(hidden) / (len(hidden) + kept) < 0.4
    assert float(np.max(sampson_px(hidden, truth))) < 1e-4  # keypoints are stored in single precision
    write_held_out(tmp_path / HELD_OUT, hidden, truth, job)
    with np.load(tmp_path / HELD_OUT) as stored:
        assert np.array_equal(stored["frames"], hidden.images - 1) and len(stored["names"]) == 12
        np.testing.assert_allclose(stored["pixels"], hidden.pixels)  # working images are as large as the frames here
    again = spared(database, tmp_path / "again.db", 0.3, 5)
    assert np.array_equal(again.keypoints, hidden.keypoints)


def rows(hidden, row):
    return hidden.images[row], hidden.keypoints[row]


def test_the_model_is_written_for_the_frames_as_they_were_given(synthetic, tmp_path):
    job, database, _ = synthetic
    wide = replace(job, size_px=(640, 512), lenses=(Lens("PINHOLE", tuple(2 * n for n in LENS.numbers)),))
    wide = replace(wide, front_end=FrontEnd(most_pixels=320 * 256))
    for number, frame in enumerate(job.frames):
        cv2.imwrite(frame.image, np.full((512, 640, 3), (10, 20, 30 + number), np.uint8))
    spared(database, tmp_path / "mapping.db", 0.0, 0)
    result = mapped(
        wide, Attempt("test"), wide.lenses[0], tmp_path / "mapping.db", tmp_path, tmp_path / "scratch", 60.0, quiet
    )
    model = finished(wide, result.model)
    camera = next(iter(model.cameras.values()))
    assert (camera.width, camera.height) == (640, 512)
    np.testing.assert_allclose(camera.params, [2 * n for n in LENS.numbers])
    assert sorted(image.name for image in model.images.values()) == [f"{n:03d}.png" for n in range(12)]
    assert model.compute_mean_reprojection_error() < 1e-4  # against the keypoints in pixels of these frames
    colour = next(iter(model.points3D.values())).color
    assert colour[1] == 20 and colour[2] == 10 and 30 <= colour[0] <= 41


def test_exact_tracks_that_cannot_be_found_again_stay(synthetic, tmp_path):
    """The images are plain, so that no patch is found: the tracks stay, and adjustment leaves a perfect model alone."""
    job, database, _ = synthetic
    spared(database, tmp_path / "mapping.db", 0.0, 0)
    result = mapped(job, Attempt("test"), LENS, tmp_path / "mapping.db", tmp_path, tmp_path / "scratch", 60.0, quiet)
    before = result.size
    refined = refine(job, result.model, Path(job.folder) / "images", free_poses=True, free_lens=False)
    assert result.size == before and result.model.compute_mean_reprojection_error() < 1e-3
    assert refined.found_again < 0.5 and len(refined.done) == round(refined.found_again * before.observations)


# --- a lens that runs away


def radial(focal: float, k: float) -> pycolmap.Camera:
    return pycolmap.Camera(model="SIMPLE_RADIAL", width=320, height=256, params=[focal, 160.0, 128.0, k])


def test_lenses_that_no_camera_has_are_noticed(synthetic, tmp_path):
    job, database, _ = synthetic
    spared(database, tmp_path / "mapping.db", 0.0, 0)
    model = mapped(job, Attempt("t"), LENS, tmp_path / "mapping.db", tmp_path, tmp_path / "s", 60.0, quiet).model
    camera = next(iter(model.cameras.values()))
    assert runaway(job, model) == ""
    focal = camera.params[0]
    for factor, word in ((1e-4, "focal length"), (100.0, "focal length"), (float("nan"), "not finite")):
        camera.params = [factor * focal, factor * focal, *camera.params[2:]]
        assert word in runaway(job, model)
        camera.params = [focal, focal, *camera.params[2:]]
    assert not folds(radial(200.0, -0.2), 0.8) and not folds(radial(200.0, 0.5), 3.0)
    assert folds(radial(200.0, -0.8), 0.8) and folds(radial(200.0, float("nan")), 0.8)


@pytest.mark.parametrize("when", ["at the end", "before"])
def test_a_lens_that_runs_away_is_dropped_and_never_the_users_mistake(synthetic, tmp_path, monkeypatch, when):
    job, database, _ = synthetic
    spared(database, tmp_path / "mapping.db", 0.0, 0)
    result = mapped(job, Attempt("t"), LENS, tmp_path / "mapping.db", tmp_path, tmp_path / "s", 60.0, quiet)
    free = replace(result, lens=replace(LENS, fixed=False))

    def run_away(model):
        camera = next(iter(model.cameras.values()))
        camera.params = [0.03, 0.03, *camera.params[2:]]

    def refined(job, model, images, done=frozenset(), *, free_poses, free_lens):
        if free_lens:
            run_away(model)
        return refine(job, model, images, done, free_poses=free_poses, free_lens=False)

    monkeypatch.setattr(child, "refine", refined)
    monkeypatch.setattr(child, "right_way_round", lambda job, result, *_: (result, Choice(None, 0.1)))
    focal = next(iter(free.model.cameras.values())).mean_focal_length()
    if when == "before":
        run_away(free.model)
    found, fault = child.kept(job, Attempt("t"), free, database, tmp_path / "mapping.db", ())
    assert "focal length of" in fault
    if when == "before":
        assert found is None
        told = no_lens_because({"attempts": [{"lens_ran_away": fault}, {"lens_ran_away": ""}]})
        assert "1 of 2 attempts" in told and "calibrate with a board" in told and "intrinsics" not in told
    else:
        assert found["camera"]["focal_px"] == pytest.approx(focal, rel=1e-6)
        assert camera_from_report(found["camera"], job.size_px, None).size_px == job.size_px


# --- the depth-reversed twin


@pytest.fixture(scope="module")
def turntable(tmp_path_factory):
    """A job on a distant relief that a camera turns about, lit from the camera; its matches and true centres."""
    folder, random = tmp_path_factory.mktemp("turntable"), np.random.default_rng(0)
    lens, count, middle = Lens("PINHOLE", (1000.0, 1000.0, 160.0, 128.0)), 9, np.array([0.0, 0.0, 10.0])
    job = job_of(folder, count, lenses=(lens,))
    points = middle + random.uniform((-1.2, -0.9, -1.0), (1.2, 0.9, 1.0), (150, 3))
    places, centres = [], []
    for number, frame in enumerate(job.frames):
        turn = Rotation.from_rotvec([0.05 * np.sin(number), 0.045 * (number - count // 2), 0.0]).as_matrix()
        local = (points - middle) @ turn.T + middle
        centres.append(middle - turn.T @ middle)
        places.append(local[:, :2] / local[:, 2:] * 1000 + (160, 128))
        picture = np.full((256, 320, 3), 60, np.uint8)
        for (x, y), z in zip(places[-1], local[:, 2], strict=True):
            cv2.circle(picture, (int(x), int(y)), 5, [int(255 * (60 / z**2) ** (1 / 2.2))] * 3, -1)
        cv2.imwrite(frame.image, picture)
    for _ in prepare(job, folder / "images", folder / "masks"):
        pass
    database, names = folder / "features.db", [working_name(n) for n in range(count)]
    pycolmap.Database.open(database).close()
    reader = pycolmap.ImageReaderOptions(camera_model=lens.model, camera_params="1000,1000,160,128")
    pycolmap.import_images(database, folder / "images", pycolmap.CameraMode.SINGLE, names, reader)
    opened = pycolmap.Database.open(database)
    seen = [((p > 0) & (p < (320, 256))).all(1) for p in places]
    matches = np.tile(np.arange(len(points), dtype=np.uint32)[:, None], 2)
    for a in range(count):
        opened.write_keypoints(a + 1, (places[a] + random.normal(0, 0.2, places[a].shape)).astype(np.float32))
        for b in range(a + 1, count):
            found = np.ascontiguousarray(matches[seen[a] & seen[b]])
            opened.write_matches(a + 1, b + 1, found)
            calibrated = pycolmap.TwoViewGeometryConfiguration.CALIBRATED
            opened.write_two_view_geometry(
                a + 1, b + 1, pycolmap.TwoViewGeometry(config=calibrated, inlier_matches=found)
            )
    opened.close()
    return job, database, torch.tensor(np.array(centres))


def test_a_depth_reversed_model_is_turned_the_right_way_round(turntable, tmp_path):
    job, database, centres = turntable
    places = (database, Path(job.folder) / "images", tmp_path / "scratch")
    found = mapped(job, Attempt("test"), job.lenses[0], *places, 60.0, quiet)
    assert found.size.registered == 9
    light = brightness(job, found.model)
    models = [found.model, adjusted(job, found, reflected(found.model), *places)]
    wrong, right = sorted(models, key=lambda model: -falloff(model, light))
    assert falloff(wrong, light) > 0.5 and falloff(right, light) < -0.5
    result, choice = right_way_round(job, replace(found, model=wrong), *places)
    assert choice.taken and choice.by == "light" and choice.light > 0.5 > -0.5 > choice.reversed_light
    assert "light decided" in depth_order_notes(choice.figures())[0]
    estimate = torch.tensor(np.array([result.model.images[n].projection_center() for n in range(1, 10)]))
    error = (Similarity.estimate(estimate, centres).apply(estimate) - centres).norm(dim=-1)
    assert float(error.max()) < 0.03 * float((centres[-1] - centres[0]).norm())
    assert falloff(result.model, light) < -0.5
    again, choice = right_way_round(job, result, *places)
    assert again is result and choice.by == "" and not depth_order_notes(choice.figures())


# --- tracks brought to one place


def blobs(places: np.ndarray) -> np.ndarray:
    """A smooth texture in closed form, 0..255, at places of shape (..., 2)."""
    random = np.random.default_rng(3)
    waves, phases = random.normal(0, 0.35, (30, 2)), random.uniform(0, 6.3, 30)
    return np.clip(128 + 28 * np.cos(places @ waves.T + phases).sum(-1) / 30**0.5, 0, 255)


def seen_twice(random: np.random.Generator) -> tuple[Sightings, dict[int, np.ndarray], np.ndarray, np.ndarray]:
    """Forty points in two images, the second turned, stretched, darker and shifted; keypoints of it are noisy."""
    turn = Rotation.from_rotvec([0, 0, 0.2]).as_matrix()[:2, :2] * 1.1
    pixels = np.stack(np.meshgrid(np.arange(160) + 0.5, np.arange(128) + 0.5, indexing="xy"), -1)
    move = np.array([20.0, -25.0])
    grey = {1: blobs(pixels).round().astype(np.uint8)}
    grey[2] = (0.7 * blobs((pixels - move) @ np.linalg.inv(turn).T) + 20).round().astype(np.uint8)
    places = random.uniform((30, 30), (110, 90), (40, 2))
    true = places @ turn.T + move
    noisy = true + random.uniform(-0.8, 0.8, true.shape)
    rows, number = np.arange(80), np.repeat(np.arange(40), 2)
    seen = Sightings(
        np.tile([1, 2], 40),
        number,
        number,
        np.stack([places, noisy], 1).reshape(-1, 2),
        rows // 2 * 2,
        np.zeros((40, 3)),
    )
    return seen, grey, np.tile(turn, (80, 1, 1)), true


def test_keypoints_move_to_where_their_track_is():
    seen, grey, warp, true = seen_twice(np.random.default_rng(0))
    shift, found = shifts(seen, grey, warp, np.ones(80, bool))
    assert found.mean() > 0.9 and (shift[::2] == 0).all()
    kept = found[1::2]
    error = np.linalg.norm((seen.pixels + shift)[1::2] - true, axis=1)[kept]
    assert np.median(error) < 0.06 and error.max() < 0.4  # noise of grey levels and OpenCV's 32nds of a pixel are left


def test_keypoints_of_something_else_are_not_found_again():
    seen, grey, warp, _ = seen_twice(np.random.default_rng(0))
    grey[2] = np.random.default_rng(1).integers(0, 255, grey[2].shape, np.uint8)
    assert shifts(seen, grey, warp, np.ones(80, bool))[1][1::2].mean() < 0.1
    shift, found = shifts(seen, grey, warp, np.zeros(80, bool))  # nothing is looked at: everything stays
    assert found.all() and not shift.any()


@pytest.mark.parametrize(
    ("light", "reversed_light", "error", "kept", "taken", "by"),
    [
        (0.5, -0.6, 1.2, 0.9, True, "light"),
        (-0.1, 0.4, 0.9, 1.0, False, "light"),
        (0.5, -0.6, 3.0, 0.9, False, "reprojection"),  # the lamp may be elsewhere: what fits far worse is not believed
        (0.5, -0.6, 1.0, 0.3, False, "reprojection"),
        (None, None, 0.7, 1.1, True, "reprojection"),
        (None, None, 0.9, 1.1, False, "reprojection"),
        (0.0, -0.1, 0.7, 1.1, True, "reprojection"),
    ],
)
def test_light_decides_first_and_reprojection_second(light, reversed_light, error, kept, taken, by):
    choice = chosen(Choice(light, 1.0), reversed_light, error, kept)
    assert (choice.taken, choice.by) == (taken, by)


def test_features_are_limited_in_truth(turntable):
    job, _, _ = turntable
    folder = Path(job.folder)
    few = replace(job, front_end=FrontEnd(most_features=20))
    child.detect(few, folder / "images", folder / "masks", folder / "few.db", 0.0001, quiet)
    opened = pycolmap.Database.open(folder / "few.db")
    counts = [opened.num_keypoints_for_image(n) for n in range(1, 10)]
    sizes = [len(opened.read_descriptors(n).data) for n in range(1, 10)]
    opened.close()
    assert counts == sizes == [20] * 9


# --- law 9: whatever the child does


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import os; os.abort()", "crashed (SIGABRT)"),
        ("raise SystemExit(7)", "exit code 7"),
        ("import time; time.sleep(60)", "did not end within 1 s"),
        ("print('{broken'); print([1, 2])", "without a report"),
        ("import sys, json; open(sys.argv[1][:-8] + 'report.json', 'w').write('{\"attempts\": 3')", "without a report"),
        ("a = bytearray(600_000_000); import time; time.sleep(60)", "more than 0.4 GB of memory"),
        ("import time, signal; signal.signal(15, signal.SIG_IGN); time.sleep(60)", "did not end within 1 s"),
    ],
    ids=["crash", "error", "hang", "garbage", "half a report", "memory", "deaf"],
)
def test_a_child_that_fails_ends_in_a_sentence(tmp_path, monkeypatch, code, said):
    import PIL.Image  # noqa: F401  the parent may have Pillow loaded, and stays alive

    monkeypatch.setattr(process, "PATIENCE_S", 0.5)
    limits = Limits(seconds=20.0 if "memory" in said else 1.0, memory_bytes=400_000_000)
    began = time.monotonic()
    ended = run_child(job_of(tmp_path), limits, command=(sys.executable, "-c", code))
    assert said in ended.problem and ended.report is None
    assert time.monotonic() - began < 40


def test_the_log_of_a_failed_child_is_told(tmp_path):
    code = "import sys; sys.stderr.write('first\\nno good initial pair\\n'); sys.exit(1)"
    ended = run_child(job_of(tmp_path), LIMITS, command=(sys.executable, "-c", code))
    assert ended.log_tail.endswith("no good initial pair")


def test_a_silent_child_is_given_up(tmp_path):
    code = 'import time; print(\'{"stage": "a", "done": 1, "total": 2}\', flush=True); time.sleep(60)'
    ended = run_child(job_of(tmp_path), Limits(60.0, 1.0), command=(sys.executable, "-c", code))
    assert "no progress for 1 s" in ended.problem
    assert clips.last_step(tmp_path / process.PROGRESS) == {"stage": "a", "done": 1, "total": 2}


def test_waiting_for_a_processor_does_not_count_and_sleeping_does(tmp_path):
    """Two that work share one core, so that each waits half of the time; a third sleeps."""
    core = min(os.sched_getaffinity(0))
    spin = f"import os; os.sched_setaffinity(0, [{core}])\nwhile True: pass"
    running = [subprocess.Popen([sys.executable, "-c", code]) for code in (spin, spin, "import time; time.sleep(60)")]
    try:
        time.sleep(0.5)
        clocks, began = [process.OwnTime(one.pid) for one in running], time.monotonic()
        while (passed := time.monotonic() - began) < 1.5:
            time.sleep(0.05)
            own = [clock.seconds() for clock in clocks]
    finally:
        for one in running:
            one.kill()
            one.wait()
    # Of the time that really passed: a busy machine stretches all three alike.
    assert max(own[0], own[1]) < 0.8 * passed and own[2] == pytest.approx(passed, rel=0.1, abs=0.2)


def test_a_child_is_ended_when_the_user_stops(tmp_path):
    stop = threading.Event()
    stop.set()
    with pytest.raises(process.StoppedError):
        run_child(job_of(tmp_path), LIMITS, stop, (sys.executable, "-c", "import time; time.sleep(60)"))


@pytest.mark.parametrize("line", ["", "x", "[]", '{"stage": 1}', '{"stage": "a", "done": "b", "total": 1}', "\x00"])
def test_lines_that_are_no_progress_are_left_out(line):
    assert read_step(line) is None


def test_the_child_loads_neither_torch_nor_pillow():
    code = (
        "import sys, depthscope.reconstruction.child; "
        "print([m for m in ('torch', 'PIL', 'matplotlib', 'rich') if m in sys.modules])"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"


# --- cameras


def test_a_camera_of_another_resolution_is_scaled_and_said():
    camera = Camera((640, 480), (500.0, 502.0), (320.0, 240.0), Brown((0.1, 0.0, 0.0, 0.0)))
    same, notes = fitted(camera, (640, 480), "camera.yaml")
    assert same is camera and not notes
    small, notes = fitted(camera, (320, 240), "camera.yaml")
    assert small.focal_px == (250.0, 251.0) and "scaled to 320 x 240" in notes[0]
    with pytest.raises(BadInputError, match="camera.yaml is for frames of 640 x 480"):
        fitted(camera, (640, 400), "camera.yaml")


@pytest.mark.parametrize("distortion", [Brown((0.1, 0.2, 0.0, 0.0)), KannalaBrandt((0.1, 0.0, 0.0, 0.0))])
def test_a_known_camera_is_the_same_for_colmap(distortion):
    camera = Camera((640, 480), (500.0, 502.0), (320.0, 240.0), distortion)
    lens = known_lens(camera)
    colmap = pycolmap.Camera.create_from_model_name(1, lens.model, 1.0, 640, 480)
    colmap.params = list(lens.numbers)
    points = torch.tensor([[0.1, 0.2, 1.0], [-0.3, 0.1, 1.0]], dtype=torch.float64)
    np.testing.assert_allclose(colmap.img_from_cam(points.numpy()), camera.project(points).numpy(), atol=1e-9)
    assert lens.fixed


def test_without_a_camera_several_fields_of_view_are_tried():
    lenses = guessed_lenses((640, 480), None)
    assert len({lens.numbers[0] for lens in lenses}) == 3 and not any(lens.fixed for lens in lenses)
    assert 0.5 < lenses[0].numbers[0] / 640 < 1.0


def test_a_fisheye_is_tried_last_where_the_content_is_a_disc():
    disc = ContentArea(Disc((330.0, 236.0), 220.0), (640, 480), 1.0)
    *radial, fisheye = guessed_lenses((640, 480), disc)
    assert [lens.model for lens in radial] == ["SIMPLE_RADIAL"] * 3 and fisheye.model == "SIMPLE_RADIAL_FISHEYE"
    assert fisheye.guessed_fisheye and not radial[0].guessed_fisheye
    camera = camera_from_report({"model": fisheye.model, "numbers": fisheye.numbers}, (640, 480), None)
    content = (pixel_grid(480, 640, torch.zeros(1)) - torch.tensor([330.0, 236.0])).norm(dim=-1) <= 220
    assert field_of_view_deg(camera, content) == pytest.approx(140.0, abs=0.5)
    assert "a fisheye that sees 140 degrees" in lens_note(camera, content)


def test_a_lens_of_another_kind_is_looked_at_where_it_covers_as_much():
    best = Size(20, 1000, 95)
    assert Size(20, 900, 90).comparable(best) and Size(21, 500, 90).comparable(best)
    assert not Size(20, 800, 90).comparable(best) and not Size(19, 2000, 99).comparable(best)


@pytest.mark.parametrize(("error_px", "taken"), [(0.8, True), (0.97, False), (None, False)])
def test_a_fisheye_is_kept_if_it_fits_better_once_refined(synthetic, tmp_path, monkeypatch, error_px, taken):
    """What a radial lens left is there again where the fisheye does not, or runs away."""
    job, database, _ = synthetic
    job = replace(job, folder=str(tmp_path))
    spared(database, tmp_path / "mapping.db", 0.0, 0)
    result = mapped(job, Attempt("t"), LENS, tmp_path / "mapping.db", tmp_path, tmp_path / "s", 60.0, quiet)

    def kept(*_):
        (tmp_path / "model").mkdir()
        (tmp_path / "model" / "cameras.bin").write_text("fisheye")
        return (None, "gone") if error_px is None else ({"mean_reprojection_px": error_px}, "")

    monkeypatch.setattr(child, "kept", kept)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "cameras.bin").write_text("radial")
    (tmp_path / "held_out_matches.npz").write_text("radial")
    size = result.size
    before = {"size": [size.registered, size.observations, size.points], "mean_reprojection_px": 1.0}
    found, fault = child.kept_if_better(job, Attempt("t"), result, database, tmp_path / "mapping.db", (), before)
    assert (found is not None) == taken and fault == ("gone" if error_px is None else "")
    assert (tmp_path / "model" / "cameras.bin").read_text() == ("fisheye" if taken else "radial")
    assert (tmp_path / "held_out_matches.npz").exists() != taken and not (tmp_path / "spare").exists()


def test_hidden_tracks_come_back_with_a_lens_of_another_model(synthetic, tmp_path, monkeypatch):
    """The database holds the model that matches were verified with; triangulation refused another one."""
    job, database, _ = synthetic
    job = replace(job, folder=str(tmp_path))
    (tmp_path / "images").mkdir()
    fisheye = Lens("SIMPLE_RADIAL_FISHEYE", (260.0, 160.5, 127.0, 1 / 3), fixed=False)
    hidden = spared(database, tmp_path / "mapping.db", 0.2, 0)
    result = mapped(job, Attempt("t"), fisheye, tmp_path / "mapping.db", tmp_path, tmp_path / "s", 60.0, quiet)
    monkeypatch.setattr(child, "right_way_round", lambda job, result, *_: (result, Choice(None, 0.1)))
    monkeypatch.setattr(child, "refine", lambda *_, **__: Refined(1.0, 0.0, frozenset()))
    monkeypatch.setattr(child, "finished", lambda job, model: model)
    found, fault = child.kept(job, Attempt("t"), result, database, tmp_path / "mapping.db", hidden)
    assert len(hidden) and found is not None and fault == "" and found["camera"]["model"] == fisheye.model


def test_a_wide_fisheye_has_not_run_away(synthetic, tmp_path):
    job, database, _ = synthetic
    spared(database, tmp_path / "mapping.db", 0.0, 0)
    model = mapped(job, Attempt("t"), LENS, tmp_path / "mapping.db", tmp_path, tmp_path / "s", 60.0, quiet).model
    number, camera = next(iter(model.cameras.items()))
    short = 0.15 * max(job.front_end.working_size(job.size_px))
    for name, word in (("SIMPLE_RADIAL", "focal length"), ("SIMPLE_RADIAL_FISHEYE", "")):
        other = pycolmap.Camera(model=name, width=camera.width, height=camera.height, params=[short, 50.0, 40.0, 0.0])
        model.cameras[number].model, model.cameras[number].params = other.model, other.params
        assert (word in runaway(job, model)) if word else not runaway(job, model)


# --- reasons


@pytest.mark.parametrize(
    ("support", "said"),
    [
        ({"features_per_frame": 20.0}, "only 20 features"),
        ({"features_per_frame": 900.0, "matched_pairs": 1}, "1 pairs of frames show the same place"),
        ({"features_per_frame": 900.0, "matched_pairs": 90, "displacement_px": 0.4}, "no parallax"),
        ({"features_per_frame": 900.0, "matched_pairs": 90, "displacement_px": 9.0, "flat_share": 0.95}, "a turn"),
        ({"features_per_frame": 900.0, "matched_pairs": 90, "displacement_px": 9.0}, "do not fit together"),
        ({}, "only 0 features"),
    ],
)
def test_each_way_to_fail_has_its_reason(support, said):
    assert said in unregistered_because(support, 20)


# --- whole clips


@pytest.fixture(scope="module")
def wall(tmp_path_factory) -> tuple[Path, Path]:
    """Images of a textured wall, larger and more detailed than the miniature, and its camera."""
    folder = tmp_path_factory.mktemp("wall")
    clip = scene(frames=8)
    write_images(clip, folder / "frames", [f"{n:03d}.png" for n in range(8)])
    camera_file.write(Camera(SIZE, FOCAL, CENTRE), folder / "camera.yaml")
    return folder / "frames", folder / "camera.yaml"


def call(*arguments) -> int:
    try:
        return main([str(argument) for argument in arguments])
    except SystemExit as end:
        return int(end.code or 0)


def result_of(folder: Path) -> dict:
    return json.loads((folder / "result.json").read_text("utf-8"))


@pytest.mark.parametrize("kind", ["black", "still", "one"])
def test_frames_that_show_nothing_end_in_a_sentence(tmp_path, capsys, kind):
    frames = tmp_path / "frames"
    frames.mkdir()
    picture = np.random.default_rng(0).integers(0, 255, (96, 128, 3), dtype=np.uint8)
    picture = cv2.GaussianBlur(picture, (0, 0), 2) if kind != "black" else picture * 0
    for number in range(1 if kind == "one" else 8):
        write_image(frames / f"{number:03d}.png", torch.from_numpy(picture))
    code = call("reconstruct", frames, "--out", tmp_path / "out")
    said = capsys.readouterr().err
    assert "Traceback" not in said
    if kind == "still":
        assert code == 3 and "nothing moves" in said
        found = result_of(tmp_path / "out")
        assert found["accepted"] is False and "nothing moves" in found["reasons"][0] and found["registered"] == 0
    else:
        assert code == 2 and ("black" if kind == "black" else "1 frame") in said
        assert not (tmp_path / "out").exists()


def test_a_camera_of_another_shape_is_refused_before_anything_is_written(tmp_path, capsys, wall):
    frames, _ = wall
    camera_file.write(Camera((200, 200), (150.0, 150.0), (100.0, 100.0)), tmp_path / "camera.yaml")
    code = call("reconstruct", frames, "--camera", tmp_path / "camera.yaml", "--out", tmp_path / "out")
    assert code == 2 and "200 x 200" in capsys.readouterr().err and not (tmp_path / "out").exists()


@pytest.mark.parametrize(("size", "said"), [((8, 6), "8 x 6 pixels"), (None, "holds no mask for the frame")])
def test_masks_that_do_not_fit_are_refused_before_anything_is_written(tmp_path, capsys, wall, size, said):
    frames, camera = wall
    (tmp_path / "masks").mkdir()
    write_classes(Classes((MaskClass(0, "tissue", None, tissue=True),)), tmp_path / "masks")
    for image in sorted(frames.iterdir()):
        width, height = size or image_size(image)
        name = f"{image.stem}.png" if size else f"other_{image.stem}.png"
        write_image(tmp_path / "masks" / name, torch.zeros(height, width, dtype=torch.uint8))
    code = call("reconstruct", frames, "--camera", camera, "--masks", tmp_path / "masks", "--out", tmp_path / "out")
    assert code == 2 and said in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_a_folder_of_something_else_is_not_touched(tmp_path, capsys, wall):
    frames, camera = wall
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("mine")
    assert call("reconstruct", frames, "--camera", camera, "--out", tmp_path / "out") == 2
    assert "not a result of depthscope" in capsys.readouterr().err
    assert call("reconstruct", frames, "--camera", camera, "--out", frames.parent) == 2
    assert (tmp_path / "out" / "thesis.txt").read_text("utf-8") == "mine" and len(list(frames.iterdir())) == 8


def asked_of(wall, out: Path, copies: int = 1) -> clips.Asked:
    """The frames as one clip, or as several."""
    frames, camera = wall
    found = survey(frames)
    plan = found.clips[0]
    plans = (plan,) if copies == 1 else tuple(replace(plan, name=f"clip_{n:03d}") for n in range(copies))
    options = clips.Options(threads=1, workers=1)
    given = camera_file.read(camera)
    return clips.Asked(frames, out, given, "camera.yaml", replace(found, clips=plans), options, {str(frames): "x"})


def test_a_clip_that_fails_does_not_take_the_others_down(tmp_path, wall):
    def pool(task, stop):
        if task.name == "clip_001":
            raise RuntimeError("the disk fell out")
        (task.target).mkdir(parents=True)
        found = {"name": task.name, "accepted": True, "reasons": [], "frames": 8, "registered": 8, "points": 5}
        (task.target / "result.json").write_text(json.dumps(found))
        return found

    results = clips.reconstruct_clips(asked_of(wall, tmp_path / "out", 3), pool)
    assert [result["accepted"] for result in results] == [True, False, True]
    assert "the disk fell out" in results[1]["reasons"][0]
    assert result_of(tmp_path / "out" / "clip_001")["registered"] == 0
    assert not (tmp_path / "out" / ".work").exists()


def test_a_killed_run_goes_on_and_a_finished_clip_is_not_done_again(tmp_path, wall):
    asked = asked_of(wall, tmp_path / "out")
    seen = {}

    def killed_after_features(task, stop):
        task.child(SIFT).mkdir(parents=True)
        job = task.job()
        (task.work / "asked.json").write_text(json.dumps(clips_asdict(job), indent=1))
        for _ in prepare(job, task.child(SIFT) / "images", task.child(SIFT) / "masks"):
            pass
        child.detect(job, task.child(SIFT) / "images", task.child(SIFT) / "masks", database(task), 0.002, quiet)
        seen["made"] = database(task).stat().st_ctime_ns, database(task).stat().st_ino
        raise KeyboardInterrupt

    def database(task):
        return task.child(SIFT) / "features_0.002.db"

    with pytest.raises(KeyboardInterrupt):
        clips.reconstruct_clips(asked, killed_after_features)
    assert not (tmp_path / "out" / "result.json").exists() and (tmp_path / "out" / ".work").is_dir()

    def going_on(task, stop):
        seen["found"] = database(task).stat().st_ctime_ns, database(task).stat().st_ino
        return reconstruct_clip(task, stop)

    first = clips.reconstruct_clips(asked, going_on)
    assert seen["found"] == seen["made"]
    stamp = (tmp_path / "out" / "result.json").stat().st_mtime_ns
    assert clips.reconstruct_clips(asked) == first
    assert (tmp_path / "out" / "result.json").stat().st_mtime_ns == stamp
    other = replace(asked, options=clips.Options(seed=1, threads=1, workers=1))
    clips.prepare_folder(other)  # asked for something else: the old result goes
    assert not (tmp_path / "out" / "result.json").exists()


def clips_asdict(job: Job) -> dict:
    from dataclasses import asdict

    return asdict(job)


def test_an_omnidirectional_camera_is_given_to_the_child_as_a_fisheye(tmp_path, wall):
    """Without curvature it is the pinhole of these frames; the child knows no such lens, and the clip gets the note."""
    omni = Camera(SIZE, FOCAL, CENTRE, Scaramuzza())
    asked = replace(asked_of(wall, tmp_path / "out"), camera=omni)
    tasks = []

    def pool(task: clip_task.ClipTask, stop) -> dict:
        tasks.append(task)
        return {"name": task.name, "registered": 0, "frames": 8}

    clips.reconstruct_clips(asked, pool)
    (task,) = tasks
    assert task.lenses[0].model == "OPENCV_FISHEYE" and task.lenses[0].fixed
    assert any("replaced by a fisheye" in note and "px off" in note for note in task.notes)
    points = torch.tensor([[0.2, 0.1, 1.0], [-0.5, 0.3, 1.0]], dtype=torch.float64)
    assert task.camera is not None
    assert float((task.camera.project(points) - omni.project(points)).abs().max()) < 0.05


@pytest.mark.slow
@pytest.mark.parametrize("coded", [False, True], ids=["plain", "jpeg"])
def test_a_dicom_video_is_reconstructed_as_its_frames_are(tmp_path, wall, coded):
    frames, camera = wall
    pictures = [read_image(path).numpy() for path in sorted(frames.iterdir())]
    syntax, pixels = "1.2.840.10008.1.2.1", b"".join(picture.tobytes() for picture in pictures)
    if coded:
        data = [
            cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 98])[1].tobytes()
            for picture in pictures
        ]
        syntax, pixels = "1.2.840.10008.1.2.4.50", [piece + b"\0" * (len(piece) % 2) for piece in data]
    video = dicom_video(tmp_path / "clip.dcm", pixels, syntax, len(pictures), SIZE)
    code = call("reconstruct", video, "--camera", camera, "--out", tmp_path / "out")
    found = result_of(tmp_path / "out")
    assert code == (0 if found["accepted"] else 3)
    assert found["frames"] == 8 and found["registered"] == 8 and found["points"] >= 30
    assert found["anomaly"] is not None and len(read_sequence(tmp_path / "out")) == 8


@pytest.mark.parametrize("ray", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["here", "ray"])
def test_a_clip_becomes_a_sequence_that_other_verbs_read(tmp_path, wall, ray):
    frames, camera = wall
    out = tmp_path / "out"
    code = call("reconstruct", frames, "--camera", camera, "--out", out, *(["--ray", "local"] if ray else []))
    found = result_of(out)
    assert code == (0 if found["accepted"] else 3)
    names = {
        "frames",
        "registered",
        "points",
        "mean_track_length",
        "mean_reprojection_px",
        "accepted",
        "reasons",
        "checks",
    }  # what the command contract promises
    assert names <= set(found) and found["frames"] == 8 and found["camera_source"] == "given"
    assert found["registered"] == 8 and found["points"] >= 30
    sequence = read_sequence(out)
    assert len(sequence) == 8 and sequence.cameras[0].focal_px == FOCAL
    assert sorted(p.name for p in (out / "images").iterdir()) == [f"{n:03d}.png" for n in range(8)]
    assert all((out / "images" / p.name).read_bytes() == p.read_bytes() for p in frames.iterdir())
    model = pycolmap.Reconstruction(out / "colmap")
    assert {image.name for image in model.images.values()} == {f"{n:03d}.png" for n in range(8)}
    truth = scene(frames=8)
    centres = torch.from_numpy(-np.einsum("fij,fi->fj", truth.rotation, truth.translation))
    aligned = Similarity.estimate(sequence.camera_centres, centres)
    error = (aligned.apply(sequence.camera_centres) - centres).norm(dim=-1)
    # The miniature is 160 pixels wide and smooth: 10 % says right, and nothing about how precise it is on tissue.
    assert float(error.max()) < 0.1 * float((centres[-1] - centres[0]).norm())
    assert call("inspect", out, "--out", tmp_path / "verdict") in (0, 3)
    assert result_of(tmp_path / "verdict")["registered"] == 8


@pytest.mark.parametrize("doubt", [True, False])
def test_a_second_run_is_asked_where_there_is_doubt(tmp_path, wall, monkeypatch, doubt):
    """The wall has too few tracks for a half of them: the first model stands in for the second."""
    asked = []

    def run_both(job, limits, stop=None, log=None):
        asked.append(job.second_run)
        if not job.second_run:
            return run_child(job, limits, stop, log=log)
        shutil.copytree(Path(job.folder) / "model", Path(job.folder) / process.SECOND)
        return process.Ended("", {}, "", 0)

    monkeypatch.setattr(clip_task, "run_child", run_both)
    monkeypatch.setattr(outcome, "in_doubt", lambda verdict: doubt)
    frames, camera = wall
    call("reconstruct", frames, "--camera", camera, "--out", tmp_path / "out")
    checks = result_of(tmp_path / "out")["checks"]
    assert asked == ([False, True] if doubt else [False])
    assert checks["two_runs"]["passed"] is (True if doubt else None)
    if doubt:
        assert checks["two_runs"]["value"] < 1e-6 and checks["second_run_share"]["value"] == 1


def test_half_of_exact_tracks_give_the_same_path_again(synthetic, tmp_path):
    job, database, truth = synthetic
    job = replace(job, folder=str(tmp_path), second_run=True)
    shutil.copyfile(database, tmp_path / "features_0.002.db")
    report = child.earlier(tmp_path) | {"best": {"attempt": "standard", "lens": clips_asdict(LENS)}}
    (tmp_path / child.REPORT).write_text(json.dumps(report))
    shutil.copytree(Path(synthetic[0].folder) / "images", tmp_path / "images")
    child.run_again(job)
    model = pycolmap.Reconstruction(tmp_path / child.SECOND)
    assert child.SECOND == process.SECOND and model.num_reg_images() == 12
    assert 100 < model.num_points3D() < 300  # of 400
    numbers = sorted(model.images)
    found = torch.tensor(np.array([model.images[n].projection_center() for n in numbers]))
    true = torch.tensor(np.array([truth.images[n].projection_center() for n in numbers]))
    error = (Similarity.estimate(found, true).apply(found) - true).norm(dim=-1)
    assert float(error.max()) < 1e-4 * float(true.std())


@pytest.mark.slow
def test_without_a_camera_the_result_says_so(tmp_path, wall):
    frames, _ = wall
    call("reconstruct", frames, "--out", tmp_path / "out")
    found = result_of(tmp_path / "out")
    if found["registered"]:
        assert found["camera_source"] == "self-calibrated" and "self-calibrated" in " ".join(found["notes"])
        assert camera_file.read(tmp_path / "out" / "camera.yaml").source == SELF_CALIBRATED
    else:
        assert found["camera_source"] == "none" and found["reasons"]


class SlowMachine:
    """The clocks of a machine on which an hour passes between two looks at them."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        self.now += 3600.0
        return self.now

    process_time = monotonic


LIGHT = MatchSupport(900.0, 40, 480, 50.0)


def attempts_of(monkeypatch, job: Job, support: MatchSupport = LIGHT) -> tuple[list[float | None], dict]:
    """The limit that each mapping of a clip gets in which nothing can be placed, and the report."""
    limits: list[float | None] = []

    def nothing(job, attempt, lens, database, images, scratch, seconds, tell):
        limits.append(seconds)
        return Mapped(None, lens)

    monkeypatch.setattr(child, "prepare", lambda *_: ())
    monkeypatch.setattr(child, "matched", lambda *_: (Path("a.db"), support))
    monkeypatch.setattr(child, "spared", lambda *_: np.zeros((0, 4)))
    monkeypatch.setattr(child, "mapped", nothing)
    return limits, child.run(job)


def test_a_busy_machine_makes_the_same_attempts(tmp_path, monkeypatch):
    """A limit of the clock once cut the first mapping short beside other work: 9 of 40 frames were placed."""
    options = clips.Options()
    assert options.limits(40, 1).attempt_seconds is None
    found = []
    for place in ("quiet", "busy"):
        if place == "busy":
            monkeypatch.setattr(child, "time", SlowMachine())
        (tmp_path / place).mkdir()
        limits, report = attempts_of(monkeypatch, job_of(tmp_path / place, frames=40))
        assert set(limits) == {None} and len(limits) == len(report["attempts"])
        found.append([(row["name"], row["lens"]) for row in report["attempts"]])
    assert found[0] == found[1] and len(found[0]) > 3


def test_no_limit_of_time_reaches_the_mapper_unless_it_is_asked_for(tmp_path):
    assert mapping.mapper_options(job_of(tmp_path), LENS, 4.0).max_runtime_seconds == -1
    assert mapping.mapper_options(job_of(tmp_path), LENS, 4.0, 7.9).max_runtime_seconds == 7


def test_a_limit_of_time_that_was_asked_for_ends_the_attempts_and_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(child, "time", SlowMachine())
    job = job_of(tmp_path, frames=40, seconds=clips.Options(minutes=2.0).limits(40, 1).attempt_seconds)
    limits, report = attempts_of(monkeypatch, job)
    assert len(limits) == 1 and limits[0] >= 30 and report["out_of_time"]
    (tmp_path / "result.json").write_text(json.dumps({"problem": "", "out_of_time": True}))
    assert not clip_task.is_done(tmp_path)


def test_attempts_end_at_an_effort_that_is_counted(tmp_path, monkeypatch):
    """Many features in many pairs cost much, so fewer attempts are made; the count says so on any machine."""
    made = []
    for support in (LIGHT, MatchSupport(6000.0, 4800, 4800, 50.0)):
        folder = tmp_path / f"{support.features_per_frame:.0f}"
        folder.mkdir()
        made.append(len(attempts_of(monkeypatch, job_of(folder, frames=40), support)[0]))
    assert made[0] > made[1] >= 1


def test_the_child_of_a_clip_leaves_no_log_files_of_its_libraries(tmp_path, monkeypatch):
    """COLMAP would write them into the system's temporary folder, where they stay if the child is killed."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    code = "import pycolmap; pycolmap.logging.error('no good pair')"
    ended = run_child(job_of(tmp_path), LIMITS, command=(sys.executable, "-c", code))
    assert "no good pair" in ended.log_tail and not list((tmp_path / "tmp").iterdir())


def test_ray_that_is_not_there_is_told(tmp_path, capsys, wall, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    frames, camera = wall
    assert call("reconstruct", frames, "--camera", camera, "--out", tmp_path / "out", "--ray", "local") == 2
    assert "pip install 'depthscope[ray]'" in capsys.readouterr().err


@pytest.mark.slow
def test_a_phantom_clip_comes_back(tmp_path):
    """Law 2: a rendered clip of 20 frames, 320x256: >= 90 % registered, median depth error < 3 %, accepted."""
    from depthscope.formats import depth_maps
    from depthscope.simulation.patients.folder import simulate_patients
    from depthscope.simulation.patients.options import SimulationOptions

    simulate_patients(tmp_path / "phantom", SimulationOptions("colon", 20, board_frames=1), workers=1)
    truth = tmp_path / "phantom" / "patient_00000" / "clip_00"
    out = tmp_path / "out"
    assert call("reconstruct", truth / "images", "--camera", truth / "camera.yaml", "--out", out) == 0
    found = result_of(out)
    assert found["accepted"] is True and found["registered"] >= 18
    sequence = read_sequence(out)
    measured, true = [], []
    for number, name in enumerate(sequence.frame_names):
        depth = depth_maps.read(truth / "depth" / f"{name}.tiff")
        own = sequence.observations.frame == number
        column, row = sequence.observations.pixels[own].long().unbind(-1)
        measured.append(sequence.observed_points[own, 2])  # z, as true maps hold it
        true.append(depth[row, column].double())
    ratio = torch.cat(true) / torch.cat(measured)
    ratio = ratio[ratio > 0]
    error = (ratio / ratio.median() - 1).abs()
    assert float(error.median()) < 0.03 and float(error.quantile(0.9)) < 0.15  # 0.028 and 0.096 were measured
