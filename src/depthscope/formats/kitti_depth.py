"""True depth of KITTI's raw drives: what the lidar measured, as Eigen et al. 2014 and all after them compare with.

``DATE/DRIVE/velodyne_points/data/N.bin`` with ``calib_velo_to_cam.txt`` and ``calib_cam_to_cam.txt`` in the folder of
the day; or, where ``DATE/DRIVE/proj_depth/groundtruth/image_02/N.png`` is there, the denser maps of Uhrig et al. 2017,
in metres times 256. Lengths are metres in the files and mm here.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from depthscope.errors import BadInputError
from depthscope.formats import kitti
from depthscope.formats.dataset_files import numbered
from depthscope.ground_truth import DepthEncoding, DepthFile, DepthSource, GroundTruth
from depthscope.reading import bytes_of, reader

SCANS, ANNOTATED = "velodyne_points/data", "proj_depth/groundtruth/image_02"
LIDAR_CALIBRATION = "calib_velo_to_cam.txt"
ENCODING = DepthEncoding("uint16", kitti.MM_PER_M / 256)


@dataclass(frozen=True, eq=False)
class LidarScan:
    """One turn of the lidar, seen from the left colour camera.

    Attributes:
        path: Points as float32 rows (x forward, y left, z up, reflectance), in metres.
        pixels_from_lidar: P_rect R_rect (R|T), shape (3, 4), in OpenCV's convention.
    """

    path: Path
    pixels_from_lidar: Float[np.ndarray, "3 4"]

    def read(self, size_px: tuple[int, int]) -> Float[Tensor, "height width"]:
        """How far *forward of the lidar* the nearest point in each pixel lies, in mm; 0 where there is none.

        That it is not depth along the camera's axis, 0.27 m less, and that pixels are rounded and counted from 1, is
        how the figures of all papers were made.

        Raises:
            BadInputError: The file is no whole number of points.
        """
        data = bytes_of(self.path, "points of four numbers")
        values = np.frombuffer(data[: len(data) // 4 * 4], np.float32)
        if not len(values) or len(values) % 4:
            raise BadInputError(f"{self.path} holds {len(values)} numbers", "four for each point", "unpack it again")
        points = values.reshape(-1, 4).astype(np.float64)
        points = points[points[:, 0] >= 0]
        column, row, away = self.pixels_from_lidar @ np.column_stack([points[:, :3], np.ones(len(points))]).T
        ahead = away > 0
        column, row = (np.round(value[ahead] / away[ahead]).astype(int) - 1 for value in (column, row))
        forward, (width, height) = points[ahead, 0], size_px
        inside = (column >= 0) & (row >= 0) & (column < width) & (row < height)
        order = np.argsort(-forward[inside], kind="stable")  # of several in a pixel the nearest is written last
        depth = np.zeros((height, width), np.float32)
        depth[row[inside][order], column[inside][order]] = kitti.MM_PER_M * forward[inside][order]
        return torch.from_numpy(depth)


def recognises(folder: Path) -> bool:
    """Whether a folder is a raw drive with depth."""
    return any((folder / eye).is_dir() for eye in kitti.RAW.frames) and any(
        (folder / place).is_dir() for place in (SCANS, ANNOTATED)
    )


@reader("a drive of KITTI")
def read(folder: Path) -> GroundTruth:
    """The left eye of a raw drive with its depth: the annotated maps where they are there, else the lidar's points.

    Raises:
        BadInputError: Frames or calibration are missing or damaged, or no frame has depth.
    """
    folder = Path(folder)
    frames = numbered(folder / kitti.RAW.frames[0], kitti.FRAME)
    if not frames:
        raise BadInputError(
            f"{folder} has no frames of the left eye", f"{kitti.RAW.frames[0]}/*.png or *.jpg", "unpack it"
        )
    left = kitti.read(folder)[0]
    annotated = numbered(folder / ANNOTATED, kitti.FRAME)
    depth: dict[int, DepthSource]
    if annotated:
        depth = {number: DepthFile(path, ENCODING) for number, path in annotated.items()}
        note = "depth of the annotated maps (Uhrig et al. 2017)"
    else:
        scans = numbered(folder / SCANS, r"(\d+)\.bin")
        matrix = pixels_from_lidar(folder.parent) if scans else np.eye(3, 4)
        depth = {number: LidarScan(path, matrix) for number, path in scans.items()}
        note = "depth of the lidar's points, forward of the lidar (as Eigen et al. 2014 are followed)"
    found = tuple(depth.get(number) for number in frames)
    if not any(found):
        raise BadInputError(f"{folder}: none of {len(frames)} frames has depth", f"{SCANS} or {ANNOTATED}", "unpack it")
    return GroundTruth(left.name, "kitti", left.images, left.cameras, None, found, "mm", notes=(note,))


def pixels_from_lidar(day: Path) -> Float[np.ndarray, "3 4"]:
    """P_rect_02 R_rect_00 (R|T) of a day.

    Raises:
        BadInputError: A calibration file is missing, or an entry of it.
    """
    cameras, lidar = day / kitti.CALIBRATION, day / LIDAR_CALIBRATION
    turned, moved = np.eye(4), np.eye(4)
    turned[:3, :3] = kitti.entry(cameras, "R_rect_00", (3, 3))
    moved[:3, :3], moved[:3, 3] = kitti.entry(lidar, "R", (3, 3)), kitti.entry(lidar, "T", (3,))
    return kitti.entry(cameras, "P_rect_02", (3, 4)) @ turned @ moved
