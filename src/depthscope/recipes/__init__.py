"""Named complete runs as values, and their YAML form.

A recipe is everything that decides a training run beside the data. `PAPER_2018` is Liu et al. 2018 as far as it is
written down, `TMI_2020` its journal sequel, `FAST` what we recommend on two CPU cores and on a GPU alike. The others
learn from video by view synthesis, with or without structure from motion.
"""

from depthscope.recipes.from_points import ADAPT, FAST, PAPER_2018, TMI_2020
from depthscope.recipes.from_video import (
    ENDOSCOPY_PHOTOMETRIC,
    MONODEPTH2_M,
    MONODEPTH2_MS,
    MONODEPTH2_S,
    SFMLEARNER,
)
from depthscope.recipes.named import RECIPES, recipe_named
from depthscope.recipes.pretrained_network import PRETRAINED_NETWORK
from depthscope.recipes.recipe import Recipe, with_steps
from depthscope.recipes.yaml_form import NETWORKS, from_yaml, read_recipe, to_yaml

__all__ = [
    "ADAPT",
    "ENDOSCOPY_PHOTOMETRIC",
    "FAST",
    "MONODEPTH2_M",
    "MONODEPTH2_MS",
    "MONODEPTH2_S",
    "NETWORKS",
    "PAPER_2018",
    "PRETRAINED_NETWORK",
    "RECIPES",
    "Recipe",
    "SFMLEARNER",
    "TMI_2020",
    "from_yaml",
    "read_recipe",
    "recipe_named",
    "to_yaml",
    "with_steps",
]
