"""The one seam between learning and everything learned."""

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from depthscope.networks import as_prediction
from depthscope.networks.ray_channels import of_kind, with_rays
from depthscope.objectives import Siamese
from depthscope.supervision import PairBatch
from depthscope.training.augmentation import Augmentation


@runtime_checkable
class Task(Protocol):
    """What is learned: a network, and a loss of a batch."""

    @property
    def network(self) -> nn.Module:
        """What is trained."""
        ...

    def loss(self, network: nn.Module, batch: Any) -> dict[str, Tensor]:
        """Scalars by name; "loss" is minimised, the others are logged. `network` may be a wrapped `self.network`."""
        ...


@dataclass(frozen=True, eq=False)
class SiameseDepth:
    """Depth from pairs of frames of a clip with SfM: the two share one network and one forward pass.

    Attributes:
        network: From images to a `DepthPrediction`, or to positive depth.
        objective: What is asked of the two depth maps.
        augmentation: What the network sees.
        seed: Of the augmentation.
        channels_last: Memory layout of the images.
        prior: The network with the weights that training started from, where the objective keeps something of them.
    """

    network: nn.Module
    objective: Siamese
    augmentation: Augmentation
    seed: int = 0
    channels_last: bool = True
    prior: nn.Module | None = None

    def loss(self, network: nn.Module, batch: PairBatch) -> dict[str, Tensor]:
        """The losses of a batch of pairs, each a mean over pairs."""
        batch = self.augmentation(batch, self.seed)
        images = batch.images.transpose(0, 1).flatten(0, 1)  # all frames j, then all frames k
        cameras = batch.camera[[*range(len(batch))] * 2]
        images = with_rays(self.network, images, cameras)
        layout = torch.channels_last if self.channels_last else torch.contiguous_format
        images = images.contiguous(memory_format=layout)
        prediction, before = as_prediction(network(images)), None
        prediction = of_kind(prediction, self.network, cameras, learned=cameras.kind)
        if self.prior is not None:
            with torch.no_grad():
                before = as_prediction(self.prior.to(images.device)(images))
                before = of_kind(before, self.network, cameras, learned=cameras.kind).log_depth
        return self.objective(prediction, batch, before)
