"""Tiny folders of KITTI, raw and odometry: the ball of `scene`, one unit being 10 mm, seen by two eyes."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from miniatures.scene import CENTRE, FOCAL, SIZE, scene

BASELINE_MM = 1.5
DAY, DRIVE = "2011_09_26", "2011_09_26_drive_0001_sync"


@dataclass(frozen=True)
class Truth:
    """What was written: left and right images, and world_from_camera of the left eye in mm."""

    left: list[np.ndarray]
    right: list[np.ndarray]
    world_from_camera: np.ndarray


def truth_of(frames: int = 6) -> Truth:
    clip = scene(frames=frames)
    matrices = np.tile(np.eye(4), (frames, 1, 1))
    matrices[:, :3, :3] = clip.rotation.transpose(0, 2, 1)
    matrices[:, :3, 3] = -np.einsum("fji,fj->fi", clip.rotation, clip.translation) * 10
    right = scene(frames=frames, seed=2)  # another pattern would do: only files are told apart
    return Truth(clip.images, [image[:, ::-1].copy() for image in right.images], matrices)


def projection(shift_mm: float) -> list[float]:
    """3 x 4 in OpenCV's convention and metres, of an eye that sees points shifted by this along x."""
    k = np.array([[FOCAL[0], 0, CENTRE[0] - 0.5], [0, FOCAL[1], CENTRE[1] - 0.5], [0, 0, 1]])
    return (k @ np.column_stack([np.eye(3), [shift_mm / 1000, 0.0, 0.0]])).ravel().tolist()


def _line(name: str, numbers: list[float]) -> str:
    return f"{name}: " + " ".join(f"{number:.12e}" for number in numbers)


def _write(folder: Path, images: list[np.ndarray], digits: int) -> None:
    folder.mkdir(parents=True)
    for number, image in enumerate(images):
        assert cv2.imwrite(str(folder / f"{number:0{digits}d}.png"), image[..., ::-1])


def write_raw(root: Path, frames: int = 6) -> Truth:
    """A day with one drive; returns what is in it."""
    truth = truth_of(frames)
    _write(root / DAY / DRIVE / "image_02/data", truth.left, 10)
    _write(root / DAY / DRIVE / "image_03/data", truth.right, 10)
    lines = ["calib_time: 09-Jan-2012 13:57:47", f"S_rect_02: {SIZE[0]}.0 {SIZE[1]}.0"]
    lines += [_line("P_rect_02", projection(0.4)), _line("P_rect_03", projection(0.4 - BASELINE_MM))]
    (root / DAY / "calib_cam_to_cam.txt").write_text("\n".join(lines))
    return truth


def write_odometry(root: Path, frames: int = 6, number: str = "09") -> Truth:
    """Sequence 09 with its poses."""
    truth = truth_of(frames)
    folder = root / "sequences" / number
    _write(folder / "image_2", truth.left, 6)
    _write(folder / "image_3", truth.right, 6)
    (folder / "calib.txt").write_text(
        "\n".join([_line("P2", projection(0.0)), _line("P3", projection(-BASELINE_MM))]) + "\n"
    )
    (root / "poses").mkdir(exist_ok=True)
    rows = truth.world_from_camera[:, :3].copy()
    rows[..., 3] /= 1000
    lines = [" ".join(f"{value:.12e}" for value in row.ravel()) for row in rows]
    (root / "poses" / f"{number}.txt").write_text("\n".join(lines) + "\n")
    return truth


LIDAR_AHEAD_M = 0.27
"""How far the lidar's axis lies behind the camera here."""


def write_lidar(root: Path, points: list[tuple[float, float, float]]) -> None:
    """For every frame of the drive of `write_raw`, the same points: (column, row, metres forward of the lidar).

    Pixels are counted from 1, as the published comparison rounds them.
    """
    turn = [0, -1, 0, 0, 0, -1, 1, 0, 0]  # forward, left, up to right, down, forward
    (root / DAY / "calib_velo_to_cam.txt").write_text(
        "\n".join(["calib_time: x", _line("R", turn), _line("T", [0.0, 0.0, -LIDAR_AHEAD_M])])
    )
    place = root / DAY / "calib_cam_to_cam.txt"
    place.write_text(place.read_text("utf-8") + "\n" + _line("R_rect_00", np.eye(3).ravel().tolist()))
    k = np.array(projection(0.4)).reshape(3, 4)
    rows = []
    for column, row, forward in points:
        away = forward - LIDAR_AHEAD_M
        right = (column * away - k[0, 2] * away - k[0, 3]) / k[0, 0]
        down = (row * away - k[1, 2] * away) / k[1, 1]
        rows.append((forward, -right, -down, 0.5))
    folder = root / DAY / DRIVE / "velodyne_points/data"
    folder.mkdir(parents=True)
    for image in (root / DAY / DRIVE / "image_02/data").iterdir():
        np.array(rows, np.float32).tofile(folder / f"{image.stem}.bin")
