"""A planned clip as files for structure from motion: keyframes, a feature mask for each, and the content mask."""

from collections.abc import Callable
from pathlib import Path

import torch

from depthscope.video.content_area import ContentArea
from depthscope.video.frames import open_frames
from depthscope.video.stills import write_image
from depthscope.video.survey import ClipPlan, Survey


def write_clip(
    path: Path,
    plan: ClipPlan,
    survey: Survey,
    folder: Path,
    progress: Callable[[int, int | None], None] | None = None,
) -> tuple[Path, ...]:
    """Writes the keyframes of a clip, ``masks/<image name>.png`` (0 = no features here), and ``mask.png``.

    Args:
        path: The video or folder that was surveyed.
        plan: Which of its clips.
        survey: What was found.
        folder: Where to write; the images lie in ``images/``.
        progress: Told after each frame.

    Returns:
        The images, in order.
    """
    source, area = open_frames(path), plan.area or survey.area
    (folder / "images").mkdir(parents=True, exist_ok=True)
    (folder / "masks").mkdir(exist_ok=True)
    inside = area.mask(erode_px=_reach_px(area))
    written = []
    for frame in source.at(plan.keyframes, [survey.frames[index].time_s for index in plan.keyframes]):
        name = source.image_name(frame.index)
        written.append(write_image(folder / "images" / name, frame.image, quality=97))
        write_image(folder / "masks" / f"{name}.png", inside.to(torch.uint8) * 255)
        if progress is not None:
            progress(len(written), len(plan.keyframes))
    write_image(folder / "mask.png", area.mask().to(torch.uint8) * 255)
    return tuple(written)


def _reach_px(area: ContentArea) -> float:
    """How far feature filters reach over the border."""
    return 4.0 + 0.002 * max(area.size_px)
