"""Sparse flow loss (lecture; TMI 2020): the image motion that the scaled depth implies, against that of the points."""

import torch
from jaxtyping import Float
from torch import Tensor

from depthscope.geometry import Lens, RigidMotion
from depthscope.geometry.depth import flow
from depthscope.geometry.scale import weighted_mean


def sparse_flow_loss(
    depth: Float[Tensor, "batch points"],
    sparse_depth: Float[Tensor, "batch points"],
    pixels: Float[Tensor, "batch points 2"],
    weight: Float[Tensor, "batch points"],
    target_from_source: RigidMotion,
    camera: Lens,
    size_px: tuple[int, int],
) -> tuple[Float[Tensor, " batch"], Float[Tensor, " batch"]]:
    """``sum c (|F_x - F^_x| / width + |F_y - F^_y| / height) / sum c`` at the points of the source frame.

    F is the flow of the SfM point, F^ that of the predicted depth at the same pixel, both without any rounding; targets
    outside the image count. A prediction that falls behind the target camera is left out.

    Args:
        depth: Scaled predicted depth at the points, sampled in inverse depth.
        sparse_depth: SfM depth there; any positive number where the weight is 0.
        pixels: Where the points are in the source frame.
        weight: Soft mask c at the points; 0 where there is none.
        target_from_source: Motion of the camera.
        camera: Its intrinsics.
        size_px: (width, height) of the image.

    Returns:
        The loss of each frame, and the share of its points that were left out.
    """
    both = torch.cat([sparse_depth, depth], 1)  # at once: the rays of the points are the same
    flows, fronts = flow(both, torch.cat([pixels, pixels], 1), target_from_source, camera)
    (true_flow, predicted_flow), (true_front, front) = flows.chunk(2, 1), fronts.chunk(2, 1)
    difference = (predicted_flow - true_flow).abs() / predicted_flow.new_tensor(size_px)
    used = torch.where(front & true_front, weight, 0.0)
    left_out = ((weight > 0) & ~front).sum(-1) / (weight > 0).sum(-1).clamp_min(1)
    return weighted_mean(difference.sum(-1), used), left_out.to(depth)
