"""The network whose features are clustered, and which then learns to tell the clusters apart."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from depthscope.networks.adapters import AdaptedEncoder
from depthscope.networks.descriptors import pooled, pooled_size
from depthscope.pretext.deepcluster.clustering import Whitening

HEAD_STD = 0.01
"""Of the weights of a fresh head."""


class ClusterNetwork(nn.Module):
    """An encoder, two layers whose output is clustered, and a head that says which cluster it is.

    Attributes:
        encoder: Of views.
        whitening: What the features go through before they are clustered.
        centres: Of the clusters among whitened features; of the last clustering.
    """

    centres: Tensor

    def __init__(self, encoder: AdaptedEncoder, clusters: int, components: int, width: int = 256) -> None:
        super().__init__()
        self.encoder = encoder
        values = pooled_size(encoder.channels, encoder.strides)
        self.layers = nn.Sequential(
            nn.BatchNorm1d(values), nn.Linear(values, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Linear(width, width)
        )
        self.head = nn.Linear(width, clusters)
        self.whitening = Whitening(width, components)
        self.register_buffer("centres", torch.zeros(clusters, components))

    def features(self, views: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch values"]:
        """What is clustered: the last layer before the head, without its ReLU."""
        return self.layers(pooled(self.encoder(views), self.encoder.strides))

    def forward(self, views: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch clusters"]:
        """Logits of the clusters."""
        return self.head(functional.relu(self.features(views)))

    def with_fresh_head(self, generator: torch.Generator) -> None:
        """Forgets which cluster had which number: new clusters have other ones."""
        fresh = HEAD_STD * torch.randn(self.head.weight.shape, generator=generator)
        with torch.no_grad():
            self.head.weight.copy_(fresh)
            self.head.bias.zero_()

    def nearest(self, whitened: Float[Tensor, "items components"]) -> tuple[Tensor, Tensor]:
        """The cluster of each item, and how far it is from its centre."""
        away = torch.cdist(whitened, self.centres.to(whitened))
        distance, cluster = away.min(1)
        return cluster, distance
