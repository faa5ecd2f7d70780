"""What the checks look at: the sequence, its images at working size, and tracks that SfM never saw."""

from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from depthscope.brightness import SATURATED, contrast_equaliser, glaring
from depthscope.errors import BadInputError
from depthscope.inspection.adjustment import Adjusted, Bundle, adjusted, triangulated
from depthscope.inspection.tracks import CORNER, ImageTracks, followed
from depthscope.photo_consistency import PhotoConsistency, photo_consistency
from depthscope.sequence import Sequence
from depthscope.video import read_grey, read_image

MOVING = "moving"
"""Folder beside the images with masks of what moves by itself (255), ``<image name>.png``, where they were made."""

LONGEST_SIDE_PX = 960
"""Images are halved until they are no larger: enough for tracks, and one read of each file."""

MOST_FRAMES = 120
"""Longer clips are looked at through a window of so many frames in the middle, where images are concerned."""

MOST_ADJUSTED, MOST_TRACKS = 40, 500
"""Frames and tracks of the small bundle adjustments."""


@dataclass(frozen=True, eq=False)
class HeldOutMatches:
    """Verified matches that were hidden from the reconstruction.

    Attributes:
        frame_a: Position of the first frame in the sequence, shape (matches,).
        frame_b: Of the second.
        pixels_a: Where in the first image, shape (matches, 2).
        pixels_b: Where in the second.
    """

    frame_a: Int[Tensor, " matches"]
    frame_b: Int[Tensor, " matches"]
    pixels_a: Float[Tensor, "matches 2"]
    pixels_b: Float[Tensor, "matches 2"]


@dataclass(frozen=True, eq=False)
class Witnesses:
    """Evidence that only the reconstruction can give; every part is optional.

    Attributes:
        matches: Matches that were hidden from it.
        second_run: The same clip reconstructed a second time in another way; frames are matched by their names.
    """

    matches: HeldOutMatches | None = None
    second_run: Sequence | None = None


@dataclass(frozen=True, eq=False)
class Images:
    """The frames of a clip at working size.

    Attributes:
        grey: Local-contrast-equalised green channel, uint8, one (height, width) each.
        light: Linear brightness (largest channel, sRGB undone), smoothed, float32.
        highlight: Saturated pixels and their rim.
        moving: What was found to move by itself (``moving/<image name>.png`` beside the images), or nothing.
        scale: Working pixels per pixel.
    """

    grey: list[UInt8[np.ndarray, "height width"]]
    light: list[Float[np.ndarray, "height width"]]
    highlight: list[Bool[np.ndarray, "height width"]]
    moving: list[Bool[np.ndarray, "height width"]]
    scale: float


@dataclass(frozen=True, eq=False)
class Evidence:
    """A sequence with what several checks look at, computed once.

    Attributes:
        sequence: The sequence under test, all of it.
        witnesses: What the reconstruction adds.
        seed: Of everything drawn.
        seen_images: Its images, where they were looked at before.
        seen_tracks: Its tracks, where they were followed before.
        seen_own: Its own bundle, where it was made before.
    """

    sequence: Sequence
    witnesses: Witnesses = field(default_factory=Witnesses)
    seed: int = 0
    seen_images: Images | None = None
    seen_tracks: ImageTracks | None = None
    seen_own: Bundle | None = None

    def of_rest(self, rest: Sequence, kept: Bool[Tensor, " points"], witnesses: Witnesses) -> "Evidence":
        """Evidence on what remains of the sequence, with the images and tracks of the whole where they still hold.

        Args:
            rest: The sequence without some points, and perhaps without some frames.
            kept: Which points it still has, if it has all frames.
            witnesses: What the reconstruction says on the rest.
        """
        if len(rest) < len(self.sequence) or len(self.working) < len(self.sequence):
            return Evidence(rest, witnesses, self.seed)  # frames, or points of the window, have other numbers
        tracks = self.tracks
        tracks = tracks.of((tracks.point == CORNER) | kept[tracks.point.clamp_min(0)])
        number = torch.cumsum(kept, 0) - 1
        point = torch.where(tracks.point == CORNER, CORNER, number[tracks.point.clamp_min(0)])
        return Evidence(rest, witnesses, self.seed, self.images, replace(tracks, point=point), self.own)

    @cached_property
    def photo_consistency(self) -> PhotoConsistency:
        """How alike the patches of a point are in the frames that saw it."""
        return photo_consistency(self.sequence, aligned=True)

    @cached_property
    def inside_image(self) -> Bool[Tensor, " observations"]:
        """Which projections fall inside the image."""
        size = torch.tensor(self.sequence.size_px, dtype=torch.float64)
        pixels = self.sequence.projections
        return ((pixels >= 0) & (pixels < size)).all(-1)  # NaN, behind the camera, is not inside

    @cached_property
    def inside_mask(self) -> Bool[Tensor, " observations"]:
        """Which projections fall on tissue."""
        if self.sequence.mask is None:
            return self.inside_image
        column, row = self.sequence.projections.nan_to_num().long().unbind(-1)
        height, width = self.sequence.mask.shape
        on_tissue = self.sequence.mask[row.clamp(0, height - 1), column.clamp(0, width - 1)]
        return self.inside_image & on_tissue

    @cached_property
    def measured(self) -> Float[Tensor, "observations 2"]:
        """Where SfM measured each observation; where that was not kept, where the camera model sends it."""
        pixels = self.sequence.observations.pixels
        return self.sequence.projections if pixels is None else pixels.double()

    @property
    def window(self) -> slice:
        """The frames of the sequence that `working` holds."""
        start = max(0, (len(self.sequence) - MOST_FRAMES) // 2)
        return slice(start, min(len(self.sequence), start + MOST_FRAMES))

    @cached_property
    def working(self) -> Sequence:
        """The window of the clip that images are looked at for, in pixels of the working size."""
        clip = self.sequence
        if len(clip) > MOST_FRAMES:
            kept = torch.zeros(len(clip), dtype=torch.bool)
            kept[self.window] = True
            clip = clip.with_frames(kept)
        factor = working_scale(clip.size_px)
        if factor == 1:
            return clip
        size = (round(clip.size_px[0] * factor), round(clip.size_px[1] * factor))
        resized = {camera: camera.resized(size) for camera in dict.fromkeys(clip.cameras)}
        pixels = clip.observations.pixels
        mask = clip.mask
        if mask is not None:
            small = cv2.resize(mask.numpy().astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
            mask = torch.from_numpy(small).bool()
        return replace(
            clip,
            cameras=tuple(resized[camera] for camera in clip.cameras),
            observations=replace(clip.observations, pixels=None if pixels is None else pixels * factor),
            mask=mask,
        )

    @cached_property
    def images(self) -> Images:
        """The frames of `working`, each file read once.

        Raises:
            BadInputError: One cannot be read, or has another size than its camera.
        """
        return self.seen_images or read_images(self.working, self.sequence.size_px)

    @cached_property
    def tracks(self) -> ImageTracks:
        """Corners of our own, followed through the clip by optical flow, and the projections of points likewise."""
        images = self.images
        unfit = [glare | own for glare, own in zip(images.highlight, images.moving, strict=True)]
        return self.seen_tracks or followed(self.working, images.grey, unfit, self.seed)

    @cached_property
    def own(self) -> Bundle:
        """Tracks of our own corners, with the given poses, and points triangulated from them by these poses."""
        if self.seen_own is not None:
            return self.seen_own
        window = self.adjusted_frames
        bundle = bundle_of(self.working, self.tracks.corners, window)
        long = torch.bincount(bundle.track, minlength=len(bundle.points)) >= 3
        chosen = long.nonzero().flatten()
        draw = torch.Generator().manual_seed(self.seed)
        chosen = chosen[torch.randperm(len(chosen), generator=draw)[:MOST_TRACKS]]
        kept = torch.zeros_like(long)
        kept[chosen] = True
        return adjusted(triangulated(bundle.of_tracks(kept)), poses=False).bundle

    @cached_property
    def adjusted_frames(self) -> slice:
        """The frames of `working` that are adjusted."""
        start = max(0, (len(self.working) - MOST_ADJUSTED) // 2)
        return slice(start, min(len(self.working), start + MOST_ADJUSTED))

    @cached_property
    def with_given_lens(self) -> Adjusted:
        """Our tracks adjusted, poses too, from the given ones."""
        return adjusted(self.own)

    @cached_property
    def with_free_lens(self) -> Adjusted:
        """The same with the focal length and k1 free."""
        return adjusted(self.with_given_lens.bundle, intrinsics=True, steps=30)

    @cached_property
    def retriangulated(self) -> Adjusted:
        """Points that were followed from their projections, triangulated again by the given poses."""
        tracks = self.tracks
        followed_points = tracks.of((tracks.point != CORNER) & (tracks.lengths >= 4))
        bundle = bundle_of(self.working, followed_points, slice(0, len(self.working)))
        bundle = replace(bundle, points=self.working.points[followed_points.point])
        return adjusted(triangulated(bundle), poses=False)

    @cached_property
    def retriangulated_tracks(self) -> ImageTracks:
        """The tracks of `retriangulated`, in its order."""
        return self.tracks.of((self.tracks.point != CORNER) & (self.tracks.lengths >= 4))


def bundle_of(working: Sequence, tracks: ImageTracks, window: slice) -> Bundle:
    """Tracks within a window of frames, with the poses of a sequence; points not yet known (NaN)."""
    rows = (tracks.frame >= window.start) & (tracks.frame < window.stop)
    frame, plane = tracks.frame[rows], torch.empty(int(rows.sum()), 2, dtype=torch.float64)
    for camera in dict.fromkeys(working.cameras):
        own = torch.tensor([c == camera for c in working.cameras])[frame]
        plane[own] = camera.unproject(tracks.pixels[rows][own])[:, :2]
    valid = plane.isfinite().all(-1)
    return Bundle(
        tracks.track[rows][valid],
        frame[valid] - window.start,
        plane[valid],
        working.camera_from_world[window],
        torch.full((len(tracks.point), 3), torch.nan, dtype=torch.float64),
        sum(working.cameras[0].focal_px) / 2,
    )


def working_scale(size_px: tuple[int, int]) -> float:
    """Working pixels per pixel: a power of one half."""
    scale = 1.0
    while max(size_px) * scale > LONGEST_SIDE_PX:
        scale /= 2
    return scale


def read_images(working: Sequence, size_px: tuple[int, int]) -> Images:
    """Reads the frames of a sequence at working size; `size_px` is what the files have to have."""
    grey, light, highlight, moving = [], [], [], []
    contrast = contrast_equaliser()
    linear = (np.linspace(0, 1, 256) ** 2.2).astype(np.float32)
    for path in working.images:
        pixels = read_image(path).numpy()
        if pixels.shape[1::-1] != tuple(size_px):
            raise BadInputError(
                f"{path} is {pixels.shape[1]} x {pixels.shape[0]} pixels",
                f"{size_px[0]} x {size_px[1]} as its camera",
                "use the frames that SfM was run on",
            )
        if pixels.shape[1::-1] != working.size_px:
            pixels = cv2.resize(pixels, working.size_px, interpolation=cv2.INTER_AREA)
        red, green, blue = cv2.split(pixels)
        value = np.asarray(cv2.max(cv2.max(red, green), blue), np.uint8)
        grey.append(contrast.apply(np.ascontiguousarray(pixels[..., 1])))
        light.append(cv2.blur(linear[value], (5, 5)))
        highlight.append(glaring(value, SATURATED * 255, 2).astype(bool))
        moving.append(_moving(path, working.size_px))
    return Images(grey, light, highlight, moving, working.size_px[0] / size_px[0])


def _moving(image: Path, size_px: tuple[int, int]) -> Bool[np.ndarray, "height width"]:
    """What moves by itself in a frame, at working size; nothing where that was not looked for."""
    path = image.parent.parent / MOVING / f"{image.name}.png"
    if not path.is_file():
        return np.zeros(size_px[::-1], bool)
    return cv2.resize(read_grey(path).numpy(), size_px, interpolation=cv2.INTER_NEAREST) > 127
