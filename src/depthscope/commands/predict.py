"""``depthscope predict RUN INPUT --out DIR``."""

import importlib
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import torch
import tyro
from torch import Tensor
from tyro.conf import Positional, arg

from depthscope.commands.flags import REGISTRY, ContentMask, Device, FrameList, Part
from depthscope.errors import BadInputError
from depthscope.footage import Footage
from depthscope.formats import depth_maps
from depthscope.geometry import Camera
from depthscope.prediction import (
    DepthMap,
    DepthModel,
    Recording,
    cloud,
    load_model,
    predict as predict_depth,
    undistorted_map,
)
from depthscope.training.options import resolved_precision
from depthscope.video import WHOLE, Cut, FolderFrames
from depthscope.video.cut import check_no_part

Item = TypeVar("Item")
Done = TypeVar("Done")


def parse(arguments: list[str]) -> Callable[[], int]:
    """The call that the arguments ask for: what is written, and which options there are, follows from the run."""
    call = verb_of(arguments)
    code = tyro.cli(call, args=arguments, prog="depthscope predict", registry=REGISTRY)
    return lambda: code


def verb_of(arguments: list[str]) -> Callable[..., int]:
    """The use of the run that is named first among the arguments: depth, or that of a pretext task."""
    from depthscope.pretext import stored_options
    from depthscope.pretext.stored import pretext_of
    from depthscope.training import BEST, LAST

    for argument in arguments:
        run = Path(argument)
        if (run / BEST).is_file() and not (run / LAST).is_file():  # which pretext tasks never leave alone
            return predict
        if (run / LAST).is_file() or (run.is_file() and run.suffix == ".pt"):
            if pretext_of(run) is None:
                return predict
            name = stored_options(run)[0].replace("-", "_")
            return getattr(importlib.import_module(f"depthscope.commands.uses.{name}"), name)
    if arguments and not arguments[0].startswith("-"):
        raise BadInputError(
            f"{Path(arguments[0]) / LAST} is missing", "a run of depthscope train or pretrain", "check the run folder"
        )
    return predict


def predict(
    run: Annotated[Positional[Path], arg(metavar="RUN")],
    input: Annotated[Positional[Path], arg(metavar="INPUT")],  # noqa: A002 - the name on the command line
    /,
    out: Path,
    sequence: Path | None = None,
    camera: Path | None = None,
    mask: ContentMask = None,
    clouds: int = 10,
    video: bool = True,
    device: Device = "auto",
    batch: int = 8,
    last: bool = False,
    split: FrameList = None,
    network: str = "",
    part: Part = WHOLE,
    size: Literal["network", "full"] = "network",
    undistort: float | None = None,
) -> int:
    """Depth of every frame of a sequence, image folder or video.

    Args:
        run: Folder of a training run, or a checkpoint file.
        input: Sequence folder, image folder or video file.
        out: Folder for the depth maps.
        sequence: Bring every frame to the sparse points of this sequence (of the same frames), in its unit.
        camera: A camera.yaml, for input that has no camera of its own.
        mask: An image that is white where the camera shows tissue.
        clouds: Point clouds of every N-th frame; 0 for none.
        video: Also write the frames and their depth side by side as a video.
        device: Where to compute; auto takes a GPU if there is one.
        batch: Frames in one pass.
        last: Use the newest checkpoint instead of the best.
        split: KITTI: a list of the frames to predict on (left eyes); INPUT is the folder it starts from, and OUT gets a
            folder for each drive.
        network: package.module:Class of a network from elsewhere that RUN was trained with. Only what is named here is
            imported, whatever a checkpoint says.
        part: Which frames of a video or image folder are used.
        size: Maps of the network's size, or full: of the frame's, enlarged along its edges.
        undistort: Also write frames and maps without the lens's distortion, this many degrees across the wider side.
    """
    from depthscope.formats import kitti, read_sequence

    if batch < 1 or clouds < 0:
        raise BadInputError(f"--batch {batch} and --clouds {clouds}", "1 or more, and 0 or more")
    start = time.perf_counter()
    model = load_model(run, last=last, network=network)
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    given = Writing(clouds, video, batch, device, start, size == "full", undistort)
    if split is not None:
        if sequence is not None or camera is not None or mask is not None:
            raise BadInputError(
                "--frame-list with --sequence, --camera or --content-mask", "it alone: drives have their own cameras"
            )
        check_no_part(part, input)
        drives = kitti.left_of_split(input, split)
        for name, clip in drives.items():
            write_prediction(model, of_targets(clip), input / name, out / name, given)
        print(f"next: depthscope evaluate {out} {input} --frame-list {split} --protocol kitti-eigen --out EVALUATION")
        return 0
    recording = open_recording(input, camera, mask, part)
    if sequence is not None:
        recording = with_scale_of(recording, read_sequence(sequence))
    write_prediction(model, recording, input, out, given, scaled=sequence is not None)
    return 0


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


def write_prediction(
    model: DepthModel, recording: Recording, source: Path, out: Path, given: Writing, *, scaled: bool = False
) -> None:
    """Depth of every frame of a recording into a folder, whole or not at all."""
    from rich.console import Console
    from rich.progress import track

    from depthscope.formats import camera_file
    from depthscope.workspace import content_hash, write_provenance, write_result, writing_folder

    console, device = Console(highlight=False), given.device
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
            for depth_map in track(
                written, "predict", total=len(recording.names), console=console, disable=not console.is_terminal
            ):
                seconds += time.perf_counter() - began
                if given.undistort_deg is not None:
                    write_undistorted(folder / "undistorted", depth_map, given.undistort_deg)
                if given.clouds and count % given.clouds == 0 and depth_map.camera is not None:
                    write_cloud(folder, depth_map, recording, count)
                count, unit, size = count + 1, depth_map.unit, tuple(depth_map.depth.shape[::-1])
                pixels, kind = depth_map.camera, depth_map.kind
                began = time.perf_counter()
        if pixels is not None:
            camera_file.write(pixels, folder / "camera.yaml")
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
            options={"batch": given.batch, "device": device, "bf16": bf16},
            inputs={str(model.source): content_hash(model.source), str(source): content_hash(source)},
            seconds=time.perf_counter() - given.began,
        )
    for note in recording.notes:
        print(note)
    print(f"{count} frames at {count / max(seconds, 1e-9):.1f} frames/s, depth in unit '{unit}': {out}")


def of_targets(clip: Footage) -> Recording:
    """The frames of a clip that are its targets."""
    from depthscope.video import read_image

    chosen = range(len(clip)) if clip.targets is None else clip.targets
    images = (read_image(clip.images[frame]) for frame in chosen)
    return Recording(tuple(clip.frame_names[f] for f in chosen), images, clip.size_px, clip.cameras[0], clip.mask)


def open_recording(source: Path, camera_file: Path | None, mask_file: Path | None, part: Cut = WHOLE) -> Recording:
    """A sequence folder, image folder or video as frames to predict on.

    Args:
        source: Where it is.
        camera_file: The camera of images and videos.
        mask_file: An image that is white where they show tissue.
        part: Which frames of images and videos are used.

    Raises:
        BadInputError: It is none of these.
    """
    from depthscope.formats import camera_file as cameras, is_truth, read_sequence, read_truth, recognised
    from depthscope.video import image_size, is_image, read_grey, read_image

    if source.is_dir() and recognised(source):
        if camera_file is not None or mask_file is not None:
            raise BadInputError(
                f"--camera or --content-mask for {source}", "neither: a sequence has its own", "leave them away"
            )
        check_no_part(part, source)
        if is_truth(source):
            clip = read_truth(source)  # its depth is not looked at
            size = image_size(clip.images[0]) if clip.cameras is None else clip.cameras[0].size_px
            camera = None if clip.cameras is None else clip.cameras[0]
            return Recording(clip.frame_names, (read_image(p) for p in clip.images), size, camera, clip.mask)
        return Recording.of_sequence(read_sequence(source))
    if not source.exists():
        raise BadInputError(f"{source} is missing", "a sequence folder, image folder or video", "check the path")
    camera = None if camera_file is None else cameras.read(camera_file)
    mask = None if mask_file is None else read_grey(mask_file) >= 128
    if source.is_file() and is_image(source):
        if not part.whole:
            raise BadInputError(f"{part} for {source}, a single image", "a video or a folder of images")
        return image_recording(source, camera, mask)
    return plain_recording(source, camera, mask, f"{camera_file}", f"{mask_file}", part)


def plain_recording(
    source: Path, camera: Camera | None, mask: Tensor | None, named: str, masked: str, part: Cut = WHOLE
) -> Recording:
    """An image folder or a video as frames to predict on, with its scope's disc as `reconstruct` finds it.

    Args:
        source: The folder or the video.
        camera: Its camera, if that is known.
        mask: Where it shows tissue; looked for if None.
        named: Where the camera is from, for errors.
        masked: Where the mask is from, for errors.
        part: Which of its frames are used.

    Raises:
        BadInputError: It is neither, or camera or mask are of another size.
    """
    from depthscope.formats.intrinsics import remarks_on_centre
    from depthscope.video import area_of, camera_as_shown, is_video, open_frames, video_size

    if source.is_file() and not is_video(source):
        raise BadInputError(f"{source} is no folder and no video", "a sequence folder, image folder or video")
    frames = open_frames(source, part)
    size = frames.size_px
    if camera is not None:
        camera = camera_as_shown(camera, size, frames.stored_px)
        if camera.size_px != size:
            raise BadInputError(
                f"{named} is for {camera.size_px} pixels", f"{size} as the frames", "calibrate at this size"
            )
    if mask is not None and (mask.shape[1], mask.shape[0]) != size:
        raise BadInputError(f"{masked} is {mask.shape[1]} x {mask.shape[0]}", f"{size} as the frames", "resize it")
    notes = [] if camera is None else list(remarks_on_centre(camera))
    if mask is None:
        area, _ = area_of(frames)
        if area.shape != "none":
            mask = area.mask()
            notes.append(f"the scope shows a {area.shape} (confidence {area.confidence:.2f}); no depth outside of it")
    if isinstance(frames, FolderFrames):
        names = tuple(path.stem for path in frames.files)
    else:
        count = video_size(source)[0] if frames.part is None else frames.count or 0
        names = tuple(f"{frames.number_of(index):06d}" for index in range(count))
    images = (frame.image for frame in frames.walk(notes.append))
    return Recording(names, images, size, camera, mask, notes=notes)


def image_recording(source: Path, camera: Camera | None, mask: Tensor | None) -> Recording:
    """A single image as a frame to predict on; its content area is found where no mask says it.

    Raises:
        BadInputError: Camera or mask are of another size.
    """
    from depthscope.video import content_of_image, read_image

    image = read_image(source)
    size = image.shape[1], image.shape[0]
    for what, found in (
        ("the camera", None if camera is None else camera.size_px),
        ("the mask", None if mask is None else (mask.shape[1], mask.shape[0])),
    ):
        if found is not None and found != size:
            raise BadInputError(f"{what} is for {found[0]} x {found[1]} pixels", f"{size[0]} x {size[1]} as {source}")
    return Recording((source.stem,), [image], size, camera, content_of_image(image) if mask is None else mask)


def with_scale_of(recording: Recording, sequence) -> Recording:
    """The recording with the SfM that its depth is to be scaled to.

    Raises:
        BadInputError: The sequence is not of these frames.
    """
    if recording.names != sequence.frame_names:
        raise BadInputError(
            f"--sequence has {len(sequence)} frames and the input {len(recording.names)}, or they have other names",
            "the SfM of these very frames",
            "give the sequence folder itself as INPUT",
        )
    return Recording(recording.names, recording.frames, sequence.size_px, sequence.cameras[0], sequence.mask, sequence)


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
    """The raw numbers: float32 TIFFs, and the frame at the same size for later pictures; the depth map itself."""
    from depthscope.video import write_image

    depth_maps.write(folder / "depth" / f"{depth_map.name}.tiff", depth_map.depth)
    if depth_map.std is not None:
        (folder / "std").mkdir(exist_ok=True)
        depth_maps.write(folder / "std" / f"{depth_map.name}.tiff", depth_map.std)
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
