"""Recipes whose network starts from all weights of a run."""

import dataclasses
from pathlib import Path

from depthscope.recipes import Recipe


def with_start(recipe: Recipe, start: str) -> Recipe:
    """The recipe with the network of a run, or of the weights that ship, that begins with all of its weights.

    Raises:
        BadInputError: There is no such run.
    """
    from depthscope.pretrained import SHIPPED, read_start

    begun = start if start in ("", SHIPPED) else str(Path(start).resolve())
    network = read_start(begun).network if begun else recipe.network
    return dataclasses.replace(recipe, network=network, start=begun)
