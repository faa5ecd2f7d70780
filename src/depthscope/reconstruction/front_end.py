"""Frames made ready for features: the green channel, smaller, its contrast evened out, with masks drawn in."""

import math
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from depthscope.brightness import contrast_equaliser
from depthscope.reconstruction.job import FrontEnd, Job, JobFrame
from depthscope.workspace import write_bytes

HUSHED_FROM_PX = 12
"""So far from what is shown the rest of the picture is left as it is: features look around themselves."""

BORDER_BLUR_PX = 2
"""So far inside the content its border may still darken it."""

TISSUE_FROM = 128
"""Grey level from which a pixel of a mask is tissue."""


class UnreadableFrameError(Exception):
    """A frame or mask that cannot be read, or has another size than the clip."""


def prepare(job: Job, images: Path, masks: Path) -> Iterator[int]:
    """Writes the working images and masks that are not there yet; yields how many are done.

    Working images are called NNNNNN.png by the frame's number, masks NNNNNN.png.png as COLMAP wants them.

    Raises:
        UnreadableFrameError: A frame or mask cannot be read.
    """
    images.mkdir(parents=True, exist_ok=True)
    masks.mkdir(parents=True, exist_ok=True)
    size = job.front_end.working_size(job.size_px)
    area, lit = np.full((size[1], size[0]), 255, np.uint8), None
    if job.area:
        content = _read(Path(job.area), cv2.IMREAD_GRAYSCALE, None)
        area = eroded(content, size, job.front_end.area_margin_at(size))
        lit = cut(eroded(content, size, BORDER_BLUR_PX), job.working_window)
    for number, frame in enumerate(job.frames):
        image, mask = images / working_name(number), masks / f"{working_name(number)}.png"
        if not (image.is_file() and mask.is_file()):
            own = own_mask(frame, size, job.front_end)
            bgr = _read(Path(frame.image), cv2.IMREAD_COLOR, job.size_px)
            shown = cut(area if own is None else np.minimum(area, own), job.working_window)
            _write(mask, shown)
            _write(image, hushed(working_image(bgr, size, job.working_window, job.front_end, lit), shown))
        yield number + 1


def working_name(number: int) -> str:
    """File name of a frame at working size; their order is that of time."""
    return f"{number:06d}.png"


def working_image(
    bgr: np.ndarray,
    size_px: tuple[int, int],
    window: tuple[int, int, int, int],
    front_end: FrontEnd,
    lit: np.ndarray | None = None,
) -> np.ndarray:
    """The green channel at working size with its contrast evened out: tissue is dull in red, and noisy in blue.

    Args:
        bgr: The frame.
        size_px: (width, height) of the working size.
        window: (left, top, width, height) of what is cut out.
        front_end: See there.
        lit: Mask of the window, 0 where the recording shows no tissue; `continued` beyond it. None shows all.
    """
    green = np.ascontiguousarray(bgr[..., 1])
    if (green.shape[1], green.shape[0]) != size_px:
        green = cv2.resize(green, size_px, interpolation=cv2.INTER_AREA)
    equalise = contrast_equaliser(front_end.clip_limit, front_end.tiles)
    shown = np.ascontiguousarray(cut(green, window))
    return equalise.apply(shown if lit is None else continued(shown, lit))


def continued(grey: np.ndarray, lit: np.ndarray) -> np.ndarray:
    """The picture with the nearest lit pixel's value beyond what is lit.

    The step from tissue to black at the border of the content is the strongest edge of the frame, and moves with the
    scope: contrast that is evened out across it, and features that see it, would fix points near it to the frame.
    """
    if not (lit > 0).any() or (lit > 0).all():
        return grey
    kind = cv2.DIST_LABEL_PIXEL
    _, nearest = cv2.distanceTransformWithLabels((lit == 0).astype(np.uint8), cv2.DIST_L2, 5, labelType=kind)
    value = np.zeros(int(nearest.max()) + 1, np.uint8)
    value[nearest[lit > 0]] = grey[lit > 0]
    return value[nearest]


def hushed(grey: np.ndarray, shown: np.ndarray) -> np.ndarray:
    """The image with one level where nothing is shown nearby: there evened contrast is noise, full of costly features.

    Args:
        grey: Working image, shape (height, width).
        shown: Its mask, 0 where hidden.
    """
    near = cv2.dilate(shown, np.ones((2 * HUSHED_FROM_PX + 1, 2 * HUSHED_FROM_PX + 1), np.uint8)) > 0
    return np.where(near, grey, np.uint8(round(float(grey[near].mean())))) if near.any() else grey


def cut(pixels: np.ndarray, window: tuple[int, int, int, int]) -> np.ndarray:
    """The window (left, top, width, height) of an image."""
    left, top, width, height = window
    return pixels[top : top + height, left : left + width]


def window_of(mask: np.ndarray, size_px: tuple[int, int]) -> tuple[int, int, int, int]:
    """The smallest window at a working size that holds all tissue of a mask: what lies outside costs time for nothing.

    Args:
        mask: Grey levels, shape (height, width).
        size_px: (width, height) of the working size.
    """
    rows, columns = np.nonzero((mask >= TISSUE_FROM).any(1))[0], np.nonzero((mask >= TISSUE_FROM).any(0))[0]
    width, height = size_px
    if not len(rows):
        return 0, 0, width, height
    across, down = width / mask.shape[1], height / mask.shape[0]
    left, top = int(columns[0] * across), int(rows[0] * down)
    right, bottom = math.ceil((columns[-1] + 1) * across), math.ceil((rows[-1] + 1) * down)
    return left, top, min(right, width) - left, min(bottom, height) - top


def own_mask(frame: JobFrame, size_px: tuple[int, int], front_end: FrontEnd) -> np.ndarray | None:
    """The frame's own mask at working size, or None."""
    if not frame.mask:
        return None
    return eroded(_read(Path(frame.mask), cv2.IMREAD_GRAYSCALE, None), size_px, front_end.mask_margin_px)


def eroded(mask: np.ndarray, size_px: tuple[int, int], margin_px: int) -> np.ndarray:
    """A mask at working size, without what is nearer than the margin to something hidden; 0 or 255."""
    tissue = (mask >= TISSUE_FROM).astype(np.float32)
    if (mask.shape[1], mask.shape[0]) != size_px:
        tissue = cv2.resize(tissue, size_px, interpolation=cv2.INTER_AREA)
    whole = (tissue > 0.999).astype(np.uint8) * 255  # a pixel that is partly hidden is hidden
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * margin_px + 1, 2 * margin_px + 1))
    return cv2.erode(whole, disc, borderType=cv2.BORDER_CONSTANT, borderValue=255)


def read_picture(path: Path | str, flags: int) -> np.ndarray:
    """The pixels of an image file, as they are stored.

    Args:
        path: The file.
        flags: Of OpenCV: grey or colour.

    Raises:
        UnreadableFrameError: It cannot be read.
    """
    try:
        data = np.frombuffer(Path(path).read_bytes(), np.uint8)
        pixels = cv2.imdecode(data, flags | cv2.IMREAD_IGNORE_ORIENTATION) if len(data) else None
    except (OSError, cv2.error) as error:
        raise UnreadableFrameError(f"{path} cannot be read ({error})") from error
    if pixels is None:
        raise UnreadableFrameError(f"{path} cannot be read")
    return pixels


def _read(path: Path, flags: int, size_px: tuple[int, int] | None) -> np.ndarray:
    pixels = read_picture(path, flags)
    if size_px is not None and (pixels.shape[1], pixels.shape[0]) != tuple(size_px):
        raise UnreadableFrameError(f"{path} is {pixels.shape[1]} x {pixels.shape[0]} pixels, not {size_px}")
    return pixels


def _write(path: Path, pixels: np.ndarray) -> None:
    """Writes a PNG whole or not at all, so that a killed run can go on."""
    write_bytes(path, cv2.imencode(".png", pixels, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1].tobytes())
