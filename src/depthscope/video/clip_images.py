"""A planned clip as files for structure from motion: keyframes, a feature mask for each, and the content mask."""

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from depthscope.video.class_masks import MaskFolder
from depthscope.video.content_area import ContentArea, circle_of_frame
from depthscope.video.frames import FolderFrames, open_frames
from depthscope.video.instruments import Neighbour
from depthscope.video.masks import frame_masks
from depthscope.video.movies import Frame
from depthscope.video.static_marks import static_marks
from depthscope.video.stills import write_image
from depthscope.video.survey import ClipPlan, Progress, Survey

BLUR_PX, REACH_PX = 1.0, 5.0
"""The border of the content may darken what is so far inside: one pixel, and so many more at 1280 pixels of width."""


def write_clip(
    path: Path,
    plan: ClipPlan,
    survey: Survey,
    folder: Path,
    progress: Progress | None = None,
    given: MaskFolder | None = None,
) -> tuple[Path, ...]:
    """Writes the keyframes of a clip with masks.

    In `folder`: ``images/`` with the keyframes (of a folder: the very files), ``masks/<image name>.png`` as COLMAP
    wants them (0 = no features here), ``mask.png`` with the pixels that show tissue in all keyframes, and
    ``frames.json`` with index, time, and the share of the content area that each mask takes.

    Args:
        path: The video or folder that was surveyed.
        plan: Which of its clips.
        survey: What was found.
        folder: Where to write.
        progress: Told after each keyframe.
        given: Masks of classes for each keyframe; what they call something other than tissue is left out as well.

    Returns:
        The images, in order.

    Raises:
        BadInputError: A keyframe has no given mask, or one of another size or with a pixel of no class.
    """
    source, area = open_frames(path, survey.cut), plan.area or survey.area
    times_s = [survey.frames[index].time_s for index in plan.keyframes]
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    whole, safe = area.mask(), area.mask(erode_px=_reach_px(area))
    marks = static_marks((frame.image.numpy() for frame in source.at(plan.keyframes, times_s)), whole.numpy())
    written, rows, common, neighbour = [], [], whole, None
    for frame in source.at(plan.keyframes, times_s):
        name = source.image_name(frame.index)
        place = folder / "images" / name
        if isinstance(source, FolderFrames):
            shutil.copyfile(source.files[frame.index], place)
        else:
            write_image(place, frame.image)
        here = area_of_frame(frame, area)
        shown, clear = (whole, safe) if here is area else (here.mask(), here.mask(erode_px=_reach_px(area)))
        masks = frame_masks(frame.image, shown, marks, neighbour)
        usable, shares = masks.usable(for_features=True) & clear, masks.shares
        if given is not None:
            other = given.not_tissue(source.name_of(frame.index), area.size_px)
            usable &= ~other
            shares["given"] = float((other & masks.content).sum() / masks.content.sum().clamp_min(1))
        write_image(folder / "masks" / f"{name}.png", _bytes(usable))
        common = masks.content if not written else common & masks.content
        rows.append({"name": name, "index": frame.index, "time_s": frame.time_s, "shares": shares})
        written.append(place)
        neighbour = Neighbour(frame.image.numpy())
        if progress is not None:
            progress(len(written), len(plan.keyframes))
    write_image(folder / "mask.png", _bytes(common))
    (folder / "frames.json").write_text(json.dumps({"area": _plain(area), "frames": rows}, indent=1) + "\n")
    return tuple(written)


def area_of_frame(frame: Frame, area: ContentArea) -> ContentArea:
    """The content area of one frame: its own circle where the clip's is one and this one is close to it.

    Args:
        frame: The frame.
        area: The content area of the clip.
    """
    if area.radius_px is None or area.spread_px < 1.0:
        return area
    found = circle_of_frame(torch.from_numpy(cv2.cvtColor(frame.image.numpy(), cv2.COLOR_RGB2GRAY)), area)
    if found is None or found.radius_px is None:
        return area
    away = max(abs(a - b) for a, b in zip(found.centre_px, area.centre_px, strict=True))
    same = away <= 2 * area.spread_px + 4 and abs(found.radius_px - area.radius_px) < 0.03 * area.radius_px
    return found if same else area


def _reach_px(area: ContentArea) -> float:
    return BLUR_PX + REACH_PX * max(area.size_px) / 1280


def _bytes(mask: Bool[Tensor, "height width"]) -> Tensor:
    return torch.from_numpy(mask.numpy().astype(np.uint8) * 255)


def _plain(area: ContentArea) -> dict:
    """Figures with null where there is no number: JSON has no name for that."""
    return {key: None if value != value else value for key, value in area.figures().items()}
