"""The weights that ship: a depth network that was taught by the true depth of simulated patients.

``depth.pt`` is a checkpoint as any run leaves one, of the averaged weights alone in half precision; ``depth.yaml`` says
what it was trained on, how well it does, and where it fails. Both are made by ``depthscope export RUN``.
"""

from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import yaml
from torch import Tensor

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


def write_weights(checkpoint: Path, out: Path) -> None:
    """The averaged weights of a checkpoint alone, in half precision, and beside them what they have seen, as YAML.

    Raises:
        BadInputError: It is not of a depth network, or `out` cannot be written.
    """
    read_start(checkpoint)  # refuses what is no depth network
    content = load_checkpoint(checkpoint)
    weights = {name: value.half() if value.is_floating_point() else value for name, value in content["network"].items()}
    kept = {key: content[key] for key in CARRIED if key in content}
    save_checkpoint(out, {**kept, "network": weights})
    card = {
        "trained_on": list(content.get("patients", content.get("sequences", []))),
        "steps_of_the_last_run": content.get("step"),
        "errors_on_unseen_patients": content.get("best"),
        "options": content.get("simulated_depth", content["recipe"]),
        "depthscope": version("depthscope"),
        "use": "research only",
    }
    write_text(out.with_suffix(".yaml"), yaml.safe_dump(card, sort_keys=False))
