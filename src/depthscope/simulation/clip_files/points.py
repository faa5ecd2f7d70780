"""The sequence of a clip: its frames, true motions, and sparse points that were truly seen."""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from depthscope.errors import BadInputError
from depthscope.geometry.motion import rotate
from depthscope.sequence import Sequence
from depthscope.simulation.clip import features, track_runs
from depthscope.simulation.clip_files.arrays import read_grey_mask
from depthscope.simulation.clip_files.take import Take
from depthscope.simulation.exposure import beside
from depthscope.simulation.presets import TrackQuality
from depthscope.simulation.render import OFF_THE_WALL_MM, RenderView, in_picture
from depthscope.simulation.sparse import measured, mistaken
from depthscope.simulation.tube import SHORTEST_TRACK
from depthscope.video import read_image

HIDING = ("highlight", "instrument", "debris")
"""Masks of what hides the points behind it."""


def tracked(take: Take, folder: Path, tracks: TrackQuality, name: str) -> Sequence:
    """The frames of a folder as a sequence with true motions, and points followed over runs of frames that see them.

    Points are those of the tissue at rest; where the tissue moves or rows are read late, they are measured where the
    picture shows them.

    Raises:
        BadInputError: Fewer than 3 frames, or too few points are seen often enough.
    """
    if len(take) < SHORTEST_TRACK:
        raise BadInputError(f"{len(take)} frames", f"at least {SHORTEST_TRACK} to follow a point over")
    scene, camera = take.scene, take.scope.camera
    draw = np.random.default_rng((take.patient, take.clip, 91))
    images = tuple(folder / "images" / f"{n:04d}.png" for n in range(len(take)))
    pictures = torch.stack([read_image(path) for path in images])
    content = torch.from_numpy(take.scope.disc.opening(take.scope.sensor))
    home, pixels = features(pictures, content, tracks.points, draw)
    motions = take.motions[: len(take)]

    world_from_home = motions[home].inverse()
    rays = camera.unproject(pixels)
    rays = torch.where(rays.isfinite(), rays, torch.zeros_like(rays) + rays.new_tensor([0.0, 0.0, 1.0]))
    hits = scene.cast(world_from_home.translation, rotate(world_from_home.rotation, rays))
    surface = world_from_home.apply(hits.distance[:, None] * rays)
    centres = motions.origin[home]
    followed = mistaken(surface, centres, tracks.outliers, draw)

    seen = torch.stack([_seen(take, folder, n, surface, followed) for n in range(len(take))])
    seen = track_runs(seen & hits.found, home, draw, tracks.length)
    observations, points, error = measured(
        seen, followed, centres, lambda at, places: shown_at(take, at, places), tracks.pixel_noise_px,
        tracks.depth_noise, draw,
    )  # fmt: skip
    column, row = pixels.long().unbind(-1)
    sequence = Sequence(
        name=name,
        images=images,
        cameras=(camera,) * len(take),
        camera_from_world=motions,
        points=points,
        observations=observations,
        mask=content > 0.5,
        point_error_px=error,
        point_colours=pictures[home, row, column],
        unit="mm",
        notes=("simulated: the motions are exact",),
    )
    return sequence.with_points(seen.sum(0) >= SHORTEST_TRACK)


def shown_at(take: Take, frames: Tensor, points: Float[Tensor, "points 3"]) -> Float[Tensor, "points 2"]:
    """Pixels at which points of the tissue at rest are shown in frames; NaN where the lens does not show them.

    Args:
        take: The clip.
        frames: Number of the frame for each point, or one for all.
        points: In the world, in mm.
    """
    camera, shutter = take.scope.camera, take.scope.shutter
    places = take.displaced(points, frames)
    pixels = camera.project(take.motions[frames].apply(places))
    if shutter.at_once:
        return pixels
    height = camera.size_px[1]
    for _ in range(3):  # the row decides on the motion, and the motion on the row; it settles at once
        rows = pixels[:, 1].nan_to_num(nan=height / 2).clamp(0, height)
        share = shutter.readout * (rows / height - 0.5)  # between the fields' moments where a point lies between rows
        pixels = camera.project(beside(take.motions, frames, share).apply(places))
    return pixels


def _seen(take: Take, folder: Path, number: int, surface: Tensor, followed: Tensor) -> Bool[Tensor, " points"]:
    """Which points a frame truly sees, away from the rim and from what hides them."""
    motion, clear = take.motions[number], take.scope.disc.inside() > 4
    for kind in HIDING:
        path = folder / "masks" / kind / f"{number:04d}.png"
        if kind == "highlight" or path.is_file():
            clear = clear & ~torch.from_numpy(read_grey_mask(path))
    pixels = shown_at(take, torch.tensor(number), followed)
    back = functional.normalize(motion.origin - surface, dim=-1)
    hidden = take.scene.blocked(surface + OFF_THE_WALL_MM * back, motion.origin.expand_as(surface))
    return in_picture(RenderView(take.scope.camera, clear), pixels) & ~hidden
