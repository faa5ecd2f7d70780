"""Image folders of the textured wall: a camera that moves, and two eyes, with true depth at hand."""

from dataclasses import replace
from pathlib import Path

import torch

from depthscope.geometry import Camera, RigidMotion
from depthscope.networks import DepthRange, DispNet, ResidualDisparity, SnippetPose
from depthscope.recipes import Recipe
from depthscope.supervision import Holdout, Supervision
from depthscope.training import Adam, Training
from depthscope.unposed_clip import RightCamera, UnposedClip
from depthscope.video import write_image
from scenes import motion
from textured import seen_wall

SIZE = (64, 48)
CAMERA = Camera(SIZE, (0.8 * SIZE[0], 0.83 * SIZE[0]), (0.52 * SIZE[0], 0.47 * SIZE[1]))
RIGHT_FROM_LEFT = motion((0.0, 0.01, 0.0), (-0.1, 0.002, 0.0))
BASELINE_MM = 5.0
"""What the distance of the eyes is called in mm; the wall is at about ten times it."""


def path(frames: int) -> list[RigidMotion]:
    return [motion((0.0, 0.008 * n, 0.004 * n), (-0.05 * n, 0.02 * n, 0.01 * n)) for n in range(frames)]


def write_walls(folder: Path, moves: list[RigidMotion], size=SIZE) -> tuple[Path, ...]:
    folder.mkdir(parents=True)
    files = []
    for number, move in enumerate(moves):
        image = (seen_wall(move, *size)[0].permute(1, 2, 0) * 255).round().to(torch.uint8)
        files.append(write_image(folder / f"{number:03d}.png", image))
    return tuple(files)


def wall_clip(folder: Path, frames: int = 6, *, stereo: bool = False) -> UnposedClip:
    """A clip of the wall; of two eyes 5 mm apart, in mm."""
    moves = path(frames)
    images = write_walls(folder / "left", moves)
    eye = None
    if stereo:
        others = write_walls(folder / "right", [RIGHT_FROM_LEFT @ move for move in moves])
        length = float(RIGHT_FROM_LEFT.translation.norm())
        eye = RightCamera(others, (CAMERA,) * frames, RIGHT_FROM_LEFT.scaled(BASELINE_MM / length), "mm")
    return UnposedClip("wall", images, (CAMERA,) * frames, right_camera=eye)


def shrunk(recipe: Recipe, **training) -> Recipe:
    """A recipe of view synthesis that trains two steps in a second: small networks and images, all else as it is."""
    network, objective = recipe.network, recipe.objective
    if isinstance(network, DispNet):
        network = replace(network, widths=(8, 8, 8, 8))
    if isinstance(objective.motion, SnippetPose):
        motion = replace(objective.motion, widths=(4, 4, 4, 4, 4), deep=4)
        objective = replace(objective, motion=motion)
    elif isinstance(network, ResidualDisparity):
        network = replace(network, depth=DepthRange(0.2, 10.0))
    options = {
        "steps": 2,
        "batch": 2,
        "precision": "fp32",
        "optimiser": Adam(1e-3),
        "validate_every": 2,
        "log_every": 1,
    }
    return replace(
        recipe,
        network=network,
        objective=objective,
        supervision=Supervision(
            area_px=64 * 48, erosion_px=recipe.supervision.erosion_px, holdout=Holdout(frames=0.2, points=0.1)
        ),
        training=Training(**(options | training)),
    )
