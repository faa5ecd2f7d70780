"""A reconstruction against the truth of its clip: the same frames, the camera path, and the similarity between both."""

from pathlib import Path

import torch

from depthscope.errors import BadInputError
from depthscope.evaluation import PathError, path_error
from depthscope.geometry import Similarity
from depthscope.sequence import Sequence


def path_of(found: Sequence, truth: Sequence) -> PathError:
    """The error of the camera path, after the similarity between the paths.

    Raises:
        BadInputError: Too few frames were placed.
    """
    pairs = frames_of(found, truth)
    if len(pairs) < 3:
        raise BadInputError(f"{len(pairs)} frames were placed", "at least 3", "choose another --seed")
    rows, true_rows = torch.tensor(pairs).unbind(-1)
    return path_error(found.camera_from_world[rows], truth.camera_from_world[true_rows])


def frames_of(found: Sequence, truth: Sequence) -> list[tuple[int, int]]:
    """Positions of the same frames in both."""
    from depthscope.evaluation.frame_names import same_frames

    same = same_frames(truth.frame_names, found.frame_names)
    return [(found.frame_names.index(other), truth.frame_names.index(name)) for name, other in same.items()]


def true_from_sfm_by_points(found: Sequence, truth: Sequence, depth: Path) -> Similarity:
    """The similarity that brings the points of SfM nearest to the true surface that their frames saw there.

    It is better determined than the one between the camera paths, which are short. An error counts by its share of the
    depth: far points, of little parallax, come out too near, and would drag the scale with them. Outliers are left out.
    """
    from depthscope.formats import depth_maps
    from depthscope.prediction import sampled_at

    maps, sources, targets, depths = depth_maps.listed(depth), [], [], []
    for row, true_row in frames_of(found, truth):
        seen = found.observations.frame == row
        pixels, camera = found.projections[seen], truth.cameras[true_row]
        true_depth = sampled_at(depth_maps.read(maps[truth.frame_names[true_row]])[None], pixels[None].float())[0]
        known = true_depth > 0
        rays = camera.unproject(pixels[known])
        world_from_camera = truth.camera_from_world[true_row].inverse()
        targets.append(world_from_camera.apply(rays * true_depth[known, None].double()))
        sources.append(found.points[found.observations.point[seen][known]])
        depths.append(true_depth[known].double())
    source, target, far = torch.cat(sources), torch.cat(targets), torch.cat(depths)
    align = Similarity.estimate(source, target, far**-2)
    for _ in range(8):
        away = (align.apply(source) - target).norm(dim=-1) / far
        kept = away <= 3 * away.quantile(0.5)
        align = Similarity.estimate(source[kept], target[kept], far[kept] ** -2)
    return align
