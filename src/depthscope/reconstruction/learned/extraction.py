"""Learned features of all working images of a clip, into the file that the child reads."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import nn

from depthscope.reconstruction.described import Described
from depthscope.reconstruction.front_end import TISSUE_FROM, UnreadableFrameError, prepare, working_name
from depthscope.reconstruction.job import Job
from depthscope.reconstruction.learned.networks import LearnedFeatures, features_of, loaded
from depthscope.threads import usable_cores

Tell = Callable[[str, int, int], None]


def describe(
    job: Job, features: LearnedFeatures, path: Path, tell: Tell = lambda *_: None, network: nn.Module | None = None
) -> Path:
    """Finds the features of each frame where its mask shows tissue, and writes them.

    The working images and masks are those of the child, in its folder; those that are missing are made.

    Args:
        job: The clip.
        features: Which.
        path: The file to write, .npz.
        tell: Told how far it is.
        network: In the place of the published one.

    Raises:
        BadInputError: kornia or the weights are not installed.
        UnreadableFrameError: A frame cannot be read.
    """
    images, masks = Path(job.folder) / "images", Path(job.folder) / "masks"
    for done in prepare(job, images, masks):
        tell("frames", done, len(job.frames))
    network = loaded(features) if network is None else network
    before = torch.get_num_threads()
    torch.set_num_threads(max(1, min(job.threads, usable_cores())))
    try:
        places, descriptors = [], []
        for number in range(len(job.frames)):
            name = working_name(number)
            grey, shown = (_read(file) for file in (images / name, masks / f"{name}.png"))
            at, _, described = features_of(features, network, torch.from_numpy(grey).float() / 255)
            columns, rows = at.floor().long().unbind(1)
            kept = torch.from_numpy(shown)[rows, columns] >= TISSUE_FROM
            places.append(at[kept].numpy().astype(np.float32))
            descriptors.append(described[kept].numpy().astype(np.float16))
            tell("learned features", number + 1, len(job.frames))
    finally:
        torch.set_num_threads(before)
    return Described(tuple(places), tuple(descriptors), features.least_cosine).write(path)


def _read(path: Path) -> np.ndarray:
    grey = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if grey is None:
        raise UnreadableFrameError(f"{path} cannot be read")
    return grey
