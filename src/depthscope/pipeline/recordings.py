"""What can be predicted on: sequence folders, image folders, videos, single images."""

from dataclasses import replace
from pathlib import Path

from torch import Tensor

from depthscope.errors import BadInputError
from depthscope.geometry import Camera
from depthscope.prediction import Recording
from depthscope.unposed_clip import UnposedClip
from depthscope.video import WHOLE, Cut, FolderFrames
from depthscope.video.content_mask import read_content_mask
from depthscope.video.cut import check_no_part


def of_targets(clip: UnposedClip) -> Recording:
    """The frames of a clip that are its targets."""
    from depthscope.video import read_image

    chosen = range(len(clip)) if clip.targets is None else clip.targets
    images = (read_image(clip.images[frame]) for frame in chosen)
    names = tuple(clip.frame_names[frame] for frame in chosen)
    return Recording(names, images, clip.size_px, clip.cameras[0], clip.mask, source=clip.name)


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
    from depthscope.video import image_size, is_image, read_image

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
            images = (read_image(path) for path in clip.images)
            return Recording(clip.frame_names, images, size, camera, clip.mask, source=f"{source}")
        return Recording.of_sequence(read_sequence(source))
    if not source.exists():
        raise BadInputError(
            f"{source} is missing", "a sequence folder, an image, an image folder or a video", "check the path"
        )
    camera = None if camera_file is None else cameras.read(camera_file)
    mask = None if mask_file is None else read_content_mask(mask_file)
    if source.is_file() and is_image(source):
        if not part.whole:
            raise BadInputError(f"{part} for {source}, a single image", "a video or a folder of images")
        return image_recording(source, camera, mask, f"{camera_file}", f"{mask_file}")
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
    from depthscope.formats.intrinsics import remarks_on_camera
    from depthscope.video import area_notes, area_of, camera_as_shown, is_video, open_frames, video_size

    if source.is_file() and not is_video(source):
        raise BadInputError(
            f"{source} is no folder, image or video",
            "a sequence folder, an image, an image folder or a video",
            "check the path",
        )
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
    notes = [] if camera is None else list(remarks_on_camera(camera))
    if mask is None:
        area, _ = area_of(frames)
        notes += area_notes(area)
        if area.shape != "none":
            mask = area.mask()
            outline = "irregular outline" if area.shape == "free" else area.shape
            notes.append(f"depth is given inside the {outline} that the scope shows (confidence {area.confidence:.2f})")
    if isinstance(frames, FolderFrames):
        names = tuple(path.stem for path in frames.files)
    else:
        count = video_size(source)[0] if frames.part is None else frames.count or 0
        names = tuple(f"{frames.number_of(index):06d}" for index in range(count))
    images = (frame.image for frame in frames.walk(notes.append))
    return Recording(names, images, size, camera, mask, notes=notes, source=f"{source}")


def image_recording(
    source: Path, camera: Camera | None, mask: Tensor | None, named: str = "the camera", masked: str = "the mask"
) -> Recording:
    """A single image as a frame to predict on; its content area is found where no mask says it.

    Args:
        source: The image.
        camera: Its camera, if that is known.
        mask: Where it shows tissue.
        named: Where the camera is from, for errors.
        masked: Where the mask is from, for errors.

    Raises:
        BadInputError: Camera or mask are of another size.
    """
    from depthscope.formats.intrinsics import remarks_on_camera
    from depthscope.video import content_of_image, orientation_remark, read_image

    image = read_image(source)
    size = image.shape[1], image.shape[0]
    for what, found in (
        (named, None if camera is None else camera.size_px),
        (masked, None if mask is None else (mask.shape[1], mask.shape[0])),
    ):
        if found is not None and found != size:
            raise BadInputError(
                f"{what} is for {found[0]} x {found[1]} pixels",
                f"{size[0]} x {size[1]} as {source}",
                "take one that was made for images of this size",
            )
    mask = content_of_image(image) if mask is None else mask
    notes = [*filter(None, [orientation_remark(source)]), *(() if camera is None else remarks_on_camera(camera))]
    return Recording((source.stem,), [image], size, camera, mask, notes=notes, source=f"{source}")


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
    size, camera = sequence.size_px, sequence.cameras[0]
    return replace(recording, size_px=size, camera=camera, mask=sequence.mask, sequence=sequence)
