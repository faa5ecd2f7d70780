"""What structure from motion leaves behind: frames, cameras, motions, sparse points, and who saw which point."""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from depthscope.errors import BadInputError, UnusableSequenceError
from depthscope.geometry import Camera, RigidMotion, Similarity
from depthscope.geometry.units import LengthUnit


@runtime_checkable
class FrameMasks(Protocol):
    """Masks of single frames, as hands or a network drew them."""

    def not_tissue(self, name: str, size_px: tuple[int, int]) -> Bool[Tensor, "height width"]:
        """Where the frame of this name shows something other than the anatomy."""
        ...


@dataclass(frozen=True, eq=False)
class Observations:
    """Who saw which point: one row for each frame that a point was triangulated from (b_ij = 1).

    Attributes:
        frame: Position of the frame in the sequence, shape (observations,).
        point: Number of the point, shape (observations,).
        pixels: Where SfM measured it in the image, shape (observations, 2), or None where that was not kept.
    """

    frame: Int[Tensor, " observations"]
    point: Int[Tensor, " observations"]
    pixels: Float[Tensor, "observations 2"] | None = None

    def __len__(self) -> int:
        return len(self.frame)

    def __getitem__(self, chosen: Tensor) -> "Observations":
        """The chosen rows."""
        return Observations(
            self.frame[chosen], self.point[chosen], None if self.pixels is None else self.pixels[chosen]
        )


@dataclass(frozen=True, eq=False)
class Sequence:
    """A short rigid clip with its structure from motion, validated and never changed.

    Attributes:
        name: What the clip is called.
        images: The registered frames in order of time.
        cameras: The camera of each frame.
        camera_from_world: Its motion, float64, batch shape (frames,).
        points: SfM points in the world, shape (points, 3), float64, in `unit`.
        observations: Who saw which point.
        mask: True where the camera shows tissue, shape (height, width) of the images, or None for everywhere.
        point_error_px: Mean reprojection error of each point if the source has it, shape (points,).
        point_colours: Colour of each point if the source has it, shape (points, 3).
        unregistered: Names of frames that were given to SfM and not placed by it.
        unit: "sfm" (free) or "mm".
        notes: What a reader found and decided, in words.
        pose_direction: How the poses are stored where the sequence came from, "camera_from_world" or
            "world_from_camera"; "" if it did not come from files. In memory it is always `camera_from_world`.
        foreign: What hides the tissue in single frames (instruments, highlights), or None. It is not learned from; the
            network sees it all the same, as it will when it predicts.
    """

    name: str
    images: tuple[Path, ...]
    cameras: tuple[Camera, ...]
    camera_from_world: RigidMotion
    points: Float[Tensor, "points 3"]
    observations: Observations
    mask: Bool[Tensor, "height width"] | None = None
    point_error_px: Float[Tensor, " points"] | None = None
    point_colours: UInt8[Tensor, "points 3"] | None = None
    unregistered: tuple[str, ...] = ()
    unit: LengthUnit = "sfm"
    notes: tuple[str, ...] = ()
    pose_direction: str = ""
    foreign: FrameMasks | None = None

    def __post_init__(self) -> None:
        self._check_counts()
        self._check_motions()
        self._check_points()
        if self.mask is not None:
            self._check_mask(self.mask)

    def _check_counts(self) -> None:
        frames = len(self.images)
        if frames < 2:
            raise UnusableSequenceError(
                f"{self.name}: {frames} registered frames", "at least 2", "use a clip in which SfM placed more frames"
            )
        for what, count in (("cameras", len(self.cameras)), ("motions", len(self.camera_from_world.translation))):
            if count != frames:
                raise BadInputError(f"{self.name}: {count} {what} for {frames} frames", "one for each frame")
        sizes = {camera.size_px for camera in self.cameras}
        if len(sizes) > 1:
            raise BadInputError(
                f"{self.name}: frames of different sizes {sorted(sizes)}", "one size", "resize them before SfM"
            )
        for what, values in (("reprojection errors", self.point_error_px), ("colours", self.point_colours)):
            if values is not None and len(values) != len(self.points):
                raise BadInputError(f"{self.name}: {len(values)} {what} for {len(self.points)} points", "one each")

    def _check_motions(self) -> None:
        for path, defect in zip(self.images, self.camera_from_world.defects(), strict=True):
            if defect:
                raise BadInputError(
                    f"{self.name}: the pose of frame {path.name} is {defect}",
                    "a finite rigid motion",
                    "export the poses again, or leave this frame out",
                )

    def _check_points(self) -> None:
        if not len(self.points) or not len(self.observations):
            raise UnusableSequenceError(
                f"{self.name}: {len(self.points)} points and {len(self.observations)} observations",
                "some of both",
                "SfM found nothing here that could supervise a network",
            )
        if not bool(self.points.isfinite().all()):
            bad = int((~self.points.isfinite().all(-1)).nonzero()[0])
            raise BadInputError(f"{self.name}: point {bad} is not finite", "finite coordinates", "export them again")
        frame, point = self.observations.frame, self.observations.point
        if int(frame.min()) < 0 or int(frame.max()) >= len(self.images):
            raise BadInputError(f"{self.name}: observations of a frame that is not there", "frames of the sequence")
        if int(point.min()) < 0 or int(point.max()) >= len(self.points):
            raise BadInputError(f"{self.name}: observations of a point that is not there", "points of the sequence")
        if not bool((self.observed_depths > 0).any()):
            raise UnusableSequenceError(
                f"{self.name}: every point lies behind the cameras that saw it",
                "points in front of them",
                "the poses may be stored in the other direction, or with another axis convention",
            )

    def _check_mask(self, mask: Tensor) -> None:
        width, height = self.size_px
        if tuple(mask.shape) != (height, width):
            raise BadInputError(
                f"{self.name}: a mask of {mask.shape[1]} x {mask.shape[0]} pixels",
                f"the frames' {width} x {height}",
                "resize the mask",
            )
        if not bool(mask.any()):
            raise BadInputError(
                f"{self.name}: the mask hides everything", "some pixels that show tissue", "check the mask's polarity"
            )

    def __len__(self) -> int:
        """Number of registered frames."""
        return len(self.images)

    @property
    def frame_names(self) -> tuple[str, ...]:
        """File names of the frames without their endings."""
        return tuple(path.stem for path in self.images)

    @property
    def size_px(self) -> tuple[int, int]:
        """(width, height) of the frames."""
        return self.cameras[0].size_px

    @cached_property
    def observed_points(self) -> Float[Tensor, "observations 3"]:
        """The point of each observation, in the axes of the camera that saw it."""
        return self.camera_from_world[self.observations.frame].apply(self.points[self.observations.point])

    @cached_property
    def observed_depths(self) -> Float[Tensor, " observations"]:
        """Its depth, of the kind of that camera; not positive where the camera cannot see the point."""
        points = self.observed_points
        wide = [c.depth_kind == "distance" for c in self.cameras]
        depths = points[:, 2].clone()
        for camera in {c for c, beyond in zip(self.cameras, wide, strict=True) if beyond}:
            rows = torch.tensor([c == camera for c in self.cameras])[self.observations.frame]
            seen, far = camera.distortion.sees(points[rows]), points[rows].norm(dim=-1)
            depths[rows] = torch.where(seen, far, -far)
        return depths

    @cached_property
    def projections(self) -> Float[Tensor, "observations 2"]:
        """Where the camera model sends each observation; NaN where the lens does not see it."""
        pixels = torch.empty(len(self.observations), 2, dtype=torch.float64)
        for camera in dict.fromkeys(self.cameras):
            frames = torch.tensor([c == camera for c in self.cameras])
            rows = frames[self.observations.frame]
            pixels[rows] = camera.project(self.observed_points[rows])
        return pixels

    @property
    def median_depth(self) -> float:
        """Median depth of all observations in front of their cameras: the unit of length of training."""
        depths = self.observed_depths
        return float(depths[depths > 0].quantile(0.5))

    @cached_property
    def seen(self) -> Bool[Tensor, "frames points"]:
        """The b of the paper as a matrix: which frame saw which point."""
        seen = torch.zeros(len(self), len(self.points), dtype=torch.bool)
        seen[self.observations.frame, self.observations.point] = True
        return seen

    @property
    def camera_centres(self) -> Float[Tensor, "frames 3"]:
        """Where the cameras stand in the world."""
        return self.camera_from_world.origin

    def with_points(self, kept: Bool[Tensor, " points"]) -> "Sequence":
        """The sequence with only these points, and their observations."""
        number = torch.cumsum(kept, 0) - 1
        observations = self.observations[kept[self.observations.point]]
        return replace(
            self,
            points=self.points[kept],
            observations=replace(observations, point=number[observations.point]),
            point_error_px=None if self.point_error_px is None else self.point_error_px[kept],
            point_colours=None if self.point_colours is None else self.point_colours[kept],
        )

    def with_frames(self, kept: Bool[Tensor, " frames"]) -> "Sequence":
        """The sequence with only these frames; points that fewer than two of them saw are dropped."""
        number = torch.cumsum(kept, 0) - 1
        observations = self.observations[kept[self.observations.frame]]
        chosen = kept.nonzero().flatten().tolist()
        shorter = replace(
            self,
            images=tuple(self.images[i] for i in chosen),
            cameras=tuple(self.cameras[i] for i in chosen),
            camera_from_world=self.camera_from_world[kept],
            observations=replace(observations, frame=number[observations.frame]),
        )
        return shorter.with_points(shorter.seen.sum(0) >= 2)

    def with_observations(self, kept: Bool[Tensor, " observations"]) -> "Sequence":
        """The sequence with only these observations; points and frames stay."""
        return replace(self, observations=self.observations[kept])

    def moved(self, world_from_old: Similarity) -> "Sequence":
        """The same clip in another world frame and unit of length."""
        old_from_new = world_from_old.motion.inverse()
        motion = self.camera_from_world.scaled(world_from_old.scale) @ old_from_new
        return replace(self, points=world_from_old.apply(self.points), camera_from_world=motion)
