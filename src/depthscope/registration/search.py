"""A start from nothing: where in the air of the target, looking which way, does one see what the source shows?

The target is looked at once from every place in its air, in all directions. A view of the source, with its distances
and normals along some rays, is compared with all of that, turned in every way. The median ratio of distances is the
scale, so that every comparison gives a full similarity.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from depthscope.errors import BadInputError, NoAnswerError
from depthscope.geometry import RigidMotion, Similarity
from depthscope.geometry.rotation import rotation_from_vector
from depthscope.registration.target import Target
from depthscope.registration.view import Samples, cells, fibonacci, one_per_cell

FIRST_RAYS, FIRST_TURNS = 12, 150
"""Rays by which all turns at a place are compared, and how many are then compared by all rays."""


@dataclass(frozen=True)
class Search:
    """How densely places and directions are tried.

    Attributes:
        step_mm: Distance between places.
        most_places: Places are spread wider rather than exceed this.
        directions: In which the target is looked at from each place.
        turn_deg: Between tried rotations.
        rays: Of the source's view that are compared.
        views: Views of the source that are looked for.
        kept: Starts that are refined.
        scale: Least and greatest scale, mm per unit of the source, or None for any.
    """

    step_mm: float = 2.5
    most_places: int = 1500
    directions: int = 700
    turn_deg: float = 20.0
    rays: int = 48
    views: int = 3
    kept: int = 100
    scale: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if not (0.2 <= self.step_mm <= 20 and 8 <= self.turn_deg <= 60):
            raise BadInputError(f"{self}", "steps of 0.2 to 20 mm and 8 to 60 degrees")
        if min(self.most_places, self.views, self.kept) < 1 or self.directions < 50 or self.rays < 12:
            raise BadInputError(f"{self}", "at least 1 place, view and start, 50 directions and 12 rays")
        if self.scale is not None and not 0 < self.scale[0] < self.scale[1]:
            raise BadInputError(f"scales {self.scale}", "two positive numbers, the least first")


@dataclass(frozen=True, eq=False)
class Panoramas:
    """The target seen from places in its air.

    Attributes:
        place: Shape (places, 3), mm.
        direction: Unit, shape (directions, 3).
        log_distance: Of the first surface, shape (places, directions); large where there is none.
        normal: Of that surface, shape (places, directions, 3).
    """

    place: Float[Tensor, "places 3"]
    direction: Float[Tensor, "directions 3"]
    log_distance: Float[Tensor, "places directions"]
    normal: Float[Tensor, "places directions 3"]


def air_places(target: Target, options: Search) -> Float[Tensor, "places 3"]:
    """Places in the air, from the surface along its normals to the middle of what lies across, and on the way there.

    Raises:
        BadInputError: There is no air in front of the surface: its normals point the wrong way.
    """
    points, normals = target.coarse_samples
    size = float((points.amax(0) - points.amin(0)).norm())
    hits = target.caster.cast(points + 1e-3 * normals, normals)
    across = torch.where(hits.found, hits.distance, 0.5 * size).clamp_max(0.5 * size)
    far = across.clamp_max(12 * options.step_mm)
    shares = [0.5 * across] + [far * share for share in (0.25, 0.75)]
    places = torch.cat([points + reach[:, None] * normals for reach in shares])
    room = torch.cat([torch.minimum(reach, across - reach) for reach in shares])
    places = places[room > 0.8]
    if not len(places):
        raise BadInputError(
            "a target with no room in front of its surface",
            "normals into the air around a cavity",
            "turn the faces round",
        )
    step = options.step_mm
    while True:
        rows = one_per_cell(places, cells(places - places.amin(0), step))
        if len(rows) <= options.most_places:
            return places[rows]
        step *= 1.15


def panoramas(target: Target, options: Search) -> Panoramas:
    """The target from all places in its air."""
    places, directions = air_places(target, options), fibonacci(options.directions)
    starts = places[:, None].expand(-1, len(directions), 3).reshape(-1, 3)
    hits = target.caster.cast(starts, directions.repeat(len(places), 1))
    shape = (len(places), len(directions))
    distance = torch.where(hits.found, hits.distance.clamp_min(1e-2), 1e3)
    normal = torch.where(hits.found[:, None], target.face_normals[hits.face.clamp_min(0)], 0.0)
    return Panoramas(places, directions, distance.log().float().reshape(shape), normal.float().reshape(*shape, 3))


def rotations(turn_deg: float) -> Float[Tensor, "rotations 3 3"]:
    """Rotations about this far apart: directions over the sphere, times turns about them."""
    turn = math.radians(turn_deg)
    axes = fibonacci(max(6, round(4 * math.pi / turn**2)))
    turns = torch.arange(max(4, round(2 * math.pi / turn)), dtype=torch.float64)
    z = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64)
    # The shortest turn from z to each axis, after turns about z that are shifted from axis to axis.
    cross = torch.linalg.cross(z.expand_as(axes), axes)
    angle = torch.atan2(cross.norm(dim=-1), axes[:, 2])
    tilt = rotation_from_vector(torch.nn.functional.normalize(cross, dim=-1) * angle[:, None])
    golden = torch.arange(len(axes), dtype=torch.float64) * 0.618
    roll = 2 * math.pi * (turns[None] + golden[:, None]) / len(turns)
    about = rotation_from_vector(roll[..., None] * z)
    return (tilt[:, None] @ about).reshape(-1, 3, 3)


def found_starts(samples: Samples, target: Target, options: Search, seen: Panoramas) -> Similarity:
    """The best distinct similarities, batch shape (starts,), from all views that are looked for.

    Raises:
        NoAnswerError: There is none within the limits of the scale.
    """
    numbers = torch.unique(samples.view)
    picked = numbers[torch.linspace(0, len(numbers) - 1, min(options.views, len(numbers))).round().long()]
    found = [_compared(samples, int(number), options, seen) for number in torch.unique(picked)]
    scores = torch.cat([score for score, _ in found])
    if not len(scores):
        low, high = options.scale or (0.0, math.inf)
        raise NoAnswerError(
            f"nowhere in the target does the surface fit at {low:.3g} to {high:.3g} mm to its unit",
            "a target that shows what the surface shows, and a scale that is known",
            "check that the CT is this patient's, its unit, and --scale",
        )
    order = scores.argsort()
    starts = Similarity(
        torch.cat([start.scale for _, start in found])[order],
        RigidMotion(
            torch.cat([start.motion.rotation for _, start in found])[order],
            torch.cat([start.motion.translation for _, start in found])[order],
        ),
    )
    return distinct(samples, starts, options.kept)


def _compared(samples: Samples, view: int, options: Search, seen: Panoramas) -> tuple[Tensor, Similarity]:
    """Scores (less is better) and similarities of the best comparisons of one view."""
    own = (samples.view == view).nonzero()[:, 0]
    rows = own[spread_over(samples.ray[own], options.rays)]
    ray, normal, log_range = samples.ray[rows], samples.normal[rows], samples.distance[rows].log().float()
    turned = rotations(options.turn_deg)
    towards = torch.einsum("rij,kj->rki", turned, ray)
    index = (towards.float() @ seen.direction.float().T).argmax(-1)
    normals = torch.einsum("rij,kj->rki", turned, normal).float()

    best_score, best_place, best_turn, best_log = [], [], [], []
    for place in range(len(seen.place)):
        # A few rays leave some turns out, all rays most others; what is left is also compared by its normals.
        some = _unlike(seen.log_distance[place][index[:, :FIRST_RAYS]] - log_range[:FIRST_RAYS])[0]
        some = some.topk(min(FIRST_TURNS, len(some)), largest=False).indices
        apart, log_scale = _unlike(seen.log_distance[place][index[some]] - log_range)
        few = apart.topk(min(64, len(apart)), largest=False).indices
        apart, log_scale, few = apart[few], log_scale[few], some[few]
        agreement = (seen.normal[place][index[few]] * normals[few]).sum(-1)
        score = apart + 0.25 * (1 - agreement).clamp_max(1.0).mean(-1)
        if options.scale is not None:
            scale = log_scale
            low, high = (math.log(limit) for limit in options.scale)
            score = torch.where((scale < low) | (scale > high), torch.inf, score)
        best = score.topk(min(16, len(score)), largest=False)
        best_score.append(best.values)
        best_turn.append(few[best.indices])
        best_log.append(log_scale[best.indices])
        best_place.append(torch.full_like(best.indices, place))
    score, turn, log_scale = torch.cat(best_score), torch.cat(best_turn), torch.cat(best_log).double()
    order = score.argsort()[: 40 * options.kept]
    order = order[score[order].isfinite()]
    turn, scale, rotation = turn[order], log_scale[order].exp(), turned[turn[order]]
    place = seen.place[torch.cat(best_place)[order]]
    centre = samples.centres[view]
    translation = place - scale[:, None] * torch.einsum("bij,j->bi", rotation, centre)
    return score[order].double(), Similarity(scale, RigidMotion(rotation, translation))


def _unlike(ratio: Float[Tensor, "turns rays"]) -> tuple[Float[Tensor, " turns"], Float[Tensor, " turns"]]:
    """How far logarithms of ratios of distances are from one scale, bounded, and that scale's logarithm."""
    log_scale = ratio.median(-1).values
    return (ratio - log_scale[:, None]).abs().clamp_max(0.5).mean(-1), log_scale


def spread_over(directions: Float[Tensor, "rows 3"], count: int) -> Tensor:
    """Rows of directions that lie far apart: always the one farthest from those taken."""
    taken = [int((directions @ directions.mean(0)).argmax())]
    nearest = directions @ directions[taken[0]]
    while len(taken) < min(count, len(directions)):
        taken.append(int(nearest.argmin()))
        nearest = torch.maximum(nearest, directions @ directions[taken[-1]])
    return torch.tensor(taken)


def distinct(samples: Samples, starts: Similarity, count: int, apart_mm: float = 4.0) -> Similarity:
    """The first starts of a list, leaving out those that place the samples close to where an earlier one does."""
    rows = spread_over(torch.nn.functional.normalize(samples.position - samples.centroid, dim=-1), 12)
    positions = samples.position[rows]
    moved = torch.einsum("bij,nj->bni", starts.motion.rotation, positions) * starts.scale[:, None, None]
    moved = moved + starts.motion.translation[:, None]
    left, kept = torch.ones(len(moved), dtype=torch.bool), []
    for row in range(len(moved)):
        if left[row]:
            kept.append(row)
            left &= (moved - moved[row]).square().sum(-1).mean(-1).sqrt() > apart_mm
        if len(kept) == count:
            break
    kept = torch.tensor(kept)
    return Similarity(starts.scale[kept], starts.motion[kept])
