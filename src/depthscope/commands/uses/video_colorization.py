"""``depthscope predict RUN CLIP --out DIR`` for a run of video colorization: points or a mask, followed."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from depthscope.commands.flags import Part
from depthscope.errors import BadInputError
from depthscope.formats import tracks
from depthscope.inference.following import FollowedClip, mask_in, points_in
from depthscope.inference.whole_clip import whole_clip
from depthscope.pretext import stored_options, stored_weights
from depthscope.pretext.stored import checkpoint_of
from depthscope.pretext.video_colorization.propagation import Propagation
from depthscope.pretext.video_colorization.task import embedder_of
from depthscope.pretext.video_colorization.tracking import (
    Tracking,
)
from depthscope.training.devices import Device, resolved_device
from depthscope.video.cut import WHOLE


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
    network.to(resolved_device(device))
    given = [path for path in (points, mask) if path is not None]
    with (
        whole_clip(input, learned.frames, part) as clip,
        writing_folder(out, inputs=(checkpoint_of(run), input, *given)) as folder,
    ):
        wanted = None if points is None else points_in(points, clip)
        followed = FollowedClip(network, clip, options, wanted, None if mask is None else mask_in(mask, clip), grid)
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
