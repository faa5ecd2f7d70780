"""The calibration board before the scope, as a clip of its own."""

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from depthscope.errors import BadInputError
from depthscope.geometry import RigidMotion, Surface
from depthscope.geometry.motion import rotate
from depthscope.simulation.clip_files.take import view_of
from depthscope.simulation.presets import Scope
from depthscope.simulation.render import RenderView, Scene, Shading, in_picture, render, wanted_gains
from depthscope.simulation.sensor import picture
from depthscope.simulation.texture import PrintedChessboard
from depthscope.video import write_video

BOARD = PrintedChessboard()
"""The board of the calibration clips."""

BOARD_FPS = 5
"""Frames per second of the board clip."""


def write_board(scope: Scope, folder: Path, frames: int, seed: tuple[int, ...]) -> None:
    """Writes ``board.mp4``, and ``board.json``, its truth."""
    views = board_views(scope, frames, seed)
    shown = [board_frame(scope, views[i], (*seed, i)) for i in range(frames)]
    write_video(folder / "board.mp4", (picture for picture, _ in shown), BOARD_FPS, crf=scope.crf)
    record = {
        "inner_corners": list(BOARD.corners),
        "square_mm": BOARD.square_mm,
        "camera_from_board": [
            torch.cat([v.rotation, v.translation[:, None]], 1).tolist() for v in (views[i] for i in range(frames))
        ],
        "gain": [gain for _, gain in shown],
    }
    (folder / "board.json").write_text(json.dumps(record, indent=1) + "\n")


def board_scene(board: PrintedChessboard = BOARD) -> Scene:
    """The board as a surface that faces the camera, in its own axes (x right, y down, z away)."""
    (x0, y0), (x1, y1) = board.extent_mm
    points = torch.tensor([[x0, y0, 0], [x1, y0, 0], [x1, y1, 0], [x0, y1, 0]], dtype=torch.float64)
    normals = points.new_tensor([0.0, 0.0, -1.0]).expand_as(points)
    surface = Surface(points, normals, None, torch.tensor([[0, 2, 1], [0, 3, 2]]), "mm")
    return Scene(surface, board, torch.zeros(4, 3))


def board_views(scope: Scope, count: int, seed: tuple[int, ...], board: PrintedChessboard = BOARD) -> RigidMotion:
    """``camera_from_board`` of views that show all of the board: tilted up to 35 degrees, filling the round picture.

    Raises:
        BadInputError: The lens never shows all of the board.
    """
    draw = np.random.default_rng((*seed, 81))
    corners, room = board.corner_points, scope.disc.inside() > 3
    view = RenderView(scope.camera, room)
    middle = corners.mean(0)
    found = []
    for _ in range(count):
        axis = np.append(draw.normal(0, 1, 2), 0)
        tilt = draw.uniform(0.05, 0.6)
        rotation = torch.from_numpy(
            cv2.Rodrigues(np.array([0, 0, draw.uniform(-0.5, 0.5)]))[0]
            @ cv2.Rodrigues(axis / np.linalg.norm(axis) * tilt)[0]
        )
        aside = torch.from_numpy(np.append(draw.uniform(-0.25, 0.25, 2), 0))
        beyond = float(draw.uniform(1.0, 1.35))
        for distance in np.geomspace(10, 400, 120):
            centre = float(distance) * (aside * min(1.0, 2 * (beyond - 1)) + aside.new_tensor([0, 0, 1]))
            motion = RigidMotion(rotation, centre - rotate(rotation, middle))
            if bool(in_picture(view, scope.camera.project(motion.apply(corners))).all()):
                break
        else:
            raise BadInputError("a lens that never shows all of the board", "a wider lens or a smaller board")
        found.append(RigidMotion(rotation, centre * beyond - rotate(rotation, middle)))
    return RigidMotion(torch.stack([m.rotation for m in found]), torch.stack([m.translation for m in found]))


def board_frame(
    scope: Scope, camera_from_board: RigidMotion, seed: tuple[int, ...], board: PrintedChessboard = BOARD
) -> tuple[Tensor, float]:
    """A picture of the board, uint8 of shape (height, width, 3), and the gain that it was taken with."""
    scene, view = board_scene(board), view_of(scope.camera, scope.disc)
    automatic = replace(scope.gain, quantile=0.8, lag_frames=0.0)
    alone = RigidMotion(camera_from_board.rotation[None], camera_from_board.translation[None])
    gain = wanted_gains(scene, view, alone, scope.lighting, automatic)[0]
    shading = Shading(scope.shading.samples, shadows=False, film=0.0, translucency_mm=0.0)
    lighting = replace(scope.lighting, ambient=0.0)
    rendered = render(scene, view, camera_from_board, lighting, shading)
    draw = np.random.default_rng((*seed, 82))
    gamma = lighting.gamma
    return picture(
        rendered.light, rendered.depth, gain, gamma, scope.sensor, scope.camera, scope.disc, draw, scope.seed
    ), gain
