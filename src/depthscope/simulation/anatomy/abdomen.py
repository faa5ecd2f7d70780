"""The upper abdomen under insufflation: a dome of peritoneum over liver, gallbladder, stomach, bowel and omentum.

Sizes in mm are those of adults. A pneumoperitoneum of 12 to 15 mmHg holds 3 to 5 litres and lifts the wall to 100 to
150 above the spine; working distances are 30 to 150. Gallbladder 70 to 100 long and 30 to 40 wide, of which the fundus
shows under the liver's edge; small bowel 25 to 30 across; transverse colon 40 to 60 with haustra 25 to 35 apart (Gray's
Anatomy, 41st edition). Patient's axes (LPS): x to the left, y to the back, z to the head; the patient lies on the back.
"""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float
from scipy.ndimage import gaussian_filter1d
from torch import Tensor

from depthscope.simulation.anatomy.extraction import evenly_spaced
from depthscope.simulation.anatomy.field import (
    Bending,
    Positions,
    Ripples,
    Values,
    bell,
    ellipsoid,
    in_blocks,
    length,
    smooth_max,
    smooth_min,
    smooth_step,
)

BENT_MM = {60.0: 1.4, 120.0: 4.0}
"""How far organs are bent, standard deviation along each axis for each wavelength, both in mm."""

Triple = tuple[float, float, float]

FAR_MM = 15.0
"""Beyond this nothing that a tube of tissue is blended with feels it."""

ROOM_MM = 14.0
"""Least distance of a scope's way from what lies below it."""


@dataclass(frozen=True, eq=False)
class Gut:
    """A tube of tissue that winds through the cavity, as a chain of tapered rods with round ends.

    Attributes:
        start: Where each rod begins, shape (rods, 3).
        end: Where it ends.
        radius: Of its begin and end, shape (rods, 2).
        sharp: Of the creases where it touches itself, per mm.
    """

    start: Float[Tensor, "rods 3"]
    end: Float[Tensor, "rods 3"]
    radius: Float[Tensor, "rods 2"]
    sharp: float

    @classmethod
    def along(cls, lines: list[np.ndarray], radii: list[np.ndarray], sharp: float) -> "Gut":
        """Tubes about polylines with a radius at each of their points."""
        start, end = (np.concatenate([line[cut] for line in lines]) for cut in (slice(None, -1), slice(1, None)))
        radius = np.concatenate([np.stack([r[:-1], r[1:]], 1) for r in radii])
        return cls(torch.from_numpy(start), torch.from_numpy(end), torch.from_numpy(radius), sharp)

    @cached_property
    def box(self) -> Float[Tensor, "2 3"]:
        """Corners of a box that holds it."""
        wide = self.radius.amax() + 1.0
        ends = torch.cat([self.start, self.end])
        return torch.stack([ends.amin(0) - wide, ends.amax(0) + wide])

    def __call__(self, points: Positions) -> Values:
        """Positive inside; further than `FAR_MM` from its box, no more than how far."""
        flat, (low, high) = points.reshape(-1, 3), self.box.to(points)
        outside = (flat - flat.clamp(low, high)).norm(dim=-1)
        rows = (outside.detach() < FAR_MM).nonzero()[:, 0]
        values = -outside - self.radius.amax().to(points)
        if len(rows):
            values = values.index_put((rows,), self._near(flat[rows]))
        return values.reshape(points.shape[:-1])

    def _near(self, points: Float[Tensor, "points 3"]) -> Float[Tensor, " points"]:
        start, axis = self.start.to(points), (self.end - self.start).to(points)
        long = axis.norm(dim=-1)
        unit = axis / long[:, None]
        along = points @ unit.T - (start * unit).sum(-1)
        t = (along / long).clamp(0, 1)
        to_start = points.square().sum(-1, keepdim=True) - 2 * points @ start.T + start.square().sum(-1)
        apart = (to_start - t * long * (2 * along - t * long)).clamp_min(1e-4).sqrt()
        first, last = self.radius.to(points).unbind(-1)
        return torch.logsumexp(self.sharp * (first + (last - first) * t - apart), -1) / self.sharp


@dataclass(frozen=True, eq=False)
class Abdomen:
    """The field of an insufflated upper abdomen.

    Attributes:
        dome: Half the extent of the cavity along x, y and z.
        floor: y of the mesentery that the bowel lies on.
        liver: Centre and radii of its right lobe.
        liver_left: Centre and radii of its left lobe.
        under: A point of the liver's underside, and its direction into the liver.
        gallbladder: Neck, fundus, and the radii there.
        stomach: Centre and radii.
        ligament: x of the falciform ligament, and z of its free edge.
        omentum: Centre (x, z) of the apron of fat, half its extent, and its height.
        bowel: The small bowel.
        colon: The transverse colon.
        tags: Centres and radii of the fat tags on the colon, shape (tags, 4).
        lumps: Unevenness of fat.
        bending: How this patient departs from the plan.
        relief: The serosa's unevenness.
        swelling_mm: How far tissue may swell beyond the CT's.
        swell: Where it swells.
    """

    dome: Triple
    floor: float
    liver: tuple[Triple, Triple]
    liver_left: tuple[Triple, Triple]
    under: tuple[Triple, Triple]
    gallbladder: tuple[Triple, Triple, tuple[float, float]]
    stomach: tuple[Triple, Triple]
    ligament: tuple[float, float]
    omentum: tuple[tuple[float, float], tuple[float, float], float]
    bowel: Gut
    colon: Gut
    tags: Float[Tensor, "tags 4"]
    lumps: Ripples
    bending: Bending
    relief: Ripples
    swelling_mm: float
    swell: Ripples

    region_names = (
        "peritoneum",
        "mesentery",
        "bowel",
        "large_bowel",
        "liver",
        "gallbladder",
        "stomach",
        "omentum",
        "ligament",
    )

    @classmethod
    def drawn(cls, seed: int, swelling_mm: float) -> "Abdomen":
        """The abdomen of a seed; the swelling changes nothing else."""
        draw = np.random.default_rng((seed, 24))

        def about(value: float, share: float = 0.1) -> float:
            return float(value * draw.uniform(1 - share, 1 + share))

        def near(value: float, reach: float) -> float:
            return float(value + draw.uniform(-reach, reach))

        dome = (about(122.0, 0.08), about(66.0, 0.1), about(118.0, 0.08))
        floor = near(34.0, 4.0)
        liver = ((near(-50.0, 6.0), near(14.0, 5.0), near(66.0, 5.0)), (about(74.0), about(58.0), about(58.0)))
        left = ((near(36.0, 6.0), near(0.0, 5.0), near(78.0, 5.0)), (about(56.0), about(30.0), about(42.0)))
        under = ((-40.0, 6.0, near(22.0, 5.0)), (near(0.0, 0.12), near(-0.62, 0.1), 0.78))
        at = near(-38.0, 8.0)
        neck = (at + 6.0, near(30.0, 3.0), near(32.0, 4.0))
        fundus = (at - near(3.0, 4.0), near(-4.0, 6.0), near(6.0, 5.0))
        colon, tags = _transverse_colon(draw, floor, dome)
        return cls(
            dome=dome,
            floor=floor,
            liver=liver,
            liver_left=left,
            under=under,
            gallbladder=(neck, fundus, (about(9.0, 0.2), about(16.5, 0.15))),
            stomach=((near(54.0, 8.0), near(32.0, 5.0), near(44.0, 6.0)), (about(46.0), about(32.0), about(40.0))),
            ligament=(near(-4.0, 8.0), near(38.0, 6.0)),
            omentum=((near(8.0, 30.0), near(-34.0, 16.0)), (about(46.0, 0.3), about(30.0, 0.3)), about(34.0, 0.25)),
            bowel=_small_bowel(draw, floor, dome),
            colon=colon,
            tags=tags,
            lumps=Ripples.drawn(draw, (6.0, 11.0, 20.0), (0.35, 0.8, 1.3)),
            bending=Bending.drawn(draw, tuple(BENT_MM), tuple(BENT_MM.values())),
            relief=Ripples.drawn(draw, (5.0, 12.0, 28.0), (0.03, 0.10, 0.40)),
            swelling_mm=swelling_mm,
            swell=Ripples.drawn(draw, (40.0,), (1.0,)),
        )

    @property
    def bounds(self) -> tuple[Triple, Triple]:
        """Corners of a box in LPS mm that holds all of the air, with 2 mm and more to spare."""
        x, y, z = (half + 16.0 for half in self.dome)
        return (-x, -y, -z), (x, min(y, self.floor + 40.0), z)

    @property
    def port(self) -> Float[Tensor, "3"]:
        """Where the scope comes through the wall, above the navel."""
        x, y, z = self.dome
        return self.in_patient(torch.tensor([0.0, -0.80 * y, -0.52 * z], dtype=torch.float64))

    @property
    def middle(self) -> Float[Tensor, "points 3"]:
        """The way of the scope from its port to the gallbladder, a point every half mm."""
        return self.middles[0]

    @cached_property
    def middles(self) -> tuple[Float[Tensor, "points 3"], ...]:
        """Ways from a port to gallbladder, stomach, small bowel, liver and large bowel, clear of what lies below."""
        (bowel_x, bowel_z) = self.bowel.start[:, 0].median(), self.bowel.start[:, 2].median()
        goals = [
            self.gallbladder[1],
            (self.stomach[0][0] - 8.0, self.stomach[0][1] - 26.0, self.stomach[0][2] - 20.0),
            (float(bowel_x) - 30.0, self.floor - 18.0, float(bowel_z) - 25.0),
            (self.liver[0][0] + 8.0, self.liver[0][1] - 44.0, self.liver[0][2] - 6.0),
            (float(self.colon.start[0, 0]) + 18.0, float(self.colon.start[0, 1]) - 22.0, float(self.colon.start[0, 2])),
        ]
        starts = [self.port] + [self.port + self.port.new_tensor([dx, 6.0, dz]) for dx, dz in
                                ((-25.0, 35.0), (20.0, 50.0), (30.0, 0.0), (10.0, 30.0))]  # fmt: skip
        return tuple(self._way(start, goal) for start, goal in zip(starts, goals, strict=True))

    def _way(self, start: Float[Tensor, "3"], goal: Triple) -> Float[Tensor, "points 3"]:
        """From a port towards an organ, ending before it, lifted where the bowel is in the way."""
        end = self.in_patient(torch.tensor(goal, dtype=torch.float64))
        way = evenly_spaced(torch.stack([start, end]).numpy(), 0.5)
        way = way[: max(int(0.78 * len(way)), 40)]
        for _ in range(40):
            field = in_blocks(self, way)
            low = field > -ROOM_MM
            if not bool(low.any()):
                break
            # Air lies towards the middle of the dome, a little above its centre.
            middle = way.new_tensor([0.0, -0.35 * self.dome[1], 0.0])
            step = torch.where(low[:, None], (middle - way) * 0.05, 0.0).numpy()
            way = way + torch.from_numpy(gaussian_filter1d(step, 12.0, axis=0, mode="nearest"))
        return evenly_spaced(gaussian_filter1d(way.numpy(), 6.0, axis=0, mode="nearest"), 0.5)

    def own(self, points: Positions) -> Positions:
        """Where points in LPS lie before the bending."""
        return points + self.bending(points)

    def in_patient(self, own: Positions) -> Positions:
        """LPS of points before the bending, by iteration, for it is a contraction."""
        points = own
        for _ in range(60):
            points = own - self.bending(points)
        return points

    def __call__(self, points: Positions) -> Values:
        """The field at points in LPS mm; positive in tissue."""
        wall, floor, bowel, colon, liver, gallbladder, stomach, omentum, ligament = self._organs(points)
        field = smooth_max(smooth_max(wall, floor, 14.0), liver, 2.5)
        field = smooth_max(smooth_max(field, stomach, 4.0), ligament, 3.0)
        field = smooth_max(smooth_max(field, colon, 2.0), bowel, 2.0)
        field = smooth_max(smooth_max(field, gallbladder, 1.6), omentum, 2.5) + self.relief(points)
        if self.swelling_mm:
            field = field + self.swelling_mm * (0.65 + 0.35 * torch.tanh(self.swell(points)))
        return field

    def regions(self, points: Float[Tensor, "points 3"]) -> Tensor:
        """Which of `region_names` each surface point belongs to, shape (points,)."""
        with torch.no_grad():
            return torch.cat([torch.stack(self._organs(block)).argmax(0) for block in points.split(65536)])

    def sights(self) -> dict[str, tuple[Tensor, Tensor]]:
        """For each landmark a point in the air and the direction to it."""
        (neck, fundus, _), (x, z_edge) = self.gallbladder, self.ligament
        over = (0.0, -0.5 * self.dome[1], -0.1 * self.dome[2])
        ends = {
            "gallbladder_fundus": fundus,
            "gallbladder_body": tuple(0.6 * f + 0.4 * n for f, n in zip(fundus, neck, strict=True)),
            "liver_right": (self.liver[0][0] - 10, self.liver[0][1] - 20, self.liver[0][2]),
            "liver_left": self.liver_left[0],
            "ligament_edge": (x, -0.45 * self.dome[1], z_edge + 2.0),
            "stomach": self.stomach[0],
            "omentum": (self.omentum[0][0], self.floor, self.omentum[0][1]),
        }
        every = max(len(self.colon.start) // 4, 1)
        ends |= {f"large_bowel_{i}": tuple(p) for i, p in enumerate(self.colon.start[::every].tolist())}
        every = max(len(self.bowel.start) // 6, 1)
        ends |= {f"bowel_{i}": tuple(p) for i, p in enumerate(self.bowel.start[::every].tolist())}
        start = self.in_patient(torch.tensor(over, dtype=torch.float64))
        goals = self.in_patient(torch.tensor(list(ends.values()), dtype=torch.float64))
        return {name: (start, goal - start) for name, goal in zip(ends, goals, strict=True)}

    def _organs(self, points: Positions) -> list[Values]:
        """Tissue of each region."""
        p = self.own(points)
        x, y, z = p.unbind(-1)
        lumps = self.lumps(points)
        wall = -ellipsoid(p, (0.0, 0.0, 0.0), self.dome)
        floor = y - self.floor + 0.6 * lumps
        (under, into) = (p.new_tensor(v) for v in self.under)
        above = (p - under) @ (into / into.norm()) + 3.0 * bell((x - under[0] - 30.0) / 14.0)
        liver = smooth_min(ellipsoid(p, *self.liver), above, 7.0)
        left = smooth_min(ellipsoid(p, *self.liver_left), above - 10.0, 6.0)
        liver = smooth_max(liver, left, 5.0)

        neck, fundus, (thin, thick) = self.gallbladder
        a, axis = p.new_tensor(neck), p.new_tensor(fundus) - p.new_tensor(neck)
        t = (((p - a) @ axis) / (axis @ axis)).clamp(0, 1)
        gallbladder = thin + (thick - thin) * smooth_step(t) - length(*(p - a - t[..., None] * axis).unbind(-1))

        stomach = ellipsoid(p, *self.stomach)
        edge_x, edge_z = self.ligament
        aside = x - edge_x - 3.0 * torch.sin((z + y) / 17.0)
        # A thin sheet from the liver to the front wall, with the round ligament in its free edge.
        beyond = edge_z - z + 0.25 * (y + self.dome[1])
        ligament = 1.3 - length(aside, beyond.clamp_min(0))
        ligament = smooth_max(ligament, 3.2 - length(aside, beyond), 1.5)
        ligament = smooth_min(ligament, 6.0 - y, 4.0)

        (fat_x, fat_z), (half_x, half_z), height = self.omentum
        within = ((x - fat_x) / half_x) ** 2 + ((z - fat_z) / half_z) ** 2
        omentum = 0.75 * (y - self.floor + height * (1 - within).clamp_min(-1.0) + 1.6 * lumps)
        tags = self.tags.to(p)
        apart = (p.square().sum(-1, keepdim=True) - 2 * p @ tags[:, :3].T + tags[:, :3].square().sum(-1)).clamp_min(
            1e-4
        )
        fat = torch.logsumexp(tags[:, 3] - apart.sqrt(), -1) + 0.5 * lumps
        return [
            wall,
            floor,
            self.bowel(p),
            self.colon(p),
            liver,
            gallbladder,
            stomach,
            torch.maximum(omentum, fat),
            ligament,
        ]


def _small_bowel(draw: np.random.Generator, floor: float, dome: Triple) -> Gut:
    """Loops that wind over the floor in the lower half of the cavity."""
    lines, radii = [], []
    for row in range(4):
        radius = float(draw.uniform(11.5, 15.0))
        count = int(draw.integers(7, 10))
        x = np.linspace(-72.0, 72.0, count) + draw.normal(0, 5.0, count)
        z = -24.0 - 22.0 * row + 11.0 * np.sin(np.arange(count) * draw.uniform(1.5, 2.3) + draw.uniform(0, 6.3))
        y = floor - 4.0 - 6.0 * draw.random(count)
        t = np.linspace(0, count - 1, round(1.5 * count))
        line = np.stack([np.interp(t, np.arange(count), c) for c in (x, y, z)], 1)
        line = gaussian_filter1d(line, 1.0, axis=0, mode="nearest")
        inside = ((line / (0.92 * np.array(dome))) ** 2).sum(1) < 1.15
        if inside.sum() < 3:
            continue
        line = line[inside]
        lines.append(line)
        radii.append(radius * (1 + 0.07 * np.sin(np.arange(len(line)) * 1.9 + draw.uniform(0, 6.3))))
    return Gut.along(lines, radii, 1.1)


def _transverse_colon(draw: np.random.Generator, floor: float, dome: Triple) -> tuple[Gut, Tensor]:
    """The large bowel from side to side, with haustra, and the tags of fat along it."""
    count, radius = 40, float(draw.uniform(17.0, 23.0))
    x = np.linspace(-0.72 * dome[0], 0.72 * dome[0], count)
    sag = float(draw.uniform(4.0, 22.0))
    z = 12.0 + draw.uniform(-4, 4) - sag * (1 - (x / x[0]) ** 2) + 4.0 * np.sin(x / 23.0 + draw.uniform(0, 6.3))
    y = floor - 2.0 + 3.0 * np.sin(x / 31.0 + draw.uniform(0, 6.3))
    line = np.stack([x, y, z], 1)
    at = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))])
    haustra = np.abs(np.sin(math.pi * at / float(draw.uniform(24.0, 33.0)) + draw.uniform(0, 3.1)))
    radii = radius * (0.80 + 0.26 * np.sqrt(haustra))
    places = draw.choice(count, int(draw.integers(5, 10)), replace=False)
    turn = draw.uniform(-1.0, 1.0, len(places))
    off = np.stack([draw.normal(0, 2.0, len(places)), -np.cos(turn) * radii[places], np.sin(turn) * radii[places]], 1)
    tags = np.concatenate([line[places] + 1.05 * off, draw.uniform(3.5, 7.5, (len(places), 1))], 1)
    return Gut.along([line], [radii], 1.0), torch.from_numpy(tags)
