"""Inputs of training: a sequence folder, a KITTI drive, or a folder of images or a video with its camera."""

from pathlib import Path

from depthscope.errors import BadInputError
from depthscope.footage import Footage
from depthscope.geometry import Camera
from depthscope.objectives import ViewSynthesis
from depthscope.recipes import Recipe
from depthscope.sequence import Sequence

GUESSED_FOCAL = 0.8
"""Focal length over width where a recipe learns the camera and none is given: 64 degrees wide."""


def opened(
    source: Path, recipe: Recipe, camera_file: Path | None, mask_file: Path | None, split: Path | None = None
) -> list[Sequence] | list[Footage]:
    """What a recipe can learn from at this place.

    Args:
        source: Folder or video.
        recipe: Which decides what is needed.
        camera_file: The camera of images and videos.
        mask_file: An image that is white where they show tissue.
        split: A list of the frames of KITTI to train on.

    Raises:
        BadInputError: It holds nothing that the recipe can learn from, or the camera is missing or of another size.
    """
    from depthscope.formats import is_truth, kitti, read_sequence, read_truth, recognised
    from depthscope.video import is_video

    objective = recipe.objective
    by_views = isinstance(objective, ViewSynthesis)
    if split is not None:
        if not by_views:
            raise BadInputError(f"--split with the recipe {recipe.name}", "a recipe that learns by view synthesis")
        return list(kitti.read_split(source, split, stereo=objective.snippets.stereo))
    if by_views and source.is_dir() and kitti.recognises(source):
        _no_camera(source, camera_file, mask_file)
        return list(kitti.read(source, stereo=objective.snippets.stereo))
    if source.is_dir() and recognised(source):
        _no_camera(source, camera_file, mask_file)
        if by_views and is_truth(source) and not objective.needs_sfm:
            clip = read_truth(source)  # its depth and motions are not looked at
            if clip.cameras is not None:
                return [Footage(clip.name, clip.images, clip.cameras, clip.mask)]
        return [read_sequence(source)]
    if not by_views:
        return [read_sequence(source)]  # which tells what is missing
    if not source.exists():
        raise BadInputError(f"{source} is missing", "a sequence folder or a folder of images", "check the path")
    if is_video(source):
        raise BadInputError(
            f"{source} is a video",
            "a folder of its frames, or a sequence",
            f"write the frames first, as with ffmpeg -i {source.name} frames/%06d.png, or use depthscope reconstruct",
        )
    return [images_of(source, camera_file, mask_file, guess=objective.learn_camera)]


def images_of(folder: Path, camera_file: Path | None, mask_file: Path | None, *, guess: bool = False) -> Footage:
    """The images of a folder in the order of the numbers in their names, with one camera.

    Raises:
        BadInputError: There are none, no camera is given (and none may be guessed), or sizes differ.
    """
    from depthscope.formats import camera_file as cameras
    from depthscope.video import FolderFrames, open_frames, read_grey

    frames = open_frames(folder)
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
            f"{folder} holds {frames.count} images and no camera",
            "a camera.yaml",
            "give --camera (see depthscope calibrate), or learn it with --objective.learn-camera",
        )
    if camera.size_px != frames.size_px:
        raise BadInputError(
            f"the camera of {folder} is for {camera.size_px} pixels",
            f"{frames.size_px} as the images",
            "calibrate at this size",
        )
    mask = None if mask_file is None else read_grey(mask_file) >= 128
    name = folder.resolve().name
    return Footage(name, frames.files, (camera,) * len(frames.files), mask)


def _no_camera(source: Path, camera_file: Path | None, mask_file: Path | None) -> None:
    if camera_file is not None or mask_file is not None:
        raise BadInputError(f"--camera or --mask for {source}", "neither: it has its own", "leave them away")
