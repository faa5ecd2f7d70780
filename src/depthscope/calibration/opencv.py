"""All that calibration asks of OpenCV, with its names and its pixels (top-left centre at (0, 0)) kept inside."""

from typing import Any

import cv2
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from depthscope.calibration.charuco import HALF_PX, draw_charuco, find_charuco
from depthscope.video import Grey

__all__ = [
    "board_motion",
    "by_gradients",
    "draw_charuco",
    "find_any_chessboard",
    "find_charuco",
    "find_chessboard",
    "homography",
]

Corners = Float[Tensor, "corners 2"]

EQUALISED = cv2.CALIB_CB_ADAPTIVE_THRESH | cv2.CALIB_CB_NORMALIZE_IMAGE


def find_chessboard(grey: Grey, size: tuple[int, int]) -> Corners | None:
    """Inner corners, row by row, to a fraction of a pixel, or None.

    The sector method (Duda and Frese 2018) comes first, then the older one on 1x and 2x. Histogram equalisation
    hides boards at the dark rim of a round picture, so that the plain picture is tried too.
    """
    image = np.ascontiguousarray(grey.numpy())
    for flags in (0, cv2.CALIB_CB_EXHAUSTIVE, cv2.CALIB_CB_EXHAUSTIVE | cv2.CALIB_CB_NORMALIZE_IMAGE):
        found, corners = cv2.findChessboardCornersSB(image, size, flags=flags)
        if found:
            return _ours(corners)
    for factor in (1, 2) if max(image.shape) <= 2048 else (1,):
        large = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC) if factor > 1 else image
        for flags in (EQUALISED, cv2.CALIB_CB_ADAPTIVE_THRESH):
            found, corners = cv2.findChessboardCorners(large, size, flags=flags)
            if found:
                return _ours(corners) / factor
    return None


def find_any_chessboard(grey: Grey) -> tuple[tuple[int, int], Corners] | None:
    """(columns, rows) and corners of the largest grid that is seen, from 3 x 3 on."""
    image = np.ascontiguousarray(grey.numpy())
    found, corners, meta = cv2.findChessboardCornersSBWithMeta(image, (3, 3), cv2.CALIB_CB_LARGER)
    if not found or meta is None:
        return None
    rows, columns = meta.shape[:2]
    ours = _ours(corners)
    return ((columns, rows), ours) if len(ours) == rows * columns else None


def by_gradients(grey: Grey, corners: Corners, half_px: int) -> Corners:
    """Corners moved to where the gradients around them point at right angles away (Foerstner and Guelch 1987).

    Args:
        grey: The picture.
        corners: Where they are, to within the window.
        half_px: Half of the window.
    """
    image, start = np.ascontiguousarray(grey.numpy()), (corners.numpy() - HALF_PX).astype(np.float32)[:, None].copy()
    stop = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 100, 5e-4)
    return _ours(cv2.cornerSubPix(image, start, (half_px, half_px), (-1, -1), stop))


def homography(plane: Float[Tensor, "corners 2"], image: Float[Tensor, "corners 2"]) -> Float[Tensor, "3 3"] | None:
    """``image_from_plane`` by least squares, or None."""
    found, _ = cv2.findHomography(plane.numpy(), image.numpy(), 0)
    return None if found is None else torch.from_numpy(found)


def board_motion(
    points: Float[Tensor, "corners 3"], plane: Float[Tensor, "corners 2"]
) -> tuple[Float[Tensor, "3 3"], Float[Tensor, "3"]] | None:
    """Rotation and translation ``camera_from_board`` from points of the plane z = 1 (Collins and Bartoli 2014)."""
    try:
        count, turns, shifts, _ = cv2.solvePnPGeneric(
            points.numpy(), plane.numpy().reshape(-1, 1, 2), np.eye(3), None, flags=cv2.SOLVEPNP_IPPE
        )
    except cv2.error:
        return None
    for turn, shift in zip(turns[:count], shifts[:count], strict=True):  # the better one first
        rotation, translation = cv2.Rodrigues(turn)[0], np.asarray(shift, np.float64).reshape(3)
        depths = points.numpy() @ rotation[2] + translation[2]
        # All that is seen lies in front; the board's own origin need not be seen, and may lie behind a wide lens.
        if np.isfinite(rotation).all() and np.isfinite(translation).all() and bool((depths > 0).all()):
            return torch.from_numpy(rotation), torch.from_numpy(translation.copy())
    return None


def _ours(corners: Any) -> Corners:
    return torch.from_numpy(np.asarray(corners, np.float64).reshape(-1, 2)) + HALF_PX
