"""A trained segmenter on the frames of any video."""

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from depthscope.corpus import Input, Window
from depthscope.errors import BadInputError
from depthscope.pretext.error_boosting.automatic import OUTSIDE
from depthscope.pretext.error_boosting.learning import ErrorBoosting
from depthscope.pretext.error_boosting.segmentation import Segmenter
from depthscope.pretext.stored import checkpoint_of
from depthscope.training import load_checkpoint
from depthscope.video import Frame
from depthscope.video.class_masks import Classes, Ids, classes_of


def stored_segmenter(run: Path, options: ErrorBoosting) -> tuple[Segmenter, Classes]:
    """The network of a run, ready to be used, and its classes.

    Raises:
        BadInputError: The run has no checkpoint, or one that does not fit its options.
    """
    path = checkpoint_of(run)
    content = load_checkpoint(path)
    classes = classes_of(content.get("classes", ""), path)
    network = Segmenter(options.encoder, len(classes), start=False)
    try:
        network.load_state_dict(content["network"])
    except RuntimeError as error:
        raise BadInputError(
            f"{path} does not fit its options", "a checkpoint as it was written", "train again"
        ) from error
    return network.eval(), classes


def masks_of(network: Segmenter, source: Input, window: Window, batch: int) -> Iterator[tuple[Frame, Ids]]:
    """Every frame of an input with the class of each of its pixels, at the size of the frame.

    Args:
        network: From images to logits.
        source: The frames, and where they show tissue.
        window: The window through which the network sees them.
        batch: Frames in one pass.
    """
    content, device = torch.from_numpy(source.content), next(network.parameters()).device
    for frames in _grouped(source.frames, batch):
        cuts = [np.ascontiguousarray(window.cut(frame.image.numpy())) for frame in frames]
        images = torch.from_numpy(np.stack(cuts)).permute(0, 3, 1, 2).to(device).float() / 255
        with torch.no_grad():
            probabilities = network(images).softmax(1).cpu()
        for frame, probability in zip(frames, probabilities, strict=True):
            yield frame, _spread(probability, window, content)


def _spread(probability: Tensor, window: Window, content: Tensor) -> Ids:
    """Probabilities spread over the frame are smooth between the network's pixels; class ids would have steps."""
    likeliest = window.map_in_source(probability).argmax(0)
    return torch.where(content, likeliest, OUTSIDE).to(torch.uint8)


def _grouped(frames: Iterable[Frame], size: int) -> Iterator[list[Frame]]:
    walk = iter(frames)
    while group := list(islice(walk, size)):
        yield group
