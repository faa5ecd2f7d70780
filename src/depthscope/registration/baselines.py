"""What registration is usually done with, for comparison: iterated closest points with a free scale."""

import torch
from jaxtyping import Float
from scipy.spatial import KDTree
from torch import Tensor

from depthscope.errors import BadInputError
from depthscope.geometry import Similarity, Surface


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
