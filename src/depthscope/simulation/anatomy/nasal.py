"""One nasal cavity: from the nostril between septum and turbinates to the choana and the nasopharynx behind it.

Own coordinates (u, y, z) in mm: u from the midline to the side, y from the nostril to the back, z from the floor to
the roof. In the patient (LPS) x is u on the left side and -u on the right one, and every patient's cavity is bent in a
way of its own, as no two noses are alike in more than their plan. The nostril is closed by a plane. Dimensions are
those of an adult, drawn within some 15 %.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from depthscope.simulation.anatomy.field import (
    Bending,
    Positions,
    Ripples,
    Values,
    bell,
    box,
    capsule,
    ellipsoid,
    length,
    scroll,
    smooth_max,
    smooth_min,
    smooth_step,
)

BENT_MM = {14.0: 0.3, 24.0: 0.6, 40.0: 1.0}
"""How far patients are bent, standard deviation along each axis for each wavelength, both in mm."""


@dataclass(frozen=True)
class Turbinate:
    """A curled sheet of bone and mucosa that hangs into the cavity, with a rounded head in front and a tail behind.

    Attributes:
        front: y of its head's tip.
        back: y of its tail's tip.
        axis: (u, z) of the scroll's centre.
        head: (u, z) that the scroll shrinks to at its head, in the wall that it springs from.
        tail: The same at its tail.
        radius: Radius of the scroll.
        half_thickness: Half the sheet's thickness.
        turn_rad: How far the sheet curls beyond the stem.
        lean_rad: How far the stem leans from upright towards the side.
        tall: Height of the scroll over its width.
        stem: Length of the stem.
        sag: How much lower the tail lies than the head.
    """

    front: float
    back: float
    axis: tuple[float, float]
    head: tuple[float, float]
    tail: tuple[float, float]
    radius: float
    half_thickness: float
    turn_rad: float
    lean_rad: float
    tall: float
    stem: float
    sag: float

    def __call__(self, u: Values, y: Values, z: Values) -> Values:
        """Positive in the sheet."""
        middle, half = (self.front + self.back) / 2, (self.back - self.front) / 2
        along = (y - middle) / half
        # The scroll swells quickly behind the head's tip and fades slowly to the tail.
        share = (1 - along * along).clamp_min(0.003)
        size = torch.where(along < 0, share**0.45, share**0.6)
        to_end = torch.where(along < 0, 1.0, 0.0)
        end_u = self.tail[0] + (self.head[0] - self.tail[0]) * to_end
        end_z = self.tail[1] + (self.head[1] - self.tail[1]) * to_end
        centre_u = end_u + (self.axis[0] - end_u) * size
        centre_z = end_z + (self.axis[1] - end_z) * size - self.sag * 0.5 * (along + 1)
        du, dz = u - centre_u, (z - centre_z) / self.tall
        cosine, sine = math.cos(self.lean_rad), math.sin(self.lean_rad)
        across, up = cosine * du - sine * dz, sine * du + cosine * dz
        sheet = scroll(across, up, self.radius * size, self.turn_rad, self.stem)
        # The head is solid; the scroll opens some way behind it.
        core = length(across, up) - self.radius * size + 0.35 * half * (along + 0.75).clamp_min(0)
        sheet = smooth_min(sheet, core.clamp_min(0), 0.8)
        beyond = (y - middle).abs() - half
        thick = self.half_thickness * (0.7 + 0.3 * size) * (1 + 0.25 * bell((along + 0.8) / 0.3))
        return thick - length(sheet, beyond.clamp_min(0))


@dataclass(frozen=True, eq=False)
class NasalCavity:
    """The field of one nasal cavity.

    Attributes:
        side: 1 for the patient's left, -1 for the right.
        width: From the midline to the side wall at the floor, in mm, as all lengths here.
        height: From the floor to the roof.
        choana: y of the choana.
        septum_half: Half the septum's thickness.
        deviation: How far the septum bends into this cavity; negative away from it.
        deviation_at: (y, z) of the bend.
        spur: Height of the ridge on the septum.
        spur_at: (y, z) of the ridge.
        inferior: The inferior turbinate.
        middle: The middle turbinate.
        superior: The superior turbinate.
        bulla: Centre and radii of the bulla ethmoidalis.
        uncinate: Ends of the uncinate's edge, and the radius of its rounded rim.
        ostium: Where the maxillary ostium opens, and its radius.
        opening: Centre (u, z) and radii of the choana.
        bending: How this patient departs from the plan.
        relief: The mucosa's unevenness.
        swelling_mm: How far the mucosa may swell beyond the CT's.
        swell: Where it swells.
    """

    side: int
    width: float
    height: float
    choana: float
    septum_half: float
    deviation: float
    deviation_at: tuple[float, float]
    spur: float
    spur_at: tuple[float, float]
    inferior: Turbinate
    middle: Turbinate
    superior: Turbinate
    bulla: tuple[tuple[float, float, float], tuple[float, float, float]]
    uncinate: tuple[tuple[float, float, float], tuple[float, float, float], float]
    ostium: tuple[tuple[float, float, float], float]
    opening: tuple[tuple[float, float], tuple[float, float]]
    bending: Bending
    relief: Ripples
    swelling_mm: float
    swell: Ripples

    region_names = (
        "wall",
        "septum",
        "inferior_turbinate",
        "middle_turbinate",
        "superior_turbinate",
        "bulla",
        "uncinate",
        "nasopharynx",
        "sinus",
    )

    @classmethod
    def drawn(cls, seed: int, swelling_mm: float) -> "NasalCavity":
        """The cavity of a seed; the swelling changes nothing else."""
        draw = np.random.default_rng((seed, 21))

        def about(value: float, share: float = 0.1) -> float:
            return float(value * draw.uniform(1 - share, 1 + share))

        width, height, choana = about(16.0, 0.06), about(43.0, 0.06), about(68.0)
        septum_half, deviation = about(1.6, 0.2), float(draw.uniform(-2.5, 2.0))
        deviation_at = (about(32.0, 0.25), about(17.0, 0.3))
        medial = septum_half + max(deviation, 0.0)
        low_gap, high_gap = float(draw.uniform(3.6, 5.0)), float(draw.uniform(2.4, 3.6))

        half = about(2.1, 0.15)
        radius = min((width - medial - low_gap - half) / 2, 4.6)
        inferior = Turbinate(
            front=about(18.0),
            back=choana - about(5.0, 0.3),
            axis=(medial + low_gap + half + radius, about(10.2, 0.07)),
            head=(width - 1.0, about(12.0)),
            tail=(width - 1.5, about(11.0)),
            radius=radius,
            half_thickness=half,
            turn_rad=about(math.radians(185.0), 0.12),
            lean_rad=about(math.radians(62.0), 0.12),
            tall=about(1.2, 0.06),
            stem=9.0,
            sag=about(0.8, 0.8),
        )
        half = about(1.5, 0.2)
        radius = about(2.5, 0.15)
        front = about(30.0, 0.08)
        middle = Turbinate(
            front=front,
            back=choana - about(4.0, 0.3),
            axis=(medial + high_gap + half + radius, about(25.0, 0.05)),
            head=(medial + high_gap + radius + 3.5, about(32.0, 0.05)),
            tail=(width - 3.0, about(24.0, 0.06)),
            radius=radius,
            half_thickness=half,
            turn_rad=about(math.radians(170.0), 0.15),
            lean_rad=float(draw.uniform(-0.08, 0.12)),
            tall=about(1.15, 0.08),
            stem=22.0,
            sag=about(1.5, 0.6),
        )
        superior = Turbinate(
            front=choana - about(22.0),
            back=choana - about(3.0, 0.3),
            axis=(septum_half + 3.6, about(34.5, 0.03)),
            head=(9.0, 37.0),
            tail=(9.0, 33.0),
            radius=about(1.3),
            half_thickness=about(1.0),
            turn_rad=math.radians(120.0),
            lean_rad=0.3,
            tall=1.1,
            stem=12.0,
            sag=3.0,
        )
        bulla_y, bulla_z = front + about(13.0), about(26.5, 0.04)
        ostium_y, ostium_z = bulla_y + about(4.0, 0.5), bulla_z - about(5.0, 0.1)
        return cls(
            side=int(draw.choice([-1, 1])),
            width=width,
            height=height,
            choana=choana,
            septum_half=septum_half,
            deviation=deviation,
            deviation_at=deviation_at,
            spur=float(draw.choice([0.0, 1.0]) * draw.uniform(1.0, 2.4)),
            spur_at=(about(42.0, 0.2), about(6.0, 0.3)),
            inferior=inferior,
            middle=middle,
            superior=superior,
            bulla=((width - 0.8, bulla_y, bulla_z), (about(3.4), about(5.5), about(3.8))),
            uncinate=((width - 1.6, bulla_y - 6.5, bulla_z + 3.5), (width - 1.4, bulla_y - 2.0, bulla_z - 5.0), 0.9),
            ostium=((width + 1.5, ostium_y, ostium_z), float(draw.uniform(1.6, 2.5))),
            opening=((about(8.0, 0.06), about(13.5, 0.06)), (about(6.2, 0.08), about(11.0, 0.08))),
            bending=Bending.drawn(np.random.default_rng((seed, 22)), tuple(BENT_MM), tuple(BENT_MM.values())),
            relief=Ripples.drawn(draw, (3.0, 6.0, 12.0), (0.03, 0.08, 0.20)),
            swelling_mm=swelling_mm,
            swell=Ripples.drawn(draw, (18.0,), (1.0,)),
        )

    @property
    def bounds(self) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
        """Corners of a box in LPS mm that holds all of the air, with 2 mm and more to spare."""
        low, high = -23.0, self.width + 34.5
        x = (low, high) if self.side > 0 else (-high, -low)
        return (x[0], -4.0, -11.0), (x[1], self.choana + 36.0, self.height + 9.0)

    @property
    def entry(self) -> tuple[float, float, float]:
        """Middle of the nostril, 4 mm in, in LPS mm."""
        return self._point_in_patient((self.septum_half + 4.8, 4.0, 8.0))

    @property
    def goal(self) -> tuple[float, float, float]:
        """Middle of the nasopharynx, in LPS mm."""
        return self._point_in_patient((4.0, self.choana + 13.0, 13.0))

    def own(self, points: Positions) -> Positions:
        """(u, y, z) of points in LPS."""
        points = points * points.new_tensor([self.side, 1.0, 1.0])
        return points + self._shift(points)

    def in_patient(self, own: Positions) -> Positions:
        """LPS of points given by (u, y, z): the bending undone by iteration, for it is a contraction."""
        points = own
        for _ in range(60):
            points = own - self._shift(points)
        return points * points.new_tensor([self.side, 1.0, 1.0])

    def _point_in_patient(self, own: tuple[float, float, float]) -> tuple[float, float, float]:
        x, y, z = self.in_patient(torch.tensor(own, dtype=torch.float64)).tolist()
        return x, y, z

    def _shift(self, points: Positions) -> Positions:
        """How far the bending moves points of this side; it grows from nothing at the nostril, which stays flat."""
        return smooth_step(points[..., 1:2] / 18.0) * self.bending(points)

    def __call__(self, points: Positions) -> Values:
        """The field at points in LPS mm; positive in tissue."""
        return self._parts(points)[0]

    def regions(self, points: Float[Tensor, "points 3"]) -> Tensor:
        """Which of `region_names` each surface point belongs to, shape (points,): the part whose field is nearest 0."""
        with torch.no_grad():
            _, tissue, air = self._parts(points)
            label = torch.stack(tissue).argmax(0)
            y_in_front = self.own(points)[..., 1] < self.choana
            label = torch.where((air[1] > -0.6) & ~y_in_front, 7, label)
            return torch.where(air[2] > -0.6, 8, label)

    def septum(self, y: Values, z: Values) -> Values:
        """Coordinate u of the septum's surface."""
        bend = self.deviation * bell((y - self.deviation_at[0]) / 16.0) * bell((z - self.deviation_at[1]) / 14.0)
        ridge_z = self.spur_at[1] + 0.12 * (y - self.spur_at[0])
        ridge = self.spur * bell((z - ridge_z) / 1.9) * bell((y - self.spur_at[0]) / 9.0)
        return self.septum_half + bend + ridge

    def side_wall(self, y: Values, z: Values) -> Values:
        """Coordinate u of the side wall: narrow in the vestibule, wide at the meatus, narrow again towards the roof."""
        high = smooth_step((z - 25.0) / (self.height - 25.0))
        wide = self.width - (self.width - 5.0) * high
        vestibule = 1 - smooth_step((y - 4.0) / 13.0)
        limen = bell((y - 11.0) / 3.5) * bell((z - 14.0) / 6.0)
        return wide * (1 - 0.34 * vestibule) - 1.2 * limen

    def roof(self, y: Values) -> Values:
        """Coordinate z of the roof: low at the nostril, rising under the bridge of the nose, falling to the choana."""
        rise, fall = smooth_step((y + 3.0) / 36.0), smooth_step((y - self.choana + 20.0) / 24.0)
        return 15.0 + (self.height - 15.0) * rise - (self.height - 28.0) * fall

    def _parts(self, points: Positions) -> tuple[Values, list[Values], list[Values]]:
        """The field, and the tissue and air parts that it is made of."""
        p = self.own(points)
        u, y, z = p.unbind(-1)
        relief = self.relief(points)
        septum = self.septum(y, z) - u
        side = u - self.side_wall(y, z)
        floor = 2.5 * bell(y / 7.0) - z
        corridor = smooth_max(smooth_max(side, floor, 9.0), smooth_max(z - self.roof(y), septum, 4.0), 4.0)
        corridor = smooth_max(corridor, smooth_max(-y, y - self.choana, 1.0), 3.0)

        inferior, middle, superior = (t(u, y, z) for t in (self.inferior, self.middle, self.superior))
        bulla = ellipsoid(p, *self.bulla)
        start, end, radius = self.uncinate
        uncinate = capsule(p, start, end, radius)
        within = smooth_max(corridor, inferior, 1.2)
        within = smooth_max(within, middle, 1.2)
        within = smooth_max(within, superior, 1.0)
        within = smooth_max(smooth_max(within, bulla, 1.0), uncinate, 1.0)

        (opening_u, opening_z), (radius_u, radius_z) = self.opening
        across = ellipsoid(
            torch.stack([u.abs() - opening_u, torch.zeros_like(u), z - opening_z], -1),
            (0.0, 0.0, 0.0),
            (radius_u, 1.0, radius_z),
        )
        # The other side's choana is there, but leads only a little way in.
        depth = torch.where(u > 0, 4.0, 9.0)
        choana = smooth_max(-across, (y - self.choana - 3.0).abs() - depth, 2.0)
        pharynx = -ellipsoid(p, (0.0, self.choana + 15.0, 13.0), (16.0, 13.0, 16.0))
        torus = 2.6 - length(length(y - self.choana - 13.0, (z - 11.0) / 1.3) - 4.2, (u.abs() - 14.5) / 1.6)
        pharynx = smooth_max(pharynx, torus, 2.5)
        behind = smooth_min(choana, pharynx, 3.0)

        (ostium_u, ostium_y, ostium_z), ostium_radius = self.ostium
        sinus = -box(p, (self.width + 15.0, ostium_y + 1.0, 15.0), (11.5, 14.0, 12.0), 6.0)
        mouth = -capsule(p, (ostium_u - 3.0, ostium_y, ostium_z), (ostium_u + 5.0, ostium_y, ostium_z), ostium_radius)
        sinus = smooth_min(sinus, mouth, 1.5)

        field = smooth_min(smooth_min(within, behind, 2.0), sinus, 1.2)
        field = field + relief
        if self.swelling_mm:
            erectile = 0.25 + 0.75 * smooth_step(torch.maximum(inferior, middle) / 3.0 + 1.0)
            field = field + self.swelling_mm * erectile * (0.65 + 0.35 * torch.tanh(self.swell(points)))
        walls = torch.maximum(torch.maximum(side, floor), z - self.roof(y))
        return field, [walls, septum, inferior, middle, superior, bulla, uncinate], [-within, -behind, -sinus]
