"""A short clip in the tube: pictures, exact depth, exact motions, and sparse points seen in them."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from depthscope.errors import BadInputError
from depthscope.geometry import RigidMotion
from depthscope.geometry.depth import pixel_grid
from depthscope.geometry.motion import rotate
from depthscope.sequence import Sequence
from depthscope.simulation.sparse import measured, mistaken
from depthscope.simulation.tissue import Tissue, exposed, radiance
from depthscope.simulation.tube import SHORTEST_TRACK, Tube, Wall, ray_depth


def simulate(options: Tube, folder: Path) -> Sequence:
    """Writes the clip and returns it with its true motions, and sparse points as structure from motion leaves them.

    Writes ``images/NNNN.png``, ``depth/NNNN.tiff`` (float32 z-depth in mm, 0 outside the round picture), ``mask.png``.

    Raises:
        BadInputError: The camera's path runs into the wall.
    """
    wall, motions, content = options.wall(), options.camera_from_world(), options.content
    clearance = float(wall.field(motions.origin).min()) / wall.steepness
    if clearance < 0.05 * options.radius_mm:
        raise BadInputError(
            f"the camera comes within {max(clearance, 0):.2f} mm of the wall",
            f"at least {0.05 * options.radius_mm:g} mm",
            "choose less sway or lower folds",
        )
    folder = Path(folder)
    for name in ("images", "depth"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(folder / "mask.png"), ((content > 0.5) * 255).byte().numpy())

    images, pictures = [], []
    for i, (picture, depth) in enumerate(rendered(wall, motions)):
        images.append(folder / "images" / f"{i:04d}.png")
        cv2.imwrite(str(images[-1]), picture.flip(-1).numpy())
        cv2.imwrite(str(folder / "depth" / f"{i:04d}.tiff"), depth.float().numpy())
        pictures.append(picture)
    sequence = tracked(wall, motions, tuple(images), torch.stack(pictures))
    return replace(sequence, mask=content > 0.5)


def rendered(wall: Wall, motions: RigidMotion) -> Iterator[tuple[Tensor, Tensor]]:
    """Each frame's picture, uint8 RGB (height, width, 3), and its z-depth in mm, float64 (height, width).

    Depth is 0 outside the round picture. A frame depends on the options and its number only.
    """
    options = wall.options
    (width, height), content = options.size_px, options.content
    shown = content > 0
    rays = options.camera.unproject(pixel_grid(height, width, content)[shown])
    tissue = Tissue.drawn(options.seed, options.radius_mm)
    for i in range(len(motions.translation)):
        camera_from_world = motions[i]
        depth = ray_depth(wall, camera_from_world, rays)
        seen = depth[:, None] * rays
        points = camera_from_world.inverse().apply(seen)
        normals = wall.normals(points)
        film = rotate(camera_from_world.rotation, tissue.film_normals(points, normals))
        normals = rotate(camera_from_world.rotation, normals)
        light = torch.zeros(height, width, 3, dtype=torch.float64)
        light[shown] = radiance(tissue.albedo(points), seen, normals, film, options.radius_mm)
        depths = torch.zeros(height, width, dtype=torch.float64)
        depths[shown] = depth
        draw = np.random.default_rng((options.seed, 13, i))
        yield developed(light, content, options.sensor_noise, draw), torch.where(content > 0.5, depths, 0.0)


def developed(
    light: Float[Tensor, "height width 3"],
    content: Float[Tensor, "height width"],
    noise: float,
    draw: np.random.Generator,
) -> Tensor:
    """The 8-bit picture of linear light: a soft lens, exposure, noise that grows with brightness, the round mask."""
    soft = torch.from_numpy(cv2.GaussianBlur(light.numpy(), (0, 0), 0.6))
    picture = exposed(soft, content).numpy()
    grain = draw.standard_normal(picture.shape) * noise * np.sqrt(0.3 + picture)
    picture = (picture + cv2.GaussianBlur(grain, (0, 0), 0.5) * 1.5) * content.numpy()[..., None]
    return torch.from_numpy(np.rint(255 * picture.clip(0, 1)).astype(np.uint8))


def tracked(wall: Wall, motions: RigidMotion, images: tuple[Path, ...], pictures: Tensor) -> Sequence:
    """Sparse points on the wall, each seen in a run of frames in which it is truly visible.

    Args:
        wall: The wall.
        motions: ``camera_from_world`` of every frame.
        images: Files of the frames.
        pictures: The frames, uint8, shape (frames, height, width, 3).
    """
    options, camera, frames = wall.options, wall.options.camera, len(images)
    draw = np.random.default_rng((options.seed, 14))
    home, pixels = features(pictures, options.content, options.points, draw)
    colours = pictures[home, pixels[:, 1].long(), pixels[:, 0].long()]
    rays = camera.unproject(pixels)
    surface = motions[home].inverse().apply(ray_depth(wall, motions[home], rays)[:, None] * rays)

    centres = motions.origin[home]
    followed = mistaken(surface, centres, options.outliers, draw)

    each_frame, every = motions.unsqueeze(1), (frames, -1, -1)
    seen = _sees(wall, each_frame, surface.expand(every)) & _inside(options, each_frame, followed.expand(every))
    seen = track_runs(seen, home, draw)
    observations, placed, error = measured(
        seen, followed, centres, lambda frame, points: camera.project(motions[frame].apply(points)),
        options.pixel_noise_px, options.depth_noise, draw,
    )  # fmt: skip
    sequence = Sequence(
        name=f"tube-{options.seed}",
        images=images,
        cameras=(camera,) * frames,
        camera_from_world=motions,
        points=placed,
        observations=observations,
        point_error_px=error,
        point_colours=colours,
        unit="mm",
        notes=("simulated: the motions are exact",),
    )
    return sequence.with_points(seen.sum(0) >= SHORTEST_TRACK)


def features(
    pictures: Tensor, content: Float[Tensor, "height width"], count: int, draw: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """A home frame and a pixel for each point; features are found where the picture has contrast.

    Args:
        pictures: The frames, uint8, shape (frames, height, width, 3).
        content: Above 0.99 where the frames show tissue.
        count: Number of points.
        draw: Where chance comes from.
    """
    well_inside = cv2.erode((content > 0.99).byte().numpy(), np.ones((9, 9), np.uint8))
    home = np.sort(draw.integers(0, len(pictures), count))
    pixels = np.empty((count, 2))
    for i, picture in enumerate(pictures.numpy()):
        grey = cv2.GaussianBlur(picture[..., 1].astype(np.float32), (0, 0), 1.0)
        contrast = np.hypot(cv2.Sobel(grey, -1, 1, 0), cv2.Sobel(grey, -1, 0, 1)) * well_inside + 1e-3 * well_inside
        rows = np.flatnonzero(home == i)
        chosen = draw.choice(contrast.size, len(rows), p=(contrast / contrast.sum()).ravel().astype(np.float64))
        y, x = np.unravel_index(chosen, contrast.shape)
        pixels[rows] = np.stack([x, y], 1) + draw.random((len(rows), 2))
    return torch.from_numpy(home), torch.from_numpy(pixels)


def _inside(options: Tube, camera_from_world: RigidMotion, points: Tensor) -> Bool[Tensor, "frames points"]:
    """Whether points project well inside the round picture."""
    (width, height), content = options.size_px, options.content
    pixels = options.camera.project(camera_from_world.apply(points)).nan_to_num(nan=-1.0)
    x, y = pixels.unbind(-1)
    within = (x >= 2) & (x < width - 2) & (y >= 2) & (y < height - 2)
    column, row = torch.where(within, x, 0.0).long(), torch.where(within, y, 0.0).long()
    return within & (content[row, column] > 0.99)


def _sees(wall: Wall, camera_from_world: RigidMotion, points: Tensor) -> Bool[Tensor, "frames points"]:
    """Whether nothing stands between the camera and points of the wall, within a thousandth of their depth."""
    moved = camera_from_world.apply(points)
    depth = moved[..., 2]
    front = depth > 0
    rays = moved / torch.where(front, depth, 1.0)[..., None]
    rays = torch.where(front[..., None], rays, rays.new_tensor([0.0, 0.0, 1.0]))
    return front & ((ray_depth(wall, camera_from_world, rays) - depth).abs() < 1e-3 * depth)


def track_runs(
    seen: Bool[Tensor, "frames points"], home: Tensor, draw: np.random.Generator, median: float = 8.0
) -> Bool[Tensor, "frames points"]:
    """One run of frames for each point, around its home frame; matchers lose most points after some eight frames."""
    frames = len(seen)
    runs = torch.zeros_like(seen)
    lengths = np.exp(draw.normal(np.log(median), 0.8, len(home))).round().astype(int).clip(SHORTEST_TRACK, frames)
    before = draw.random(len(home))
    for point, (start, length, share) in enumerate(zip(home.tolist(), lengths.tolist(), before.tolist(), strict=True)):
        visible = seen[:, point].tolist()
        if not visible[start]:
            continue
        first, last = start, start
        while first > 0 and visible[first - 1]:
            first -= 1
        while last + 1 < frames and visible[last + 1]:
            last += 1
        begin = max(first, min(start - int(share * length), last + 1 - length))
        runs[begin : min(begin + length, last + 1), point] = True
    return runs
