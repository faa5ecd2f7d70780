"""Snippets: a target frame and the frames that it is to be synthesised from."""

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from depthscope.errors import BadInputError
from depthscope.geometry import Kind, Lens, RigidMotion
from depthscope.geometry.units import LengthUnit
from depthscope.sequence import Sequence
from depthscope.supervision.clip import Clip, Supervision, common_kind, tracked
from depthscope.supervision.sparse_depth import SparsePoints
from depthscope.supervision.store import FrameStore, frame_store
from depthscope.supervision.view import view_of
from depthscope.unposed_clip import UnposedClip
from depthscope.video.windows import content_box

STEREO_BASELINE = 0.1
"""Distance of two eyes in the unit of training, after Godard et al. 2019: depth range and network fit it."""

FLOW_WIDTH_PX = 320
"""Width of the image in which `SnippetRule.flow_px` is measured."""


@dataclass(frozen=True)
class SnippetRule:
    """Which frames a target is synthesised from.

    Attributes:
        offsets: Sources by their place in time, in order; negative ones lie before the target.
        stride: Frames from one to the next, where flow does not decide.
        flow_px: Least median image motion of the sparse points from target to source at 320 pixels of width; the
            stride of each target grows until it is reached, and a target for which it never is is left out (needs
            SfM). None: `stride` decides.
        longest_stride: Bound of that stride.
        stereo: The other eye is a source too; needs stereo frames.
    """

    offsets: tuple[int, ...] = (-1, 1)
    stride: int = 1
    flow_px: float | None = None
    longest_stride: int = 30
    stereo: bool = False

    def __post_init__(self) -> None:
        if (
            0 in self.offsets
            or len(set(self.offsets)) < len(self.offsets)
            or list(self.offsets) != sorted(self.offsets)
        ):
            raise BadInputError(f"snippets.offsets {self.offsets}", "rising numbers without 0", "for example -1 1")
        if not self.offsets and not self.stereo:
            raise BadInputError("snippets without offsets and without stereo", "at least one source")
        if not self.stride >= 1 or not self.longest_stride >= 1:
            raise BadInputError(f"snippets.stride {self.stride}, longest_stride {self.longest_stride}", "1 or more")
        if self.flow_px is not None and not 0 < self.flow_px < FLOW_WIDTH_PX:
            raise BadInputError(f"snippets.flow_px {self.flow_px}", f"above 0 to below {FLOW_WIDTH_PX}, or none")

    @property
    def before(self) -> tuple[bool, ...]:
        """Which of the offsets lie before the target."""
        return tuple(offset < 0 for offset in self.offsets)


@dataclass(frozen=True, eq=False)
class Eye:
    """The second view of a clip at network size.

    Attributes:
        store: Its frames.
        camera: Its camera, shape (2,) each.
        other_from_this: Motion to it, in the unit of training.
    """

    store: FrameStore
    camera: Lens
    right_from_left: RigidMotion


@dataclass(frozen=True, eq=False)
class SnippetClip:
    """One clip, ready to learn from by view synthesis.

    Attributes:
        name: The clip's name.
        store: The frames at network size, and the content mask.
        camera: Camera of the network's image, without a batch.
        snippets: Frames of each snippet, the target first, then its sources in time, shape (snippets, 1 + offsets).
        held_out: Snippets kept from training.
        eye: The second view, or None.
        sfm: Motions and sparse points of the same frames, or None.
        unit_length: Length of 1 of the unit of training where a length is known: median depth of the SfM, or from the
            baseline of two eyes; else None.
        unit: Its unit.
    """

    name: str
    store: FrameStore
    camera: Lens
    snippets: Int[Tensor, "snippets frames"]
    held_out: Int[Tensor, "kept frames"]
    eye: Eye | None
    sfm: Clip | None
    unit_length: float | None
    unit: LengthUnit

    @property
    def whole(self) -> bool:
        """Whether every pixel shows tissue, in both eyes."""
        stores = [self.store] if self.eye is None else [self.store, self.eye.store]
        return all(store.tissue is None and bool(store.mask.all()) for store in stores)


@dataclass(frozen=True, eq=False)
class SnippetBatch:
    """A batch of snippets; axis 1 holds the target, its sources in time, and then the other eye if there is one.

    Attributes:
        images: Shape (batch, frames, 3, height, width), sRGB 0..1; bytes until they are augmented.
        mask: True where a frame shows tissue to learn from, shape (batch, frames, height, width); None for everywhere.
        camera: Camera of each frame at network size, batch shape (batch, frames).
        temporal: Motions from the target to its sources in time, batch shape (batch, offsets), or None where not known.
        stereo: Motion from the target to the other eye, batch shape (batch,), or None where there is none.
        points: Sparse points of target and sources in time, batch shape (batch, 1 + offsets), or None.
        mirrored: Which samples were mirrored left to right, shape (batch,).
        draws: Number of each draw, shape (batch,).
        content: What the network is shown, black elsewhere, shape as `mask`; None where that is the mask.
    """

    images: Float[Tensor, "batch frames 3 height width"] | UInt8[Tensor, "batch frames 3 height width"]
    mask: Bool[Tensor, "batch frames height width"] | None
    camera: Lens
    temporal: RigidMotion | None
    stereo: RigidMotion | None
    points: SparsePoints | None
    mirrored: Bool[Tensor, " batch"]
    draws: Int[Tensor, " batch"]
    content: Bool[Tensor, "batch frames height width"] | None = None

    def __len__(self) -> int:
        return len(self.images)

    def to(self, device: torch.device | str) -> "SnippetBatch":
        """The batch on another device."""
        return SnippetBatch(
            images=self.images.to(device),
            mask=None if self.mask is None else self.mask.to(device),
            camera=self.camera.to(device),
            temporal=None if self.temporal is None else self.temporal.to(device),
            stereo=None if self.stereo is None else self.stereo.to(device),
            points=None if self.points is None else self.points.to(device),
            mirrored=self.mirrored.to(device),
            draws=self.draws.to(device),
            content=None if self.content is None else self.content.to(device),
        )

    @property
    def shown(self) -> Bool[Tensor, "batch frames height width"] | None:
        """Where the networks are shown the images; None for everywhere."""
        return self.mask if self.content is None else self.content

    @property
    def clean(self) -> Float[Tensor, "batch frames 3 height width"]:
        """The images as floats in 0..1."""
        return self.images if self.images.is_floating_point() else (self.images.float() / 255).contiguous()


def snippet_clip(
    unposed: UnposedClip,
    options: Supervision,
    rule: SnippetRule,
    size_px: tuple[int, int],
    folder: Path,
    kind: Kind | None = None,
) -> SnippetClip:
    """A clip at this network size; `folder` keeps its store of frames. The kind of depth is its cameras' if not given.

    Raises:
        BadInputError: The rule asks for what the clip has not (stereo, SfM, enough frames), or an image is unreadable.
    """
    if rule.stereo and unposed.right_camera is None:
        raise BadInputError(
            f"{unposed.name} has one eye", "stereo frames for this recipe", "use a recipe that learns from video alone"
        )
    if rule.flow_px is not None and unposed.sequence is None:
        raise BadInputError(
            f"{unposed.name} has no SfM to choose frames by",
            "a sequence, or snippets.stride instead of snippets.flow_px",
            "reconstruct it first, or say --objective.snippets.flow-px None",
        )
    kind = kind or common_kind([unposed])
    sfm = None if unposed.sequence is None else tracked(unposed.sequence, options, size_px, folder, kind)
    if sfm is not None:
        store, camera = sfm.store, sfm.camera
    else:
        view = view_of(unposed.cameras[0], content_box(unposed.mask, unposed.size_px), size_px)
        store = frame_store(unposed, view, options.erosion_px, folder)
        camera = view.camera.lens(kind, grid=True).to(torch.float32)
    eye, unit_length, unit = None, None, "relative"
    if rule.stereo and unposed.right_camera is not None:
        unit_length, unit = unposed.right_camera.baseline / STEREO_BASELINE, unposed.right_camera.unit
        eye = _eye(unposed, unit_length, options, size_px, folder, kind)
    elif sfm is not None:
        unit_length, unit = sfm.unit_length, sfm.unit
    rows = snippets_of(unposed, rule)
    if not len(rows):
        apart = f"a stride of {rule.stride}" if rule.flow_px is None else f"{rule.flow_px:g} px of motion"
        raise BadInputError(
            f"{unposed.name}: no frame of {len(unposed)} has its sources {rule.offsets} at {apart}",
            "a longer clip, or one in which the camera moves",
            "leave it out, or lower objective.snippets.stride or flow_px",
        )
    held = _held_out(unposed, options, rows)
    return SnippetClip(unposed.name, store, camera, rows[~held], rows[held], eye, sfm, unit_length, unit)


def _eye(
    unposed: UnposedClip, unit_length: float, options: Supervision, size_px: tuple[int, int], folder: Path, kind: Kind
) -> Eye:
    other, eye = unposed.other, unposed.right_camera
    assert other is not None and eye is not None
    view = view_of(other.cameras[0], content_box(other.mask, other.size_px), size_px)
    store = frame_store(other, view, options.erosion_px, folder)
    motion = eye.right_from_left.scaled(1 / unit_length)
    return Eye(store, view.camera.lens(kind, grid=True).to(torch.float32), motion)


def _held_out(unposed: UnposedClip, options: Supervision, rows: Tensor) -> Bool[Tensor, " snippets"]:
    """Targets kept from training: a share of the frames; none where nothing would be left to train on."""
    share = options.holdout.frames
    generator = torch.Generator().manual_seed(options.holdout.seed)
    frames = torch.rand(len(unposed), generator=generator) < share
    held = frames[rows[:, 0]]
    return held if bool((~held).any()) else torch.zeros_like(held)


def snippets_of(unposed: UnposedClip, rule: SnippetRule) -> Int[Tensor, "snippets frames"]:
    """The target and its sources in time, for every target that has them all."""
    frames, targets = len(unposed), unposed.targets
    rows = []
    for target in range(frames) if targets is None else targets:
        strides: dict[bool, int | None] = {True: rule.stride, False: rule.stride}  # before and after the target
        if rule.flow_px is not None and unposed.sequence is not None:
            strides = {back: _stride(unposed.sequence, target, back, rule) for back in set(rule.before)}
        sources = [target + offset * (strides[offset < 0] or frames) for offset in rule.offsets]
        if all(0 <= source < frames for source in sources):
            rows.append((target, *sources))
    return torch.tensor(rows, dtype=torch.long).reshape(-1, 1 + len(rule.offsets))


def _stride(sequence: Sequence, target: int, back: bool, rule: SnippetRule) -> int | None:
    """Frames to go until the points that both frames saw have moved far enough; None where they never do."""
    assert rule.flow_px is not None
    scale = FLOW_WIDTH_PX / sequence.size_px[0]
    for stride in range(1, rule.longest_stride + 1):
        source = target + (-stride if back else stride)
        if not 0 <= source < len(sequence):
            break
        shared = sequence.seen[target] & sequence.seen[source]
        if not bool(shared.any()):
            break
        points = sequence.points[shared]
        here, there = (
            sequence.cameras[frame].project(sequence.camera_from_world[frame].apply(points))
            for frame in (target, source)
        )
        if float((there - here).norm(dim=-1).nanmedian()) * scale >= rule.flow_px:
            return stride
    return None


def in_one_unit(clips: tuple[SnippetClip, ...]) -> tuple[SnippetClip, ...]:
    """Clips of which every stereo pair is measured in the unit of the first: one network learns one unit.

    Raises:
        BadInputError: Their lengths have different units.
    """
    stereo = [one for one in clips if one.eye is not None and one.unit_length is not None]
    if not stereo:
        return clips
    units = {one.unit for one in stereo}
    if len(units) > 1:
        raise BadInputError(f"stereo clips in units {sorted(units)}", "one unit", "convert the calibrations")
    length = stereo[0].unit_length
    assert length is not None

    def measured(one: SnippetClip) -> SnippetClip:
        if one.eye is None or one.unit_length is None:
            return one
        motion = one.eye.right_from_left.scaled(one.unit_length / length)
        return replace(one, eye=replace(one.eye, right_from_left=motion), unit_length=length)

    return tuple(measured(one) for one in clips)
