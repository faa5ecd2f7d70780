"""The task of a round: which cluster is this a view of?"""

from copy import deepcopy
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional

from depthscope.corpus import Corpus
from depthscope.corpus.views import Size
from depthscope.pretext.deepcluster.draws import ViewBatch, plain_views, views
from depthscope.pretext.deepcluster.network import ClusterNetwork


@dataclass(frozen=True, eq=False)
class ClusterTask:
    """Which cluster is this a view of?

    Attributes:
        network: What is trained.
        size_px: (width, height) of views.
    """

    network: ClusterNetwork
    size_px: Size

    def loss(self, network: nn.Module, batch: ViewBatch) -> dict[str, Tensor]:
        """Cross-entropy over the clusters, and the share that is right."""
        logits = network(views(batch, self.size_px))
        right = (logits.detach().argmax(-1) == batch.cluster).float().mean()
        return {"loss": functional.cross_entropy(logits, batch.cluster), "right": right}

    @torch.no_grad()
    def features(self, corpus: Corpus, numbers: Int64[Tensor, " chosen"]) -> Float[Tensor, "chosen values"]:
        """Features of the plain view of each frame, in the order of the numbers."""
        network = self.network.eval()
        device = network.centres.device
        found = []
        for batch in plain_views(corpus, numbers):
            shown = views(ViewBatch(*(part.to(device) for part in batch)), self.size_px)
            found.append(network.features(shown).float().cpu())
        return torch.cat(found)

    def whitened(self, corpus: Corpus, numbers: Int64[Tensor, " chosen"]) -> Float[Tensor, "chosen components"]:
        """Features as the last clustering saw them."""
        return deepcopy(self.network.whitening).cpu()(self.features(corpus, numbers))
