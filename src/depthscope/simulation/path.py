"""The camera's way through an anatomy, as a surgeon would lead it, and never closer to tissue than asked.

A place is a point of the lumen's middle plus an offset that is kept shorter than the room there, so that the clearance
holds by the triangle inequality: nothing has to be pushed back. Frame n depends on the seeds and on n, not on how many
frames follow.
"""

import math
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from jaxtyping import Float
from scipy.ndimage import gaussian_filter1d
from scipy.spatial import KDTree
from torch import Tensor
from torch.nn import functional

from depthscope.errors import BadInputError
from depthscope.geometry import RigidMotion
from depthscope.geometry.motion import rotate
from depthscope.simulation.anatomy import Anatomy, Kind
from depthscope.simulation.anatomy.field import in_blocks

Manner = Literal["insertion", "retraction", "sweep", "pivot", "dwell"]

CLIP = 32
"""Frames over which `baseline` and `rotation_deg` are counted."""

HALF_VIEW = 0.7
"""Half the width on the plane z = 1 over which depth is looked at: tangent of 35 degrees."""

OFTEN: tuple[Manner, ...] = ("insertion", "insertion", "retraction", "sweep", "pivot")
"""What a clip is drawn from."""

ACROSS: dict[Manner, float] = {"insertion": 0.25, "retraction": 0.25, "sweep": 0.8, "pivot": 1.0, "dwell": 0.1}
"""Share of the way that leads across the lumen, where there is room; the rest leads along it."""


@dataclass(frozen=True)
class Handling:
    """How a scope is held in an anatomy.

    Attributes:
        reach_mm: How far ahead along the lumen it looks.
        down: What is down in the picture, in LPS; None carries a direction along the way.
        rigid: Whether it turns about a point at the entry.
        bias_deg: Standard deviation of the angle that a clip looks off the way by.
        sight_mm: How far it is looked for tissue.
    """

    reach_mm: float
    down: tuple[float, float, float] | None
    rigid: bool
    bias_deg: float
    sight_mm: float = 80.0


HANDLINGS: dict[Kind, Handling] = {
    "nasal": Handling(16.0, (0.0, 0.0, -1.0), True, 9.0),
    "colon": Handling(30.0, None, False, 6.0),
    "bronchus": Handling(14.0, None, False, 5.0),
    "abdomen": Handling(45.0, (0.0, 1.0, 0.0), True, 8.0, 260.0),
}

Places = Float[Tensor, "frames 3"]
Times = Float[Tensor, " frames"]


@dataclass(frozen=True)
class TrajectoryOptions:
    """How the camera is led.

    Attributes:
        manner: What the surgeon does; None draws it.
        baseline: Length of the way over `CLIP` frames, in median depths of the first view, 0.02 to 0.5.
        rotation_deg: How far the view turns over `CLIP` frames, beyond what the pivot asks for.
        start: Where along the lumen the clip begins, 0 (entry) to 1 (end); None draws it.
        clearance_mm: The least distance to tissue.
        tremor_mm: Standard deviation of the hand's tremor at the tip.
        tremor_deg: Standard deviation of its tilt and roll.
        frames_per_second: Of the video.
        travel: What all of the way and the tremor is multiplied by: 0 leaves rotation alone.
        turning: What all turns of the view are multiplied by.
        aside: What the way across the lumen and off its middle is multiplied by: 0 leads straight ahead.
    """

    manner: Manner | None = None
    baseline: float = 0.3
    rotation_deg: float = 7.0
    start: float | None = None
    clearance_mm: float = 2.0
    tremor_mm: float = 0.1
    tremor_deg: float = 0.2
    frames_per_second: float = 25.0
    travel: float = 1.0
    turning: float = 1.0
    aside: float = 1.0

    def __post_init__(self) -> None:
        if self.manner is not None and self.manner not in get_args(Manner):
            raise BadInputError(f"manner {self.manner!r}", " or ".join(get_args(Manner)))
        if not 0.02 <= self.baseline <= 0.5:
            raise BadInputError(f"a baseline of {self.baseline} depths", "0.02 to 0.5")
        if not 0 <= self.rotation_deg <= 60:
            raise BadInputError(f"a rotation of {self.rotation_deg} degrees", "0 to 60")
        if self.start is not None and not 0 <= self.start <= 1:
            raise BadInputError(f"a start at {self.start} of the lumen", "0 to 1")
        if not 0.2 <= self.clearance_mm <= 10:
            raise BadInputError(f"a clearance of {self.clearance_mm} mm", "0.2 to 10 mm")
        if not (0 <= self.tremor_mm <= 0.5 and 0 <= self.tremor_deg <= 1):
            raise BadInputError(
                f"a tremor of {self.tremor_mm} mm and {self.tremor_deg} degrees", "0 to 0.5 mm and 0 to 1 degree"
            )
        if not 1 <= self.frames_per_second <= 120:
            raise BadInputError(f"{self.frames_per_second} frames per second", "1 to 120")
        if not all(0 <= share <= 1 for share in (self.travel, self.turning, self.aside)):
            raise BadInputError(f"travel {self.travel}, turning {self.turning}, aside {self.aside}", "0 to 1 each")


def camera_from_world(
    anatomy: Anatomy, clip_seed: int, frames: int, trajectory: TrajectoryOptions = TrajectoryOptions()
) -> RigidMotion:
    """The motions of all frames of a clip; the world is the patient's LPS in mm.

    Args:
        anatomy: Where the camera moves.
        clip_seed: Everything drawn is a function of it and of the patient's seed.
        frames: How many; the first ones do not depend on it.
        trajectory: How the camera is led.

    Returns:
        ``camera_from_world``, float64, batch shape (frames,).

    Raises:
        BadInputError: No place in the lumen is wide enough for the clearance, or an option is out of range.
    """
    if frames < 1:
        raise BadInputError(f"{frames} frames", "at least 1")
    if clip_seed < 0:
        raise BadInputError(f"clip seed {clip_seed}", "0 or more")
    way = WayThrough.through(anatomy, trajectory.clearance_mm)
    draw = np.random.default_rng((anatomy.seed, clip_seed, 31))
    drawn = OFTEN[int(draw.integers(len(OFTEN)))]
    manner = trajectory.manner or drawn
    begin = _begin(way, trajectory, draw)
    bias = torch.from_numpy(draw.normal(0, 1, 2)) * math.radians(HANDLINGS[anatomy.kind].bias_deg)
    depth = _median_depth(anatomy, _posed(way, begin, torch.zeros(1, 2), bias[None], torch.zeros(1)))
    length = trajectory.baseline * depth
    across = min(ACROSS[manner] * length, 1.2 * float(way.at(way.room, begin)))
    along = 0.0 if manner == "dwell" else math.sqrt(length**2 - (trajectory.aside * across) ** 2)
    along = -along if manner == "retraction" else along

    time = torch.arange(frames, dtype=torch.float64)
    clip, second = time / CLIP, time / trajectory.frames_per_second
    pace = clip + 0.05 * _wander(draw, clip, (0.5, 1.2))
    s = way.reflected(begin + trajectory.travel * along * pace)
    # Across the lumen: from one side to the other, along a drawn direction, with some wandering beside it.
    direction = draw.uniform(0, 2 * np.pi)
    swing = torch.sin(torch.pi * (0.6 * clip + draw.uniform(-0.45, -0.15)))
    offset = across * torch.stack([0.6 * swing, 0.12 * _wander(draw, clip, (0.4, 1.2))], -1)
    turn = torch.tensor([[math.cos(direction), math.sin(direction)], [-math.sin(direction), math.cos(direction)]])
    offset = offset @ turn.to(offset) + trajectory.tremor_mm * _tremor(draw, second, 2)
    offset = trajectory.travel * trajectory.aside * offset

    sway = math.radians(trajectory.rotation_deg)
    looks = [0.42 * sway * _wander(draw, clip, (0.25, 0.7)) for _ in range(3)]
    shake = math.radians(trajectory.tremor_deg) * _tremor(draw, second, 3)
    gaze = bias + trajectory.turning * (torch.stack(looks[:2], -1) + shake[:, :2])
    motion = _posed(way, s, offset, gaze, trajectory.turning * (0.7 * looks[2] + shake[:, 2]))
    closest = float(way.clearance(motion.origin).min())
    if closest < trajectory.clearance_mm:
        raise BadInputError(
            f"the camera comes within {closest:.2f} mm of tissue",
            f"{trajectory.clearance_mm:g} mm",
            "lower the clearance",
        )
    return motion


@dataclass(frozen=True, eq=False)
class WayThrough:
    """The part of the lumen that is wide enough, as functions of the length along it.

    Attributes:
        step_mm: Between the samples.
        middle: Middle of the lumen, shape (samples, 3).
        ahead: Where the view goes by default: unit directions, shape (samples, 3).
        down: What is down in the picture, shape (samples, 3).
        room: How far a camera may leave the middle, in mm, shape (samples,).
        pivot: The point that a rigid scope turns about, or None for a flexible one.
        tree: Vertices of the surface.
    """

    step_mm: float
    middle: Float[Tensor, "samples 3"]
    ahead: Float[Tensor, "samples 3"]
    down: Float[Tensor, "samples 3"]
    room: Float[Tensor, " samples"]
    pivot: Float[Tensor, "3"] | None
    tree: KDTree

    @classmethod
    def through(cls, anatomy: Anatomy, clearance_mm: float, tree: KDTree | None = None) -> "WayThrough":
        """The longest wide enough stretch of the lumen; `tree` holds the surface's vertices, if it is there already.

        Raises:
            BadInputError: There is none of 5 mm.
        """
        tree = tree or KDTree(anatomy.surface.points.numpy())
        lumen, step = anatomy.lumen, float((anatomy.lumen[1] - anatomy.lumen[0]).norm())
        room = torch.from_numpy(tree.query(lumen.numpy())[0]) - clearance_mm - 0.1
        room = torch.where(in_blocks(anatomy.field, lumen) < 0, room, -1.0)
        first, last = _longest_run((room > 0).numpy())
        if (last - first) * step < 5:
            raise BadInputError(
                f"no stretch of the lumen is {clearance_mm:g} mm and more from tissue",
                f"less than the {float(room.max()) + clearance_mm:.1f} mm at its widest",
                "lower the clearance or the swelling, or take another patient",
            )
        handling = HANDLINGS[anatomy.kind]
        reach = int(handling.reach_mm / step)
        target = lumen[(torch.arange(len(lumen)) + reach).clamp_max(len(lumen) - 1)]
        final = functional.normalize(lumen[-1] - lumen[-1 - reach // 2], dim=-1)
        target = target + (reach - (len(lumen) - 1 - torch.arange(len(lumen))).clamp(0, reach))[:, None] * step * final
        ahead = functional.normalize(target - lumen, dim=-1)
        ahead = functional.normalize(torch.from_numpy(gaussian_filter1d(ahead.numpy(), 8, axis=0)), dim=-1)
        down = _carried(ahead) if handling.down is None else lumen.new_tensor(handling.down).expand_as(lumen)
        kept = slice(first, last + 1)
        pivot = anatomy.lumen[0] - 8.0 * functional.normalize(anatomy.lumen[12] - anatomy.lumen[0], dim=-1)
        return cls(step, lumen[kept], ahead[kept], down[kept], room[kept], pivot if handling.rigid else None, tree)

    @property
    def length_mm(self) -> float:
        """Length of the stretch."""
        return (len(self.middle) - 1) * self.step_mm

    def reflected(self, s: Times) -> Times:
        """Lengths that turn back at the ends of the stretch."""
        return self.length_mm - (torch.remainder(s, 2 * self.length_mm) - self.length_mm).abs()

    def at(self, values: Tensor, s: Times) -> Tensor:
        """Samples interpolated at lengths along the stretch."""
        position = (s / self.step_mm).clamp(0, len(self.middle) - 1.0001)
        i = position.long()
        share = position - i
        share = share.reshape(-1, *[1] * (values.dim() - 1))
        return (1 - share) * values[i] + share * values[i + 1]

    def clearance(self, places: Places) -> Times:
        """Distance to the nearest vertex of the surface, in mm."""
        return torch.from_numpy(self.tree.query(places.numpy())[0])


def _posed(
    way: WayThrough, s: Times, offset: Float[Tensor, "frames 2"], gaze: Float[Tensor, "frames 2"], roll: Times
) -> RigidMotion:
    """Cameras at lengths along the way, off its middle, looking ahead but for the gaze's angles and the roll."""
    middle, ahead = way.at(way.middle, s), functional.normalize(way.at(way.ahead, s), dim=-1)
    right = functional.normalize(torch.linalg.cross(way.at(way.down, s), ahead), dim=-1)
    down = torch.linalg.cross(ahead, right)
    aside = offset[:, :1] * right + offset[:, 1:] * down
    far = aside.norm(dim=-1, keepdim=True).clamp_min(1e-9)
    room = way.at(way.room, s)[:, None]
    place = middle + aside / far * room * torch.tanh(far / room.clamp_min(1e-6))

    yaw, pitch = gaze.unbind(-1)
    forward = functional.normalize(ahead + torch.tan(yaw)[:, None] * right + torch.tan(pitch)[:, None] * down, dim=-1)
    if way.pivot is not None:  # a rigid scope that goes to the left looks to the left
        was, now = functional.normalize(middle - way.pivot, dim=-1), functional.normalize(place - way.pivot, dim=-1)
        forward = functional.normalize(forward + (now - was), dim=-1)
        roll = roll + 0.5 * ((now - was) * right).sum(-1)
    right = functional.normalize(torch.linalg.cross(down, forward), dim=-1)
    down = torch.linalg.cross(forward, right)
    cosine, sine = torch.cos(roll)[:, None], torch.sin(roll)[:, None]
    rotation = torch.stack([cosine * right + sine * down, cosine * down - sine * right, forward], 1)
    return RigidMotion(rotation, -rotate(rotation, place))


def _begin(way: WayThrough, trajectory: TrajectoryOptions, draw: np.random.Generator) -> Times:
    share = float(draw.uniform(0.03, 0.75))
    share = share if trajectory.start is None else trajectory.start
    return torch.tensor([share * way.length_mm], dtype=torch.float64)


def _median_depth(anatomy: Anatomy, camera: RigidMotion) -> float:
    """Median depth of a first view, in mm, to half a mm."""
    grid = torch.linspace(-HALF_VIEW, HALF_VIEW, 15, dtype=torch.float64)
    y, x = torch.meshgrid(grid, grid, indexing="ij")
    rays = torch.stack([x, y, torch.ones_like(x)], -1).reshape(-1, 3)
    depths = torch.arange(0.5, HANDLINGS[anatomy.kind].sight_mm, 0.5, dtype=torch.float64)
    points = camera[0].inverse().apply((depths[:, None, None] * rays).reshape(-1, 3))
    tissue = (in_blocks(anatomy.field, points) > 0).reshape(len(depths), -1)
    return float(torch.where(tissue.any(0), depths[tissue.int().argmax(0)], HANDLINGS[anatomy.kind].sight_mm).median())


def _wander(draw: np.random.Generator, clip: Times, cycles: tuple[float, float]) -> Times:
    """A slow smooth function of time with standard deviation about 1, of so many cycles per clip."""
    return _waves(draw, clip, cycles, 3)


def _tremor(draw: np.random.Generator, second: Times, count: int) -> Float[Tensor, "frames count"]:
    """A hand's tremor of 3 to 8 Hz, standard deviation 1, in several directions."""
    return torch.stack([_waves(draw, second, (3.0, 8.0), 5) for _ in range(count)], -1)


def _waves(draw: np.random.Generator, time: Times, cycles: tuple[float, float], count: int) -> Times:
    """A sum of sines of drawn frequency and phase."""
    rates, phases = (torch.from_numpy(draw.uniform(low, high, count)) for low, high in (cycles, (0.0, 2 * np.pi)))
    return math.sqrt(2 / count) * torch.sin(2 * torch.pi * rates * time[:, None] + phases).sum(-1)


def _longest_run(flags: np.ndarray) -> tuple[int, int]:
    """First and last place of the longest run of True; (0, 0) if there is none."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(int)))
    if not len(edges):
        return 0, 0
    starts, ends = edges[::2], edges[1::2] - 1
    longest = int((ends - starts).argmax())
    return int(starts[longest]), int(ends[longest])


def _carried(ahead: Float[Tensor, "samples 3"]) -> Float[Tensor, "samples 3"]:
    """A direction across the way, carried along it without spinning."""
    down = torch.zeros_like(ahead)
    down[0, int(ahead[0].abs().argmin())] = 1.0
    for i in range(len(ahead)):
        before = down[max(i - 1, 0)]
        down[i] = functional.normalize(before - (before @ ahead[i]) * ahead[i], dim=-1)
    return down
