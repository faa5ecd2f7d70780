"""From a sequence to what a network learns from: frames, sparse points with soft masks, pairs."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from math import floor
from pathlib import Path

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from depthscope.errors import BadInputError
from depthscope.geometry import Kind, Lens, RigidMotion, depth_of
from depthscope.geometry.units import LengthUnit
from depthscope.sequence import Sequence
from depthscope.supervision.confidence import ImageMotion, RayAngles
from depthscope.supervision.pairs import PairRule, pairs_to_draw
from depthscope.supervision.point_filter import light_outliers
from depthscope.supervision.sparse_depth import SparsePoints
from depthscope.supervision.store import FrameStore, frame_store
from depthscope.supervision.view import View, through, view_of
from depthscope.supervision.visibility import widened
from depthscope.unposed_clip import UnposedClip
from depthscope.video.windows import content_box, fitting_size

FEWEST_TO_SPLIT = 8
"""Sequences below which none is kept from training: each is worth more to learn from than to measure on."""


@dataclass(frozen=True)
class Holdout:
    """What is kept from training, to choose the best checkpoint by and to be honest with.

    Attributes:
        sequences: Share of the sequences, rounded down, where there are at least `FEWEST_TO_SPLIT`; of fewer, all are
            trained on.
        frames: Share of the frames of every sequence.
        points: Share of the points of every sequence, in all their frames.
        seed: Of the random choice.
    """

    sequences: float = 0.0
    frames: float = 0.0
    points: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("sequences", "frames", "points"):
            if not 0 <= getattr(self, name) < 1:
                raise BadInputError(f"holdout.{name} {getattr(self, name)}", "a share from 0 to below 1")

    def kept_back(self, sequences: int) -> frozenset[int]:
        """Which of so many sequences are kept from training as a whole, by their numbers."""
        if sequences < FEWEST_TO_SPLIT:
            return frozenset()
        count = floor(self.sequences * sequences + 1e-9)  # 0.29 of 100 is 28.999999999999996
        order = torch.randperm(sequences, generator=torch.Generator().manual_seed(self.seed))
        return frozenset(order[:count].tolist())


@dataclass(frozen=True)
class Supervision:
    """How a sequence becomes supervision.

    Attributes:
        area_px: About how many pixels the network sees; width and height follow from the shape of the content.
        size_px: (width, height) instead of `area_px`; the content is fitted into it.
        erosion_px: Pixels of the network's image by which the content mask is shrunk.
        widen_frames: Points count as seen this many frames around their track (0, as the paper: only within it).
        min_track: Fewest frames that a point must have been triangulated from.
        confidence: How far points are trusted, the c of Eq. 2.
        light_filter: Drop points whose depth does not fit their brightness.
        light_cutoff: In standard deviations.
        pairs: Which frames to train on together.
        holdout: What is kept from training.
    """

    area_px: int = 40_000
    size_px: tuple[int, int] | None = None
    erosion_px: int = 1
    widen_frames: int = 0
    min_track: int = 2
    confidence: RayAngles | ImageMotion = field(default_factory=RayAngles)
    light_filter: bool = False
    light_cutoff: float = 4.0
    pairs: PairRule = field(default_factory=PairRule)
    holdout: Holdout = field(default_factory=Holdout)

    def __post_init__(self) -> None:
        if not 1_000 <= self.area_px <= 10_000_000:
            raise BadInputError(f"supervision.area_px {self.area_px}", "1,000 to 10,000,000 pixels")
        if self.size_px is not None and min(self.size_px) < 16:
            raise BadInputError(f"supervision.size_px {self.size_px}", "sides of at least 16 pixels")
        if self.erosion_px < 0 or self.widen_frames < 0 or self.min_track < 2:
            raise BadInputError(
                f"erosion_px {self.erosion_px}, widen_frames {self.widen_frames}, min_track {self.min_track}",
                "0 or more, 0 or more, 2 or more",
            )


@dataclass(frozen=True, eq=False)
class HeldOut:
    """What a sequence keeps from training.

    Attributes:
        points: Which points, in all their frames.
        frames: Which frames.
    """

    points: Bool[Tensor, " points"]
    frames: Bool[Tensor, " frames"]


def held_out(sequence: Sequence, options: Supervision) -> HeldOut:
    """The points and frames that these options keep from training; the same for every run with this seed."""
    generator = torch.Generator().manual_seed(options.holdout.seed)
    points = torch.rand(len(sequence.points), generator=generator) < options.holdout.points
    return HeldOut(points, torch.rand(len(sequence), generator=generator) < options.holdout.frames)


@dataclass(frozen=True, eq=False)
class Clip:
    """One sequence, ready to learn from; lengths are in units of its median depth.

    Attributes:
        name: The sequence's name.
        frame_names: Names of its frames.
        store: The frames at network size, and the content mask.
        camera: Camera of the network's image, without a batch; depth is of its kind.
        camera_from_world: Motion of each frame.
        points: Points to train on, batch shape (frames,).
        held_out: Points kept from training, batch shape (frames,).
        training_frames: Which frames may be drawn.
        pairs: Pairs of frames to draw from, shape (pairs, 2).
        unit_length: Length of 1 in the sequence's own unit.
        unit: The sequence's own unit.
        dropped: How many observations the filters removed.
    """

    name: str
    frame_names: tuple[str, ...]
    store: FrameStore
    camera: Lens
    camera_from_world: RigidMotion
    points: SparsePoints
    held_out: SparsePoints
    training_frames: Bool[Tensor, " frames"]
    pairs: Int[Tensor, "pairs 2"]
    unit_length: float
    unit: LengthUnit
    dropped: int

    def __len__(self) -> int:
        return len(self.frame_names)

    @property
    def view(self) -> View:
        """The window on the recording."""
        return self.store.view


def network_size(sequence: Sequence | UnposedClip, options: Supervision, divisor: int) -> tuple[int, int]:
    """(width, height) of the network's image that suits this sequence.

    Raises:
        BadInputError: The size that was asked for cannot be halved often enough for the network.
    """
    if options.size_px is None:
        return fitting_size(content_box(sequence.mask, sequence.size_px), options.area_px, divisor)
    width, height = options.size_px
    if width % divisor or height % divisor:
        raise BadInputError(
            f"supervision.size_px {width} {height}",
            f"multiples of {divisor} for this network",
            f"for example {round(width / divisor) * divisor} {round(height / divisor) * divisor}",
        )
    return options.size_px


def common_kind(clips: Iterable[Sequence | UnposedClip]) -> Kind:
    """The kind of depth of clips that are learned from together: z, if all their lenses allow it."""
    kinds = {camera.depth_kind for one in clips for camera in set(one.cameras)}
    return "distance" if "distance" in kinds else "z"


def clip(
    sequence: Sequence, options: Supervision, size_px: tuple[int, int], folder: Path, kind: Kind | None = None
) -> Clip:
    """The supervision that a sequence gives at this network size; `folder` keeps its store of frames.

    The kind of depth is that of its cameras if none is given.

    Raises:
        BadInputError: The sequence has no parallax, no pair of frames that sees the same, or an unreadable image.
    """
    one, kept = tracked(sequence, options, size_px, folder, kind), held_out(sequence, options)
    sequence = widened(sequence, options.widen_frames)
    trained = sequence.with_observations(
        ~kept.frames[sequence.observations.frame] & ~kept.points[sequence.observations.point]
    )
    return replace(one, pairs=pairs_to_draw(trained, options.pairs))


def tracked(
    sequence: Sequence, options: Supervision, size_px: tuple[int, int], folder: Path, kind: Kind | None = None
) -> Clip:
    """As `clip`, but without pairs to draw: frames, motions and sparse points.

    Raises:
        BadInputError: An image cannot be read, or no pixel shows tissue.
    """
    unit_length, kind = sequence.median_depth, kind or common_kind([sequence])
    view = view_of(sequence.cameras[0], content_box(sequence.mask, sequence.size_px), size_px)
    store = frame_store(sequence, view, options.erosion_px, folder)

    kept = held_out(sequence, options)
    held_point, training_frames = kept.points, ~kept.frames
    confidence = options.confidence(sequence)
    sequence = widened(sequence, options.widen_frames)

    rows = observations_in(sequence, store)
    dropped = len(sequence.observations) - len(rows)
    long_enough = sequence.seen.sum(0) >= options.min_track
    rows = rows[long_enough[sequence.observations.point[rows]]]
    frame, point = sequence.observations.frame[rows], sequence.observations.point[rows]
    pixels = through(view, view.recorded.project(sequence.observed_points[rows]))
    depth = depth_of(sequence.observed_points[rows], kind) / unit_length
    weight = confidence[point]
    lists = [
        padded(frame[chosen], pixels[chosen], depth[chosen], weight[chosen], len(sequence))
        for chosen in (~held_point[point], held_point[point])
    ]
    if options.light_filter:
        for number, points in enumerate(lists):
            frames = store.frames.permute(0, 3, 1, 2).float() / 255
            outliers, _ = light_outliers(frames, points.pixels, points.depth, points.weight, options.light_cutoff)
            if number == 0:  # held-out points stay as they are: what is measured must not depend on the filter
                lists[0] = replace(points, weight=torch.where(outliers, 0.0, points.weight))
                dropped += int(outliers.sum())

    camera = view.camera.lens(kind, grid=True)
    motion = sequence.camera_from_world.scaled(1 / unit_length)
    return Clip(
        name=sequence.name,
        frame_names=sequence.frame_names,
        store=store,
        camera=camera.to(torch.float32),
        camera_from_world=motion,
        points=lists[0],
        held_out=lists[1],
        training_frames=training_frames,
        pairs=torch.zeros(0, 2, dtype=torch.long),
        unit_length=unit_length,
        unit=sequence.unit,
        dropped=dropped,
    )


def observations_in(sequence: Sequence, store: FrameStore) -> Int[Tensor, " rows"]:
    """Observations in front of their camera that fall on tissue in the network's image (the condition of Eq. 1)."""
    pixels = through(store.view, store.view.recorded.project(sequence.observed_points)).nan_to_num(-1.0)
    height, width = store.mask.shape
    column, row = pixels[:, 0].floor().long(), pixels[:, 1].floor().long()
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    column, row = column.clamp(0, width - 1), row.clamp(0, height - 1)
    shown = store.mask[row, column] if store.tissue is None else store.tissue[sequence.observations.frame, row, column]
    return (inside & shown & (sequence.observed_depths > 0)).nonzero().flatten()


def padded(
    frame: Int[Tensor, " rows"],
    pixels: Float[Tensor, "rows 2"],
    depth: Float[Tensor, " rows"],
    weight: Float[Tensor, " rows"],
    frames: int,
) -> SparsePoints:
    """Lists of a common length, one for each frame, filled up with points of weight 0."""
    counts = torch.bincount(frame, minlength=frames)
    longest = max(1, int(counts.max()) if len(frame) else 1)
    order = torch.argsort(frame, stable=True)
    place = torch.arange(len(frame)) - (counts.cumsum(0) - counts)[frame[order]]
    points = SparsePoints(
        torch.full((frames, longest, 2), 0.5), torch.ones(frames, longest), torch.zeros(frames, longest)
    )
    points.pixels[frame[order], place] = pixels[order].float()
    points.depth[frame[order], place] = depth[order].float()
    points.weight[frame[order], place] = weight[order].float()
    return points
