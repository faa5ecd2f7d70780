"""A stretch of colon: a bent tube, pinched to a rounded triangle, with crescent folds and polyps.

Tube coordinates: s along the centreline in mm from the camera's end, r away from it, a around it. Both ends are closed.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float
from scipy.spatial.transform import Rotation
from torch import Tensor

from depthscope.simulation.anatomy.field import Positions, Ripples, Values, length, smooth_max

STEP_MM = 0.5
"""Between the samples of the centreline."""

SPARE_MM = 30.0
"""How far the centreline runs on beyond either end."""


@dataclass(frozen=True, eq=False)
class Colon:
    """The field of a stretch of colon.

    Attributes:
        reach: Length of the centreline between the ends, in mm, as all lengths here.
        centre: Samples of the centreline, shape (samples, 3).
        frame: Its tangent, and two directions across it that do not spin, shape (samples, 3, 3), as rows.
        radius: Mean radius of the tube.
        sacculation: How far the wall bulges between folds.
        pinch: Depth of the triangle, as a share of the radius.
        pinch_phase: Turn of the triangle.
        fold_s: Where each fold of each ring sits, shape (rings, 3).
        fold_angle: Where around the tube its crest is.
        fold_depth: How far it reaches in.
        fold_span: How much wider than a straight chord it spans the tube's round.
        fold_lean: How far its crest leans along the tube, per mm of depth.
        fold_half: Half its thickness.
        polyp_at: (s, a) of each polyp, shape (polyps, 2).
        polyp_radius: Its radius, shape (polyps,).
        polyp_stalk: How far its centre stands off the wall, in its radii, shape (polyps,).
        relief: The mucosa's unevenness.
        swelling_mm: How far the mucosa may swell beyond the CT's.
        swell: Where it swells.
    """

    reach: float
    centre: Float[Tensor, "samples 3"]
    frame: Float[Tensor, "samples 3 3"]
    radius: float
    sacculation: float
    pinch: float
    pinch_phase: float
    fold_s: Float[Tensor, "rings 3"]
    fold_angle: Float[Tensor, "rings 3"]
    fold_depth: Float[Tensor, "rings 3"]
    fold_span: Float[Tensor, "rings 3"]
    fold_lean: Float[Tensor, "rings 3"]
    fold_half: Float[Tensor, "rings 3"]
    polyp_at: Float[Tensor, "polyps 2"]
    polyp_radius: Float[Tensor, " polyps"]
    polyp_stalk: Float[Tensor, " polyps"]
    relief: Ripples
    swelling_mm: float
    swell: Ripples

    region_names = ("wall", "fold", "polyp", "end")

    @classmethod
    def drawn(cls, seed: int, swelling_mm: float) -> "Colon":
        """The colon of a seed; the swelling changes nothing else."""
        draw = np.random.default_rng((seed, 22))
        radius, reach = float(draw.uniform(13.0, 18.0)), float(draw.uniform(150.0, 185.0))
        centre, frame = _centreline(draw, reach, radius)

        gaps = draw.uniform(15.0, 26.0, 24)
        rings = draw.uniform(4.0, 12.0) + np.concatenate([[0.0], np.cumsum(gaps)])
        rings = rings[rings < reach - 0.7 * radius][:, None]
        shape = (len(rings), 3)
        phase = float(draw.uniform(0, 2 * np.pi))
        # Between the three bands of muscle; the twist is that of the bands along the gut.
        angle = phase + 2 * np.pi / 3 * np.arange(3) + draw.normal(0, 0.18, shape)
        polyps = int(draw.integers(1, 5))
        numbers = {
            "fold_s": rings + draw.normal(0, 0.4, shape),
            "fold_angle": angle,
            "fold_depth": draw.uniform(0.2, 0.46, shape) * radius,
            "fold_span": draw.uniform(0.85, 1.25, shape),
            "fold_lean": draw.normal(0, 0.22, (len(rings), 1)) + draw.normal(0, 0.04, shape),
            "fold_half": draw.uniform(1.0, 1.6, shape),
            "polyp_at": np.stack([draw.uniform(30.0, reach - 25.0, polyps), draw.uniform(0, 2 * np.pi, polyps)], 1),
            "polyp_radius": np.exp(draw.uniform(np.log(1.6), np.log(6.0), polyps)),
            "polyp_stalk": draw.uniform(-0.2, 0.7, polyps),
        }
        return cls(
            reach=reach,
            centre=centre,
            frame=frame,
            radius=radius,
            sacculation=float(draw.uniform(0.8, 2.2)),
            pinch=float(draw.uniform(0.05, 0.1)),
            pinch_phase=phase,
            relief=Ripples.drawn(draw, (3.0, 6.0, 12.0), (0.04, 0.12, 0.4)),
            swelling_mm=swelling_mm,
            swell=Ripples.drawn(draw, (25.0,), (1.0,)),
            **{name: torch.from_numpy(value) for name, value in numbers.items()},
        )

    @property
    def bounds(self) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
        """Corners of a box in LPS mm that holds all of the air, with 2 mm and more to spare."""
        within = self._at(torch.arange(0.0, self.reach, 1.0, dtype=torch.float64))[0]
        room = 1.12 * self.radius + self.sacculation + 5.0
        low, high = (within.amin(0) - room).tolist(), (within.amax(0) + room).tolist()
        return (low[0], low[1], low[2]), (high[0], high[1], high[2])

    @property
    def middle(self) -> Float[Tensor, "points 3"]:
        """The centreline, a point every half mm, as far as a camera may go."""
        return self._at(torch.arange(6.0, self.reach - self.radius, 0.5, dtype=torch.float64))[0]

    def __call__(self, points: Positions) -> Values:
        """The field at points in LPS mm; positive in tissue."""
        return self._parts(points)[0]

    def regions(self, points: Float[Tensor, "points 3"]) -> Tensor:
        """Which of `region_names` each surface point belongs to, shape (points,)."""
        with torch.no_grad():
            _, tissue = self._parts(points)
            label, s = torch.stack(tissue[:3]).argmax(0), self._foot(points)
            return torch.where((s < 1.0) | (s > self.reach - 0.6 * self.radius), 3, label)

    def crest(self, ring: int, fold: int) -> tuple[Tensor, Tensor]:
        """A point of the centreline before a fold, and the direction to the fold's crest, each of shape (3,)."""
        centre, frame = self._at(self.fold_s[ring, fold][None])
        angle = self.fold_angle[ring, fold]
        return centre[0], torch.cos(angle) * frame[0, 1] + torch.sin(angle) * frame[0, 2]

    def summit(self, polyp: int) -> tuple[Tensor, Tensor]:
        """A point of the centreline before a polyp, and the direction to it."""
        centre, frame = self._at(self.polyp_at[polyp, :1])
        angle = self.polyp_at[polyp, 1]
        return centre[0], torch.cos(angle) * frame[0, 1] + torch.sin(angle) * frame[0, 2]

    def bends(self, count: int = 2) -> list[tuple[Tensor, Tensor]]:
        """The sharpest bends of the centreline: its point, and the direction to the bend's inner side."""
        s = torch.arange(10.0, self.reach - 10.0, 1.0, dtype=torch.float64)
        tangent = self._at(s)[1][:, 0]
        turn = tangent[6:] - tangent[:-6]
        sharpness, found = turn.norm(dim=-1), []
        for _ in range(count):
            i = int(sharpness.argmax())
            found.append((self._at(s[i + 3 : i + 4])[0][0], turn[i]))
            sharpness[max(i - 30, 0) : i + 30] = 0
        return found

    @cached_property
    def _polyps(self) -> Float[Tensor, "polyps 3"]:
        centre, frame = self._at(self.polyp_at[:, 0])
        angle = self.polyp_at[:, 1:]
        outward = torch.cos(angle) * frame[:, 1] + torch.sin(angle) * frame[:, 2]
        off = self._wall(self.polyp_at[:, 0], angle[:, 0]) - self.polyp_stalk * self.polyp_radius
        return centre + off[:, None] * outward

    @cached_property
    def _table(self) -> Float[Tensor, "samples 15"]:
        """Centre, frame (tangent first) and curvature of each sample, as rows to pick from."""
        curvature = torch.gradient(self.frame[:, 0], spacing=STEP_MM, dim=0)[0]
        return torch.cat([self.centre, self.frame.flatten(1), curvature], 1)

    def _at(self, s: Float[Tensor, "*points"]) -> tuple[Float[Tensor, "*points 3"], Float[Tensor, "*points 3 3"]]:
        """Centre and frame at s, by a cubic through the samples."""
        position = (s + SPARE_MM) / STEP_MM
        i = position.detach().floor().clamp(1, len(self.centre) - 3).long()
        t = (position - i)[..., None]
        weights = (
            0.5 * t * (t * (2 - t) - 1),
            0.5 * (t * t * (3 * t - 5) + 2),
            0.5 * t * (t * (4 - 3 * t) + 1),
            0.5 * t * t * (t - 1),
        )
        table = self._table[:, :12].to(s)
        rows = torch.stack([w * table[i + k] for k, w in enumerate(weights, -1)]).sum(0)
        return rows[..., :3], rows[..., 3:].unflatten(-1, (3, 3))

    def _foot(self, points: Positions) -> Values:
        """Where along the centreline the nearest point is; the gradient is exact, though it is found without one."""
        flat, table = points.detach().reshape(-1, 3), self._table.to(points)
        every = 4
        samples = table[::every, :3]
        sample = every * (flat @ samples.T - 0.5 * samples.square().sum(-1)).argmax(-1)
        s = sample * STEP_MM - SPARE_MM
        slope = torch.ones_like(flat[:, 0])
        for _ in range(2):  # Newton's method from sample to sample
            centre, tangent, curvature = table[sample][:, [0, 1, 2, 3, 4, 5, 12, 13, 14]].split(3, -1)
            off = flat - centre
            slope = (1 - (off * curvature).sum(-1)).clamp_min(0.25)
            s = sample * STEP_MM - SPARE_MM + ((off * tangent).sum(-1) / slope).clamp(-2, 2)
            sample = ((s + SPARE_MM) / STEP_MM).round().clamp(4, len(table) - 5).long()
        s = s.clamp(2 - SPARE_MM, self.reach + SPARE_MM - 2).to(points).reshape(points.shape[:-1])
        slope = slope.to(points).reshape(points.shape[:-1])
        centre, frame = self._at(s)
        return s + (((points - centre) * frame[..., 0, :]).sum(-1) / slope).clamp(-2, 2)

    def _wall(self, s: Values, angle: Values) -> Values:
        """Radius of the wall without folds: a rounded triangle that bulges between the rings."""
        rings = self.fold_s.mean(-1).to(s)
        k = torch.searchsorted(rings, s.detach().contiguous()).clamp(1, len(rings) - 1)
        share = ((s - rings[k - 1]) / (rings[k] - rings[k - 1])).clamp(0, 1)
        bulge = self.sacculation * (0.5 - 0.5 * torch.cos(2 * torch.pi * share))
        return self.radius * (1 + self.pinch * torch.cos(3 * (angle - self.pinch_phase))) + bulge

    def _parts(self, points: Positions) -> tuple[Values, list[Values]]:
        """The field, and the tissue parts that it is made of."""
        s = self._foot(points)
        centre, frame = self._at(s)
        off = points - centre
        x, y = (off * frame[..., 1, :]).sum(-1), (off * frame[..., 2, :]).sum(-1)
        r, angle = length(x, y), torch.atan2(y, x)
        radius = self._wall(s, angle)
        wall = r - radius

        folds = torch.full_like(wall, -1e3)
        rings = self.fold_s.mean(-1).to(s)
        k = torch.searchsorted(rings, s.detach().contiguous())
        rows = torch.stack([getattr(self, f"fold_{name}") for name in ("s", "angle", "depth", "span", "lean", "half")])
        rows = rows.to(s)
        for ring in (k - 1, k):  # the only two that reach this far
            there = (ring >= 0) & (ring < len(rings))
            for fold in range(3):
                at, crest, depth, span, lean, half = rows[:, ring.clamp(0, len(rings) - 1), fold].unbind(0)
                turn = torch.remainder(angle - crest + torch.pi, 2 * torch.pi) - torch.pi
                # The edge is a chord across the tube, so that three folds leave a triangle open.
                edge = (radius - depth) / torch.cos((turn / span).clamp(-1.4, 1.4))
                along = s - at - lean * (radius - r)
                one = half - length(along, (edge - r).clamp_min(0))
                folds = torch.where(there, smooth_max(folds, one, 1.6), folds)

        polyps = torch.full_like(wall, -1e3)
        for middle, size in zip(self._polyps.to(s), self.polyp_radius.tolist(), strict=True):
            polyps = torch.maximum(polyps, size - length(*(points - middle).unbind(-1)))

        ends = smooth_max(-s, self._far_end(s, r), 2.0)
        field = smooth_max(smooth_max(wall, folds, 3.0), ends, 6.0)
        field = smooth_max(field, polyps, 1.5) + self.relief(points)
        if self.swelling_mm:
            field = field + self.swelling_mm * (0.65 + 0.35 * torch.tanh(self.swell(points)))
        return field, [wall, folds + 0.3, polyps + 0.3]

    def _far_end(self, s: Values, r: Values) -> Values:
        """A blind, rounded end."""
        return length((s - self.reach + self.radius).clamp_min(0), r) - 1.08 * self.radius - self.sacculation


def _centreline(draw: np.random.Generator, reach: float, radius: float) -> tuple[Tensor, Tensor]:
    """Samples of a line that bends by up to 120 degrees in two or three bends, and of the frame along it."""
    s = np.arange(-SPARE_MM, reach + SPARE_MM + STEP_MM, STEP_MM)
    bend = np.zeros((len(s), 2))
    places = np.linspace(0.25, 0.85, int(draw.integers(2, 4))) * reach + draw.uniform(-8, 8)
    for place in places:
        direction, width = draw.uniform(0, 2 * np.pi), draw.uniform(15.0, 22.0)
        total = draw.uniform(np.radians(35), np.radians(110))
        total = min(total, width * np.sqrt(np.pi) / (1.75 * radius))  # the bend's radius stays above the tube's
        profile = total / (width * np.sqrt(np.pi)) * np.exp(-(((s - place) / width) ** 2))
        bend += profile[:, None] * [np.cos(direction), np.sin(direction)]

    # A frame that turns with the line and never spins about it: rows are the tangent and two directions across.
    frame = np.empty((len(s), 3, 3))
    frame[0] = Rotation.random(rng=draw).as_matrix()
    for i in range(1, len(s)):
        _, across, along = frame[i - 1]
        axis = bend[i] @ np.stack([along, -across]) * STEP_MM
        frame[i] = Rotation.from_rotvec(axis).apply(frame[i - 1])
    centre = np.cumsum(frame[:, 0] * STEP_MM, axis=0)
    start = int(SPARE_MM / STEP_MM)
    return torch.from_numpy(centre - centre[start]), torch.from_numpy(frame)
