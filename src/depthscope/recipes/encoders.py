"""Recipes whose network starts from an encoder."""

import dataclasses
from pathlib import Path

from depthscope.errors import BadInputError
from depthscope.networks import ResidualDisparity, ResidualEncoder, ResUNet
from depthscope.networks.encoder import EncoderOptions
from depthscope.networks.res_unet_encoder import ResUNetEncoder
from depthscope.recipes import Recipe


def with_encoder(recipe: Recipe, run: Path) -> Recipe:
    """The recipe with a network whose encoder is that of a pretext run, and starts from its weights.

    Raises:
        BadInputError: The run left no encoder, or the recipe's network has none of its kind.
    """
    from depthscope.pretext import encoder_of

    return with_encoder_options(recipe, encoder_of(run))


def with_encoder_options(recipe: Recipe, encoder: EncoderOptions) -> Recipe:
    """The recipe with a network that has this encoder.

    Raises:
        BadInputError: Its network has none of this kind.
    """
    match recipe.network, encoder:
        case ResUNet(), ResUNetEncoder():
            same = {field.name: getattr(encoder, field.name) for field in dataclasses.fields(encoder)}
            return dataclasses.replace(recipe, network=dataclasses.replace(recipe.network, **same))
        case ResidualDisparity(), ResidualEncoder():
            return dataclasses.replace(recipe, network=dataclasses.replace(recipe.network, encoder=encoder))
        case _:
            fitting = "fast" if isinstance(encoder, ResUNetEncoder) else "monodepth2-m"
            raise BadInputError(
                f"a {type(encoder).__name__} for the network of {recipe.name}, a {type(recipe.network).__name__}",
                "a network with such an encoder",
                f"use --recipe {fitting}, or pretrain another encoder",
            )
