"""The weights that ship: a depth network that was taught by the true depth of simulated patients.

``depth.pt`` is a checkpoint as any run leaves one, of the averaged weights alone in half precision; ``depth.yaml`` says
what it was trained on, how well it does, and where it fails. Both are made by ``depthscope export RUN``.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor, nn

from depthscope.errors import BadInputError
from depthscope.networks import NetworkOptions
from depthscope.networks.snippet_network import depth_weights
from depthscope.objectives import ViewSynthesis
from depthscope.recipes import from_yaml
from depthscope.training import BEST, LAST, load_checkpoint, save_checkpoint
from depthscope.workspace import write_text

SHIPPED = "shipped"
"""What stands for these weights where a run is asked for."""

WEIGHTS = Path(__file__).with_name("depth.pt")
CARD = Path(__file__).with_name("depth.yaml")

DEVIATION_BIAS = "head.outputs.bias"
"""Of a `DepthHead`: of log depth, then of the deviation."""

CARRIED = ("recipe", "unit_length", "unit", "patients", "step", "best")
"""What the small form of a checkpoint keeps beside the weights."""


@dataclass(frozen=True, eq=False)
class Start:
    """What a network begins with in place of random weights.

    Attributes:
        network: Options of the network that the weights are of.
        weights: Of the whole network.
        source: Where they came from.
    """

    network: NetworkOptions
    weights: dict[str, Tensor]
    source: Path


def checkpoint_named(name: str | Path) -> Path:
    """The checkpoint that a name stands for: of `SHIPPED`, of a run's folder (its best one), or the file itself.

    Raises:
        BadInputError: There is none.
    """
    if str(name) == SHIPPED:
        if not WEIGHTS.is_file():
            raise BadInputError(
                f"this installation has no {WEIGHTS.name}", "the weights that ship with depthscope", "install it again"
            )
        return WEIGHTS
    run = Path(name)
    return run if run.is_file() else run / (BEST if (run / BEST).is_file() else LAST)


def read_start(name: str | Path) -> Start:
    """The network and weights of a run, of a checkpoint file, or of `SHIPPED`.

    Raises:
        BadInputError: There is no whole checkpoint, or it is not of a depth network.
    """
    path = checkpoint_named(name)
    content = load_checkpoint(path)
    if "recipe" not in content or "network" not in content:
        raise BadInputError(f"{path} names no recipe", "a checkpoint of a depth network", "train with depthscope train")
    recipe = from_yaml(content["recipe"], source=f"the recipe in {path}")
    weights = content["network"]
    if isinstance(recipe.objective, ViewSynthesis):
        weights = depth_weights(weights)
    return Start(recipe.network, weights, path)


def write_weights(
    checkpoints: Sequence[Path], out: Path, calibrate: Callable[[nn.Module], tuple[float, dict[str, Any]]] | None = None
) -> None:
    """The averaged weights of a run alone, in half precision, and beside them what they have seen, as YAML.

    Args:
        checkpoints: Of one run; or of several of one network, one of which started from another: the mean of such
            weights errs less on what none of them has seen (model soups, Wortsman et al. 2022).
        out: The file; the YAML file beside it is called as it is.
        calibrate: From the network to what is added to the last bias of its deviations, and what the card says of it.

    Raises:
        BadInputError: One is not of a depth network or of another one, or `out` cannot be written.
    """
    starts = [read_start(path) for path in checkpoints]  # which refuses what is no depth network
    contents = [load_checkpoint(path) for path in checkpoints]
    other = next((start for start in starts if start.network != starts[0].network), None)
    if other is not None:
        raise BadInputError(f"{other.source} has the network {other.network}", f"{starts[0].network}")
    weights = {name: mean_of([content["network"][name] for content in contents]) for name in contents[0]["network"]}
    card: dict[str, Any] = {
        "depthscope": version("depthscope"),
        "use": "research only",
        "weights_are_the_mean_of": [_card(content) for content in contents],
    }
    if calibrate is not None:
        network = starts[0].network.build()
        network.load_state_dict(weights)
        shift, card["deviations"] = calibrate(network.eval())
        weights[DEVIATION_BIAS][1] += shift
    kept = {key: contents[0][key] for key in CARRIED if key in contents[0]}
    save_checkpoint(out, {**kept, "network": weights})
    write_text(out.with_suffix(".yaml"), yaml.safe_dump(card, sort_keys=False))


def mean_of(values: Sequence[Tensor]) -> Tensor:
    """The mean of weights in half precision; whole numbers, such as counters, are those of the first."""
    if not values[0].is_floating_point():
        return values[0]
    return torch.stack([value.float() for value in values]).mean(0).half()


def _card(content: dict[str, Any]) -> dict[str, Any]:
    """What the weights of a checkpoint have seen, and how well they did."""
    return {
        "trained_on": list(content.get("patients", content.get("sequences", []))),
        "steps": content.get("step"),
        "errors_on_unseen_patients": content.get("best"),
        "options": yaml.safe_load(content.get("simulated_depth", content["recipe"])),
    }
