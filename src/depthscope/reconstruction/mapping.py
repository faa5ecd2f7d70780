"""Putting matched frames together: COLMAP's incremental and global mappers with settings for tissue."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pycolmap

from depthscope.reconstruction.attempts import AtOnce, Attempt, Halves, Incremental, Size
from depthscope.reconstruction.features import Tell, use_lens
from depthscope.reconstruction.front_end import read_picture, working_name
from depthscope.reconstruction.job import Job, Lens
from depthscope.reconstruction.runaway import runaway
from depthscope.workspace import atomic_folder

STARTS = 6
"""Models that are begun: a poor first pair ends after a few frames, and another one is tried."""

SMALLEST_MODEL = 10
"""Frames of a model at least (or 80 % of a shorter clip); smaller ones are given up."""

ADJUSTED_TO = 1e-6
"""Relative gain of a step below which an adjustment ends. COLMAP's own 0 makes every one take all its steps."""

GROWTH = 1.3
"""Everything is adjusted when there are so many times more frames or points than the last time."""

FOCAL_RANGE = (0.25, 2.5)
"""Focal length over the longer side of the frame that self-calibration may end at: 126 to 23 degrees wide."""

FISHEYE_FOCAL_RANGE = (0.12, 2.5)
"""The same of a fisheye: 170 degrees across a disc of 1080 lines lie in a frame of 1920 pixels at 0.19."""


@dataclass(frozen=True, eq=False)
class Mapped:
    """What one attempt came to.

    Attributes:
        model: The largest model, in working pixels, or None.
        lens: The camera it started from.
        ran_away: What became of the lens of models that were dropped for it, in words; "" if there were none.
    """

    model: pycolmap.Reconstruction | None
    lens: Lens
    ran_away: str = ""

    @property
    def size(self) -> Size:
        """How much it covers."""
        if self.model is None:
            return Size()
        return Size(self.model.num_reg_images(), self.model.compute_num_observations(), self.model.num_points3D())


def mapped(
    job: Job,
    attempt: Attempt,
    lens: Lens,
    database: Path,
    images: Path,
    scratch: Path,
    seconds: float | None,
    tell: Tell,
) -> Mapped:
    """Runs the attempt's mapper on a database of verified matches.

    Args:
        job: The clip.
        attempt: How to do it.
        lens: The camera, or a first guess of it.
        database: Matches; its camera is set to the lens.
        images: The working images.
        scratch: A folder for COLMAP's output; emptied.
        seconds: After so many of the clock the mapper stops with what it has; None for no limit.
        tell: Told how many frames are placed.
    """
    use_lens(database, job, lens)
    pycolmap.set_random_seed(job.seed)
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    count = len(job.frames)
    every = [working_name(n) for n in range(count)]
    half_s = None if seconds is None else seconds / 2
    match attempt.mapper:
        case Incremental(angle):
            models = _incremental(job, lens, angle, database, images, scratch, every, seconds, tell)
        case Halves(angle):
            halves = (every[: count // 2], every[count // 2 :])
            models = [
                model
                for half in halves
                for model in _incremental(job, lens, angle, database, images, scratch, half, half_s, tell)
            ]
        case AtOnce():
            models = _at_once(job, lens, database, images, scratch)
    models = [model for model in models if model.num_reg_images() >= 2 and model.num_points3D()]
    faults = ["" if lens.fixed else runaway(job, model) for model in models]
    found = [Mapped(model, lens) for model, fault in zip(models, faults, strict=True) if not fault]
    return max(found, key=lambda one: one.size, default=Mapped(None, lens, next(filter(None, faults), "")))


def mapper_options(
    job: Job, lens: Lens, first_angle_deg: float, seconds: float | None = None
) -> pycolmap.IncrementalPipelineOptions:
    """COLMAP's defaults, but for small triangulation angles, a camera that is known, and adjustments that end."""
    refined = not lens.fixed
    options = pycolmap.IncrementalPipelineOptions(
        multiple_models=True,  # those that came from a poor first pair are left behind, the largest is taken
        max_num_models=STARTS,
        min_model_size=SMALLEST_MODEL,
        extract_colors=False,  # the working images have none
        num_threads=job.threads,
        random_seed=job.seed,
        ba_refine_focal_length=refined,
        ba_refine_extra_params=refined,
        ba_local_function_tolerance=ADJUSTED_TO,
        ba_global_function_tolerance=ADJUSTED_TO,
        ba_global_frames_ratio=GROWTH,
        ba_global_points_ratio=GROWTH,
        max_runtime_seconds=-1 if seconds is None else max(1, int(seconds)),
    )
    options.mapper.init_min_tri_angle = first_angle_deg
    options.mapper.init_min_num_inliers = min(100, 40 if len(job.frames) < 20 else 100)
    options.mapper.abs_pose_refine_focal_length = refined
    options.mapper.abs_pose_refine_extra_params = refined
    options.mapper.random_seed = job.seed
    if refined:
        shortest, longest = FISHEYE_FOCAL_RANGE if lens.guessed_fisheye else FOCAL_RANGE
        options.min_focal_length_ratio, options.max_focal_length_ratio = shortest, longest
        options.mapper.min_focal_length_ratio, options.mapper.max_focal_length_ratio = shortest, longest
    return options


def _incremental(job, lens, angle, database, images, scratch, names, seconds, tell) -> list[pycolmap.Reconstruction]:
    options = mapper_options(job, lens, angle, seconds)
    options.image_names = names
    placed = 2

    def first_pair() -> None:
        tell("mapping", 2, len(names))

    def next_frame() -> None:
        nonlocal placed
        placed = min(placed + 1, len(names))
        tell("mapping", placed, len(names))

    found = pycolmap.incremental_mapping(
        database, images, scratch, options, initial_image_pair_callback=first_pair, next_image_callback=next_frame
    )
    return list(found.values())


def _at_once(job, lens, database, images, scratch) -> list[pycolmap.Reconstruction]:
    options = pycolmap.GlobalPipelineOptions(num_threads=job.threads, random_seed=job.seed)
    options.mapper.global_positioning.use_gpu = False
    options.mapper.bundle_adjustment.ceres.use_gpu = False
    options.mapper.bundle_adjustment.refine_focal_length = not lens.fixed
    options.mapper.bundle_adjustment.refine_extra_params = not lens.fixed
    return list(pycolmap.global_mapping(database, images, scratch, options).values())


def with_hidden_tracks(job: Job, mapped: Mapped, full: Path, images: Path, scratch: Path) -> pycolmap.Reconstruction:
    """The model with points from the tracks that were hidden too; the poses stay as they are."""
    assert mapped.model is not None
    options = mapper_options(job, Lens(mapped.lens.model, mapped.lens.numbers), 1.0)
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    return pycolmap.triangulate_points(mapped.model, full, images, scratch, False, options, False)


def finished(job: Job, model: pycolmap.Reconstruction) -> pycolmap.Reconstruction:
    """The model for the frames as they were given: their size, names and colours."""
    working = job.front_end.working_size(job.size_px)
    across, down = np.array(job.size_px) / working
    left, top, *_ = job.working_window
    for camera in model.cameras.values():
        camera.principal_point_x += left
        camera.principal_point_y += top
        camera.width, camera.height = working
        camera.rescale(*job.size_px)
    sums = {number: np.zeros(4) for number in model.point3D_ids()}
    for image_id, image in model.images.items():
        frame = job.frames[image_id - 1]
        image.name = frame.name
        if not image.has_pose:
            continue
        picture = read_picture(frame.image, cv2.IMREAD_COLOR)
        for keypoint in image.points2D:
            x, y = (keypoint.xy + (left, top)) * (across, down)
            keypoint.xy = np.array([x, y])
            if keypoint.has_point3D():
                row = min(max(int(y), 0), job.size_px[1] - 1)
                column = min(max(int(x), 0), job.size_px[0] - 1)
                sums[keypoint.point3D_id] += (*picture[row, column, ::-1], 1)
    for number, total in sums.items():
        model.points3D[number].color = np.round(total[:3] / max(total[3], 1)).astype(np.uint8)
    model.update_point_3d_errors()
    return model


def write_model(model: pycolmap.Reconstruction, folder: Path) -> Path:
    """Writes the model's folder whole or not at all."""
    with atomic_folder(folder) as draft:
        model.write_binary(draft)
    return folder
