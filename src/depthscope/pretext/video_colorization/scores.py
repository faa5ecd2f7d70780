"""How well colours are copied, beside what copies them without learning."""

from dataclasses import dataclass

import torch
from torch import Tensor

from depthscope.corpus import Corpus
from depthscope.pretext.video_colorization.palette import entropy_bits
from depthscope.pretext.video_colorization.pointer import voted
from depthscope.pretext.video_colorization.snippets import Snippets
from depthscope.pretext.video_colorization.task import CopyColours

MOST_SNIPPETS = 200


@dataclass(frozen=True)
class Copying:
    """Shares of the cells whose colour is right.

    Attributes:
        accuracy: Of the pointer.
        identity: Of the colour at the same place in the last reference.
        majority: Of the most frequent colour.
        entropy_bits: Of the colours that are to be copied.
        cells: How many were looked at.
    """

    accuracy: float
    identity: float
    majority: float
    entropy_bits: float
    cells: int


@torch.no_grad()
def copying(task: CopyColours, corpus: Corpus, snippets: Snippets, most: int = MOST_SNIPPETS) -> Copying:
    """Scores on some snippets, evenly chosen."""
    network = task.network.eval()
    device = network.palette.device
    rows = snippets[torch.linspace(0, len(snippets) - 1, min(most, len(snippets))).round().long()]
    right = same = 0
    targets: list[Tensor] = []
    for row in rows:
        images = corpus.images(row)[None].to(device)
        colours = task.colours(images, corpus.masks(row[:1]).to(device))
        known, target = colours.known[0, -1], colours.labels[0, -1]
        logits = task.logits(network, images, colours.known)
        copied = voted(logits, colours.labels[:, :-1].flatten(1), len(network.palette))[0]
        right += int((copied == target)[known].sum())
        same += int(((colours.labels[0, -2] == target) & colours.known[0, -2])[known].sum())
        targets.append(target[known].cpu())
    every = torch.cat(targets) if targets else torch.zeros(0, dtype=torch.long)
    count = max(len(every), 1)
    most_frequent = int(torch.bincount(every, minlength=1).max())
    return Copying(
        right / count, same / count, most_frequent / count, entropy_bits(every, len(network.palette)), len(every)
    )
