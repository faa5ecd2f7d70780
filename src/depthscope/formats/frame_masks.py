"""``--masks``: folders that say in which pixels of which frames something hides the tissue."""

from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from depthscope.errors import BadInputError
from depthscope.sequence import Sequence
from depthscope.unposed_clip import UnposedClip
from depthscope.video.class_masks import read_mask_folder

Clip = TypeVar("Clip", bound=Sequence | UnposedClip)


def masks_of(inputs: tuple[Path, ...], folders: tuple[Path, ...]) -> tuple[Path | None, ...]:
    """The folder of masks of each input.

    Raises:
        BadInputError: There are some, but not one for each input.
    """
    if not folders:
        return (None,) * len(inputs)
    if len(folders) != len(inputs):
        raise BadInputError(
            f"{len(folders)} folders of masks for {len(inputs)} inputs",
            "one for each INPUT, in their order",
            "give --masks FOLDER... after the last INPUT",
        )
    return folders


def masked(clip: Clip, folder: Path | None) -> Clip:
    """The clip with the masks that a folder has of its frames; None leaves it as it is.

    Raises:
        BadInputError: The folder cannot be read, or a frame has no mask in it, or one of another size.
    """
    if folder is None:
        return clip
    masks = read_mask_folder(folder)
    masks.check_complete(clip.frame_names, clip.size_px)
    return replace(clip, foreign=masks)
