"""Recipes by name."""

from depthscope.errors import BadInputError
from depthscope.recipes.from_points import ADAPT, FAST, PAPER_2018, TMI_2020
from depthscope.recipes.from_video import PHOTOMETRIC
from depthscope.recipes.recipe import Recipe

RECIPES = {recipe.name: recipe for recipe in (ADAPT, FAST, PAPER_2018, TMI_2020, *PHOTOMETRIC)}


def recipe_named(name: str) -> Recipe:
    """The recipe of this name (``paper-2018`` or ``PAPER_2018``).

    Raises:
        BadInputError: There is none.
    """
    key = name.lower().replace("_", "-")
    if key not in RECIPES:
        raise BadInputError(f"no recipe '{name}'", f"one of {', '.join(RECIPES)}", "or a YAML file with --config")
    return RECIPES[key]
