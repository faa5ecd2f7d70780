"""Which further frames see a point that was not triangulated from them, with a test for occlusion."""

from dataclasses import replace

import scipy  # its packages load where they are used
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from depthscope.sequence import Observations, Sequence

NEIGHBOUR_PX = 8.0
BEHIND = 0.10


def widened(sequence: Sequence, frames: int) -> Sequence:
    """Each point also seen by up to `frames` frames before and after those of its track, where nothing hides it.

    A widened point is dropped where it falls outside the image or mask, or lies more than 10 % behind the nearest
    point within 8 px of a 320 px wide image. The code of 2020 widens by 30 frames without any such test, after which
    nearly every point is in every frame.
    """
    if frames == 0:
        return sequence
    near = torch.nn.functional.max_pool1d(sequence.seen.T.float()[:, None], 2 * frames + 1, stride=1, padding=frames)[
        :, 0
    ].T.bool()
    added_frames, added_points = [sequence.observations.frame], [sequence.observations.point]
    radius = NEIGHBOUR_PX * sequence.size_px[0] / 320
    for frame in range(len(sequence)):
        numbers = near[frame].nonzero().flatten()
        points = sequence.camera_from_world[frame].apply(sequence.points[numbers])
        pixels = sequence.cameras[frame].project(points)
        shown = within(sequence, pixels) & (points[:, 2] > 0)
        numbers, pixels, depth = numbers[shown], pixels[shown], points[shown, 2]
        new = ~sequence.seen[frame, numbers] & ~hidden(pixels, depth, radius)
        added_points.append(numbers[new])
        added_frames.append(torch.full_like(numbers[new], frame))
    return replace(sequence, observations=Observations(torch.cat(added_frames), torch.cat(added_points)))


def within(sequence: Sequence, pixels: Float[Tensor, "points 2"]) -> Bool[Tensor, " points"]:
    """Whether each pixel lies in the image and where it shows tissue."""
    width, height = sequence.size_px
    safe = pixels.nan_to_num(-1.0)
    inside = (safe[:, 0] >= 0) & (safe[:, 0] < width) & (safe[:, 1] >= 0) & (safe[:, 1] < height)
    if sequence.mask is None:
        return inside
    column = safe[:, 0].floor().long().clamp(0, width - 1)
    row = safe[:, 1].floor().long().clamp(0, height - 1)
    return inside & sequence.mask[row, column]


def hidden(
    pixels: Float[Tensor, "points 2"], depth: Float[Tensor, " points"], radius_px: float
) -> Bool[Tensor, " points"]:
    """Whether a point lies more than 10 % behind the nearest of its neighbours in the image."""
    if not len(pixels):
        return torch.zeros(0, dtype=torch.bool)
    tree = scipy.spatial.KDTree(pixels.numpy())
    neighbours = tree.query_ball_point(pixels.numpy(), radius_px)
    front = torch.tensor([float(depth[ids].min()) for ids in neighbours], dtype=depth.dtype)
    return depth > (1 + BEHIND) * front
