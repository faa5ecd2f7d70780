"""Weights of an encoder alone, as a file: names and tensors, as torchvision publishes them."""

from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from depthscope.errors import BadInputError, require_file
from depthscope.reading import reader


@runtime_checkable
class StartsFromFile(Protocol):
    """Options of a network that may start from weights in a file."""

    def load_start(self, network: nn.Module) -> None:
        """Takes the weights of the file that the options name into a network that they built, if they name one."""
        ...


@reader("a file of weights")
def read_weights(path: Path) -> dict[str, Tensor]:
    """The weights in a file, by name.

    Raises:
        BadInputError: It is missing or unreadable, holds something else, or numbers that are not finite.
    """
    require_file(path, "a file of an encoder's weights")
    weights = torch.load(path, map_location="cpu", weights_only=True)
    named = isinstance(weights, dict) and all(isinstance(name, str) for name in weights)
    if not named or not all(isinstance(value, Tensor) for value in weights.values()):
        raise BadInputError(f"{path} is no file of weights", "tensors by name", "give encoder.pt of a pretext run")
    if (bad := not_finite_in(weights)) is not None:
        raise BadInputError(f"{path} holds weights that are not finite ({bad})", "numbers", "pretrain again")
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
