"""A recording of a board -> the camera, with how well it is known."""

from depthscope.calibration.boards import Board, Charuco, Chessboard, Sighting, board_of
from depthscope.calibration.calibration import Calibration, calibrated, from_field_of_view
from depthscope.calibration.drawing import coverage_picture, views_picture
from depthscope.calibration.recording import Views, seen_boards

__all__ = [
    "Board",
    "Calibration",
    "Charuco",
    "Chessboard",
    "Sighting",
    "Views",
    "board_of",
    "calibrated",
    "coverage_picture",
    "from_field_of_view",
    "seen_boards",
    "views_picture",
]
