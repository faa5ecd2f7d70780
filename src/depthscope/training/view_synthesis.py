"""Depth and motion from video by view synthesis, as a task of the training loop."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from depthscope.networks import KnownMotion, NetworkOptions, SnippetNetwork
from depthscope.networks.encoder_file import StartsFromFile
from depthscope.objectives import ViewSynthesis
from depthscope.supervision import SnippetBatch
from depthscope.training.snippet_augmentation import SnippetAugmentation


@dataclass(frozen=True, eq=False)
class VideoDepth:
    """Depth, and if asked for motion and camera, from snippets of video.

    Attributes:
        network: Depth and pose network as one module.
        objective: What is asked of them.
        augmentation: What the network sees.
        seed: Of the augmentation.
        channels_last: Memory layout of the images.
    """

    network: SnippetNetwork
    objective: ViewSynthesis
    augmentation: SnippetAugmentation
    seed: int = 0
    channels_last: bool = True

    def loss(self, network: nn.Module, batch: SnippetBatch) -> dict[str, Tensor]:
        """The losses of a batch of snippets, each a mean over them."""
        batch, seen = self.augmentation(batch, self.seed)
        return self.losses(network, batch, seen)

    def losses(self, network: nn.Module, batch: SnippetBatch, seen: Tensor) -> dict[str, Tensor]:
        """The losses where the network sees these images."""
        offsets = len(self.objective.snippets.offsets)
        layout = torch.channels_last if self.channels_last else torch.contiguous_format
        prediction = network(seen[:, 0].contiguous(memory_format=layout), seen[:, 1 : 1 + offsets])
        return self.objective(prediction, batch)


def snippet_network(depth: NetworkOptions, objective: ViewSynthesis) -> SnippetNetwork:
    """A new network for an objective; encoders start from the files of weights that their options name.

    Raises:
        BadInputError: A file of weights is missing or does not fit.
    """
    depth_network, pose, motion = depth.build(), None, objective.motion
    if not isinstance(motion, KnownMotion):
        pose = motion.build(objective.snippets.before)
        if isinstance(motion, StartsFromFile):
            motion.load_start(pose)
    if isinstance(depth, StartsFromFile):
        depth.load_start(depth_network)
    return SnippetNetwork(
        depth_network, pose, of_sources=objective.consistency is not None, learn_camera=objective.learn_camera
    )
