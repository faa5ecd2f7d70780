"""View synthesis: the target frame as another frame would show it, through the depth and motion in question."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from depthscope.geometry import Lens, RigidMotion, depth_of
from depthscope.geometry.depth import FROM_FLOAT32, NEAREST_DEPTH, Maps, MaskMaps, rays, sample
from depthscope.geometry.lens import AXIS
from depthscope.geometry.planes import in_planes, moved_in_planes


@dataclass(frozen=True, eq=False)
class Synthesis:
    """A source frame on the pixels of the target frame.

    Attributes:
        image: What the source shows there, shape (batch, channels, height, width); 0 where not `valid`.
        valid: Where the target's surface lies in front of the source camera, inside its image and on tissue.
        depth: Depth of the target's surface in the source's axes, shape (batch, height, width); 1 where not `valid`.
        position: Where it falls in the source image, in pixels; the image's centre where not `valid`.
    """

    image: Float[Tensor, "batch channels height width"]
    valid: MaskMaps
    depth: Maps
    position: Float[Tensor, "batch height width 2"]


def synthesised(
    source: Float[Tensor, "batch channels rows columns"],
    depth: Maps,
    source_from_target: RigidMotion,
    target_camera: Lens,
    source_camera: Lens,
    target_mask: MaskMaps | None = None,
    source_mask: Bool[Tensor, "batch rows columns"] | None = None,
) -> Synthesis:
    """The target view from a source image (Zhou et al. 2017, eq. 2): X = D r, Y = R X + t, q = project(Y), I(q).

    Samples lie between pixel centres of the source; beyond the outermost centres there is nothing to interpolate, and
    the pixel is not valid. What is not valid has no influence on values or gradients, whatever it holds.

    Args:
        source: What is sampled: the source's image, or maps of it.
        depth: Depth of the target frame, positive.
        source_from_target: Motion of the camera, in the unit of the depth.
        target_camera: Camera of the target.
        source_camera: Camera of the source.
        target_mask: True where the target shows tissue; None for everywhere.
        source_mask: The same for the source; a sample that touches the outside is not valid.
    """
    height, width = depth.shape[-2:]
    rows, columns = source.shape[-2:]
    target_rays = in_planes(rays(height, width, target_camera))
    moved = moved_in_planes(source_from_target.rotation, source_from_target.translation, target_rays, depth)
    there = source_camera[:, None, None]
    z = depth_of(moved, source_camera.kind)
    front = there.sees(moved, NEAREST_DEPTH)
    position = there.project(torch.where(front[..., None], moved, moved.new_tensor(AXIS)))
    x, y = position.unbind(-1)
    inside = (x >= 0.5 - FROM_FLOAT32) & (x <= columns - 0.5 + FROM_FLOAT32)
    inside = inside & (y >= 0.5 - FROM_FLOAT32) & (y <= rows - 0.5 + FROM_FLOAT32)
    valid = front & inside
    if target_mask is not None:
        valid = valid & target_mask
    # Selected, never multiplied: NaN times 0 is NaN.
    position = torch.where(valid[..., None], position, position.new_tensor([columns / 2, rows / 2]))
    if source_mask is None:
        image = sample(source, position)
    else:
        solid = torch.where(source_mask[:, None], source, 0.0)
        both = sample(torch.cat([solid, source_mask[:, None].to(source)], 1), position)
        image, content = both[:, :-1], both[:, -1]
        valid = valid & (content.detach() >= 1 - 1e-3)
    return Synthesis(
        image=torch.where(valid[:, None], image, 0.0),
        valid=valid,
        depth=torch.where(valid, z, 1.0),
        position=position,
    )
