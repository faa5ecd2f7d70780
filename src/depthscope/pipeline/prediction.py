"""Depth maps of a recording as a folder, whole or not at all."""

import time
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, TypeVar

import torch
from torch import Tensor

from depthscope.errors import BadInputError
from depthscope.formats import depth_maps
from depthscope.pipeline.recordings import of_targets, open_recording, with_scale_of
from depthscope.prediction import (
    DepthMap,
    DepthModel,
    Recording,
    along_axis,
    cloud,
    load_model,
    predict as predict_depth,
    undistorted_map,
)
from depthscope.progress import suggest, track
from depthscope.training.devices import Backend, Device, resolved_device
from depthscope.training.options import resolved_precision
from depthscope.video import WHOLE
from depthscope.video.cut import Cut, check_no_part

Item = TypeVar("Item")


Done = TypeVar("Done")


@dataclass(frozen=True)
class Writing:
    """How depth maps are made and what is written beside them.

    Attributes:
        clouds: Point clouds of every so many frames; 0 for none.
        video: Write a video of frames and depth.
        batch: Frames in one pass.
        device: Where to compute; auto takes a GPU if there is one.
        began: `time.perf_counter` when the command began.
        full_size: Maps of the size of the frame.
        undistort_deg: Field of view of the undistorted maps; None for none.
    """

    clouds: int
    video: bool
    batch: int
    device: Literal["cpu", "cuda"]
    began: float
    full_size: bool = False
    undistort_deg: float | None = None

    def __post_init__(self) -> None:
        if self.batch < 1 or self.clouds < 0:
            raise BadInputError(f"--batch {self.batch} and --clouds {self.clouds}", "1 or more, and 0 or more")


def write_prediction(
    model: DepthModel, recording: Recording, source: Path, out: Path, given: Writing, *, scaled: bool = False
) -> None:
    """Depth of every frame of a recording into a folder, whole or not at all."""
    from depthscope.formats import camera_file
    from depthscope.workspace import content_hash, write_provenance, write_result, writing_folder

    device = given.device
    bf16 = resolved_precision("auto", device) == "bf16"
    with writing_folder(out, inputs=(model.source, source)) as folder:
        for name in ("depth", "preview"):
            (folder / name).mkdir()
        seconds, count, unit, size, pixels, kind = 0.0, 0, "relative", (0, 0), None, "z"
        began = time.perf_counter()
        maps = predict_depth(
            model,
            recording,
            batch=given.batch,
            scaled=scaled,
            device=device,
            bf16=bf16,
            full_size=given.full_size,
        )
        with closing(in_order(partial(write_depth, folder), maps)) as written:
            for depth_map in track(written, "predict", len(recording.names)):
                seconds += time.perf_counter() - began
                if given.undistort_deg is not None:
                    write_undistorted(folder / "undistorted", depth_map, given.undistort_deg)
                if given.clouds and count % given.clouds == 0 and depth_map.camera is not None:
                    write_cloud(folder, depth_map, recording, count)
                count, unit, size = count + 1, depth_map.unit, tuple(depth_map.depth.shape[::-1])
                pixels = depth_map.camera
                kind = along_axis(depth_map).kind if bool((depth_map.depth > 0).any()) else kind
                began = time.perf_counter()
        if pixels is not None:
            camera_file.write(pixels, folder / "camera.yaml")
        elif given.clouds:
            recording.notes.append("no point clouds: the camera is not known; give --camera")
        write_previews(folder, recording.names[:count], given.video)
        write_result(
            folder,
            {
                "frames": count,
                "seconds": seconds,
                "frames_per_second": count / max(seconds, 1e-9),
                "unit": unit,
                "aligned_to_points": scaled,
                "checkpoint": str(model.source),
                "recipe": model.recipe.name,
                "size_px": list(size),
                "depth": kind,
                "undistorted": False,
                "notes": recording.notes,
            },
        )
        write_provenance(
            folder,
            options={
                "batch": given.batch,
                "device": device,
                "bf16": bf16,
                "backend": getattr(model.network, "backend", "torch"),
            },
            inputs={str(model.source): content_hash(model.source), str(source): content_hash(source)},
            seconds=time.perf_counter() - given.began,
        )
    for note in recording.notes:
        print(note)
    print(f"{count} frames at {count / max(seconds, 1e-9):.1f} frames/s, depth in unit '{unit}': {out}")


def in_order(
    work: Callable[[Item], Done], items: Iterable[Item], threads: int = 2, ahead: int = 16
) -> Generator[Done, None, None]:
    """What `work` makes of each item, in order, by threads that are at most `ahead` items before the reader.

    Close it where it may not be read to its end: its threads go on writing until then.
    """
    waiting: deque[Future] = deque()
    pool = ThreadPoolExecutor(threads)
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def write_depth(folder: Path, depth_map: DepthMap) -> DepthMap:
    """The raw numbers: float32 TIFFs, z where the lens allows it, and the frame at the same size for later pictures.

    Returns:
        The depth map as it was given.
    """
    from depthscope.video import write_image

    written = along_axis(depth_map)
    depth_maps.write(folder / "depth" / f"{depth_map.name}.tiff", written.depth)
    if written.std is not None:
        (folder / "std").mkdir(exist_ok=True)
        depth_maps.write(folder / "std" / f"{depth_map.name}.tiff", written.std)
    write_image(folder / "preview" / f"{depth_map.name}.png", depth_map.image, quick=True)
    return depth_map


def write_undistorted(folder: Path, depth_map: DepthMap, field_deg: float) -> None:
    """The frame and its map without distortion, with the pinhole of their pixels, as a folder of predictions."""
    from depthscope.formats import camera_file
    from depthscope.video import write_image
    from depthscope.workspace import write_result

    made, share = undistorted_map(depth_map, field_deg)
    assert made.camera is not None
    if not (folder / "result.json").is_file():
        for name in ("depth", "images", *(() if made.std is None else ("std",))):
            (folder / name).mkdir(parents=True)
        camera_file.write(made.camera, folder / "camera.yaml")
        said = {"depth": made.kind, "undistorted": True, "unit": made.unit, "size_px": list(made.camera.size_px)}
        write_result(folder, {**said, "field_deg": field_deg, "share_of_content": share})
    depth_maps.write(folder / "depth" / f"{made.name}.tiff", made.depth)
    write_image(folder / "images" / f"{made.name}.png", made.image)
    if made.std is not None:
        depth_maps.write(folder / "std" / f"{made.name}.tiff", made.std)


def write_cloud(folder: Path, depth_map: DepthMap, recording: Recording, number: int) -> None:
    """A coloured point cloud: in the world of the sequence where the depth is in its unit, else in camera axes."""
    from depthscope.formats import ply
    from depthscope.prediction import in_world

    surface = cloud(depth_map)
    if recording.sequence is not None and depth_map.unit != "relative":
        surface = in_world(surface, recording.sequence.camera_from_world[number])
    (folder / "cloud").mkdir(exist_ok=True)
    ply.write(surface, folder / "cloud" / f"{depth_map.name}.ply")


def write_previews(folder: Path, names: tuple[str, ...], video: bool) -> None:
    """Frame and depth side by side, in one range of colours for the whole clip, as pictures and as a video."""
    from depthscope.pictures import depth_picture, depth_range, resized, side_by_side
    from depthscope.video import read_image, write_image, write_video

    depths = [folder / "depth" / f"{name}.tiff" for name in names]
    step = max(1, len(depths) // 50)
    limits = depth_range(torch.stack([depth_maps.read(path) for path in depths[::step]]))

    def picture(numbered: tuple[str, Path]) -> Tensor:
        name, path = numbered
        place = folder / "preview" / f"{name}.png"
        pair = side_by_side([read_image(place), depth_picture(depth_maps.read(path), limits)])
        write_image(place, pair, quick=True)
        return resized(pair, max(pair.shape[0], 360)) if video else pair

    with closing(in_order(picture, zip(names, depths, strict=True))) as pictures:
        if video:
            write_video(folder / "video.mp4", pictures, fps=10, preset="veryfast")
        else:
            for _ in pictures:
                pass


def predict_folder(
    run: Path,
    source: Path,
    out: Path,
    sequence: Path | None = None,
    camera: Path | None = None,
    mask: Path | None = None,
    clouds: int = 10,
    video: bool = True,
    device: Device = "auto",
    batch: int = 8,
    last: bool = False,
    split: Path | None = None,
    network: str = "",
    part: Cut = WHOLE,
    size: Literal["network", "full"] = "network",
    undistort: float | None = None,
    backend: Backend = "auto",
) -> int:
    """Depth of every frame of a sequence, image folder or video, as a folder.

    The parameters are those of ``depthscope predict``.
    """
    from depthscope.backends import with_backend
    from depthscope.formats import kitti, read_sequence

    start = time.perf_counter()
    model = load_model(run, last=last, network=network)
    device = resolved_device(device)
    given = Writing(clouds, video, batch, device, start, size == "full", undistort)
    if split is not None:
        if sequence is not None or camera is not None or mask is not None:
            raise BadInputError(
                "--frame-list with --sequence, --camera or --content-mask", "it alone: drives have their own cameras"
            )
        check_no_part(part, source)
        drives = kitti.left_of_split(source, split)
        model = with_backend(model, backend, device, sum(len(of_targets(clip).names) for clip in drives.values()))
        for name, clip in drives.items():
            write_prediction(model, of_targets(clip), source / name, out / name, given)
        suggest(f"depthscope evaluate {out} {source} --frame-list {split} --protocol kitti-eigen --out EVALUATION")
        return 0
    recording = open_recording(source, camera, mask, part)
    if sequence is not None:
        recording = with_scale_of(recording, read_sequence(sequence))
    model = with_backend(model, backend, device, len(recording.names))
    write_prediction(model, recording, source, out, given, scaled=sequence is not None)
    return 0
