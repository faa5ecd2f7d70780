"""The task: depth from single simulated frames."""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from depthscope.networks import as_prediction
from depthscope.networks.ray_channels import takes_rays
from depthscope.supervised.augmentation import Looks
from depthscope.supervised.batch import StillBatch
from depthscope.supervised.losses import TrueDepthLoss


@dataclass(frozen=True, eq=False)
class TrueDepth:
    """Depth of single frames, taught by their true depth.

    Attributes:
        network: From images, or images and rays, to a `DepthPrediction`.
        objective: What is asked of it.
        looks: What the network sees of a frame.
        seed: Of the looks.
        channels_last: Memory layout of the images.
    """

    network: nn.Module
    objective: TrueDepthLoss = field(default_factory=TrueDepthLoss)
    looks: Looks = field(default_factory=Looks)
    seed: int = 0
    channels_last: bool = True

    def loss(self, network: nn.Module, batch: StillBatch) -> dict[str, Tensor]:
        """The losses of a batch, each a mean over frames."""
        batch = self.looks(batch, self.seed)
        layout = torch.channels_last if self.channels_last else torch.contiguous_format
        prediction = as_prediction(network(network_input(self.network, batch).contiguous(memory_format=layout)))
        return self.objective(prediction, batch.depth, batch.metric)


def network_input(network: nn.Module, batch: StillBatch) -> Tensor:
    """Images in 0..1, with their rays where the network takes them."""
    return torch.cat([batch.images, batch.rays], 1) if takes_rays(network) else torch.as_tensor(batch.images)
