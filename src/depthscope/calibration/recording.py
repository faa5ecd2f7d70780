"""The different, sharp views of a board in an image folder or a video, looked at one picture at a time."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch

from depthscope.calibration import opencv
from depthscope.calibration.boards import Board, Charuco, Chessboard, Sighting
from depthscope.errors import BadInputError, NoAnswerError
from depthscope.video import Grey, check_sizes, image_size, is_video, list_images, read_grey, read_video, video_size

LOOKS = 150
"""Frames of a video that are looked at, evenly spread."""

MOST_VIEWS = 40
"""Views that are kept: more cost time and add nothing."""

SAME_POSE = 0.02
"""Boards whose outer corners differ by less than this share of the image's diagonal are one view."""

QUICK_WIDTH = 960
"""Wider pictures are searched in small first."""

THUMBNAIL_WIDTH = 480


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


def seen_boards(source: Path, board: Board, progress: Callable[[int, int], None] = lambda done, of: None) -> Views:
    """All different sharp views of the board.

    Raises:
        BadInputError: No such recording, pictures of several sizes, the board is never seen, or it has another size.
    """
    size_px, count, pictures = _pictures(Path(source))
    kept: list[Sighting] = []
    shifts: list[torch.Tensor] = []
    others: Counter[tuple[int, int]] = Counter()
    looked = found = duplicates = 0
    for name, grey in pictures:
        looked += 1
        progress(looked, count)
        sighting, shift = _sighting(name, grey, board)
        if sighting is None:
            if isinstance(board, Chessboard) and (other := opencv.find_any_chessboard(_small(grey)[0])):
                others[other[0]] += 1
            continue
        found += 1
        if shift is not None:
            shifts.append(shift)
        near = next((i for i, other in enumerate(kept) if apart(sighting, other, size_px, board) < SAME_POSE), None)
        if near is None:
            kept.append(sighting)
        else:
            duplicates += 1
            if sighting.edge_px < 0.9 * kept[near].edge_px:
                kept[near] = sighting
    if not found:
        raise _never_seen(board, looked, others)
    sharp = [s for s in kept if s.edge_px <= max(2 * float(np.median([k.edge_px for k in kept])), 4.0)]
    chosen = _spread(sharp, size_px, board)
    notes = []
    if others:
        notes.append(f"{sum(others.values())} pictures show a part of the board only, and were left out")
    if shifts:
        # The sector method has less noise, gradients less bias on edges with halos: one shift for the whole recording.
        shift = torch.cat(shifts).median(0).values
        chosen = [replace(s, pixels=s.pixels + shift) for s in chosen]
        notes.append(
            f"corners were shifted by ({float(shift[0]):.2f}, {float(shift[1]):.2f}) px to where gradients meet"
        )
    return Views(tuple(chosen), size_px, looked, found, duplicates, len(kept) - len(sharp), tuple(notes))


def apart(one: Sighting, other: Sighting, size_px: tuple[int, int], board: Board) -> float:
    """How far the board's outer corners are apart between two views, on average, as a share of the diagonal."""
    diagonal = (size_px[0] ** 2 + size_px[1] ** 2) ** 0.5
    return float((_outline(one, board) - _outline(other, board)).norm(dim=-1).mean()) / diagonal


def _outline(sighting: Sighting, board: Board) -> torch.Tensor:
    columns, rows = board.corners
    ends = torch.tensor([[0, 0], [columns - 1, 0], [columns - 1, rows - 1], [0, rows - 1]], dtype=torch.float64)
    image_from_board = opencv.homography(sighting.grid.double(), sighting.pixels)
    if image_from_board is None:
        return sighting.pixels[[0, -1, 0, -1]]
    spread = torch.cat([ends, torch.ones(4, 1, dtype=torch.float64)], -1) @ image_from_board.mT
    return spread[:, :2] / spread[:, 2:]


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


def _sighting(name: str, grey: Grey, board: Board) -> tuple[Sighting | None, torch.Tensor | None]:
    small, scale = _small(grey, THUMBNAIL_WIDTH)
    match board:
        case Charuco():
            seen = opencv.find_charuco(grey, board)
            if seen is None:
                return None, None
            whole = len(seen[1]) == board.corners[0] * board.corners[1]
            return Sighting(name, seen[0], seen[1], 0.0, small, scale, whole), None
        case Chessboard():
            quick, by = _small(grey)
            if by < 1 and opencv.find_chessboard(quick, board.corners, False) is None:
                return None, None
            corners = opencv.find_chessboard(grey, board.corners, True)
            if corners is None:
                return None, None
            flat = opencv.flattened(grey, corners, board.corners)
            again = opencv.find_chessboard(flat, board.corners, True)
            corners = upright(corners if again is None else again, board.corners)
            columns, rows = board.corners
            grid = torch.stack(torch.meshgrid(torch.arange(columns), torch.arange(rows), indexing="xy"), -1)
            shift = (opencv.refined(flat, corners, board.corners) - corners).median(0, keepdim=True).values
            edge = opencv.edge_width(grey, corners, board.corners)
            return Sighting(name, grid.reshape(-1, 2), corners, edge, small, scale), shift


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


def _small(grey: Grey, width: int = QUICK_WIDTH) -> tuple[Grey, float]:
    if grey.shape[1] <= width:
        return grey, 1.0
    scale = width / grey.shape[1]
    size = (width, max(1, round(grey.shape[0] * scale)))
    return torch.from_numpy(cv2.resize(grey.numpy(), size, interpolation=cv2.INTER_AREA)), scale


def _pictures(source: Path) -> tuple[tuple[int, int], int, Iterator[tuple[str, Grey]]]:
    if is_video(source):
        count, size_px = video_size(source)
        every = -(-count // LOOKS)
        return size_px, -(-count // every), _every_nth(source, every)
    if not source.exists():
        raise BadInputError(f"{source} does not exist", "a video or a folder of images of the board", "check the path")
    images = list_images(source)
    size_px = image_size(images[0])
    check_sizes(images[1:], size_px, f"{images[0].name}; one camera has one image size")
    return size_px, len(images), ((path.stem, read_grey(path)) for path in images)


def _every_nth(source: Path, every: int) -> Iterator[tuple[str, Grey]]:
    for number, frame in enumerate(read_video(source)):
        if number % every == 0:
            yield f"frame_{number:06d}", torch.from_numpy(cv2.cvtColor(frame.numpy(), cv2.COLOR_RGB2GRAY))


def _never_seen(board: Board, looked: int, others: Counter[tuple[int, int]]) -> BadInputError | NoAnswerError:
    frames = f"no {board} board in any of {looked} pictures"
    if others:
        (columns, rows), times = others.most_common(1)[0]
        return BadInputError(
            f"{frames}, but a grid of {max(columns, rows)}x{min(columns, rows)} inner corners in {times}",
            "the size of the board that was filmed, all of it in the picture",
            f"try --board {max(columns, rows)}x{min(columns, rows)} (inner corners, not squares)",
        )
    return BadInputError(
        frames,
        "the whole board, flat, sharp and lit, with a white border around it",
        "count the inner corners (squares less one along each side), and look at the pictures",
    )
