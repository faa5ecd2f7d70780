"""``depthscope predict RUN CLIP --out DIR`` for a run of video colorization: points or a mask, followed."""

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from torch import Tensor
from tyro.conf import Positional, arg

from depthscope.commands.flags import Device, Part
from depthscope.commands.uses.track_overlay import Overlay
from depthscope.commands.uses.whole_clip import WholeClip, whole_clip
from depthscope.errors import BadInputError
from depthscope.formats import tracks
from depthscope.pretext import stored_options, stored_weights
from depthscope.pretext.stored import checkpoint_of
from depthscope.pretext.video_colorization.klt import Klt
from depthscope.pretext.video_colorization.propagation import Propagation
from depthscope.pretext.video_colorization.task import Embedder, embedder_of
from depthscope.pretext.video_colorization.tracking import (
    MaskCarrier,
    PointTracker,
    Tracked,
    Tracking,
    content_cells,
    grid_of_points,
)
from depthscope.video.cut import WHOLE

SURE = 0.3
"""Confidence below which a point is drawn faintly."""


def video_colorization(
    run: Annotated[Positional[Path], arg(metavar="RUN")],
    input: Annotated[Positional[Path], arg(metavar="INPUT")],  # noqa: A002 - the name on the command line
    /,
    out: Path,
    points: Path | None = None,
    mask: Annotated[Path | None, arg(name="first-mask", aliases=("--mask",))] = None,
    grid: int = 12,
    memory: int = 7,
    nearest: int = 5,
    window: int = 12,
    temperature: float = 0.1,
    refine: bool = True,
    least_correlation: float = 0.7,
    device: Device = "auto",
    part: Part = WHOLE,
) -> int:
    """Follows points or a mask of the first frame through a clip: tracks, masks, and a video that shows them.

    Args:
        run: Folder of a run of depthscope pretrain video-colorization.
        input: Video file, image folder or sequence folder.
        out: Folder for tracks.csv, masks/ and video.mp4.
        points: CSV of x,y in the first frame, in pixels of the video (top left centre 0.5, 0.5); a grid if left away.
        mask: Image of the first frame's size; each of its grey levels is followed (0 is background).
        grid: Points across the frame where none are given.
        memory: Last frames that labels are copied from, beside the first.
        nearest: Most similar cells that a cell copies from.
        window: How far it looks for them, in cells.
        temperature: Of their weights.
        refine: Refine points by normalised correlation at full size.
        least_correlation: From which a refined place is taken.
        device: Where to compute; auto takes a GPU if there is one.
        part: Which frames of it are used.
    """
    from depthscope.video import write_video
    from depthscope.workspace import content_hash, write_provenance, write_result, writing_folder

    start = time.perf_counter()
    if grid < 1:
        raise BadInputError(f"--grid {grid}", "1 point or more across the frame")
    options = Tracking(Propagation(memory, nearest, window, temperature), refine, least_correlation)
    _, learned = stored_options(run)
    network = embedder_of(replace(learned.encoder, weights=""), learned.channels, learned.stride, stored_weights(run))
    network.to("cuda" if device == "cuda" or (device == "auto" and torch.cuda.is_available()) else "cpu")
    given = [path for path in (points, mask) if path is not None]
    with (
        whole_clip(input, learned.frames, part) as clip,
        writing_folder(out, inputs=(checkpoint_of(run), input, *given)) as folder,
    ):
        wanted = None if points is None else points_in(points, clip)
        followed = Followed(network, clip, options, wanted, None if mask is None else mask_in(mask, clip), grid)
        if mask is not None:
            (folder / "masks").mkdir()
        write_video(folder / "video.mp4", followed.pictures(folder), clip.frames_per_second)
        tracks.write(folder / "tracks.csv", followed.rows)
        tracks.write(folder / "klt.csv", followed.klt_rows)
        figures = followed.figures()
        write_result(folder, {**figures, "seconds": time.perf_counter() - start, "size_px": list(clip.source.size_px)})
        write_provenance(
            folder,
            options={"memory": memory, "nearest": nearest, "window": window, "temperature": temperature}
            | {"refine": refine, "least_correlation": least_correlation, "grid": None if points else grid},
            inputs={str(path): content_hash(path) for path in (checkpoint_of(run), input, *given)},
            seconds=time.perf_counter() - start,
        )
    print(
        f"{figures['points']} points through {figures['frames']} frames, {figures['sure_at_end']} sure at the end "
        f"(optical flow: {figures['klt_at_end']} left): {out}"
    )
    return 0


def points_in(path: Path, clip: WholeClip) -> Tensor:
    """The points of a file.

    Raises:
        BadInputError: One lies outside of the frame.
    """
    found = torch.from_numpy(tracks.read_points(path))
    width, height = clip.source.size_px
    outside = (found < 0).any(1) | (found[:, 0] > width) | (found[:, 1] > height)
    if outside.any():
        x, y = found[outside][0].tolist()
        raise BadInputError(
            f"{path}: ({x:g}, {y:g}) and {int(outside.sum()) - 1} more points lie outside of the frame",
            f"0 to {width} and 0 to {height}, in pixels of the video",
            "leave them out",
        )
    return found


def mask_in(path: Path, clip: WholeClip) -> Tensor:
    """The mask of a file as whole numbers.

    Raises:
        BadInputError: It is of another size than the frames, or shows nothing.
    """
    from depthscope.video import read_grey

    found = read_grey(path).long()
    size = clip.source.size_px
    if (found.shape[1], found.shape[0]) != size:
        raise BadInputError(
            f"{path} is {found.shape[1]} x {found.shape[0]} pixels",
            f"{size[0]} x {size[1]} as the first frame of the clip",
            "draw it on that frame",
        )
    if len(torch.unique(found)) < 2:
        raise BadInputError(f"{path} has one grey level", "0 where nothing is followed, and another one", "draw it")
    return found


class Followed:
    """What is followed through a clip; rows and pictures come as the frames go by.

    Args:
        network: Embeds frames.
        clip: Its frames.
        options: How.
        points: In the first frame; None for a grid, or for none where there is a mask.
        mask: Of the first frame.
        grid: Points across.
    """

    def __init__(
        self,
        network: Embedder,
        clip: WholeClip,
        options: Tracking,
        points: Tensor | None,
        mask: Tensor | None,
        grid: int,
    ) -> None:
        self.network, self.clip = network, clip
        cells = content_cells(clip.content, network.stride)
        if points is None:
            points = grid_of_points(clip.content, clip.window, grid)
            if mask is not None:  # the points of a grid that lie on what is followed
                column, row = points.floor().long().unbind(-1)
                points = points[mask[row, column] > 0]
        self.points = points
        self.tracker = PointTracker(points, clip.window, cells, network.stride, options)
        self.carrier = None if mask is None else MaskCarrier(mask, clip.window, cells, options.propagation)
        self.klt = Klt(points.numpy())
        self.rows: list[tuple[str, int, float, float, float]] = []
        self.klt_rows: list[tuple[str, int, float, float, float]] = []
        self.last: Tracked | None = None
        self.frames = 0

    def pictures(self, folder: Path) -> Iterator[Tensor]:
        """Every frame with what is followed drawn on it; masks are written to ``folder/masks``."""
        from rich.console import Console
        from rich.progress import track

        from depthscope.video import write_image

        console, overlay = Console(highlight=False), Overlay(len(self.points), self.clip.source.size_px, SURE)
        walk = track(self.clip, "follow", total=len(self.clip.corpus), console=console, disable=not console.is_terminal)
        for name, small, image in walk:
            with torch.no_grad():
                features = self.network(small.to(self.network.palette.device))[0].float().cpu()
            self.last = self.tracker.step(features, image)
            flow, kept = self.klt.step(image.numpy())
            self.rows += _rows(name, self.last.places.numpy(), self.last.confidence.numpy())
            self.klt_rows += _rows(name, flow, kept.astype(float))
            found = None if self.carrier is None else self.carrier.step(features)
            if found is not None:
                write_image(folder / "masks" / f"{name}.png", found.byte())
            self.frames += 1
            yield overlay.picture(image, self.last, flow[kept], found)

    def figures(self) -> dict[str, object]:
        """What is told of it."""
        assert self.last is not None
        flow, kept = self.klt.places, self.klt.kept
        sure = self.last.confidence.numpy() >= SURE
        apart = np.linalg.norm(flow - self.last.places.numpy(), axis=1)[kept & sure]
        return {
            "frames": self.frames,
            "points": len(self.points),
            "sure_at_end": int(sure.sum()),
            "mean_confidence": float(np.mean([row[-1] for row in self.rows])) if self.rows else None,
            "klt_at_end": int(kept.sum()),
            "median_distance_to_klt_px": float(np.median(apart)) if len(apart) else None,
            "masks": 0 if self.carrier is None else self.frames,
        }


def _rows(name: str, places: np.ndarray, sure: np.ndarray) -> Iterator[tuple[str, int, float, float, float]]:
    for point, ((x, y), value) in enumerate(zip(places.tolist(), sure.tolist(), strict=True)):
        yield name, point, x, y, value
