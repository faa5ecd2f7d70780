"""Whether the depth, poses and camera of a dataset belong together, and which other convention would fit better.

The depth of a frame, moved into another frame by camera and poses, must land on that frame's depth. Inverted poses,
other axes, another unit of the poses, w in front of a quaternion, or distances along the ray in place of z each spoil
that in their own way, so that trying each of them tells which it was.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from depthscope.errors import BadInputError
from depthscope.geometry import Camera, RigidMotion
from depthscope.geometry.depth import pixel_grid
from depthscope.ground_truth import DepthFile, GroundTruth, sampled_inside

BETTER, GOOD = 0.5, 0.03
"""Another convention is named if it leaves less than the first share of the difference, and less than the second."""

LEAST_PIXELS, LEAST_SHARE = 20, 0.2
"""With fewer pixels, or a smaller share of those asked, in the other frame nothing is said."""

PLAUSIBLE_MM = (1.0, 500.0)
"""Median depths of endoscopy; others are in another unit."""

SAMPLED = 3
"""Maps of a clip whose levels are looked at."""


@dataclass(frozen=True)
class Agreement:
    """How well depth, poses and camera belong together.

    Attributes:
        difference: Median of |ln(z moved / z found)| between frames; None where too few pixels meet.
        better: Which other convention fits better, in words; "" for none.
        better_difference: Its difference, or None.
    """

    difference: float | None
    better: str = ""
    better_difference: float | None = None

    @property
    def warning(self) -> str:
        """What to say where another convention fits better, else ""."""
        if not self.better:
            return ""
        read = "do not meet" if self.difference is None else f"differ by {self.difference:.2%}"
        return f"depth maps of different frames {read} as read, and by {self.better_difference:.2%} {self.better}"


@dataclass(frozen=True, eq=False)
class _Pair:
    """Pixels of one frame with known depth, and the depth of another frame.

    Attributes:
        rays: Of these pixels, z = 1.
        values: What the map holds there.
        found: The map of the other frame.
        lengths: Of the rays of the other frame's pixels, to turn distances into z.
        source, target: Which frames.
    """

    rays: Float[Tensor, "pixels 3"]
    values: Float[Tensor, " pixels"]
    found: Float[Tensor, "height width"]
    lengths: Float[Tensor, "height width"]
    source: int
    target: int


def depth_agreement(truth: GroundTruth, pairs: int = 4, stride: int = 7) -> float | None:
    """How well depth, poses and camera belong together: median of |ln(z warped / z found)| between frames.

    Args:
        truth: The clip, with cameras and motions.
        pairs: How many pairs of frames, evenly over the clip.
        stride: Every how many pixels are taken, each way.

    Returns:
        The median over all pixels that fall into the other frame, or None where there are too few.
    """
    if truth.camera_from_world is None:
        return None
    return _difference(truth, _pairs(truth, pairs, stride), truth.camera_from_world)


def agreement(truth: GroundTruth, pairs: int = 4, stride: int = 7) -> Agreement:
    """The same, and whether another convention of depth or poses fits clearly better.

    Args:
        truth: The clip; without cameras, poses or depth nothing can be said.
        pairs: How many pairs of frames, evenly over the clip.
        stride: Every how many pixels are taken, each way.
    """
    motions = truth.camera_from_world
    if motions is None:
        return Agreement(None)
    prepared = _pairs(truth, pairs, stride)
    as_read = _difference(truth, prepared, motions)
    found = {name: _difference(truth, prepared, other(motions)) for name, other in OTHER_POSES.items()}
    found["with depth as distance along the ray, not z"] = _difference(truth, prepared, motions, along_ray=True)
    known = {name: value for name, value in found.items() if value is not None}
    best = min(known, key=lambda name: known[name], default="")
    if not best or known[best] >= GOOD or (as_read is not None and known[best] >= BETTER * as_read):
        return Agreement(as_read)
    return Agreement(as_read, best, known[best])


def depth_remarks(truth: GroundTruth) -> tuple[str, ...]:
    """What looks wrong about the numbers of some depth maps of a clip in mm: another unit, eight bits, one value.

    Raises:
        BadInputError: A map cannot be read, or the sampled ones hold numbers of which none is a depth of their layout.
    """
    files = [(n, file) for n, file in enumerate(truth.depth) if isinstance(file, DepthFile)]
    if not files or truth.unit != "mm":
        return ()
    chosen = sorted({int(i) for i in np.linspace(0, len(files) - 1, SAMPLED).round()})
    maps = [(file, truth.depth_of(n), file.levels()) for n, file in (files[i] for i in chosen)]
    known = torch.cat([depth[depth > 0] for _, depth, _ in maps])
    stored = np.concatenate([levels[levels > 0] for _, _, levels in maps])
    if not len(known):
        if not len(stored):
            return (f"{truth.name}: the sampled depth maps are empty",)
        raise BadInputError(
            f"{maps[0][0].path} and others hold numbers from {stored.min():g} to {stored.max():g}",
            f"depth as {truth.layout} stores it, of which none is",
            "the files may be in another unit, or converted: take those that were published",
        )
    notes = []
    median = float(known.double().quantile(0.5)) if len(known) < 10**6 else float(known.median())
    if truth.layout != "kitti" and not PLAUSIBLE_MM[0] <= median <= PLAUSIBLE_MM[1]:
        notes.append(
            f"{truth.name}: the median depth would be {median:.3g} mm; the files may be in another unit than "
            f"{truth.layout}'s"
        )
    dropped = 1 - len(known) / max(1, len(stored))
    if dropped > 0.5:
        notes.append(f"{truth.name}: {dropped:.0%} of the numbers in the sampled maps are no depth of {truth.layout}")
    levels = np.unique(stored)
    if len(levels) < 2:
        notes.append(f"{truth.name}: the sampled depth maps hold one value")
    elif stored.dtype == np.uint16 and len(levels) <= 256 and (levels % 256 == 0).all():
        step = 256 * maps[0][0].encoding.per_level
        notes.append(f"{truth.name}: eight bits in 16-bit files: depth goes in steps of {step:.3g} mm")
    return tuple(notes)


def _inverted(camera_from_world: RigidMotion) -> RigidMotion:
    return camera_from_world.inverse()


def _longer(factor: float) -> Callable[[RigidMotion], RigidMotion]:
    return lambda motions: motions.scaled(factor)


def turned_axes(camera_from_world: RigidMotion) -> RigidMotion:
    """The motions if the files meant OpenGL's camera axes (y up, z back): world_from_camera diag(1, -1, -1)."""
    flip = camera_from_world.rotation.new_tensor([1.0, -1.0, -1.0])
    return RigidMotion(flip[:, None] * camera_from_world.rotation, flip * camera_from_world.translation)


def left_handed(camera_from_world: RigidMotion) -> RigidMotion:
    """The motions if the files meant left-handed axes with y up: F T F with F = diag(1, -1, 1)."""
    flip = camera_from_world.rotation.new_tensor([1.0, -1.0, 1.0])
    return RigidMotion(flip[:, None] * camera_from_world.rotation * flip, flip * camera_from_world.translation)


def other_quaternion(camera_from_world: RigidMotion, order: tuple[int, int, int, int]) -> RigidMotion:
    """The motions if the quaternions of world_from_camera were read in the wrong order.

    Args:
        camera_from_world: As read.
        order: Where w, x, y and z of the right reading stand in w x y z of this one.
    """
    stored = camera_from_world.inverse()
    return RigidMotion.from_quaternion(stored.quaternion_wxyz[..., list(order)], stored.translation).inverse()


def w_first(camera_from_world: RigidMotion) -> RigidMotion:
    """The motions if w stands first in the files and was read as standing last."""
    return other_quaternion(camera_from_world, (1, 2, 3, 0))


def w_last(camera_from_world: RigidMotion) -> RigidMotion:
    """The motions if w stands last in the files and was read as standing first."""
    return other_quaternion(camera_from_world, (3, 0, 1, 2))


OTHER_POSES: dict[str, Callable[[RigidMotion], RigidMotion]] = {
    "with the poses inverted": _inverted,
    "with OpenGL camera axes (y up, z back)": turned_axes,
    "with left-handed axes": left_handed,
    "with w first in the quaternions": w_first,
    "with w last in the quaternions": w_last,
    "with positions times 1000 (metres for millimetres)": _longer(1000.0),
    "with positions over 1000 (millimetres for metres)": _longer(0.001),
    "with positions times 10 (centimetres for millimetres)": _longer(10.0),
    "with positions over 10 (millimetres for centimetres)": _longer(0.1),
}
"""What poses are mistaken for, and how they are read then."""


def _pairs(truth: GroundTruth, pairs: int, stride: int) -> list[_Pair]:
    usable = [n for n, file in enumerate(truth.depth) if file is not None]
    if truth.cameras is None or len(usable) < 2:
        return []
    gap = max(1, min(10, len(usable) // 4))
    starts = sorted(set(np.linspace(0, len(usable) - 1 - gap, pairs).round().astype(int).tolist()))
    return [_pair(truth, usable[i], usable[i + gap], stride) for i in starts]


def _pair(truth: GroundTruth, source: int, target: int, stride: int) -> _Pair:
    assert truth.cameras is not None
    depth, found = truth.depth_of(source), truth.depth_of(target)
    grid = pixel_grid(depth.shape[0], depth.shape[1], depth.double())
    pixels, values = grid[::stride, ::stride].reshape(-1, 2), depth[::stride, ::stride].reshape(-1).double()
    rays = truth.cameras[source].unproject(pixels)
    known = (values > 0) & rays.isfinite().all(-1)
    lengths = ray_lengths(truth.cameras[target])
    return _Pair(rays[known], values[known], found, lengths, source, target)


@lru_cache(
    maxsize=2
)  # Brown's lens is inverted step by step: seconds for a large frame, and the same for all of a clip
def ray_lengths(camera: Camera) -> Float[Tensor, "height width"]:
    """Distance along the ray over z at every pixel; 1 where the lens sends no ray. Shared: not to be written to."""
    width, height = camera.size_px
    rays = camera.unproject(pixel_grid(height, width, torch.empty(0, dtype=torch.float64)).reshape(-1, 2))
    return rays.norm(dim=-1).nan_to_num(1.0).reshape(height, width)


def _difference(
    truth: GroundTruth, pairs: list[_Pair], motions: RigidMotion, *, along_ray: bool = False
) -> float | None:
    if truth.cameras is None or not pairs:
        return None
    differences, asked = [], 0
    for pair in pairs:
        z = pair.values / pair.rays.norm(dim=-1) if along_ray else pair.values
        moved = (motions[pair.target] @ motions[pair.source].inverse()).apply(pair.rays * z[:, None])
        other = pair.found / pair.lengths if along_ray else pair.found
        found = sampled_inside(other, truth.cameras[pair.target].project(moved), 1.0)
        both = (found > 0) & (moved[:, 2] > 0)
        differences.append((moved[both, 2] / found[both]).log().abs())
        asked += len(z)
    together = torch.cat(differences)
    enough = len(together) >= max(LEAST_PIXELS, LEAST_SHARE * asked)
    return float(together.median()) if enough else None
