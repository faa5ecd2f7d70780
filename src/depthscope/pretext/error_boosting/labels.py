"""Masks drawn by hand: read strictly, brought to the corpus's size, some of them kept to find the network's errors."""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, UInt8
from torch import Tensor

from depthscope.corpus import Corpus, Input, Window
from depthscope.errors import BadInputError
from depthscope.pretext.error_boosting.automatic import AUTOMATIC, OUTSIDE
from depthscope.video import FolderFrames, FrameSource
from depthscope.video.class_masks import (
    CLASSES_FILE,
    UNKNOWN,
    Classes,
    MaskClass,
    MaskFolder,
    read_classes,
    read_mask_folder,
)

COLOURS = ((0, 200, 90), (255, 90, 90), (0, 220, 220), (255, 130, 0), (120, 120, 255), (200, 255, 120))
"""Of further classes that have none of their own."""


@dataclass(frozen=True, eq=False)
class DrawnMasks:
    """The masks of a folder, in time; `open_masks` finds them.

    Attributes:
        videos: Number of the video that each folder belongs to, and the folder.
        classes: Those of the run: the automatic ones, and any that the masks add.
        renumbered: The run's class of each class id of the masks, shape (256,).
    """

    videos: tuple[tuple[int, MaskFolder], ...]
    classes: Classes
    renumbered: UInt8[Tensor, "256"]


@dataclass(frozen=True, eq=False)
class LabelledFrames:
    """Frames with masks drawn by hand, at the corpus's size.

    Attributes:
        frames: sRGB bytes.
        labels: The run's class of each pixel.
        content: Where each shows tissue.
        kept: Frames that are kept from training, to find the network's errors on.
    """

    frames: UInt8[Tensor, "frames height width 3"]
    labels: UInt8[Tensor, "frames height width"]
    content: Bool[Tensor, "frames height width"]
    kept: Bool[Tensor, " frames"]

    def __len__(self) -> int:
        return len(self.frames)


def open_masks(labels: Path, videos: tuple[str, ...]) -> DrawnMasks:
    """Finds the masks of the videos: in the folder itself, or in a folder for each where there are several.

    Classes are joined to the automatic ones by their names, since their ids may differ.

    Raises:
        BadInputError: There are no masks, or the folders name other classes.
    """
    if len(videos) == 1:
        found = ((0, read_mask_folder(labels, AUTOMATIC)),)
    else:
        inner = [(number, labels / name) for number, name in enumerate(videos) if (labels / name).is_dir()]
        if not inner:
            raise BadInputError(
                f"{labels} holds no folder called as one of the {len(videos)} inputs",
                f"masks in {labels / videos[0]} and so on",
                "sort the masks by input",
            )
        told = labels / CLASSES_FILE
        fallback = read_classes(told) if told.is_file() else AUTOMATIC
        found = tuple((number, read_mask_folder(place, fallback)) for number, place in inner)
    classes = found[0][1].classes
    if any(folder.classes != classes for _, folder in found):
        raise BadInputError(f"the folders in {labels} name different classes", "one classes.yaml for all", "join them")
    return DrawnMasks(found, *_joined(classes))


def read_labelled(masks: DrawnMasks, corpus: Corpus, validation: float) -> LabelledFrames:
    """The labelled frames, read from the videos themselves: the corpus may have passed over them.

    Args:
        masks: What was drawn.
        corpus: Of the same videos.
        validation: Share that is kept from training: of each video the last in time, and all of a held-out video.

    Raises:
        BadInputError: A mask is of no frame, of another size, or has a pixel of no class.
    """
    frames, labels, content, kept = [], [], [], []
    for video, folder in masks.videos:
        source, window = Input.of(corpus.sources[video], corpus.cut).frames, corpus.windows[video]
        numbers = _numbers(source, folder, corpus.sources[video])
        order = sorted(numbers, key=lambda name: numbers[name])
        read = {source.name_of(frame.index): frame.image for frame in source.at([numbers[name] for name in order])}
        folder.check_names(read, corpus.sources[video])
        for name in order:
            ids = masks.renumbered[folder.ids(name, source.size_px).long()]
            frames.append(torch.from_numpy(np.ascontiguousarray(window.cut(read[name].numpy()))))
            shown = corpus.content[video]
            labels.append(torch.where(shown, shrunk(ids, window, len(masks.classes)), OUTSIDE).to(torch.uint8))
            content.append(shown)
        last = round(validation * len(order))
        whole = bool(corpus.kept[corpus.of_video(video)].all())
        kept += [whole or number >= len(order) - last for number in range(len(order))]
    return LabelledFrames(torch.stack(frames), torch.stack(labels), torch.stack(content), torch.tensor(kept))


def shrunk(ids: UInt8[Tensor, "rows columns"], window: Window, classes: int) -> UInt8[Tensor, "height width"]:
    """A mask through the window: the class that most of each pixel shows, unknown beyond the frame."""
    shares = [window.cut((ids == number).numpy().astype(np.float32)) for number in range(classes)]
    seen = window.cut(np.ones(ids.shape, np.float32))
    shares.append(window.cut((ids == UNKNOWN).numpy().astype(np.float32)) + (1 - seen))
    likeliest = np.argmax(np.stack(shares), 0)
    return torch.from_numpy(np.where(likeliest == classes, UNKNOWN, likeliest).astype(np.uint8))


def _joined(drawn: Classes) -> tuple[Classes, UInt8[Tensor, "256"]]:
    """The automatic classes and further ones, numbered without gaps, and the way from the ids of the masks."""
    known = {one.name: one.id for one in AUTOMATIC.all}
    more = [one for one in drawn.all if one.name not in known]
    taken = {one.colour for one in AUTOMATIC.all}
    free = [colour for colour in COLOURS if colour not in taken | {one.colour for one in more}]
    further = []
    for number, one in enumerate(more):
        own = one.colour if one.colour not in taken else None
        colour = own or (free[number] if number < len(free) else None)
        further.append(MaskClass(len(AUTOMATIC) + number, one.name, colour, one.tissue))
    classes = Classes((*AUTOMATIC.all, *further))
    renumbered = torch.full((256,), UNKNOWN, dtype=torch.uint8)
    ids = {one.name: one.id for one in classes.all}
    for one in drawn.all:
        renumbered[one.id] = ids[one.name]
    return classes, renumbered


def _numbers(source: FrameSource, folder: MaskFolder, path: Path) -> dict[str, int]:
    """The frame that each mask is called as."""
    if isinstance(source, FolderFrames):
        every = {source.name_of(number): number for number in range(source.count)}
    else:
        found = {name: re.fullmatch(r"frame_(\d{6,})", name) for name in folder.files}
        every = {name: int(match[1]) for name, match in found.items() if match}
    folder.check_names(every, path)
    return {name: every[name] for name in folder.files}
