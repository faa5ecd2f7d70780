"""Inputs of training: a sequence folder, a KITTI drive, or a folder of images or a video with its camera."""

import shutil
from dataclasses import replace
from pathlib import Path

from depthscope.errors import BadInputError
from depthscope.geometry import Camera
from depthscope.objectives import ViewSynthesis
from depthscope.recipes import Recipe
from depthscope.sequence import Sequence
from depthscope.unposed_clip import UnposedClip
from depthscope.video import WHOLE, Cut, FrameSource
from depthscope.video.content_mask import read_content_mask
from depthscope.video.cut import check_no_part

EVERY_S = 0.1
"""Frames of a video nearer in time than this hardly differ: ten in a second, as KITTI has."""

GUESSED_FOCAL = 0.8
"""Focal length over width where a recipe learns the camera and none is given: 64 degrees wide."""


def opened(
    source: Path,
    recipe: Recipe,
    camera_file: Path | None,
    mask_file: Path | None,
    split: Path | None = None,
    *,
    store: Path = Path("store"),
    every_s: float = EVERY_S,
    part: Cut = WHOLE,
) -> list[Sequence] | list[UnposedClip]:
    """What a recipe can learn from at this place.

    Args:
        source: Folder or video.
        recipe: Which decides what is needed.
        camera_file: The camera of images and videos.
        mask_file: An image that is white where they show tissue.
        split: A list of the frames of KITTI to train on.
        store: Where frames of videos are written.
        every_s: Time from one of them to the next.
        part: Which frames of videos and folders of images are used.

    Raises:
        BadInputError: It holds nothing that the recipe can learn from, or the camera is missing or of another size.
    """
    from depthscope.formats import is_truth, kitti, read_sequence, read_truth, recognised
    from depthscope.video import is_video, open_frames

    objective = recipe.objective
    by_views = isinstance(objective, ViewSynthesis)
    if not part.whole and not (by_views and (is_video(source) or not _has_motions(source))):
        check_no_part(part, source)
    if split is not None:
        if not by_views:
            raise BadInputError(f"--frame-list with the recipe {recipe.name}", "a recipe that learns by view synthesis")
        return list(kitti.read_split(source, split, stereo=objective.snippets.stereo))
    if by_views and source.is_dir() and kitti.recognises(source):
        _no_camera(source, camera_file, mask_file)
        return list(kitti.read(source, stereo=objective.snippets.stereo))
    if source.is_dir() and recognised(source):
        _no_camera(source, camera_file, mask_file)
        if by_views and is_truth(source) and not objective.needs_sfm:
            clip = read_truth(source)  # its depth and motions are not looked at
            if clip.cameras is not None:
                return [UnposedClip(clip.name, clip.images, clip.cameras, clip.mask)]
        return [read_sequence(source)]
    if not by_views:
        return [read_sequence(source)]  # which tells what is missing
    if not source.exists():
        raise BadInputError(f"{source} is missing", "a sequence folder or a folder of images", "check the path")
    if is_video(source):
        frames = frames_of_video(source, store, every_s, part)
        found = images_of(
            frames, camera_file, mask_file, guess=objective.learn_camera, name=source.stem, video=open_frames(source)
        )
    else:
        found = images_of(source, camera_file, mask_file, guess=objective.learn_camera, part=part)
    check_changes(found, source)
    return [found]


def check_changes(clip: UnposedClip, source: Path) -> None:
    """Refuses a still: views of one place cannot be told from it.

    Raises:
        BadInputError: All frames show the same.
    """
    from depthscope.video import read_image
    from depthscope.video.stillness import LOOKED_AT, shows_one_picture

    some = clip.images[:: max(1, len(clip.images) // LOOKED_AT)]
    if shows_one_picture((read_image(path).numpy() for path in some), None if clip.mask is None else clip.mask.numpy()):
        raise BadInputError(
            f"{source} shows one picture in all of its {len(clip.images)} frames",
            "a video in which the scope moves",
            "leave it out, or choose another recording",
        )


def _has_motions(source: Path) -> bool:
    """Whether a folder is more than images: its frames were chosen already."""
    from depthscope.formats import kitti, recognised

    return source.is_dir() and (kitti.recognises(source) or recognised(source))


def frames_of_video(source: Path, store: Path, every_s: float, part: Cut = WHOLE) -> Path:
    """A folder with the frames of a video, written once, and the camera file that lies beside it.

    Args:
        source: The video.
        store: Where folders of frames lie; their names hold a hash of the video.
        every_s: Time from one frame to the next.
        part: Which frames of the video.

    Raises:
        BadInputError: It cannot be read, or `every_s` is negative.
    """
    from depthscope.corpus import thinned
    from depthscope.video import MovieFrames, open_frames, write_image
    from depthscope.workspace import atomic_folder, content_hash

    if not 0 <= every_s < float("inf"):
        raise BadInputError(f"--every-s {every_s}", "0 s or more")
    frames = open_frames(source, part)
    used = frames.part if isinstance(frames, MovieFrames) else None
    of = "" if used is None else f"-{used.first}-{used.end_s:g}s-{used.every}"
    place = Path(store) / f"{source.stem}-{content_hash(source)[:16]}-{every_s:g}s{of}"
    if place.is_dir():
        return place
    with atomic_folder(place, replace=False) as draft:  # another process of this run may be quicker
        for frame in thinned(frames, every_s):
            write_image(draft / frames.image_name(frame.index), frame.image)
        if (source.parent / "camera.yaml").is_file():
            shutil.copyfile(source.parent / "camera.yaml", draft / "camera.yaml")
    return place


def images_of(
    folder: Path,
    camera_file: Path | None,
    mask_file: Path | None,
    *,
    guess: bool = False,
    name: str | None = None,
    video: FrameSource | None = None,
    part: Cut = WHOLE,
) -> UnposedClip:
    """The images of a folder in the order of the numbers in their names, with one camera.

    Raises:
        BadInputError: There are none, no camera is given (and none may be guessed), or sizes differ.
    """
    from depthscope.formats import camera_file as cameras
    from depthscope.video import FolderFrames, camera_as_shown, open_frames

    frames = open_frames(folder, part)
    assert isinstance(frames, FolderFrames)
    width, height = frames.size_px
    if camera_file is not None:
        camera = cameras.read(camera_file)
    elif (folder / "camera.yaml").is_file():
        camera = cameras.read(folder / "camera.yaml")
    elif guess:
        focal = GUESSED_FOCAL * width
        camera = Camera(frames.size_px, (focal, focal), (width / 2, height / 2), source="guessed, to be learned")
    else:
        raise BadInputError(
            f"{name or folder} holds {frames.count} images and no camera",
            "a camera.yaml",
            "give --camera (see depthscope calibrate), or learn it with --objective.learn-camera",
        )
    if video is not None:
        camera = camera_as_shown(camera, frames.size_px, video.stored_px)
    if camera.size_px != frames.size_px:
        raise BadInputError(
            f"the camera of {folder} is for {camera.size_px} pixels",
            f"{frames.size_px} as the images",
            "calibrate at this size",
        )
    mask = None if mask_file is None else read_content_mask(mask_file, frames.size_px)
    return UnposedClip(name or folder.resolve().name, frames.files, (camera,) * len(frames.files), mask)


def unique_names(clips: list[Sequence | UnposedClip], sources: list[Path]) -> list[Sequence | UnposedClip]:
    """The clips, with the name of the folder around it before the name of each that has its name from several."""
    names = [one.name for one in clips]
    return [
        replace(one, name=f"{source.absolute().parent.name}-{one.name}") if names.count(one.name) > 1 else one
        for one, source in zip(clips, sources, strict=True)
    ]


def _no_camera(source: Path, camera_file: Path | None, mask_file: Path | None) -> None:
    if camera_file is not None or mask_file is not None:
        raise BadInputError(f"--camera or --content-mask for {source}", "neither: it has its own", "leave them away")
