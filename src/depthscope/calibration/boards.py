"""Boards of known shape, and where their corners were seen."""

import re
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from depthscope.errors import BadInputError


@dataclass(frozen=True)
class Chessboard:
    """A plain chessboard.

    Attributes:
        corners: Inner corners along its two sides.
        square_mm: Side of a square.
    """

    corners: tuple[int, int]
    square_mm: float

    def __post_init__(self) -> None:
        _check(self.corners, self.square_mm, 3)

    def __str__(self) -> str:
        return f"{self.corners[0]}x{self.corners[1]}"


@dataclass(frozen=True)
class Charuco:
    """A chessboard whose white squares carry markers, so that any part of it can be told.

    Attributes:
        squares: Squares along x and y.
        square_mm: Side of a square.
        marker_mm: Side of a marker.
        dictionary: Of the markers, by OpenCV's name without its DICT_.
    """

    squares: tuple[int, int]
    square_mm: float
    marker_mm: float
    dictionary: str = "4X4_50"

    def __post_init__(self) -> None:
        _check(self.squares, self.square_mm, 3)
        if not 0 < self.marker_mm < self.square_mm:
            raise BadInputError(
                f"markers of {self.marker_mm:g} mm in squares of {self.square_mm:g} mm",
                "markers smaller than the squares",
                "measure both, and give --square-mm and --marker-mm",
            )

    @property
    def corners(self) -> tuple[int, int]:
        """Inner corners along x and y."""
        return self.squares[0] - 1, self.squares[1] - 1

    def __str__(self) -> str:
        return f"charuco:{self.squares[0]}x{self.squares[1]}"


SQUARES_MM = (0.1, 300.0)
"""Sides of squares that boards are made with."""

Board = Chessboard | Charuco


@dataclass(frozen=True, eq=False)
class Sighting:
    """The corners of a board that one picture shows.

    Attributes:
        name: Of the picture.
        grid: Column and row of each corner on the board, counted from the corner that was seen first.
        pixels: Where it was seen; the centre of the top-left pixel is (0.5, 0.5).
        edge_px: Width of the edges between black and white, 10 to 90 %; 0 if it was not measured.
        thumbnail: The picture, made small.
        scale: Its width over that of the picture.
        whole: Whether all of the board was seen.
    """

    name: str
    grid: Int[Tensor, "corners 2"]
    pixels: Float[Tensor, "corners 2"]
    edge_px: float = 0.0
    thumbnail: UInt8[Tensor, "height width"] | None = None
    scale: float = 1.0
    whole: bool = True

    def __len__(self) -> int:
        return len(self.pixels)


def board_of(text: str, square_mm: float, marker_mm: float | None = None, dictionary: str = "4X4_50") -> Board:
    """The board that an option names: ``14x10`` (inner corners) or ``charuco:9x6`` (squares).

    Raises:
        BadInputError: It names none, or its measures make no board.
    """
    match = re.fullmatch(r"(charuco:)?(\d+)[xX](\d+)", text.strip())
    if match is None:
        raise BadInputError(f"--board {text}", "inner corners as 14x10, or squares as charuco:9x6", "count again")
    size = int(match[2]), int(match[3])
    if match[1]:
        return Charuco(size, square_mm, 0.75 * square_mm if marker_mm is None else marker_mm, dictionary)
    return Chessboard(size, square_mm)


def points_mm(board: Board, sighting: Sighting) -> Float[Tensor, "corners 3"]:
    """Where the corners of a sighting lie on the board, z = 0, x running with the columns."""
    plane = sighting.grid.double() * board.square_mm
    return torch.cat([plane, torch.zeros_like(plane[:, :1])], -1)


def _check(counts: tuple[int, int], square_mm: float, least: int) -> None:
    if min(counts) < least or max(counts) > 100:
        raise BadInputError(f"a board of {counts[0]} x {counts[1]}", f"{least} to 100 along each side", "count again")
    if not SQUARES_MM[0] <= square_mm <= SQUARES_MM[1]:
        inside = SQUARES_MM[0] <= 1000 * square_mm <= SQUARES_MM[1]
        raise BadInputError(
            f"squares of {square_mm:g} mm",
            f"{SQUARES_MM[0]:g} to {SQUARES_MM[1]:g} mm",
            f"in metres they would be {1000 * square_mm:g} mm: give --square-mm {1000 * square_mm:g}"
            if inside
            else "measure one, and give --square-mm",
        )
