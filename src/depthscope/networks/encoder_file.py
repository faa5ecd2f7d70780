"""Weights of an encoder, from a file: names and tensors, or the encoder's part of a depth network's checkpoint."""

import re
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from depthscope.errors import BadInputError, require_file
from depthscope.reading import reader

PART = re.compile(r"(depth\.)?encoder\.")
"""What names of an encoder's weights begin with in a depth network, and in one with motion beside it."""


@runtime_checkable
class StartsFromFile(Protocol):
    """Options of a network that may start from weights in a file."""

    def load_start(self, network: nn.Module) -> None:
        """Takes the weights of the file that the options name into a network that they built, if they name one."""
        ...


@reader("a file of weights")
def read_weights(path: Path) -> dict[str, Tensor]:
    """The weights of an encoder in a file, by name.

    Args:
        path: Of tensors by name, as torchvision publishes them and ``pretrain`` writes them; or of a checkpoint of a
            depth network, of which the encoder's part is taken.

    Raises:
        BadInputError: It is missing or unreadable, holds something else, or numbers that are not finite.
    """
    require_file(path, "a file of an encoder's weights")
    weights = torch.load(path, map_location="cpu", weights_only=True)
    if isinstance(weights, dict) and isinstance(weights.get("network"), dict):
        weights = _encoder_of_checkpoint(weights["network"], path)
    named = isinstance(weights, dict) and all(isinstance(name, str) for name in weights)
    if not named or not all(isinstance(value, Tensor) for value in weights.values()):
        raise BadInputError(f"{path} is no file of weights", "tensors by name", "give encoder.pt of a pretext run")
    if (bad := not_finite_in(weights)) is not None:
        raise BadInputError(f"{path} holds weights that are not finite ({bad})", "numbers", "pretrain again")
    return weights


def _encoder_of_checkpoint(network: dict[str, Any], path: Path) -> dict[str, Any]:
    weights = {PART.sub("", str(name), 1): value for name, value in network.items() if PART.match(str(name))}
    if not weights:
        raise BadInputError(
            f"{path} has no encoder that moves alone", "a checkpoint of fast or monodepth2", "train one"
        )
    return weights


def not_finite_in(weights: Any) -> str | None:
    """The name of the first tensor that holds NaN or infinities, or None; also where these are no weights at all."""
    if not isinstance(weights, dict):
        return None
    tensors = ((name, value) for name, value in weights.items() if isinstance(value, Tensor))
    return next((str(name) for name, value in tensors if not bool(value.isfinite().all())), None)


def fitted(encoder: nn.Module, weights: dict[str, Tensor], path: Path) -> None:
    """Loads weights into an encoder.

    Raises:
        BadInputError: They are of another one.
    """
    try:
        encoder.load_state_dict(weights)
    except RuntimeError as error:
        told = str(error).splitlines()[1].strip() if "\n" in str(error) else str(error)
        raise BadInputError(
            f"{path} does not fit the encoder ({told[:120]})",
            "weights for this number of layers",
            "name its layers",
        ) from error
