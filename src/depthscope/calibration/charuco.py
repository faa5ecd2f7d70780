"""ChArUco boards: both patterns that OpenCV ever printed, and which board it is where another was asked for.

Up to OpenCV 4.5 a board with an even number of rows began with a white square, from 4.6 on with a black one.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import cv2
import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from depthscope.calibration.boards import Charuco
from depthscope.errors import BadInputError
from depthscope.video import Grey

HALF_PX = 0.5
"""Ours minus OpenCV's pixel coordinates."""

FEWEST_CORNERS = 6
AGREE_WITHIN, LEAST_AGREEING = 0.35, 0.7
"""So many of the corners lie within this share of a square of where a homography puts them; lenses bend the rest."""

FEWEST_MARKERS = 4
MOST_SQUARES = 30
"""Along a side of a board that is looked for."""

FITTING_MARKERS = 0.9
"""Share of the markers that a board must explain to be named."""

TRIALS = 100
"""Of a homography; most boards that are tried are the wrong ones, and for the right one nearly every trial fits."""

DICTIONARIES = (
    *(f"{bits}X{bits}_{count}" for bits in (4, 5, 6, 7) for count in (50, 250, 1000)),
    *("ARUCO_ORIGINAL", "ARUCO_MIP_36h12", "APRILTAG_36h11", "APRILTAG_25h9", "APRILTAG_16h5"),
)
"""Those that are looked for; one of 100 markers has those of its 50 first."""

Markers = tuple[Int[np.ndarray, " markers"], Float[np.ndarray, "markers 4 2"]]
"""Numbers of markers, and their corners in OpenCV's pixels."""


def find_charuco(grey: Grey, board: Charuco) -> tuple[Int[Tensor, "corners 2"], Float[Tensor, "corners 2"]] | None:
    """Grid places and pixels of the corners whose markers were read, in the pattern that more of them fit.

    Args:
        grey: The picture.
        board: The board.

    Returns:
        None where fewer than six corners were read, or they lie in no grid.
    """
    image, best = np.ascontiguousarray(grey.numpy()), None
    for legacy in (False, True) if board.squares[1] % 2 == 0 else (False,):
        corners, numbers, _, _ = cv2.aruco.CharucoDetector(printed(board, legacy)).detectBoard(image)
        if numbers is None or len(numbers) < FEWEST_CORNERS:
            continue
        number = np.asarray(numbers).reshape(-1).astype(np.int64)
        columns = board.corners[0]
        grid = np.stack([number % columns, number // columns], -1)
        places = np.asarray(corners, np.float64).reshape(-1, 2)
        if (best is None or len(grid) > len(best[0])) and lie_in_a_grid(grid, places):
            best = grid, places
    return None if best is None else (torch.from_numpy(best[0]), torch.from_numpy(best[1]) + HALF_PX)


def lie_in_a_grid(grid: Int[np.ndarray, "corners 2"], places: Float[np.ndarray, "corners 2"]) -> bool:
    """Whether most corners lie where a flat grid seen by a camera would have them."""
    found, _ = cv2.findHomography(places, grid.astype(np.float64), cv2.RANSAC, AGREE_WITHIN)
    if found is None:
        return False
    off = cv2.perspectiveTransform(places[None], found)[0] - grid
    return float((np.hypot(*off.T) < AGREE_WITHIN).mean()) >= LEAST_AGREEING


def printed(board: Charuco, legacy: bool = False) -> Any:
    """OpenCV's board.

    Args:
        board: The board.
        legacy: The pattern before OpenCV 4.6.

    Raises:
        BadInputError: There is no such dictionary.
    """
    number = getattr(cv2.aruco, f"DICT_{board.dictionary}", None)
    if number is None:
        known = ", ".join(sorted(name[5:] for name in dir(cv2.aruco) if name.startswith("DICT_")))
        raise BadInputError(f"no dictionary {board.dictionary}", f"one of {known}", "see what the board was made with")
    dictionary = cv2.aruco.getPredefinedDictionary(number)
    made = cv2.aruco.CharucoBoard(board.squares, board.square_mm, board.marker_mm, dictionary)
    if legacy:
        made.setLegacyPattern(True)
    return made


def draw_charuco(board: Charuco, square_px: int, margin_px: int, legacy: bool = False) -> Grey:
    """The board as it is printed."""
    size = (board.squares[0] * square_px + 2 * margin_px, board.squares[1] * square_px + 2 * margin_px)
    return torch.from_numpy(printed(board, legacy).generateImage(size, marginSize=margin_px))


def find_markers(grey: Grey, dictionary: str) -> Markers | None:
    """The markers of a dictionary that a picture shows; None where there are fewer than four."""
    found = cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, f"DICT_{dictionary}"))
    corners, numbers, _ = cv2.aruco.ArucoDetector(found).detectMarkers(np.ascontiguousarray(grey.numpy()))
    if numbers is None or len(numbers) < FEWEST_MARKERS:
        return None
    return np.asarray(numbers).reshape(-1), np.concatenate(corners).astype(np.float64).reshape(-1, 4, 2)


def fitting_squares(pictures: Sequence[Markers], dictionary: str, marker_share: float) -> tuple[int, int] | None:
    """Squares along x and y of the board whose markers lie as those that were seen, or None.

    Args:
        pictures: The markers of each picture.
        dictionary: Of the markers.
        marker_share: Side of a marker over that of a square.
    """
    seen = 1 + max(int(numbers.max()) for numbers, _ in pictures)
    best, most = None, FITTING_MARKERS
    for columns in range(3, MOST_SQUARES + 1):
        for rows in sorted({2 * seen // columns, -(-2 * seen // columns), (2 * seen + 1) // columns}):
            if not 3 <= rows <= MOST_SQUARES or columns * rows // 2 < seen:
                continue
            board = Charuco((columns, rows), 1.0, marker_share, dictionary)
            for legacy in (False, True) if rows % 2 == 0 else (False,):
                share = explained(pictures, printed(board, legacy))
                if share > most:
                    best, most = (columns, rows), share
    return best


def explained(pictures: Iterable[Markers], board: Any) -> float:
    """Share of the markers that lie where a board has them, each picture by its own homography."""
    places = dict(zip(np.asarray(board.getIds()).reshape(-1).tolist(), board.getObjPoints(), strict=True))
    good = total = 0
    for numbers, corners in pictures:
        known = np.array([number in places for number in numbers])
        total += len(numbers)
        if known.sum() < FEWEST_MARKERS:
            continue
        flat = np.stack([np.asarray(places[n], np.float64)[:, :2] for n in numbers[known].tolist()])
        pixels = corners[known]
        found, _ = cv2.findHomography(
            pixels.reshape(-1, 2), flat.reshape(-1, 2), cv2.RANSAC, AGREE_WITHIN / 2, maxIters=TRIALS
        )
        if found is not None:
            off = cv2.perspectiveTransform(pixels.reshape(1, -1, 2), found)[0].reshape(-1, 4, 2) - flat
            good += int((np.linalg.norm(off, axis=-1).max(1) < AGREE_WITHIN / 2).sum())
    return good / max(1, total)
