"""What a dataset knows about a clip: frames, cameras and motions, and dense depth that is read when it is asked for."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from depthscope.errors import BadInputError, UnusableSequenceError, require_file
from depthscope.geometry import Camera, RigidMotion
from depthscope.geometry.depth import sampled_at
from depthscope.geometry.units import LengthUnit
from depthscope.reading import bytes_of, reader
from depthscope.sequence import Observations, Sequence
from depthscope.video import image_size, read_grey


@dataclass(frozen=True)
class DepthEncoding:
    """How the numbers of a file become z-depth.

    Attributes:
        kind: The stored type: "uint8", "uint16" or "float32".
        per_level: Depth of one level, in the unit of the clip.
        smallest: Depths below it are unknown.
        largest: Depths at or above it are unknown; infinity for none.
        channels: How many channels the file has.
        channel: Which of them is depth, in OpenCV's order (blue first).
        upper_half: The map is the upper half of the file, as where left lies above right.
        times_disparity: The file holds disparities, in units of `per_level` pixels, and this over a disparity is depth
            (focal length times baseline); None where it holds depth.
        zero_disparity: The disparity of a point at infinity, in pixels.
    """

    kind: str = "uint16"
    per_level: float = 1.0
    smallest: float = 0.0
    largest: float = float("inf")
    channels: int = 1
    channel: int = 0
    upper_half: bool = False
    times_disparity: float | None = None
    zero_disparity: float = 0.0


@runtime_checkable
class DepthSource(Protocol):
    """Something on disk that a depth map can be read from."""

    def read(self, size_px: tuple[int, int]) -> Float[Tensor, "height width"]:
        """The map of a frame of this (width, height), 0 where unknown."""
        ...


@dataclass(frozen=True)
class DepthFile:
    """One depth map on disk.

    Attributes:
        path: The file.
        encoding: How it is to be read.
    """

    path: Path
    encoding: DepthEncoding

    def read(self, size_px: tuple[int, int]) -> Float[Tensor, "height width"]:
        """The map, 0 where unknown.

        Args:
            size_px: (width, height) that it must have.

        Raises:
            BadInputError: The file is missing or damaged, or of another type or size.
        """
        way = self.encoding
        values = self.levels()
        if (values.shape[1], values.shape[0]) != size_px:
            raise BadInputError(
                f"{self.path} is {values.shape[1]} x {values.shape[0]} pixels",
                f"{size_px[0]} x {size_px[1]} as its frame",
                "take frames and depth from the same release",
            )
        depth = values.astype(np.float64) * way.per_level
        if way.times_disparity is not None:
            beyond = depth - way.zero_disparity
            depth = np.divide(way.times_disparity, beyond, out=np.zeros_like(depth), where=(depth > 0) & (beyond > 0))
        known = np.isfinite(depth) & (depth > 0) & (depth >= way.smallest) & (depth < way.largest)
        return torch.from_numpy(np.where(known, depth, 0).astype(np.float32))

    def levels(self) -> np.ndarray:
        """The numbers of the map as stored, shape (height, width), before they become depth.

        Raises:
            BadInputError: The file is missing or damaged, or of another type.
        """
        way = self.encoding
        values = _decoded(self.path)
        channels = 1 if values.ndim == 2 else values.shape[2]
        if str(values.dtype) != way.kind or channels != way.channels:
            raise BadInputError(
                f"{self.path} holds {values.dtype} in {channels} channels",
                f"{way.kind} in {way.channels} as this layout has it",
                "a preview or a converted copy is not the depth that was published",
            )
        values = values if values.ndim == 2 else values[..., way.channel]
        return values[: len(values) // 2] if way.upper_half else values


@dataclass(frozen=True, eq=False)
class GroundTruth:
    """Frames with what a dataset knows about them, validated and never changed.

    Attributes:
        name: What the clip is called.
        layout: The layout that it was read from.
        images: The frames in order of time.
        cameras: The camera of each frame, or None where the dataset does not tell.
        camera_from_world: Its motion, float64, or None.
        depth: Where the depth of each frame is, None for a frame that has none; in `unit`.
        unit: "mm", or "sfm" where it is not told.
        mask: True where the camera shows tissue, or None for everywhere.
        notes: What a reader found and decided, in words.
        pose_direction: How the poses are stored, "" without poses.
    """

    name: str
    layout: str
    images: tuple[Path, ...]
    cameras: tuple[Camera, ...] | None
    camera_from_world: RigidMotion | None
    depth: tuple[DepthSource | None, ...]
    unit: LengthUnit = "mm"
    mask: Bool[Tensor, "height width"] | None = None
    notes: tuple[str, ...] = ()
    pose_direction: str = ""

    def __post_init__(self) -> None:
        frames = len(self.images)
        if not frames:
            raise BadInputError(f"{self.name} holds no frames", "at least one", "check the path")
        cameras = frames if self.cameras is None else len(self.cameras)
        motions = frames if self.camera_from_world is None else len(self.camera_from_world.translation)
        for what, count in (("cameras", cameras), ("poses", motions), ("depth entries", len(self.depth))):
            if count != frames:
                raise BadInputError(f"{self.name}: {count} {what} for {frames} frames", "one for each frame")
        if self.camera_from_world is not None:
            for path, defect in zip(self.images, self.camera_from_world.defects(), strict=True):
                if defect:
                    raise BadInputError(
                        f"{self.name}: the pose of frame {path.name} is {defect}",
                        "a finite rigid motion",
                        "download the pose file again",
                    )
        if len(set(self.frame_names)) < frames:
            twice = max(self.frame_names, key=self.frame_names.count)
            raise BadInputError(f"{self.name}: two frames are called {twice}", "one file for each frame")

    def __len__(self) -> int:
        return len(self.images)

    @property
    def frame_names(self) -> tuple[str, ...]:
        """The names of the frames, without folder and ending."""
        return tuple(path.stem for path in self.images)

    @property
    def with_depth(self) -> int:
        """How many frames have depth."""
        return sum(file is not None for file in self.depth)

    def depth_of(self, frame: int) -> Float[Tensor, "height width"]:
        """The depth map of a frame on its recorded pixels, read now; all 0 where it has none."""
        camera = None if self.cameras is None else self.cameras[frame]
        size = image_size(self.images[frame]) if camera is None else camera.size_px
        file = self.depth[frame]
        if file is None:
            return torch.zeros(size[1], size[0])
        return file.read(size)


@dataclass(frozen=True)
class PointSampling:
    """How sparse points are drawn from dense depth.

    Attributes:
        keyframes: In how many frames, evenly over the clip, points are drawn.
        per_keyframe: Most corners of one keyframe.
        spacing_px: Smallest distance of two corners.
        tolerance: A frame sees a point if its depth map agrees with the point's depth within this share.
        border_px: A frame sees a point only this far from its border.
    """

    keyframes: int = 8
    per_keyframe: int = 200
    spacing_px: float = 6.0
    tolerance: float = 0.015
    border_px: float = 2.0


def with_points(
    truth: GroundTruth,
    options: PointSampling = PointSampling(),
    progress: Callable[[list[int]], Iterable[int]] = lambda frames: frames,
) -> Sequence:
    """A sequence with points drawn from the depth maps, so that a dataset can train a network as SfM does.

    Points lie at corners of keyframes. A frame sees a point where its own depth map says so: the point's depth in that
    frame and the map agree. One depth map is in memory at a time.

    Args:
        truth: The clip; it needs cameras, motions and depth.
        options: How points are drawn.
        progress: Wraps the list of frames, for a progress bar.

    Raises:
        BadInputError: Something that is needed is not there, or no point is seen by two frames.
    """
    lacking = [
        what
        for what, missing in (
            ("camera (put a camera.yaml beside the frames)", truth.cameras is None),
            ("poses", truth.camera_from_world is None),
            ("depth", truth.with_depth == 0),
            ("second frame", len(truth) < 2),
        )
        if missing
    ]
    if truth.cameras is None or truth.camera_from_world is None or lacking:
        raise BadInputError(
            f"{truth.name} ({truth.layout}) has no {', no '.join(lacking)}",
            "frames with camera, poses and depth, to draw points from",
            "it can still be the INPUT of predict, or with depth the TRUTH of evaluate",
        )
    usable = [n for n, file in enumerate(truth.depth) if file is not None]
    chosen = sorted({usable[i] for i in np.linspace(0, len(usable) - 1, options.keyframes).round().astype(int)})
    points = torch.cat([_drawn(truth, n, options) for n in chosen])
    frames, seen = [], []
    for n in progress(usable):
        visible = _seen(points, truth, n, options).nonzero().flatten()
        frames.append(torch.full_like(visible, n))
        seen.append(visible)
    frame, point = torch.cat(frames), torch.cat(seen)
    often = torch.bincount(point, minlength=len(points)) >= 2
    if not bool(often.any()):
        raise UnusableSequenceError(
            f"{truth.name}: of {len(points)} points drawn from the depth maps none is seen by a second frame",
            f"depth, poses and camera that agree within {options.tolerance:.1%}",
            "the clip may deform or be static, or its pose convention is another one than its layout says",
        )
    rows, number = often[point], torch.cumsum(often, 0) - 1
    return Sequence(
        name=truth.name,
        images=truth.images,
        cameras=truth.cameras,
        camera_from_world=truth.camera_from_world,
        points=points[often],
        observations=Observations(frame[rows], number[point[rows]]),
        mask=truth.mask,
        unit=truth.unit,
        notes=(*truth.notes, f"{int(often.sum())} points were drawn from the depth maps of {truth.layout}, not by SfM"),
        pose_direction=truth.pose_direction,
    )


def _drawn(truth: GroundTruth, frame: int, options: PointSampling) -> Float[Tensor, "points 3"]:
    """Corners of a keyframe with known depth, in the world."""
    assert truth.cameras is not None and truth.camera_from_world is not None
    depth = truth.depth_of(frame)
    allowed = depth > 0 if truth.mask is None else (depth > 0) & truth.mask
    found = cv2.goodFeaturesToTrack(
        read_grey(truth.images[frame]).numpy(),
        options.per_keyframe,
        0.005,
        options.spacing_px,
        mask=allowed.numpy().astype(np.uint8),
    )
    if found is None:
        return torch.zeros(0, 3, dtype=torch.float64)
    pixels = torch.from_numpy(found.reshape(-1, 2)).double() + 0.5  # OpenCV's first centre is (0, 0)
    local = truth.cameras[frame].unproject(pixels) * sampled_inside(depth, pixels, 0.0)[:, None]
    good = local.isfinite().all(-1) & (local[:, 2] > 0)
    return truth.camera_from_world[frame].inverse().apply(local[good])


def _seen(points: Float[Tensor, "points 3"], truth: GroundTruth, frame: int, options: PointSampling) -> Tensor:
    """Which points the depth map of a frame confirms."""
    assert truth.cameras is not None and truth.camera_from_world is not None
    local = truth.camera_from_world[frame].apply(points)
    pixels = truth.cameras[frame].project(local)
    found = sampled_inside(truth.depth_of(frame), pixels, options.border_px)
    visible = (found > 0) & ((local[:, 2] - found).abs() < options.tolerance * found)
    if truth.mask is None:
        return visible
    inside = pixels.nan_to_num().long()
    height, width = truth.mask.shape
    return visible & truth.mask[inside[:, 1].clamp(0, height - 1), inside[:, 0].clamp(0, width - 1)]


def sampled_inside(depth: Float[Tensor, "height width"], pixels: Float[Tensor, "points 2"], border_px: float) -> Tensor:
    """Depth at pixels, in double precision; 0 outside the frame less its border."""
    size = pixels.new_tensor([depth.shape[1], depth.shape[0]])
    inside = ((pixels >= border_px) & (pixels <= size - border_px)).all(-1)  # NaN is outside
    found = sampled_at(depth[None].double(), pixels.nan_to_num()[None])[0]
    return torch.where(inside, found, torch.zeros_like(found))


def undistorted_depth(
    depth: Float[Tensor, "height width"], camera: Camera, target: Camera
) -> Float[Tensor, "rows columns"]:
    """z-depth of the frames of a camera on the pixels of another one at the same place, as of an undistorted export."""
    width, height = target.size_px
    pixels = camera.project(target.rays.reshape(-1, 3))
    return sampled_inside(depth, pixels, 0.0).reshape(height, width).float()


@reader("a depth map", "download it again")
def _decoded(path: Path) -> np.ndarray:
    """Any image or ``.npy`` array, as it is stored."""
    try:
        if path.suffix == ".npy":
            return np.load(require_file(path, "a depth map"), allow_pickle=False)
        data = np.frombuffer(bytes_of(path, "a depth map"), np.uint8)
        values = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
    except (OSError, ValueError, EOFError, cv2.error):
        values = None
    if values is None:
        raise BadInputError(f"{path} cannot be read", "a depth map", "download it again")
    return values
