"""Tracks brought to one place on the tissue: each keypoint moves to where its patch looks like that of its track.

A detector places each keypoint by its own frame alone, to about half a pixel; on small triangulation angles that is
much of the depth. So the patch of each track's middle frame, brought over by the plane that the model knows there, is
sought around the other keypoints to a small part of a pixel (Lucas and Kanade 1981 in the inverse form of Baker and
Matthews 2004; brightness and contrast are free). Keypoints that it is not found at leave their track where it has
others. Then everything is adjusted once more.
"""

from collections.abc import Set
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pycolmap
from jaxtyping import Bool, Float, Int

from depthscope.reconstruction.bundle import adjust, filtered
from depthscope.reconstruction.front_end import UnreadableFrameError, working_name
from depthscope.reconstruction.job import Job

REACH_PX = 7
"""Half the side of a patch, in working pixels."""

STEPS, ENOUGH_PX, LONGEST_STEP_PX = 10, 0.01, 1.0
FARTHEST_PX = 2.0
"""A keypoint that would move farther sees something else."""

LEAST_ALIKE = 0.7
"""Correlation of a patch with that of its track, weighted toward the middle."""

FEWEST_FOUND = 3
"""Where a track has so many keypoints that are found again, the others leave it; else they stay where they are."""

STRETCH = (0.3, 3.0)
"""Change of area between two frames up to which a patch is compared."""

ROBUST_PX, ADJUSTED_STEPS = 0.5, 20
"""Residual from which an observation loses weight: refined ones miss by a fraction of a pixel. Steps of adjustment."""

AT_ONCE = 30_000
"""Rows of a table of places: OpenCV takes no more than 32767."""


@dataclass(frozen=True, eq=False)
class Sightings:
    """The observations of a model, sorted by point and image.

    Attributes:
        image: COLMAP's number of the image, shape (sightings,).
        keypoint: Number of the keypoint in it.
        point: Number of the point, 0 to points.
        pixels: Where, working pixels with the first pixel's centre at (0.5, 0.5).
        reference: For each, the row of the sighting in the middle of its track.
        world: Places of the points, shape (points, 3).
    """

    image: Int[np.ndarray, " sightings"]
    keypoint: Int[np.ndarray, " sightings"]
    point: Int[np.ndarray, " sightings"]
    pixels: Float[np.ndarray, "sightings 2"]
    reference: Int[np.ndarray, " sightings"]
    world: Float[np.ndarray, "points 3"]


def refine(
    job: Job,
    model: pycolmap.Reconstruction,
    images: Path,
    done: Set[tuple[int, int]] = frozenset(),
    *,
    free_poses: bool,
    free_lens: bool,
) -> tuple[float, set[tuple[int, int]]]:
    """Moves the keypoints of all tracks, drops those that are not found again, adjusts, and filters; in place.

    Args:
        job: The clip.
        model: In working pixels.
        images: The working images.
        done: (image, keypoint) of an earlier call; tracks of no others stay as they are.
        free_poses: Whether the cameras may move too.
        free_lens: Whether the lens may change.

    Returns:
        Share of the observations that were found again, and those that are done now.
    """
    seen = sightings(model)
    keys = list(zip(seen.image.tolist(), seen.keypoint.tolist(), strict=True))
    fresh = np.array([key not in done for key in keys], bool)
    fresh = np.bincount(seen.point[fresh], minlength=len(seen.world))[seen.point] > 0
    grey = {i: _read(images / working_name(i - 1)) for i in np.unique(seen.image[fresh]).tolist()}
    shift, found = shifts(seen, grey, warps(model, seen), fresh)
    enough = np.bincount(seen.point[found], minlength=len(seen.world))[seen.point] >= FEWEST_FOUND
    for (image, keypoint), place, ok, others in zip(keys, seen.pixels + shift, found, enough, strict=True):
        if ok:
            model.images[image].points2D[keypoint].xy = place
        elif others:
            model.delete_observation(image, keypoint)
    adjust(job, model, robust_px=ROBUST_PX, free_lens=free_lens, free_poses=free_poses, steps=ADJUSTED_STEPS)
    filtered(model)
    share = float(found[fresh].mean()) if fresh.any() else 1.0
    return share, {key for key, ok in zip(keys, found, strict=True) if ok} | set(done)


def sightings(model: pycolmap.Reconstruction) -> Sightings:
    """The observations of all points of a model."""
    numbers = sorted(model.point3D_ids())
    rows = [
        (number, element.image_id, element.point2D_idx)
        for number, point in enumerate(map(model.point3D, numbers))
        for element in point.track.elements
    ]
    point, image, keypoint = np.array(sorted(rows), np.int64).reshape(-1, 3).T
    pixels = [model.images[i].points2D[k].xy for i, k in zip(image.tolist(), keypoint.tolist(), strict=True)]
    count = np.bincount(point, minlength=len(numbers))
    middle = np.cumsum(count) - count + count // 2
    world = np.array([model.point3D(number).xyz for number in numbers]).reshape(-1, 3)
    return Sightings(image, keypoint, point, np.array(pixels).reshape(-1, 2), middle[point], world)


def warps(model: pycolmap.Reconstruction, seen: Sightings) -> Float[np.ndarray, "sightings 2 2"]:
    """How the surroundings of each point go over from its track's middle frame, as if they faced that camera."""
    camera = next(iter(model.cameras.values()))
    posed = {i: model.images[i].cam_from_world() for i in np.unique(seen.image).tolist()}
    turn = {i: motion.rotation.matrix() for i, motion in posed.items()}
    to_image = (
        np.array([turn[i] for i in seen.image.tolist()]),
        np.array([posed[i].translation for i in seen.image.tolist()]),
    )
    to_middle = to_image[0][seen.reference], to_image[1][seen.reference]
    local = np.einsum("nij,nj->ni", to_middle[0], seen.world[seen.point]) + to_middle[1]
    here = camera.img_from_cam(local)
    there = []
    for step in ((0.0, 0.0), (1.0, 0.0), (0.0, 1.0)):
        ray = np.concatenate([camera.cam_from_img(here + step), np.ones((len(here), 1))], 1) * local[:, 2:]
        world = np.einsum("nji,nj->ni", to_middle[0], ray - to_middle[1])
        there.append(camera.img_from_cam(np.einsum("nij,nj->ni", to_image[0], world) + to_image[1]))
    return np.stack([there[1] - there[0], there[2] - there[0]], -1)


def shifts(
    seen: Sightings,
    grey: dict[int, np.ndarray],
    warp: Float[np.ndarray, "sightings 2 2"],
    fresh: Bool[np.ndarray, " sightings"],
) -> tuple[Float[np.ndarray, "sightings 2"], Bool[np.ndarray, " sightings"]]:
    """How far each keypoint is from where its track's patch fits best, and whether it fits there.

    Args:
        seen: The observations.
        grey: The images.
        warp: From the middle frame of its track to each.
        fresh: Which are looked at; the others count as found where they are.
    """
    offset = np.arange(-REACH_PX - 1, REACH_PX + 2, dtype=np.float64)
    grid = np.stack(np.meshgrid(offset, offset, indexing="xy"), -1)
    area = np.abs(np.linalg.det(np.nan_to_num(warp)))
    own = (seen.reference == np.arange(len(seen.image))) | ~fresh
    usable = np.isfinite(warp).all((1, 2)) & (area > STRETCH[0]) & (area < STRETCH[1]) & ~own
    rows = np.flatnonzero(usable)
    shift, found = np.zeros_like(seen.pixels), own.copy()
    if not len(rows):
        return shift, found
    middle = np.unique(seen.reference[fresh])
    side = len(offset)
    patch = sampled(grey, seen.image[middle], seen.pixels[middle][:, None] + grid.reshape(-1, 2)).reshape(
        -1, side, side
    )
    slope = np.stack([patch[:, 1:-1, 2:] - patch[:, 1:-1, :-2], patch[:, 2:, 1:-1] - patch[:, :-2, 1:-1]], -1) / 2
    grid = grid[1:-1, 1:-1].reshape(-1, 2)
    weight = np.exp(-(grid**2).sum(1) / (2 * (0.6 * REACH_PX) ** 2))
    weight = (weight / weight.sum()).astype(np.float32)
    patch, length = normalised(patch[:, 1:-1, 1:-1].reshape(len(middle), -1), weight)
    slope = slope.reshape(len(middle), -1, 2)
    slope = (slope - (weight @ slope)[:, None]) / length[:, None, None]
    of = np.searchsorted(middle, seen.reference[rows])
    toward = slope[of] @ np.linalg.inv(warp[rows]).astype(np.float32)  # by a shift in the other frame
    weighted = toward.transpose(0, 2, 1) * weight
    normal = weighted @ toward + 1e-6 * np.eye(2, dtype=np.float32)
    gain = -np.linalg.inv(normal) @ weighted
    places = (seen.pixels[rows][:, None] + grid @ warp[rows].transpose(0, 2, 1)).astype(np.float32)
    moved = np.zeros((len(rows), 2), np.float32)
    active = np.arange(len(rows))
    for _ in range(STEPS):
        there, _ = normalised(sampled(grey, seen.image[rows[active]], places[active] + moved[active, None]), weight)
        step = (gain[active] @ (there - patch[of[active]])[..., None])[..., 0]
        step *= np.minimum(1, LONGEST_STEP_PX / np.maximum(np.linalg.norm(step, axis=1), 1e-9))[:, None]
        moved[active] += step
        active = active[
            (np.linalg.norm(step, axis=1) > ENOUGH_PX) & (np.linalg.norm(moved[active], axis=1) < 3 * FARTHEST_PX)
        ]
        if not len(active):
            break
    there, _ = normalised(sampled(grey, seen.image[rows], places + moved[:, None]), weight)
    alike = (there * patch[of]) @ weight
    good = (np.linalg.norm(moved, axis=1) < FARTHEST_PX) & (alike > LEAST_ALIKE)
    shift[rows[good]], found[rows[good]] = moved[good], True
    return shift, found


def _read(path: Path) -> np.ndarray:
    grey = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if grey is None:
        raise UnreadableFrameError(f"{path} cannot be read")
    return grey


def normalised(
    patches: Float[np.ndarray, "patches pixels"], weight: Float[np.ndarray, " pixels"]
) -> tuple[Float[np.ndarray, "patches pixels"], Float[np.ndarray, " patches"]]:
    """Patches of weighted mean 0 and variance 1, and the standard deviations that they had."""
    flat = patches - (patches @ weight)[:, None]
    length = np.sqrt(np.maximum(flat**2 @ weight, 1e-6))
    return flat / length[:, None], length


def sampled(
    grey: dict[int, np.ndarray], image: Int[np.ndarray, " rows"], places: Float[np.ndarray, "rows pixels 2"]
) -> Float[np.ndarray, "rows pixels"]:
    """Brightness at places of images, between pixels linearly."""
    found = np.empty(places.shape[:2], np.float32)
    for number in np.unique(image):
        rows = np.flatnonzero(image == number)
        for some in np.array_split(rows, len(rows) // AT_ONCE + 1):
            columns, lines = np.moveaxis((places[some] - 0.5).astype(np.float32), -1, 0)  # to OpenCV's pixels
            found[some] = cv2.remap(
                grey[number],
                np.ascontiguousarray(columns),
                np.ascontiguousarray(lines),
                cv2.INTER_LINEAR,
                borderMode=cv2.BORDER_REPLICATE,
            )
    return found
