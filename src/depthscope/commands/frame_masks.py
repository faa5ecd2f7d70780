"""``--masks``: folders that say in which pixels of which frames something hides the tissue."""

from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from depthscope.errors import BadInputError
from depthscope.footage import Footage
from depthscope.sequence import Sequence
from depthscope.video.class_masks import MaskFolder, read_mask_folder

Clip = TypeVar("Clip", bound=Sequence | Footage)


def masks_of(inputs: tuple[Path, ...], folders: tuple[Path, ...]) -> list[MaskFolder | None]:
    """The masks of each input.

    Raises:
        BadInputError: There are masks, but not for each input, or a folder cannot be read.
    """
    if not folders:
        return [None] * len(inputs)
    if len(folders) != len(inputs):
        raise BadInputError(
            f"{len(folders)} folders of masks for {len(inputs)} inputs",
            "one for each INPUT, in their order",
            "give --masks FOLDER... after the last INPUT",
        )
    return [read_mask_folder(folder) for folder in folders]


def masked(clip: Clip, masks: MaskFolder | None) -> Clip:
    """The clip with masks of its frames; None leaves it as it is.

    Raises:
        BadInputError: A frame has none, or one of another size.
    """
    if masks is None:
        return clip
    masks.check_complete(clip.frame_names, clip.size_px)
    return replace(clip, foreign=masks)
