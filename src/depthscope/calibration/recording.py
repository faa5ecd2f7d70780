"""The different, sharp views of a board in an image folder or a video, looked at one picture at a time."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from depthscope.calibration import charuco, opencv
from depthscope.calibration.boards import Board, Charuco, Chessboard, Sighting
from depthscope.calibration.saddle import refined
from depthscope.errors import BadInputError
from depthscope.video import (
    WHOLE,
    Cut,
    Grey,
    Image,
    MovieFrames,
    check_sizes,
    image_size,
    is_video,
    list_images,
    movie_frames,
    open_frames,
    orientation_remark,
    read_grey,
    video_size,
)

LOOKS = 150
"""Frames of a video that are looked at, evenly spread."""

MOST_VIEWS = 40
"""Views that are kept: more cost time and add nothing."""

SAME_POSE = 0.02
"""Boards whose outer corners differ by less than this share of the image's diagonal are one view."""

QUICK_WIDTH = 960
"""Wider pictures are searched in small first."""

THUMBNAIL_WIDTH = 480

DIAGNOSED = 8
"""About so many pictures are looked at again where no board was found, to say which one there is."""

FEWEST_CORNERS = 20
"""A part of a chessboard with fewer corners is not used."""

Corners = Literal["crossings", "gradients"]
"""How corners are placed: by fitting blurred crossings, or by gradients as OpenCV's cornerSubPix does."""

GRADIENTS_REACH, LARGEST_GRADIENTS_PX = 0.4, 9
"""Half of the window of gradients: in squares, and in pixels at most."""

EDGE_OF_BLUR = 2.563
"""Width of an edge from 10 to 90 %, in standard deviations of its blur."""


@dataclass(frozen=True, eq=False)
class Views:
    """What was seen of a board.

    Attributes:
        sightings: The views kept.
        size_px: (width, height) of the pictures.
        looked: Pictures that were looked at.
        found: Pictures in which a board was found.
        duplicates: Of these, near duplicates of another that was kept.
        blurred: Of these, too blurred to use.
        notes: What else is worth knowing.
    """

    sightings: tuple[Sighting, ...]
    size_px: tuple[int, int]
    looked: int
    found: int
    duplicates: int
    blurred: int
    notes: tuple[str, ...] = ()


LARGER_LOOKED_FOR = 3
"""Pictures in which a grid larger than the one that was asked for, and found, is looked for."""


def seen_boards(
    source: Path,
    board: Board,
    progress: Callable[[int, int], None] = lambda done, of: None,
    corners: Corners = "crossings",
    cut: Cut = WHOLE,
) -> Views:
    """All different sharp views of the board.

    Args:
        source: Video or image folder.
        board: The board.
        progress: Told how many of how many pictures were looked at.
        corners: How corners are placed.
        cut: Which frames of the recording.

    Raises:
        BadInputError: No such recording, pictures of several sizes, the board is never seen, or it has another size.
    """
    notes: list[str] = []
    size_px, count, pictures = _pictures(Path(source), cut, notes.append)
    kept: list[Sighting] = []
    sample: list[Grey] = []
    others, parts = Counter[tuple[int, int]](), Counter[tuple[int, int]]()
    looked = found = duplicates = 0
    for name, grey in pictures:
        looked += 1
        progress(looked, count)
        sighting = _sighting(name, grey, board, corners)
        if isinstance(sighting, tuple):
            others[sighting] += 1
        if not isinstance(sighting, Sighting):
            continue
        found += 1
        if not sighting.whole:
            parts[_grid_size(sighting)] += 1
        elif len(sample) < LARGER_LOOKED_FOR:
            sample.append(_small(grey)[0])
        near = next((i for i, other in enumerate(kept) if apart(sighting, other, size_px, board) < SAME_POSE), None)
        if near is None:
            kept.append(sighting)
        else:
            duplicates += 1
            if (not sighting.whole, sighting.edge_px) < (not kept[near].whole, 0.9 * kept[near].edge_px):
                kept[near] = sighting
    if isinstance(board, Chessboard) and not any(s.whole for s in kept):
        found, others = 0, others + parts  # a board that is never seen whole is one of another size
    if isinstance(board, Chessboard) and (larger := _larger_grid(sample, board.corners)) is not None:
        name = f"{max(larger)}x{min(larger)}"
        raise BadInputError(
            f"{board} corners are only a part of the board in {source}, which has {name}",
            "the size of the board that was filmed",
            f"try --board {name} (inner corners, not squares)",
        )
    if not found:
        raise _never_seen(Path(source), board, cut, looked, others)
    sharp = [s for s in kept if s.edge_px <= max(2 * float(np.median([k.edge_px for k in kept])), 4.0)]
    chosen = _spread(sharp, size_px, board)
    if partial := sum(not s.whole for s in chosen):
        notes.append(f"{partial} of the views show a part of the board")
    if others:
        notes.append(f"{sum(others.values())} pictures show too little of the board, or another one, and were left out")
    return Views(tuple(chosen), size_px, looked, found, duplicates, len(kept) - len(sharp), tuple(notes))


def _larger_grid(pictures: list[Grey], size: tuple[int, int]) -> tuple[int, int] | None:
    """(columns, rows) of a larger grid that most of some pictures show, though one of `size` was found in each."""
    grids = Counter(tuple(sorted(part[0])) for grey in pictures if (part := opencv.find_any_chessboard(grey)))
    (rows, columns), times = grids.most_common(1)[0] if grids else ((0, 0), 0)
    larger = rows >= min(size) and columns >= max(size) and rows * columns > size[0] * size[1]
    return (columns, rows) if larger and 2 * times > len(pictures) else None


def apart(one: Sighting, other: Sighting, size_px: tuple[int, int], board: Board) -> float:
    """How far the board's outer corners are apart between two views, on average, as a share of the diagonal."""
    diagonal = (size_px[0] ** 2 + size_px[1] ** 2) ** 0.5
    return float((_outline(one, board) - _outline(other, board)).norm(dim=-1).mean()) / diagonal


def _outline(sighting: Sighting, board: Board) -> torch.Tensor:
    columns, rows = board.corners if sighting.whole or isinstance(board, Charuco) else _grid_size(sighting)
    ends = torch.tensor([[0, 0], [columns - 1, 0], [columns - 1, rows - 1], [0, rows - 1]], dtype=torch.float64)
    image_from_board = opencv.homography(sighting.grid.double(), sighting.pixels)
    if image_from_board is None:
        return sighting.pixels[[0, -1, 0, -1]]
    spread = torch.cat([ends, torch.ones(4, 1, dtype=torch.float64)], -1) @ image_from_board.mT
    return spread[:, :2] / spread[:, 2:]


def _grid_size(sighting: Sighting) -> tuple[int, int]:
    columns, rows = (sighting.grid.amax(0) + 1).tolist()
    return columns, rows


def _spread(sightings: list[Sighting], size_px: tuple[int, int], board: Board) -> list[Sighting]:
    """At most `MOST_VIEWS` of them, each as far as possible from those before it."""
    if len(sightings) <= MOST_VIEWS:
        return sightings
    outlines = torch.stack([_outline(s, board).reshape(-1) for s in sightings])
    chosen = [0]
    distance = (outlines - outlines[0]).norm(dim=-1)
    while len(chosen) < MOST_VIEWS:
        chosen.append(int(distance.argmax()))
        distance = torch.minimum(distance, (outlines - outlines[chosen[-1]]).norm(dim=-1))
    return [sightings[i] for i in sorted(chosen)]


def _sighting(name: str, grey: Grey, board: Board, how: Corners) -> Sighting | tuple[int, int] | None:
    """What a picture shows of the board; the size of a grid that is no part of it; or None."""
    match board:
        case Charuco():
            seen = opencv.find_charuco(grey, board)
            clear = 0.5 * (1 - board.marker_mm / board.square_mm)
            return None if seen is None else _exact(name, grey, board, *seen, clear, how)
        case Chessboard():
            quick, by = _small(grey)
            size, corners = board.corners, opencv.find_chessboard(quick, board.corners)
            if corners is None:
                part = opencv.find_any_chessboard(quick)
                if part is None:
                    return None
                size, corners = part
                if not _part_of(size, board.corners):
                    return size
            grid = torch.stack(torch.meshgrid(torch.arange(size[0]), torch.arange(size[1]), indexing="xy"), -1)
            return _exact(name, grey, board, grid.reshape(-1, 2), upright(corners / by, size), 1.0, how)


def _part_of(size: tuple[int, int], board: tuple[int, int]) -> bool:
    return size[0] * size[1] >= FEWEST_CORNERS and min(size) <= min(board) and max(size) <= max(board)


def _exact(
    name: str, grey: Grey, board: Board, grid: torch.Tensor, pixels: torch.Tensor, clear: float, how: Corners
) -> Sighting | None:
    """Corners where crossings could be fitted, or None where most could not."""
    result = refined(grey, grid, pixels, clear)
    good, placed = result.good, result.pixels
    if int(good.sum()) < max(6, 0.5 * len(good)):
        return None
    if how == "gradients":
        side = float(torch.cdist(placed, placed).fill_diagonal_(float("inf")).amin(-1).median())
        reach = min(GRADIENTS_REACH, clear) * side
        placed = opencv.by_gradients(grey, placed, max(2, min(LARGEST_GRADIENTS_PX, round(reach))))
    small, scale = _small(grey, THUMBNAIL_WIDTH)
    edge = EDGE_OF_BLUR * float(result.blur_px[good].median())
    whole = len(good) == board.corners[0] * board.corners[1]
    return Sighting(name, grid[good], placed[good], edge, small, scale, whole)


def upright(corners: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Corners in one order for all views: rows to the right, or down where they are steep, and never mirrored.

    Turned by half a turn most boards look the same, so the order says nothing about how the board was held.
    """
    grid = corners.reshape(size[1], size[0], 2)
    along, down = grid[0, -1] - grid[0, 0], grid[-1, 0] - grid[0, 0]
    if along[0] * down[1] - along[1] * down[0] < 0:
        grid = grid.flip(0)
    along = grid[0, -1] - grid[0, 0]
    if along[int(along.abs().argmax())] < 0:
        grid = grid.flip(0, 1)
    return grid.reshape(-1, 2).clone()


def _small(grey: Grey, width: int = QUICK_WIDTH) -> tuple[UInt8[Tensor, "rows columns"], float]:
    if grey.shape[1] <= width:
        return grey, 1.0
    scale = width / grey.shape[1]
    size = (width, max(1, round(grey.shape[0] * scale)))
    return torch.from_numpy(cv2.resize(grey.numpy(), size, interpolation=cv2.INTER_AREA)), scale


def _pictures(
    source: Path, cut: Cut, tell: Callable[[str], None] = lambda sentence: None
) -> tuple[tuple[int, int], int, Iterator[tuple[str, Grey]]]:
    if source.exists() and not cut.whole:
        frames = open_frames(source, cut)
        count = frames.count or 1
        every = -(-count // LOOKS) if isinstance(frames, MovieFrames) else 1
        seen = ((frames.name_of(f.index), _grey(f.image)) for f in frames.walk(tell) if f.index % every == 0)
        return frames.size_px, -(-count // every), seen
    if is_video(source):
        count, size_px = video_size(source)
        every = -(-count // LOOKS)
        return size_px, -(-count // every), _every_nth(source, every, tell)
    if not source.exists():
        raise BadInputError(f"{source} does not exist", "a video or a folder of images of the board", "check the path")
    images = list_images(source)
    size_px = image_size(images[0])
    check_sizes(images[1:], size_px, f"{images[0].name}; one camera has one image size")
    if remark := orientation_remark(images[0]):
        tell(remark)
    return size_px, len(images), ((path.stem, read_grey(path)) for path in images)


def _every_nth(source: Path, every: int, tell: Callable[[str], None]) -> Iterator[tuple[str, Grey]]:
    for number, _, image in movie_frames(source, wanted=lambda index, _: index % every == 0, tell=tell):
        yield f"frame_{number:06d}", _grey(image)


def _grey(image: Image) -> Grey:
    return torch.from_numpy(cv2.cvtColor(image.numpy(), cv2.COLOR_RGB2GRAY))


def _never_seen(source: Path, board: Board, cut: Cut, looked: int, others: Counter[tuple[int, int]]) -> BadInputError:
    """What is told where the board that was asked for is in no picture: which one is, if any can be found."""
    frames = f"{source}: no {board} board in any of {looked} pictures"
    (columns, rows), times = others.most_common(1)[0] if others else ((0, 0), 0)
    clear = columns * rows >= FEWEST_CORNERS
    other = None if clear and isinstance(board, Chessboard) else _board_seen(source, board, cut)
    if other is None and others and isinstance(board, Chessboard):
        return BadInputError(
            f"{frames}, but a grid of {max(columns, rows)}x{min(columns, rows)} inner corners in {times}",
            "the size of the board that was filmed, all of it in the picture",
            f"try --board {max(columns, rows)}x{min(columns, rows)} (inner corners, not squares)",
        )
    if other is not None:
        return BadInputError(f"{frames}, but {other[0]}", "the board that was filmed", f"try {other[1]}")
    return BadInputError(
        frames,
        "the whole board, flat, sharp and lit, with a white border around it",
        "count the inner corners (squares less one along each side), and look at the pictures"
        if isinstance(board, Chessboard)
        else "count the squares along each side, check --dictionary, and look at the pictures",
    )


def _board_seen(source: Path, board: Board, cut: Cut) -> tuple[str, str] | None:
    """Which other board some of the pictures show, in words, and the options for it."""
    _, count, pictures = _pictures(source, cut)
    every = max(1, count // DIAGNOSED)
    some = [_small(grey)[0] for number, (_, grey) in enumerate(pictures) if number % every == 0]
    asked = (board.dictionary,) if isinstance(board, Charuco) else ()
    for dictionary in dict.fromkeys((*asked, *charuco.DICTIONARIES)):
        seen = [found for grey in some if (found := charuco.find_markers(grey, dictionary)) is not None]
        if 2 * len(seen) < len(some) or not seen:
            continue
        share = board.marker_mm / board.square_mm if isinstance(board, Charuco) else 0.75
        squares = charuco.fitting_squares(seen, dictionary, share)
        option = "" if dictionary in asked else f" --dictionary {dictionary}"
        if squares is not None and (option or not isinstance(board, Charuco) or squares != board.squares):
            name = f"charuco:{squares[0]}x{squares[1]}"
            return f"markers of a {name} board (squares)", f"--board {name}{option}"
        if option:
            return f"markers of the dictionary {dictionary}", f"--dictionary {dictionary}, with a charuco board"
    sizes = Counter(part[0] for grey in some if (part := opencv.find_any_chessboard(grey)) is not None)
    if isinstance(board, Chessboard):
        columns, rows = board.corners
        for size in ((columns - 1, rows - 1), (columns + 1, rows + 1), (columns - 2, rows - 2)):
            if not sizes and min(size) >= 3:
                sizes.update(size for grey in some if opencv.find_chessboard(grey, size) is not None)
    if not sizes or (sizes.most_common(1)[0][1] < 2 and len(some) > 2):  # texture looks like a board once, not twice
        return None
    columns, rows = sorted(sizes.most_common(1)[0][0], reverse=True)
    return f"a plain chessboard of {columns}x{rows} inner corners", f"--board {columns}x{rows}"
