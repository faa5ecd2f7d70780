"""The observations of a model as arrays, and how what a point shows goes over from frame to frame."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pycolmap
from jaxtyping import Float, Int

from depthscope.reconstruction.job import is_fisheye

SMALL = 1e-3
"""Step of ln depth by which its effect on an image is found."""


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


@dataclass(frozen=True, eq=False)
class Transfer:
    """From the middle frame of each track to the frame of each of its sightings.

    Attributes:
        camera: Of all frames.
        turn: Rotation from the world into the frame, shape (sightings, 3, 3).
        shift: Its translation, shape (sightings, 3).
        middle: Row of the sighting in the middle frame.
        point: Place of the point in the middle frame's camera, shape (sightings, 3).
    """

    camera: pycolmap.Camera
    turn: Float[np.ndarray, "sightings 3 3"]
    shift: Float[np.ndarray, "sightings 3"]
    middle: Int[np.ndarray, " sightings"]
    point: Float[np.ndarray, "sightings 3"]

    @classmethod
    def of(cls, model: pycolmap.Reconstruction, seen: Sightings) -> "Transfer":
        """By the poses of a model."""
        posed = {i: model.images[i].cam_from_world() for i in np.unique(seen.image).tolist()}
        turned = {i: motion.rotation.matrix() for i, motion in posed.items()}
        turn = np.array([turned[i] for i in seen.image.tolist()]).reshape(-1, 3, 3)
        shift = np.array([posed[i].translation for i in seen.image.tolist()]).reshape(-1, 3)
        middle = seen.reference
        point = np.einsum("nij,nj->ni", turn[middle], seen.world[seen.point]) + shift[middle]
        return cls(next(iter(model.cameras.values())), turn, shift, middle, point)

    @property
    def wide(self) -> bool:
        """Whether depth is the distance along the ray: at the rim of a wide lens, what has one z lies aslant."""
        return is_fisheye(self.camera.model_name)

    @cached_property
    def depth(self) -> Float[np.ndarray, " sightings"]:
        """Of each point in the middle frame."""
        return np.linalg.norm(self.point, axis=1) if self.wide else self.point[:, 2]

    @cached_property
    def here(self) -> Float[np.ndarray, "sightings 2"]:
        """Where the point is in the middle frame."""
        return np.asarray(self.camera.img_from_cam(self.point))

    def seen_from(
        self, here: Float[np.ndarray, "sightings 2"], depth: Float[np.ndarray, " sightings"]
    ) -> Float[np.ndarray, "sightings 2"]:
        """Where each frame sees what is at pixels and depths of the middle one."""
        plane = np.asarray(self.camera.cam_from_img(here))
        ray = np.concatenate([plane, np.ones((len(here), 1))], 1)
        if self.wide:
            ray = ray / np.linalg.norm(ray, axis=1, keepdims=True)
        ray = ray * depth[:, None]
        world = np.einsum("nji,nj->ni", self.turn[self.middle], ray - self.shift[self.middle])
        return np.asarray(self.camera.img_from_cam(np.einsum("nij,nj->ni", self.turn, world) + self.shift))

    @cached_property
    def warp(self) -> Float[np.ndarray, "sightings 2 2"]:
        """How the surroundings of each point go over, as if they faced the middle camera."""
        depth = self.depth
        there = [self.seen_from(self.here + step, depth) for step in ((0.0, 0.0), (1.0, 0.0), (0.0, 1.0))]
        return np.stack([there[1] - there[0], there[2] - there[0]], -1)

    @cached_property
    def parallax(self) -> Float[np.ndarray, "sightings 2"]:
        """Pixels that a point moves by in each frame as it comes nearer in the middle one, per unit of -ln depth."""
        depth = self.depth
        return (self.seen_from(self.here, depth * np.exp(-SMALL)) - self.seen_from(self.here, depth)) / SMALL
