"""What is registered: the surface as each camera saw it, thinned, with the noise that a depth map has."""

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from depthscope.errors import BadInputError
from depthscope.geometry import Similarity, Surface


@dataclass(frozen=True, eq=False)
class SurfaceView:
    """What one camera saw of the source surface.

    Attributes:
        surface: Points with normals into the air, in the source's unit.
        centre: The camera's centre, shape (3,), in the same frame.
        relative_std: Standard deviation of the distance along a ray, over that distance.
        std: The same for each point in the source's unit, shape (points,), where it is known.
    """

    surface: Surface
    centre: Float[Tensor, "3"]
    relative_std: float = 0.03
    std: Float[Tensor, " points"] | None = None

    def __post_init__(self) -> None:
        if self.surface.normals is None:
            raise BadInputError(
                "a surface without normals", "normals into the air", "use a mesh, or fuse the depth maps"
            )
        if not 0.001 <= self.relative_std <= 0.5:
            raise BadInputError(f"a relative depth error of {self.relative_std}", "0.001 to 0.5")
        if self.std is not None and len(self.std) != len(self.surface.points):
            raise BadInputError(f"{len(self.std)} deviations for {len(self.surface.points)} points", "one for each")


@dataclass(frozen=True)
class PointNoise:
    """What is assumed of the points' and normals' errors.

    Attributes:
        across: Standard deviation across a ray, over the distance (a pixel or so).
        slope: Standard deviation of a depth map's slopes, as a tangent.
        relief: Standard deviation of the factor by which a depth map exaggerates its relief.
        least_angle_deg: Normals are not believed better than this.
        surface_mm: Standard deviation of the CT surface.
        grazing_deg: Points seen at a larger angle of incidence are left out.
    """

    across: float = 0.004
    slope: float = 0.2
    relief: float = 0.15
    least_angle_deg: float = 7.0
    surface_mm: float = 0.25
    grazing_deg: float = 78.0

    def __post_init__(self) -> None:
        if min(self.across, self.slope, self.least_angle_deg, self.surface_mm) <= 0 or self.relief < 0:
            raise BadInputError(f"{self}", "positive numbers")
        if not 30 <= self.grazing_deg < 90:
            raise BadInputError(f"a grazing angle of {self.grazing_deg} degrees", "30 to 90 degrees")


@dataclass(frozen=True, eq=False)
class Samples:
    """Points of all views with their noise, thinned to an even density in each view.

    Attributes:
        position: x, shape (samples, 3), in the source's unit.
        normal: n, unit, into the air, shape (samples, 3).
        ray: Unit direction from the camera to the point, shape (samples, 3).
        distance: From the camera, shape (samples,).
        along: Standard deviation along the ray, shape (samples,).
        across: Standard deviation across it, shape (samples,).
        kappa: Concentration of the normal's error (Kent), shape (samples,).
        beta: Its ovalness, shape (samples,).
        sure: Unit axis about which the normal is known best, across the normal (g2), shape (samples, 3).
        weight: Area that the sample stands for; they sum to 1.
        view: Which view it is from, shape (samples,).
        centres: The views' camera centres, shape (views, 3).
    """

    position: Float[Tensor, "samples 3"]
    normal: Float[Tensor, "samples 3"]
    ray: Float[Tensor, "samples 3"]
    distance: Float[Tensor, " samples"]
    along: Float[Tensor, " samples"]
    across: Float[Tensor, " samples"]
    kappa: Float[Tensor, " samples"]
    beta: Float[Tensor, " samples"]
    sure: Float[Tensor, "samples 3"]
    weight: Float[Tensor, " samples"]
    view: Int[Tensor, " samples"]
    centres: Float[Tensor, "views 3"]

    def __len__(self) -> int:
        return len(self.position)

    def __getitem__(self, rows: Tensor) -> "Samples":
        """Some of the samples, with weights that sum to 1 again."""
        picked = {
            name: getattr(self, name)[rows]
            for name in ("position", "normal", "ray", "distance", "along", "across", "kappa", "beta", "sure", "view")
        }
        weight = self.weight[rows]
        return Samples(**picked, weight=weight / weight.sum(), centres=self.centres)

    @property
    def centroid(self) -> Float[Tensor, "3"]:
        """Weighted mean of the positions."""
        return (self.weight[:, None] * self.position).sum(0)

    def moved(self, target_from_source: Similarity) -> "Samples":
        """The same samples in another frame and unit (used to centre them)."""
        factor = target_from_source.scale
        turned = target_from_source.motion.rotation
        return replace(
            self,
            position=target_from_source.apply(self.position),
            normal=self.normal @ turned.T,
            ray=self.ray @ turned.T,
            sure=self.sure @ turned.T,
            distance=self.distance * factor,
            along=self.along * factor,
            across=self.across * factor,
            centres=target_from_source.apply(self.centres),
        )


def sampled(views: tuple[SurfaceView, ...], noise: PointNoise, count: int) -> Samples:
    """About `count` samples, evenly spread over each view, with the noise of a depth map.

    The normal's covariance follows from isotropic slope noise g: g cos^2 along the tilt and g cos across it, and a
    relief error e adds e sin cos along it.

    Raises:
        BadInputError: Too few points face their cameras.
    """
    share = max(30, count // len(views))
    parts = [_view_samples(view, number, noise, share) for number, view in enumerate(views)]
    columns = [torch.cat(column) for column in zip(*parts, strict=True)]
    position, normal, ray, distance, along, cosine, weight, number = columns
    if len(position) < 30:
        raise BadInputError(
            f"{len(position)} points that face a camera",
            "at least 30, with normals into the air",
            "turn the normals round, or check the surface",
        )
    sine = (1 - cosine**2).clamp_min(0).sqrt()
    least = math.radians(noise.least_angle_deg) ** 2
    along_tilt = (noise.slope * cosine**2) ** 2 + (noise.relief * sine * cosine) ** 2 + least
    across_tilt = (noise.slope * cosine) ** 2 + least
    worse, better = torch.maximum(along_tilt, across_tilt), torch.minimum(along_tilt, across_tilt)
    tilt = functional.normalize(ray - (ray * normal).sum(-1, keepdim=True) * normal, dim=-1)
    beside = torch.linalg.cross(normal, tilt)
    sure = torch.where((along_tilt < across_tilt)[:, None], tilt, beside)
    centres = torch.stack([view.centre.double() for view in views])
    return Samples(
        position=position,
        normal=normal,
        ray=ray,
        distance=distance,
        along=along,
        across=noise.across * distance,
        kappa=(1 / worse + 1 / better) / 2,
        beta=(1 / better - 1 / worse) / 4,
        sure=sure,
        weight=weight / weight.sum(),
        view=number.long(),
        centres=centres,
    )


def _view_samples(view: SurfaceView, number: int, noise: PointNoise, count: int) -> tuple[Tensor, ...]:
    """Position, normal, ray, distance, deviation along the ray, cosine of incidence, weight and number of the view."""
    assert view.surface.normals is not None
    points, normals = view.surface.points.double(), functional.normalize(view.surface.normals.double(), dim=-1)
    way = points - view.centre.double()
    distance = way.norm(dim=-1)
    ray = way / distance.clamp_min(1e-12)[:, None]
    cosine = -(ray * normals).sum(-1)
    rows = (cosine > math.cos(math.radians(noise.grazing_deg))).nonzero()[:, 0]
    chosen, cell = thinned(points[rows], count)
    rows = rows[chosen]
    along = view.relative_std * distance[rows] if view.std is None else view.std.double()[rows]
    return (
        points[rows],
        normals[rows],
        ray[rows],
        distance[rows],
        along.clamp_min(1e-4 * float(distance.mean()) if len(distance) else 1e-9),
        cosine[rows],
        torch.full((len(rows),), cell**2, dtype=torch.float64),
        torch.full((len(rows),), float(number), dtype=torch.float64),
    )


def thinned(points: Float[Tensor, "points 3"], count: int) -> tuple[Int[Tensor, " kept"], float]:
    """About `count` points evenly spread over a surface, one in each cell of a grid, and the cell's side.

    The choice does not depend on the points' order.
    """
    if len(points) <= count:
        extent = float((points.amax(0) - points.amin(0)).norm()) if len(points) else 0.0
        return torch.arange(len(points)), extent / max(1.0, math.sqrt(len(points)))
    low = points.amin(0)
    extent = float((points - low).amax())
    coarse, fine = 0.0, extent  # by bisection: cells of no size keep all points, one cell keeps one
    for _ in range(18):
        cell = (coarse + fine) / 2
        kept = len(torch.unique(cells(points - low, cell)))
        coarse, fine = (cell, fine) if kept > count else (coarse, cell)
    return one_per_cell(points, cells(points - low, fine)), fine


def cells(points: Float[Tensor, "points 3"], side: float) -> Int[Tensor, " points"]:
    """A number for the cube of a grid that each point (with coordinates of 0 or more) lies in."""
    x, y, z = (points / side).long().clamp(0, (1 << 20) - 1).unbind(-1)
    return (x << 40) | (y << 20) | z


def one_per_cell(points: Float[Tensor, "points 3"], cell: Int[Tensor, " points"]) -> Int[Tensor, " kept"]:
    """The point of each cell that is nearest to the mean of the cell's points; of several, the one of least x."""
    _, group = torch.unique(cell, return_inverse=True)
    groups = int(group.max()) + 1
    count = torch.zeros(groups, dtype=points.dtype).index_add(0, group, torch.ones_like(points[:, 0]))
    mean = torch.zeros(groups, 3, dtype=points.dtype).index_add(0, group, points) / count[:, None]
    away = (points - mean[group]).norm(dim=-1)
    nearest = torch.full((groups,), torch.inf, dtype=points.dtype).scatter_reduce(0, group, away, "amin")
    tied = away <= nearest[group] * (1 + 1e-9) + 1e-12  # two points are as far from their mean
    least = torch.full_like(nearest, torch.inf).scatter_reduce(
        0, group, torch.where(tied, points[:, 0], torch.inf), "amin"
    )
    rows = (tied & (points[:, 0] <= least[group])).nonzero()[:, 0]
    chosen = torch.full((groups,), len(points)).scatter_reduce(0, group[rows], rows, "amin")
    return chosen


def viewpoint(surface: Surface) -> Float[Tensor, "3"]:
    """A place from which a surface of unknown cameras is seen: most of it from the front, none of it from afar.

    Found by following the mean facing of the surface from several starts along the normals.

    Raises:
        BadInputError: The surface has no normals.
    """
    if surface.normals is None:
        raise BadInputError("a surface without normals", "normals into the air", "use a mesh, or fuse the depth maps")
    rows, _ = thinned(surface.points.double(), 1500)
    points, normals = surface.points.double()[rows], functional.normalize(surface.normals.double()[rows], dim=-1)
    middle = points.mean(0)
    size = (points - middle).norm(dim=-1).square().mean().sqrt()
    mean = functional.normalize(normals.mean(0), dim=0)
    directions = functional.normalize(torch.cat([mean[None], fibonacci(20)]), dim=-1)
    starts = torch.cat([middle + reach * size * directions for reach in (0.3, 0.8, 1.6)])

    def facing(places: Tensor) -> Tensor:
        way = places[:, None] - points
        distance = way.norm(dim=-1)
        # A wall is no place for a camera: closeness below a tenth of the size costs.
        return ((way * normals).sum(-1) / distance).clamp_max(0.7).mean(-1) - 0.2 * (
            distance.amin(-1) < 0.1 * size
        ).double()

    step = 0.4 * float(size)
    moves = torch.cat([fibonacci(14), torch.zeros(1, 3, dtype=torch.float64)])
    best = starts[facing(starts).topk(4).indices]
    for _ in range(14):
        around = best[:, None] + step * moves
        scores = facing(around.reshape(-1, 3)).reshape(len(best), -1)
        best = around[torch.arange(len(best)), scores.argmax(-1)]
        step *= 0.75
    return best[facing(best).argmax()]


def fibonacci(count: int) -> Float[Tensor, "{count} 3"]:
    """Directions spread evenly over the sphere, along a spiral by the golden angle."""
    i = torch.arange(count, dtype=torch.float64) + 0.5
    z = 1 - 2 * i / count
    angle = math.pi * (1 + math.sqrt(5)) * i
    ring = (1 - z**2).sqrt()
    return torch.stack([ring * angle.cos(), ring * angle.sin(), z], -1)
