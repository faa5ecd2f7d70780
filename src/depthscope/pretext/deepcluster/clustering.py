"""Clusters of features: whitened, found by k-means, none of them empty."""

import warnings
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional

from depthscope.errors import BadInputError

ITERATIONS = 20
"""Of k-means in each round."""

LEAST_SHARE = 1e-4
"""Components whose variance is below this share of the first one's hold noise, which whitening would blow up."""


class Clusters(NamedTuple):
    """A clustering of items.

    Attributes:
        assigned: The cluster of each item, by the item's number.
        centres: Of the clusters, among whitened features.
    """

    assigned: Int64[Tensor, " items"]
    centres: Float[Tensor, "clusters components"]


class Whitening(nn.Module):
    """Principal components of features, each brought to spread 1, then the whole to length 1.

    Without it one loud direction decides every cluster (Caron et al. 2018). A module, so that it is kept with the
    network whose features it fits.

    Attributes:
        mean: Of the features.
        axes: From features to components.
        whiten: Whether components are brought to spread 1.
    """

    mean: Tensor
    axes: Tensor

    def __init__(self, values: int, components: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(values))
        self.register_buffer("axes", torch.zeros(components, values))

    def fit(self, features: Float[Tensor, "items values"], *, whiten: bool = True) -> "Whitening":
        """Takes mean and components of features; those that there are no features for stay 0.

        Raises:
            BadInputError: All features are the same.
        """
        wide = features.double()
        mean = wide.mean(0)
        spread, axes = torch.linalg.eigh(torch.cov(wide.T, correction=0))
        count = min(len(self.axes), len(spread), len(features) - 1)
        spread, axes = spread.flip(0)[:count], axes.flip(1)[:, :count].T
        if count < 1 or float(spread[0]) <= 1e-12:
            raise BadInputError("all frames look the same to the encoder", "frames that differ", "check the inputs")
        told = spread > LEAST_SHARE * spread[0]
        scale = torch.where(told, spread.clamp_min(1e-300).rsqrt(), 0.0) if whiten else torch.ones_like(spread)
        self.mean.copy_(mean)
        self.axes.zero_()
        self.axes[:count].copy_(axes * scale[:, None])
        return self

    def forward(self, features: Float[Tensor, "items values"]) -> Float[Tensor, "items components"]:
        """Whitened features of length 1."""
        return functional.normalize((features - self.mean) @ self.axes.T, dim=1)


def clustered(points: Float[Tensor, "items components"], count: int, seed: int) -> Clusters:
    """k-means with so many clusters, none of them empty.

    Raises:
        BadInputError: There are fewer items than clusters.
    """
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    if len(points) < count:
        raise BadInputError(
            f"{len(points)} frames for {count} clusters", "at least one frame for each", "ask for fewer"
        )
    means = KMeans(count, n_init=1, max_iter=ITERATIONS, random_state=seed)  # type: ignore[arg-type]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer different points than clusters: split below
        assigned = torch.from_numpy(means.fit_predict(points.double().numpy()).astype(np.int64))
    assigned = without_empty(assigned, points, count)
    centres = torch.stack([points[assigned == cluster].mean(0) for cluster in range(count)])
    return Clusters(assigned, centres)


def without_empty(
    assigned: Int64[Tensor, " items"], points: Float[Tensor, "items components"], count: int
) -> Int64[Tensor, " items"]:
    """The assignment after every empty cluster took half of the one that is then the largest.

    The half that lies to one side along the direction in which that cluster is widest.
    """
    assigned = assigned.clone()
    sizes = assigned.bincount(minlength=count)
    for empty in (sizes == 0).nonzero().flatten().tolist():
        members = (assigned == int(sizes.argmax())).nonzero().flatten()
        centred = points[members].double() - points[members].double().mean(0)
        widest = torch.linalg.svd(centred, full_matrices=False)[2][0]
        order = (centred @ widest).argsort(stable=True)
        assigned[members[order[len(members) // 2 :]]] = empty
        sizes = assigned.bincount(minlength=count)
    return assigned


def agreement(one: Int64[Tensor, " items"], other: Int64[Tensor, " items"]) -> float:
    """Normalised mutual information of two partitions: 0 where they are unrelated, 1 where they are the same."""
    from sklearn.metrics import normalized_mutual_info_score

    return float(normalized_mutual_info_score(one.numpy(), other.numpy()))
