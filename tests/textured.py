"""A wall with a smooth pattern, seen by any camera in closed form, and batches of snippets of it."""

import torch
from torch import Tensor

from depthscope.geometry import Pinhole, RigidMotion
from depthscope.geometry.depth import backprojected
from depthscope.networks import SnippetPrediction
from depthscope.networks.pose import Motions
from depthscope.supervision import SnippetBatch
from scenes import WALL, grid, motion, pinhole, plane_depth, stacked

WAVES = torch.tensor(
    [[9.0, 2.0, 0.0], [-3.0, 8.0, 1.0], [5.0, 6.0, 0.0], [-6.5, 5.0, 2.0]], dtype=torch.float64
)  # radians per unit of length on the wall, which is at about 1
AMPLITUDE = 0.1


def pattern(points: Tensor) -> Tensor:
    """Three channels in 0.1..0.9 at points (..., 3) of the world, shape (3, ...)."""
    phase = points @ WAVES.T
    return torch.stack([0.5 + AMPLITUDE * torch.sin(phase + shift).sum(-1) for shift in (0.0, 1.0, 2.0)])


def seen_wall(move: RigidMotion, width: int, height: int) -> tuple[Tensor, Tensor]:
    """The image (3, height, width) and depth (height, width) of the wall from a camera_from_world."""
    camera = pinhole(width, height)
    depth = plane_depth(WALL, 1.0, move, camera[0], grid(width, height))
    points = move.inverse().apply(backprojected(depth[None], camera)[0])
    return pattern(points), depth


def interpolation_error(depth: Tensor, camera: Pinhole) -> float:
    """Bound of the error of bilinear samples: an eighth of the second differences of the pattern, per axis."""
    per_pixel = WAVES.norm(dim=1) * float(depth.max()) * 1.5 / float(camera.focal_px.min())  # 1.5: the wall is tilted
    return float(2 * AMPLITUDE * (per_pixel**2).sum() / 8)


MOVES = (motion((0.02, -0.03, 0.01), (0.06, -0.03, 0.03)), motion((-0.02, 0.02, 0.01), (-0.05, 0.04, -0.02)))


def batch_of(images: Tensor, **changes) -> SnippetBatch:
    """Images (batch, frames, 3, height, width) with one camera and nothing else known."""
    batch, frames, _, height, width = images.shape
    one = pinhole(width, height)
    values = {
        "images": images,
        "mask": None,
        "camera": Pinhole(
            one.focal_px.expand(batch, frames, 2).to(images), one.centre_px.expand(batch, frames, 2).to(images)
        ),
        "temporal": None,
        "stereo": None,
        "points": None,
        "mirrored": torch.zeros(batch, dtype=torch.bool),
        "draws": torch.arange(batch),
    }
    return SnippetBatch(**(values | changes))


def wall_snippet(width: int, height: int, moves=MOVES, target=None) -> tuple[SnippetBatch, Tensor, RigidMotion]:
    """A batch of one snippet of the wall, its true depth (1, height, width) and motions, batch shape (1, sources)."""
    target = motion() if target is None else target
    image, depth = seen_wall(target, width, height)
    sources = [seen_wall(move @ target, width, height)[0] for move in moves]
    motions = stacked(*moves)
    return batch_of(torch.stack([image, *sources])[None]), depth[None], motions.unsqueeze(0)


def predicted(depth: Tensor, motions: RigidMotion, scales: int = 1, **changes) -> SnippetPrediction:
    """Depth and motions as a network would say them, at one size or several."""
    disparity = 1 / depth
    maps = [disparity]
    for _ in range(scales - 1):
        maps.append(torch.nn.functional.avg_pool2d(maps[-1][:, None], 2)[:, 0])
    return SnippetPrediction(tuple(maps), motions=Motions(motions.rotation, motions.translation), **changes)
