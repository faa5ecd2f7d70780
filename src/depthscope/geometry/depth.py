"""Depth maps: back-projection, sampling, the depth map warping layer (Liu et al. 2018, section 2), flow, normals.

Everything here runs in float32 or better also under mixed precision: half-precision coordinates are off by pixels.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from depthscope.geometry.lens import AXIS, Lens, depth_of, pixel_grid as pixel_grid
from depthscope.geometry.motion import RigidMotion
from depthscope.geometry.planes import in_planes, moved_in_planes

NEAREST_DEPTH = 1e-3
"""Depths below this count as behind the camera, in units where the median depth of a sequence is 1."""

FROM_FLOAT32 = 1e-4
"""Tolerance in pixels of 'inside the image', so that rounding does not lose the border."""

Maps = Float[Tensor, "batch height width"]
MaskMaps = Bool[Tensor, "batch height width"]


def sample(
    maps: Float[Tensor, "batch channels height width"], pixels: Float[Tensor, "batch *points 2"]
) -> Float[Tensor, "batch channels *points"]:
    """Bilinear samples at pixel positions; beyond the border the nearest value."""
    height, width = maps.shape[-2:]
    size = pixels.new_tensor([width, height])
    grid = (2 * pixels / size - 1).reshape(len(pixels), 1, -1, 2)
    with torch.autocast(maps.device.type, enabled=False):
        values = functional.grid_sample(maps, grid, mode="bilinear", padding_mode="border", align_corners=False)
    return values.reshape(*maps.shape[:2], *pixels.shape[1:-1])


def sampled_at(
    depth: Float[Tensor, "batch height width"], pixels: Float[Tensor, "batch *points 2"]
) -> Float[Tensor, "batch *points"]:
    """Depth between pixels, in inverse depth over the pixels that are known; 0 where none of the four is."""
    known = depth > 0
    inverse = torch.where(known, 1 / torch.where(known, depth, 1.0), 0.0)
    total, share = sample(torch.stack([inverse, known.to(depth)], 1), pixels).unbind(1)
    return torch.where(share > 1e-3, share / total.clamp_min(1e-12), 0.0)


def rays(height: int, width: int, camera: Lens) -> Float[Tensor, "batch {height} {width} 3"]:
    """The ray of every pixel of a batch of cameras: z is 1, or the length where depth is the distance along it."""
    return camera.rays(height, width)


def backprojected(depth: Maps, camera: Lens) -> Float[Tensor, "batch height width 3"]:
    """The surface point of every pixel, in camera axes: X = D r."""
    return depth[..., None] * rays(depth.shape[-2], depth.shape[-1], camera)


@dataclass(frozen=True, eq=False)
class Warp:
    """The far frame's surface on the near frame's pixels.

    Attributes:
        depth: Z~(near, far), the depth in the near frame, shape (batch, height, width); 1 where not `valid`.
        valid: Where both frames see the same surface.
        hidden: Where the near frame's surface lies behind the far frame's: seen from `far`, it is occluded.
        position: Where the near frame's surface falls in the far image, in pixels.
    """

    depth: Maps
    valid: MaskMaps
    hidden: MaskMaps
    position: Float[Tensor, "batch height width 2"]


def warped(
    far: Maps,
    near: Maps,
    near_from_far: RigidMotion,
    camera: Lens,
    far_mask: MaskMaps | None = None,
    near_mask: MaskMaps | None = None,
    *,
    occlusion_tolerance: float = float("inf"),
    detach_position: bool = False,
) -> Warp:
    """Depth map warping layer: the depth of `far` as seen from `near`, on the pixel grid of `near`.

    Inverse depth is sampled, which for a pinhole is exact on planes (their inverse depth is affine in the pixel), and
    every sample is moved as a point of the far surface, so that the result is a depth of the near frame and can be
    compared with it. Gradients flow through both maps: the samples of `far`, and the positions that `near` gives.
    Depth is of the camera's kind; nothing else depends on the lens.

    Args:
        far: Depth of the frame that is sampled (frame j of the paper), positive.
        near: Depth of the frame whose pixels are filled (frame k), positive.
        near_from_far: Motion from the far to the near camera (k_from_j), in the unit of the depths.
        camera: The camera of both.
        far_mask: True where the far frame shows tissue; a sample that touches the outside is not valid.
        near_mask: The same for the near frame.
        occlusion_tolerance: A pixel of `near` that lies more than this share behind the surface of `far` is hidden
            from `far` and says nothing. A pixel in front of it contradicts `far`, and stays. Infinite: no test.
        detach_position: Stop the gradient through the sampling position.
    """
    far_from_near = near_from_far.inverse()
    height, width = near.shape[-2:]
    near_rays = in_planes(rays(height, width, camera))
    # 1. The surface of `near` in the far camera's axes.
    moved = moved_in_planes(far_from_near.rotation, far_from_near.translation, near_rays, near)
    if detach_position:
        moved = moved.detach()
    there = camera[:, None, None]
    front = there.sees(moved, NEAREST_DEPTH)
    # 2. Where it falls in the far image.
    solid_points = torch.where(front[..., None], moved, moved.new_tensor(AXIS))
    z = depth_of(moved, camera.kind)
    position = there.project(solid_points)
    x, y = position.unbind(-1)
    inside = (x >= 0.5 - FROM_FLOAT32) & (x <= width - 0.5 + FROM_FLOAT32)
    inside = inside & (y >= 0.5 - FROM_FLOAT32) & (y <= height - 0.5 + FROM_FLOAT32)
    # 3. No sample is taken where there is nothing: no NaN, no infinite gradient.
    reached = front & inside
    centre = position.new_tensor([width / 2, height / 2])
    position = torch.where(reached[..., None], position, centre)
    # 4. The far surface there, in inverse depth.
    if far_mask is None:
        inverse = sample(1 / far[:, None], position)[:, 0]
        valid = reached
    else:
        solid = torch.where(far_mask, far, torch.ones_like(far))
        inverse, content = sample(torch.stack([1 / solid, far_mask.to(far)], 1), position).unbind(1)
        valid = reached & (content.detach() >= 1 - 1e-3)
    # 5. That point, back in the near camera's axes: only its depth is needed. Its ray is that of the moved point.
    far_depth = torch.where(front, z, 1.0)
    if camera.kind == "z":
        (x, y, _), row = solid_points.unbind(-1), near_from_far.rotation[:, 2, :, None, None].unbind(1)
        ray_z = row[0] * (x / far_depth) + row[1] * (y / far_depth) + row[2]
        depth = ray_z / inverse + near_from_far.translation[:, 2, None, None]
    else:
        depth = _distance_from(far_from_near.translation, solid_points, far_depth, 1 / inverse)
    # 6. Valid where both see tissue, 7. and where `far` does not hide it.
    valid = valid & (depth.detach() > NEAREST_DEPTH)
    if near_mask is not None:
        valid = valid & near_mask
    hidden = z.detach() * inverse.detach() > 1 + occlusion_tolerance
    return Warp(
        depth=torch.where(valid, depth, torch.ones_like(depth)),
        valid=valid & ~hidden,
        hidden=valid & hidden,
        position=position,
    )


def _distance_from(
    place: Float[Tensor, "batch 3"], points: Float[Tensor, "batch height width 3"], length: Maps, depth: Maps
) -> Maps:
    """How far a place is from points at other depths on the same rays: those of `points`, which have this length.

    With s the depth and m = -u t for the unit ray u and the place t, the distance |s u - t| is the root of
    (s + m)^2 + (t^2 - m^2): no coordinates of the other frame are made, and little is lost where the two cancel.
    """
    x, y, z = points.unbind(-1)
    tx, ty, tz = (part[:, None, None] for part in place.unbind(-1))
    along = -(x * tx + y * ty + z * tz) / length
    aside = (tx * tx + ty * ty + tz * tz - along * along).clamp_min(0)
    return ((depth + along) ** 2 + aside).clamp_min(1e-24).sqrt()


def flow(
    depth: Float[Tensor, "batch points"],
    pixels: Float[Tensor, "batch points 2"],
    target_from_source: RigidMotion,
    camera: Lens,
) -> tuple[Float[Tensor, "batch points 2"], Bool[Tensor, "batch points"]]:
    """How far each pixel moves to the target frame if it has this depth, in pixels, and whether it stays in front.

    Where the point falls behind the target camera, or outside its field, the flow is 0.
    """
    points = depth[..., None] * camera[:, None].unproject(pixels)
    moved = target_from_source.unsqueeze(1).apply(points)
    front = camera[:, None].sees(moved, NEAREST_DEPTH)
    target = camera[:, None].project(torch.where(front[..., None], moved, moved.new_tensor(AXIS)))
    return torch.where(front[..., None], target - pixels, torch.zeros_like(pixels)), front


def normals(depth: Maps, camera: Lens) -> Float[Tensor, "batch height width 3"]:
    """Unit normals towards the camera, from central differences of the back-projected points (one-sided at the rim)."""
    points = backprojected(depth, camera)
    along_y, along_x = torch.gradient(points, dim=(1, 2))
    normal = functional.normalize(torch.linalg.cross(along_y, along_x), dim=-1)
    facing = (normal * points).sum(-1, keepdim=True) < 0
    return torch.where(facing, normal, -normal)
