"""The ray of each pixel as two channels of a network's input, so that it need not guess the field of view.

A ray at the angle a from the optical axis, seen at the angle b around it, has the channels (a cos b, a sin b), in
radians: finite for every lens, also beyond 90 degrees, and turned as the image is turned. Zeros say that the camera is
not known. (Channels for the camera: Facil et al. 2019, CAM-Convs; theirs are of a pinhole.)
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from depthscope.geometry import Kind, Lens
from depthscope.geometry.distortion import length
from depthscope.geometry.shapes import Points
from depthscope.networks.depth_head import DepthPrediction

WIDEST_Z_RAD = 1.45
"""Beyond this angle from the axis (83 degrees) z-depth is too small a share of the distance to be told apart."""


def ray_channels(rays: Points) -> Float[Tensor, "*points 2"]:
    """The channels of rays of any length, shape (*points, 3); 0 where a ray is NaN."""
    across = rays[..., :2].norm(dim=-1, keepdim=True)
    angle = torch.atan2(across, rays[..., 2:])
    return (rays[..., :2] / across.clamp_min(1e-12) * angle).nan_to_num()


def log_cosine(channels: Float[Tensor, "batch 2 height width"]) -> Float[Tensor, "batch height width"]:
    """Logarithm of z-depth over distance along the ray; 0 where no ray is known, bounded at the rim of a wide lens."""
    return torch.cos(channels.norm(dim=1).clamp_max(WIDEST_Z_RAD)).log()


def channels_of(camera: Lens, size_px: tuple[int, int]) -> Float[Tensor, "batch 2 height width"]:
    """The channels of every pixel of images of `size_px` (width, height); the camera has batch shape (batch,)."""
    return ray_channels(camera.rays(size_px[1], size_px[0])).movedim(-1, 1)


def takes_rays(network: nn.Module) -> bool:
    """Whether a network takes the channels beside the image."""
    return bool(getattr(network, "rays", False))


def with_rays(
    network: nn.Module, images: Float[Tensor, "batch 3 height width"], camera: Lens | None
) -> Float[Tensor, "batch channels height width"]:
    """The input of a network: the images, and the channels of the camera where the network takes them.

    Args:
        network: The network itself, not a wrapper of it.
        images: As it sees them.
        camera: Of each image, batch shape (batch,); None where it is not known.
    """
    if camera is None or not takes_rays(network):
        return images
    channels = channels_of(camera, (images.shape[-1], images.shape[-2]))
    return torch.cat([images, channels.to(images)], 1)


def of_kind(
    prediction: DepthPrediction, network: nn.Module, camera: Lens | None, learned: Kind = "z"
) -> DepthPrediction:
    """What a network says, as the kind of depth that the camera has.

    A network that takes rays learns distances and gives z, which stays finite up to `WIDEST_Z_RAD`; here the distance
    is taken back exactly. Any other network gives what it was trained on.

    Args:
        prediction: Its output for the images of the camera.
        network: The network itself, not a wrapper of it.
        camera: Of each image, batch shape (batch,); None where it is not known, and nothing is done.
        learned: Kind of depth that a network without rays was trained on.
    """
    given: Kind = "z" if takes_rays(network) else learned
    if camera is None or given == camera.kind:
        return prediction
    log_depth = prediction.log_depth
    x, y, z = camera.rays(log_depth.shape[-2], log_depth.shape[-1]).to(log_depth).unbind(-1)
    cosine = (z / length(x, y, z)).clamp_min(math.cos(WIDEST_Z_RAD)).log()  # as `log_cosine`
    return prediction._replace(log_depth=log_depth + (cosine if camera.kind == "z" else -cosine))
