"""The files of a clip: frames, their truth, and the videos."""

from pathlib import Path

from depthscope.simulation.clip_files.arrays import packed_flow, packed_normals, write_array
from depthscope.simulation.clip_files.board import write_board
from depthscope.simulation.clip_files.take import Take, flow_after, gains, photographed
from depthscope.video import read_image, write_video

TRUTH = ("depth", "normals", "flow", "masks/highlight", "masks/shadow", "masks/instrument", "masks/debris")
"""Folders of truth beside ``images``."""


def write_frames(take: Take, frames: range, folder: Path) -> None:
    """Writes frames and their truth under ``images``, ``depth``, ``normals``, ``flow`` and ``masks``.

    Masks of instrument and debris are there in clips that have any.
    """
    given = take.disturbances
    absent = (given.instrument is None and "masks/instrument", given.debris.clear and "masks/debris")
    for name in ("images", *TRUTH):
        if name not in absent:
            (folder / name).mkdir(parents=True, exist_ok=True)
    for number, gain in zip(frames, gains(take, frames), strict=True):
        rendered, hidden, shown = photographed(take, number, gain)
        name = f"{number:04d}"
        write_array(folder / "images" / f"{name}.png", shown.flip(-1).numpy())
        write_array(folder / "depth" / f"{name}.tiff", rendered.depth.float().numpy())
        write_array(folder / "normals" / f"{name}.png", packed_normals(rendered.normals))
        masks = {
            "highlight": rendered.highlight,
            "shadow": rendered.shadow,
            "instrument": rendered.instrument,
            "debris": hidden,
        }
        for kind, mask in masks.items():
            if f"masks/{kind}" not in absent:
                write_array(folder / "masks" / kind / f"{name}.png", mask.byte().numpy() * 255)
        if number + 1 < len(take):
            write_array(folder / "flow" / f"{name}.png", packed_flow(*flow_after(take, number, rendered)))


def write_videos(take: Take, folder: Path, frames_per_second: float, board_frames: int) -> None:
    """Writes ``video.mp4`` from the frames that are there, and ``board.mp4`` with ``board.json``, its truth."""
    images = [folder / "images" / f"{n:04d}.png" for n in range(len(take))]
    write_video(folder / "video.mp4", (read_image(path) for path in images), frames_per_second, crf=take.scope.crf)
    write_board(take.scope, folder, board_frames, (take.patient, take.clip))
