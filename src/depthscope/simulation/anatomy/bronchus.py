"""A bronchial tree: trachea with cartilages and a flat membrane behind, carina, and four generations of branching.

Sizes in mm are those of adults. Trachea: 13 to 25 across in men, 10 to 21 in women (Breatnach et al. 1984), cartilages
about 4 high and 2 apart. Airways of generations 0 to 4 have diameters of 18, 12.2, 8.3, 5.6 and 4.5 (Weibel 1963);
the right main bronchus is about 22 long and leaves 25 degrees from the midline, the left 45 long and 40 degrees, with
35 to 90 degrees between them (Haskin and Goodman 1982). Planes of branching turn by about a right angle from one
generation to the next. The airways' curves are bends of space, as a nose's are.
"""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.ndimage import gaussian_filter1d
from torch import Tensor
from torch.nn import functional

from depthscope.simulation.anatomy.extraction import evenly_spaced
from depthscope.simulation.anatomy.field import Bending, Positions, Ripples, Values, smooth_max, smooth_step

BENT_MM = {30.0: 0.35, 60.0: 1.3}
"""How far airways are bent, standard deviation along each axis for each wavelength, both in mm."""

SHARP = 1.6
"""Of the ridges between airways, per mm: their seams are rounded over about its inverse."""

LAST = 4
"""Generation that ends blind."""

THINNEST_MM = 1.7
"""Radius below which no airway branches further."""


@dataclass(frozen=True, eq=False)
class BronchialTree:
    """The field of a bronchial tree, its airways numbered with every parent before its children.

    Attributes:
        start: Where each airway begins, shape (airways, 3), before the bending.
        end: Where it ends.
        radius: Of its begin and end, shape (airways, 2).
        generation: 0 the trachea, 1 the main bronchi, and so on, shape (airways,).
        parent: Number of the airway that it leaves, -1 for the trachea.
        behind: Unit direction from its axis to its membrane, shape (airways, 3).
        membrane: How far from the axis the membrane lies, as a share of the radius; 2 is none.
        ring_mm: How far its cartilages stand in, shape (airways,).
        pitch_mm: From one cartilage to the next.
        ring_phase: Of the cartilages.
        bending: How its airways curve.
        relief: The mucosa's unevenness.
        swelling_mm: How far the mucosa may swell beyond the CT's.
        swell: Where it swells.
    """

    start: Float[Tensor, "airways 3"]
    end: Float[Tensor, "airways 3"]
    radius: Float[Tensor, "airways 2"]
    generation: Int[Tensor, " airways"]
    parent: Int[Tensor, " airways"]
    behind: Float[Tensor, "airways 3"]
    membrane: Float[Tensor, " airways"]
    ring_mm: Float[Tensor, " airways"]
    pitch_mm: Float[Tensor, " airways"]
    ring_phase: Float[Tensor, " airways"]
    bending: Bending
    relief: Ripples
    swelling_mm: float
    swell: Ripples

    region_names = ("trachea", "main_bronchus", "lobar_bronchus", "segmental_bronchus", "cartilage")

    @classmethod
    def drawn(cls, seed: int, swelling_mm: float) -> "BronchialTree":
        """The tree of a seed; the swelling changes nothing else."""
        draw = np.random.default_rng((seed, 23))
        airways = _grown(draw)
        numbers = {name: torch.from_numpy(np.array([a[name] for a in airways])) for name in airways[0]}
        return cls(
            **numbers,
            bending=Bending.drawn(draw, tuple(BENT_MM), tuple(BENT_MM.values())),
            relief=Ripples.drawn(draw, (3.0, 6.0, 12.0), (0.03, 0.07, 0.16)),
            swelling_mm=swelling_mm,
            swell=Ripples.drawn(draw, (20.0,), (1.0,)),
        )

    @property
    def bounds(self) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
        """Corners of a box in LPS mm that holds all of the air, with 2 mm and more to spare."""
        ends = torch.cat([self.start, self.end])
        room = torch.cat([self.radius[:, 0], self.radius[:, 1]])[:, None] + 9.0
        low, high = (ends - room).amin(0).tolist(), (ends + room).amax(0).tolist()
        return (low[0], low[1], low[2]), (high[0], high[1], high[2])

    @property
    def middle(self) -> Float[Tensor, "points 3"]:
        """The way from the trachea into the deepest airway, a point every half mm."""
        return self.middles[0]

    @cached_property
    def middles(self) -> tuple[Float[Tensor, "points 3"], ...]:
        """Ways to the end of every airway that ends blind, the widest first; all but the first begin at the carina."""
        leaves = [i for i in range(len(self.parent)) if not bool((self.parent == i).any())]
        leaves.sort(key=lambda i: -float(self.radius[i, 1]))
        ways = []
        for leaf in leaves:
            chain = [leaf]
            while int(self.parent[chain[-1]]) >= 0:
                chain.append(int(self.parent[chain[-1]]))
            chain = chain[::-1]
            corners = [self.start[chain[0]], *(self.end[i] for i in chain)]
            if ways:
                corners[0] = 0.75 * corners[1] + 0.25 * corners[0]
            corners[-1] = self.end[leaf] + 0.4 * (self.end[leaf] - self.start[leaf]) / len(chain)
            line = evenly_spaced(np.stack([c.numpy() for c in corners]), 0.5).numpy()
            line = gaussian_filter1d(line, 5.0, axis=0, mode="nearest")
            points = self.in_patient(torch.from_numpy(line))
            ways.append(evenly_spaced(points.numpy(), 0.5))
        return tuple(ways)

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
        air, _, _ = self._airways(points)
        field = -torch.logsumexp(SHARP * air, -1) / SHARP + self.relief(points)
        if self.swelling_mm:
            field = field + self.swelling_mm * (0.65 + 0.35 * torch.tanh(self.swell(points)))
        return field

    def regions(self, points: Float[Tensor, "points 3"]) -> Tensor:
        """Which of `region_names` each surface point belongs to, shape (points,)."""
        with torch.no_grad():
            air, ring, _ = self._airways(points)
            nearest = air.argmax(-1)
            label = self.generation[nearest].clamp_max(3)
            crest = ring.gather(-1, nearest[..., None])[..., 0] > 0.5
            return torch.where(crest & (label < 3), 4, label)

    def carina(self, airway: int) -> tuple[Tensor, Tensor]:
        """A point within an airway before it divides, and the direction to the ridge, each of shape (3,)."""
        children = (self.parent == airway).nonzero()[:, 0]
        towards = functional.normalize((self.end[children] - self.start[children]), dim=-1).mean(0)
        back = 0.5 * (self.end[airway] - self.start[airway]) / (self.end[airway] - self.start[airway]).norm()
        start = self.in_patient(self.end[airway] - 4.0 * back)
        return start, self.in_patient(self.end[airway] + 6.0 * functional.normalize(towards, dim=-1)) - start

    def front(self, share: float) -> tuple[Tensor, Tensor]:
        """A point of the trachea's axis at a share of its length, and the direction to its front."""
        at = self.start[0] + share * (self.end[0] - self.start[0])
        start = self.in_patient(at)
        return start, self.in_patient(at - 5.0 * self.behind[0]) - start

    def _airways(self, points: Positions) -> tuple[Tensor, Tensor, Tensor]:
        """How deep points lie in the air of each airway in mm, how far up on a cartilage, and where along its axis."""
        p = self.own(points)
        start, axis = self.start.to(p), (self.end - self.start).to(p)
        length, behind = axis.norm(dim=-1), self.behind.to(p)
        unit = axis / length[:, None]
        # Products with all axes at once; the membrane's direction stands across the axis.
        along = p @ unit.T - (start * unit).sum(-1)
        back = p @ behind.T - (start * behind).sum(-1)
        t = (along / length).clamp(0, 1)
        to_start = p.square().sum(-1, keepdim=True) - 2 * p @ start.T + start.square().sum(-1)
        apart = (to_start - t * length * (2 * along - t * length)).clamp_min(1e-6).sqrt()
        first, last = self.radius.to(p).unbind(-1)
        radius = first + (last - first) * t
        # Cartilages are arcs that are open behind; their ends fade into the membrane.
        open_behind = 1 - smooth_step((back / radius + 0.15) / 0.7)
        wave = 0.5 + 0.5 * torch.cos(
            2 * torch.pi * along / self.pitch_mm.to(p) + self.ring_phase.to(p) + 0.35 * back / radius
        )
        inside = (smooth_step(along / 3.0 + 0.5) * smooth_step((length - along) / 3.0 + 0.2)).clamp(0, 1)
        ring = open_behind * inside * wave * wave.sqrt() * (self.ring_mm.to(p) > 0)
        wall = apart + self.ring_mm.to(p) * (ring - 0.4) - radius
        flat = back - self.membrane.to(p) * radius
        return -smooth_max(wall, flat, 2.0), ring, along


def _grown(draw: np.random.Generator) -> list[dict]:
    """The airways, trachea first."""

    def about(value: float, share: float = 0.12) -> float:
        return float(value * draw.uniform(1 - share, 1 + share))

    wide, size = about(8.6, 0.2), about(1.0, 0.1)
    length = about(52.0)
    down, back = np.array([0.0, 0.0, -1.0]), np.array([0.0, 1.0, 0.0])

    def airway(start, way, long, radii, generation, parent) -> dict:
        side = np.cross(way, back)
        behind = np.cross(side / np.linalg.norm(side), way)
        behind = behind if behind @ back > 0 else -behind
        cartilages = generation < 3
        return {
            "start": start,
            "end": start + long * way,
            "radius": np.array(radii),
            "generation": generation,
            "parent": parent,
            "behind": behind,
            "membrane": float(draw.uniform(0.45, 0.8)) if generation < 2 else 2.0,
            "ring_mm": about((0.85, 0.6, 0.3)[generation], 0.3) if cartilages else 0.0,
            "pitch_mm": about((5.8, 5.0, 4.2)[generation], 0.12) if cartilages else 5.0,
            "ring_phase": float(draw.uniform(0, 2 * math.pi)),
        }

    airways = [airway(np.zeros(3), down, length, (about(wide, 0.05), wide), 0, -1)]
    right, left = math.radians(about(26.0, 0.25)), math.radians(about(40.0, 0.2))
    for sign, angle, long, radius in (
        (-1, right, about(21.0) + 5, 0.76 * wide),
        (1, left, about(42.0) + 5, 0.68 * wide),
    ):
        way = np.array([sign * math.sin(angle), float(draw.uniform(0.0, 0.25)), -math.cos(angle)])
        way /= np.linalg.norm(way)
        airways.append(airway(airways[0]["end"], way, long, (radius, 0.9 * radius), 1, 0))
    number = 1
    while number < len(airways):
        mother = airways[number]
        generation = mother["generation"] + 1
        if generation <= LAST and mother["radius"][1] > THINNEST_MM:
            airways += _daughters(draw, about, airway, airways, number, generation, size)
        number += 1
    return airways


def _daughters(draw, about, airway, airways: list[dict], number: int, generation: int, size: float) -> list[dict]:
    """Two airways that leave one, the plane that they lie in a right angle from that of the mother and her sister."""
    mother = airways[number]
    way = (mother["end"] - mother["start"]) / np.linalg.norm(mother["end"] - mother["start"])
    grandmother = airways[mother["parent"]]
    above = (grandmother["end"] - grandmother["start"]) / np.linalg.norm(grandmother["end"] - grandmother["start"])
    plane = np.cross(way, above)  # the normal of the mother's plane is where her daughters part
    plane /= np.linalg.norm(plane)
    turn = draw.normal(0, math.radians(20.0))
    aside = math.cos(turn) * plane + math.sin(turn) * np.cross(way, plane)
    share = float(draw.uniform(0.35, 0.5))  # Murray: r0^3 = r1^3 + r2^3; the smaller one leaves at the wider angle
    opening = math.radians(about(74.0, 0.2))
    found = []
    for part, sign in ((1 - share, -1), (share, 1)):
        radius = mother["radius"][1] * part ** (1 / 3)
        lean = sign * opening * (1 - part)
        heading = math.cos(lean) * way + math.sin(lean) * aside
        long = size * about((0.0, 0.0, 20.0, 14.0, 13.0)[generation], 0.25) + 0.6 * mother["radius"][1]
        found.append(airway(mother["end"], heading, long, (radius, 0.9 * radius), generation, number))
    return found
