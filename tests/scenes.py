"""Planes and balls in closed form, seen by moving cameras, and a tiny sequence of one with image files."""

from pathlib import Path

import cv2
import numpy as np
import torch
from hypothesis import settings
from scipy.spatial.transform import Rotation
from torch import Tensor

from depthscope.geometry import Camera, Pinhole, RigidMotion
from depthscope.geometry.depth import pixel_grid
from depthscope.sequence import Observations, Sequence

F64 = torch.float64

settings.register_profile("laws", max_examples=50, deadline=None)  # a busy machine pauses; that breaks no law
settings.load_profile("laws")


def tensor(*values) -> Tensor:
    return torch.tensor(values, dtype=F64)


def motion(turn_rad=(0.0, 0.0, 0.0), shift=(0.0, 0.0, 0.0)) -> RigidMotion:
    """One motion from a rotation vector and a translation, without a batch."""
    return RigidMotion(torch.tensor(Rotation.from_rotvec(turn_rad).as_matrix()), tensor(*shift))


def stacked(*motions: RigidMotion) -> RigidMotion:
    """Motions along a batch."""
    return RigidMotion(torch.stack([m.rotation for m in motions]), torch.stack([m.translation for m in motions]))


def pinhole(width: int, height: int, batch: int = 1) -> Pinhole:
    """About 65 degrees wide, with a centre that is nowhere special."""
    focal, centre = tensor(0.8 * width, 0.83 * width), tensor(0.52 * width, 0.47 * height)
    return Pinhole(focal.expand(batch, 2), centre.expand(batch, 2))


def plane_depth(
    normal: Tensor, offset: float, camera_from_world: RigidMotion, camera: Pinhole, pixels: Tensor
) -> Tensor:
    """Depth at pixels (..., 2) of the plane n X = offset of the world."""
    turned = camera_from_world.rotation @ normal
    distance = offset + turned @ camera_from_world.translation
    return distance / (camera.unproject(pixels) @ turned)


def ball_depth(
    centre: Tensor, radius: float, camera_from_world: RigidMotion, camera: Pinhole, pixels: Tensor
) -> Tensor:
    """Depth at pixels (..., 2) of the inside of a ball that the camera is in."""
    rays, middle = camera.unproject(pixels), camera_from_world.apply(centre)
    a, b, c = (rays * rays).sum(-1), rays @ middle, middle @ middle - radius**2
    return (b + (b * b - a * c).sqrt()) / a


def grid(width: int, height: int) -> Tensor:
    return pixel_grid(height, width, torch.empty(0, dtype=F64))


WALL = tensor(0.15, -0.1, 1.0) / tensor(0.15, -0.1, 1.0).norm()


def wall_pair(width: int, height: int, k_from_j: RigidMotion) -> tuple[Tensor, Tensor]:
    """True depths (1, height, width) of a tilted wall in frames j and k; j is the world."""
    camera = pinhole(width, height)[0]
    frames = (motion(), k_from_j)
    return tuple(plane_depth(WALL, 1.0, m, camera, grid(width, height))[None] for m in frames)


def ball_pair(width: int, height: int, k_from_j: RigidMotion) -> tuple[Tensor, Tensor]:
    """True depths (1, height, width) of the inside of a ball in frames j and k."""
    camera = pinhole(width, height)[0]
    frames = (motion(), k_from_j)
    return tuple(ball_depth(tensor(0.1, 0.05, 0.2), 1.0, m, camera, grid(width, height))[None] for m in frames)


def camera_of(width: int = 64, height: int = 48, **changes) -> Camera:
    return Camera((width, height), (0.9 * width, 0.92 * width), (0.51 * width, 0.48 * height), **changes)


def tiny_sequence(
    folder: Path,
    frames: int = 6,
    points: int = 80,
    camera: Camera | None = None,
    step=(0.08, 0.0, 0.02),
    turn=(0.0, -0.03, 0.0),
    seed: int = 0,
    keep: float = 1.0,
    **fields,
) -> Sequence:
    """A camera that moves inside a ball; what falls into a frame was seen there (or the share `keep` of it)."""
    random = np.random.default_rng(seed)
    camera = camera_of() if camera is None else camera
    width, height = camera.size_px
    folder.mkdir(parents=True, exist_ok=True)
    images = []
    for i in range(frames):
        images.append(folder / f"{i:03d}.png")
        cv2.imwrite(str(images[-1]), random.integers(0, 256, (height, width, 3), dtype=np.uint8))
    moves = stacked(*(motion(np.array(turn) * i, -np.array(step) * i) for i in range(frames)))
    centre = tensor(0.05 * frames, 0.0, 0.0)
    chosen = torch.tensor(random.uniform([2, 2], [width - 2, height - 2], (points, 2)))
    world = []
    for i, pixel in enumerate(chosen):  # each point starts in another frame
        home = moves[i % frames]
        depth = ball_depth(centre, 2.0, home, camera.pinhole, pixel)
        world.append(home.inverse().apply(depth * camera.pinhole.unproject(pixel)))
    world = torch.stack(world)
    local = moves.unsqueeze(1).apply(world)
    pixels = camera.project(local).nan_to_num(-1.0)
    seen = ((pixels >= 0) & (pixels < tensor(width, height))).all(-1)
    seen &= torch.tensor(random.random(seen.shape) < keep)
    kept = seen.sum(0) >= 2
    seen, world = seen[:, kept], world[kept]
    frame, point = seen.nonzero().unbind(-1)
    values = {
        "name": "tiny",
        "images": tuple(images),
        "cameras": (camera,) * frames,
        "camera_from_world": moves,
        "points": world,
        "observations": Observations(frame, point),
    }
    return Sequence(**(values | fields))
