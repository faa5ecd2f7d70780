"""Validation on simulated patients that were not trained on."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from depthscope.geometry.scale import weighted_mean, weighted_median
from depthscope.networks import as_prediction
from depthscope.simulation.still_store import StillStore
from depthscope.supervised.augmentation import Placement
from depthscope.supervised.draws import Size, gathered
from depthscope.supervised.task import network_input


@dataclass(frozen=True, eq=False)
class UnseenPatients:
    """Error of the depth of frames as they are, each brought to its true depth by the median ratio.

    Attributes:
        store: Frames of patients that are not trained on.
        size_px: (width, height) of the network's window.
        most: Most frames that are looked at, evenly spaced.
        batch: Frames in one pass.
    """

    store: StillStore
    size_px: Size = (192, 160)
    most: int = 240
    batch: int = 8

    def __call__(self, network: nn.Module) -> dict[str, float]:
        """Errors with and without rays, each a mean over frames.

        Returns:
            "score" (mean AbsRel of both, over anatomies), "abs_rel", "abs_rel_without_rays", "one_scale" (AbsRel where
            all frames of a patient share one factor), "abs_rel_<anatomy>", and "within_1", "within_2": shares of the
            errors that lie within one and two of the deviations that the network tells.
        """
        per_anatomy: dict[str, list[float]] = defaultdict(list)
        blind: dict[str, list[float]] = defaultdict(list)
        shared: dict[tuple[str, int], list[tuple[Tensor, Tensor]]] = defaultdict(list)
        within: list[tuple[float, float]] = []
        for names, batch in self._batches(next(network.parameters()).device):
            known = (batch.depth > 0).flatten(1)
            for rays in (True, False):
                shown = batch if rays else replace(batch, rays=torch.zeros_like(batch.rays))
                said = as_prediction(network(network_input(network, shown)))
                error = log_errors(said.log_depth, batch.depth)
                weight = known.to(error)
                middle = weighted_median(error, weight)
                relative = weighted_mean((error - middle[:, None]).expm1().abs(), weight).tolist()
                for (anatomy, _), value in zip(names, relative, strict=True):
                    (per_anatomy if rays else blind)[anatomy].append(value)
                if rays:
                    for row, name in enumerate(names):
                        shared[name].append((error[row][known[row]], middle[row]))
                    if said.log_std is not None:
                        deviations = (error - middle[:, None]).abs() / said.log_std.flatten(1).exp()
                        within += [
                            tuple(float((d[k] < n).float().mean()) for n in (1, 2))
                            for d, k in zip(deviations, known, strict=True)
                        ]  # type: ignore[misc]
        with_rays, without = means(per_anatomy), means(blind)
        found = {
            "score": (mean(with_rays.values()) + mean(without.values())) / 2,
            "abs_rel": mean(with_rays.values()),
            "abs_rel_without_rays": mean(without.values()),
            "one_scale": mean(one_scale(rows) for rows in shared.values()),
            **{f"abs_rel_{name}": value for name, value in with_rays.items()},
        }
        if within:
            found |= {"within_1": mean(w[0] for w in within), "within_2": mean(w[1] for w in within)}
        return found

    def deviations(
        self, network: nn.Module, most: int = 4000
    ) -> Iterator[tuple[Float[Tensor, " pixels"], Float[Tensor, " pixels"]]]:
        """Of each frame, with rays: |log error| about its median, and the log deviation told, of `most` pixels at most.

        Nothing for a network that tells none.
        """
        for _, batch in self._batches(next(network.parameters()).device):
            with torch.inference_mode():
                said = as_prediction(network(network_input(network, batch)))
            if said.log_std is None:
                return
            error, known = log_errors(said.log_depth, batch.depth), (batch.depth > 0).flatten(1)
            middle = weighted_median(error, known.to(error))
            for e, s, k, m in zip(error, said.log_std.flatten(1), known, middle, strict=True):
                step = max(1, int(k.sum()) // most)
                if bool(k.any()):
                    yield (e[k] - m).abs()[::step], s[k][::step]

    def _batches(self, device: torch.device):
        numbers = np.unique(np.linspace(0, len(self.store) - 1, min(self.most, len(self.store))).round().astype(int))
        owners = np.repeat(np.arange(len(self.store.patients)), [p.frames for p in self.store.patients])
        plain = Placement().plain
        for some in np.array_split(numbers, max(1, -(-len(numbers) // self.batch))):
            batch = gathered([plain(self.store[int(n)], self.size_px) for n in some], some.tolist()).to(device)
            images = batch.images.float() / 255 * batch.content[:, None]
            patients = [self.store.patients[owners[n]] for n in some]
            yield (
                [(p.anatomy, p.seed) for p in patients],
                replace(batch, images=images.contiguous(memory_format=torch.channels_last)),
            )


def log_errors(
    log_depth: Float[Tensor, "batch height width"], depth: Float[Tensor, "batch height width"]
) -> Float[Tensor, "batch pixels"]:
    """Log of predicted over true depth; anything where that is not known."""
    return (log_depth - depth.clamp_min(1e-6).log()).flatten(1)


def one_scale(rows: list[tuple[Tensor, Tensor]]) -> float:
    """AbsRel, a mean over frames, where all frames of a patient share the mean of their medians as log factor."""
    factor = torch.stack([middle for _, middle in rows]).mean()
    return mean(float((error - factor).expm1().abs().mean()) for error, _ in rows)


def means(groups: dict[str, list[float]]) -> dict[str, float]:
    """The mean of each group."""
    return {name: mean(values) for name, values in groups.items()}


def mean(values) -> float:
    """Of numbers."""
    listed = list(values)
    return sum(listed) / len(listed)
