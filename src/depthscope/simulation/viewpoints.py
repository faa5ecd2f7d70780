"""Single viewpoints spread over a whole anatomy: near and far, down the lumen, at its walls, and back."""

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.spatial import KDTree
from torch.nn import functional

from depthscope.errors import BadInputError
from depthscope.geometry import RigidMotion
from depthscope.geometry.motion import rotate
from depthscope.simulation.anatomy import Anatomy
from depthscope.simulation.path import WayThrough

ATTEMPTS = 60
"""Viewpoints that are tried before an anatomy is called too narrow."""


@dataclass(frozen=True)
class Gaze:
    """How single views are spread.

    Attributes:
        ahead: Share of views down the lumen, within `cone_deg`.
        wall: Share of views at a wall; the rest looks anywhere.
        back: Share of the views down the lumen that look backwards, as a retroflexed scope does.
        cone_deg: Standard deviation of the angle off the lumen.
        roll_deg: Half the range of the roll; 180 is any.
        clearance_mm: Least distance to tissue.
        off: Exponent of the share of the free room that a view leaves the middle by: 1/2 is even over the section,
            smaller is nearer to the wall.
    """

    ahead: float = 0.6
    wall: float = 0.3
    back: float = 0.1
    cone_deg: float = 14.0
    roll_deg: float = 180.0
    clearance_mm: float = 2.0
    off: float = 0.5


GAZES = {
    "nasal": Gaze(ahead=0.7, wall=0.25, back=0.03, cone_deg=13.0, roll_deg=30.0, clearance_mm=1.2),
    "colon": Gaze(clearance_mm=2.5),
    "bronchus": Gaze(ahead=0.75, wall=0.2, back=0.02, cone_deg=14.0, clearance_mm=1.3, off=0.6),
    "abdomen": Gaze(ahead=0.6, wall=0.3, back=0.0, cone_deg=20.0, roll_deg=35.0, clearance_mm=10.0, off=0.6),
}
"""How views are spread in each anatomy."""


@dataclass(frozen=True, eq=False)
class Viewpoints:
    """Viewpoints of an anatomy, drawn along the ways through it.

    Attributes:
        ways: Through each passage.
        gaze: How views are spread.
    """

    ways: tuple[WayThrough, ...]
    gaze: Gaze

    @classmethod
    def of(cls, anatomy: Anatomy, gaze: Gaze | None = None) -> "Viewpoints":
        """Those of an anatomy, along all of its passages.

        Raises:
            BadInputError: No passage is wide enough.
        """
        gaze = gaze or GAZES[anatomy.kind]
        tree = KDTree(anatomy.surface.points.numpy())
        ways, refused = [], None
        for lumen in anatomy.passages:
            try:
                ways.append(WayThrough.through(replace(anatomy, lumen=lumen), gaze.clearance_mm, tree))
            except BadInputError as error:  # one passage may be too narrow
                refused = error
        if refused is not None and not ways:
            raise refused
        return cls(tuple(ways), gaze)

    def drawn(self, draw: np.random.Generator) -> RigidMotion:
        """``camera_from_world`` of one viewpoint.

        Raises:
            BadInputError: No place was found that is clear of tissue.
        """
        lengths = np.array([way.length_mm for way in self.ways])
        for _ in range(ATTEMPTS):
            way = self.ways[int(draw.choice(len(self.ways), p=lengths / lengths.sum()))]
            camera = _posed(way, self.gaze, draw)
            if float(way.clearance(camera.origin[None])[0]) >= self.gaze.clearance_mm:
                return camera
        raise BadInputError(
            f"no viewpoint {self.gaze.clearance_mm:g} mm from tissue in {ATTEMPTS} attempts", "a wider anatomy"
        )


def _posed(way: WayThrough, gaze: Gaze, draw: np.random.Generator) -> RigidMotion:
    s = torch.tensor([draw.uniform(0, way.length_mm)], dtype=torch.float64)
    ahead = functional.normalize(way.at(way.ahead, s)[0], dim=-1)
    down = way.at(way.down, s)[0]
    right = functional.normalize(torch.linalg.cross(down, ahead), dim=-1)
    down = torch.linalg.cross(ahead, right)

    around, out = draw.uniform(0, 2 * math.pi), draw.uniform(0, 1) ** gaze.off
    aside = math.cos(around) * right + math.sin(around) * down
    place = way.at(way.middle, s)[0] + out * float(way.at(way.room, s)[0]) * aside

    kind, azimuth = draw.random(), draw.uniform(0, 2 * math.pi)
    if kind < gaze.ahead:
        angle = abs(draw.normal(0, math.radians(gaze.cone_deg)))
        angle = math.pi - angle if draw.random() < gaze.back else angle
    elif kind < gaze.ahead + gaze.wall:
        angle = math.radians(draw.uniform(25.0, 85.0))
    else:
        angle = math.acos(draw.uniform(-1, 1))
    forward = math.cos(angle) * ahead + math.sin(angle) * (math.cos(azimuth) * right + math.sin(azimuth) * down)
    # What was down stays down in the picture as far as the view allows, then the roll turns it.
    reference = down if abs(float(forward @ down)) < 0.95 else ahead
    right = functional.normalize(torch.linalg.cross(reference, forward), dim=-1)
    down = torch.linalg.cross(forward, right)
    roll = math.radians(draw.uniform(-gaze.roll_deg, gaze.roll_deg))
    cosine, sine = math.cos(roll), math.sin(roll)
    rotation = torch.stack([cosine * right + sine * down, cosine * down - sine * right, forward])
    return RigidMotion(rotation, -rotate(rotation, place))
