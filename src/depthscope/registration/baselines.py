"""What registration is usually done with, for comparison: closest points and coherent point drift, the scale free."""

import math

import torch
from jaxtyping import Float
from scipy.spatial import KDTree
from torch import Tensor

from depthscope.errors import BadInputError
from depthscope.geometry import RigidMotion, Similarity, Surface


def iterated_closest_points(
    points: Float[Tensor, "points 3"],
    target: Surface,
    start: Similarity,
    *,
    kept: float = 0.8,
    iterations: int = 60,
) -> Similarity:
    """Trimmed ICP with scaling: nearest vertices, then Umeyama's similarity of the nearest share of them.

    No normals, no noise, no search: it goes to the optimum next to its start, and may shrink the source there.

    Args:
        points: Of the source.
        target: Its vertices are matched.
        start: ``target_from_source`` to begin with.
        kept: Share of the matches that are used.
        iterations: At most.
    """
    if not 0 < kept <= 1:
        raise BadInputError(f"a share of {kept} kept", "more than 0, at most 1")
    vertices = target.points.double()
    tree, at = KDTree(vertices.numpy()), start
    for _ in range(iterations):
        moved = at.apply(points.double())
        distance, nearest = tree.query(moved.numpy())
        rows = torch.from_numpy(distance).argsort()[: max(3, int(kept * len(points)))]
        following = Similarity.estimate(points.double()[rows], vertices[torch.from_numpy(nearest)[rows]])
        step = (following.apply(points.double()) - moved).norm(dim=-1).mean()
        at = following
        if float(step) < 1e-4:
            break
    return at


def coherent_point_drift(
    points: Float[Tensor, "points 3"],
    target: Surface,
    start: Similarity,
    *,
    outliers: float = 0.3,
    most: int = 1500,
    margin_mm: float = 10.0,
    iterations: int = 100,
) -> Similarity:
    """Rigid coherent point drift with scaling (Myronenko and Song 2010): a mixture of Gaussians around the source.

    It explains target points by source points, so the target is cut to the surroundings of the start first; still it
    supposes that both show the same, and has no normals, no noise model and no search.

    Args:
        points: Of the source.
        target: Its vertices are explained.
        start: ``target_from_source`` to begin with.
        outliers: Weight of the uniform part of the mixture.
        most: Points of each side.
        margin_mm: How far around the placed source target points are taken.
        iterations: At most.
    """
    if not 0 <= outliers < 1:
        raise BadInputError(f"a share of {outliers} outliers", "0 to below 1")
    source = points.double()[:: max(1, -(-len(points) // most))]
    at = start
    placed, vertices = at.apply(source), target.points.double()
    near = ((vertices > placed.amin(0) - margin_mm) & (vertices < placed.amax(0) + margin_mm)).all(-1)
    goal = vertices[near]
    goal = goal[:: max(1, -(-len(goal) // most))]
    if len(goal) < 3:
        raise BadInputError("no target around the start", f"vertices within {margin_mm} mm", "give a better start")
    variance = torch.cdist(goal, placed).square().mean() / 3
    for _ in range(iterations):
        square = torch.cdist(goal, placed).square()  # (target, source)
        weight = torch.exp(-square / (2 * variance))
        uniform = (2 * math.pi * variance) ** 1.5 * outliers / (1 - outliers) * len(source) / len(goal)
        share = weight / (weight.sum(1, keepdim=True) + uniform)
        total = share.sum()
        middle, origin = (share.sum(1) @ goal) / total, (share.sum(0) @ source) / total
        goal_off, source_off = goal - middle, source - origin
        u, singular, v = torch.linalg.svd(goal_off.T @ share @ source_off)
        signs = torch.diag(torch.tensor([1.0, 1.0, float(torch.linalg.det(u @ v).sign())], dtype=torch.float64))
        rotation = u @ signs @ v
        spread = (share.sum(0) * source_off.square().sum(1)).sum()
        scale = (singular * signs.diagonal()).sum() / spread
        at = Similarity(scale, RigidMotion(rotation, middle - scale * rotation @ origin))
        placed, before = at.apply(source), placed
        variance = (share * torch.cdist(goal, placed).square()).sum() / (3 * total)
        if float((placed - before).norm(dim=-1).mean()) < 1e-4 or float(variance) < 1e-8:
            break
    return at
