"""``run --set STAGE.OPTION=VALUE``: options of single stages, read by the parsers of their own commands."""

import functools
import importlib
import inspect
from collections.abc import Callable
from typing import Any

from depthscope.errors import BadInputError
from depthscope.recipes import Recipe

INPUTS = {"reconstruct": 1, "predict": 2, "fuse": 2, "register": 2}
"""How many inputs the command of each stage takes; ``train`` is read apart, for its options are those of a recipe."""

GIVEN = {"out", "camera", "masks", "sequence", "prediction", "unit", "device", "resume", "store", "config", "recipe"}
"""Options that ``run`` gives to its stages itself."""


def stage_options(settings: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    """The arguments that are set for each stage but ``train``.

    Args:
        settings: As ``fuse.hole-voxels=4``.

    Raises:
        BadInputError: One is no setting, names no stage, or an option that ``run`` has itself.

    Example:
        >>> stage_options(("fuse.hole-voxels=4", "train.steps=300"))
        {'fuse': {'hole_voxels': 4}}
    """
    words = by_stage(settings)
    return {verb: changed(verb, tuple(given)) for verb, given in words.items() if verb != "train"}


def recipe_of(recipe: Recipe, settings: tuple[str, ...]) -> Recipe:
    """The recipe with what is set for ``train``.

    Raises:
        BadInputError: A setting of ``train`` that is no option of the recipe.
    """
    words = by_stage(settings).get("train", [])
    if not words:
        return recipe
    from depthscope.commands.train import changed_recipe

    return changed_recipe(recipe, words)


def by_stage(settings: tuple[str, ...]) -> dict[str, list[str]]:
    """The words that the command of each stage is given: ``fuse.hole-voxels=4`` is ``--hole-voxels 4`` of ``fuse``."""
    found: dict[str, list[str]] = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        verb, _, option = key.partition(".")
        if not equals or not option:
            raise BadInputError(f"--set {setting}", "STAGE.OPTION=VALUE, as fuse.hole-voxels=4")
        if verb not in (*INPUTS, "train"):
            raise BadInputError(f"--set {setting}", f"a stage: {', '.join((*INPUTS, 'train'))}")
        if option.replace("-", "_") in GIVEN:
            raise BadInputError(f"--set {setting}", f"--{option} of depthscope run itself", "leave the stage away")
        switch = {"true": [f"--{option}"], "false": [f"--no-{option}"]}.get(value.lower())
        found.setdefault(verb, []).extend(switch or [f"--{option}", *value.split(",")])
    return found


def changed(verb: str, words: tuple[str, ...]) -> dict[str, Any]:
    """The arguments of a verb's function that the words set, with their values."""
    given, usual = arguments_of(verb, words), arguments_of(verb, ())
    return {name: value for name, value in given.items() if name not in usual or usual[name] != value}


def arguments_of(verb: str, words: tuple[str, ...]) -> dict[str, Any]:
    """All arguments of a verb's function as its command line reads them."""
    import tyro

    from depthscope.commands.flags import REGISTRY

    function: Callable = getattr(importlib.import_module(f"depthscope.commands.{verb}"), verb)

    @functools.wraps(function)
    def asked(*values: Any, **named: Any) -> dict[str, Any]:
        return dict(inspect.signature(function).bind(*values, **named).arguments)

    line = ["INPUT"] * INPUTS[verb] + ["--out", "OUT", *words]
    return tyro.cli(asked, args=line, prog=f"depthscope run --set {verb}", registry=REGISTRY)
