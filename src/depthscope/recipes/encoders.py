"""Recipes whose network has a given encoder."""

import dataclasses

from depthscope.errors import BadInputError
from depthscope.networks import EfficientEncoder, ResidualDisparity, ResidualEncoder, ResUNet
from depthscope.networks.encoder import EncoderOptions
from depthscope.networks.res_unet_encoder import ResUNetEncoder
from depthscope.recipes import Recipe


def with_encoder_options(recipe: Recipe, encoder: EncoderOptions) -> Recipe:
    """The recipe with a network that has this encoder.

    Raises:
        BadInputError: Its network has none of this kind.
    """
    match recipe.network, encoder:
        case ResUNet(), ResUNetEncoder():
            same = {field.name: getattr(encoder, field.name) for field in dataclasses.fields(encoder)}
            return dataclasses.replace(recipe, network=dataclasses.replace(recipe.network, **same))
        case ResidualDisparity(), ResidualEncoder() | EfficientEncoder():
            return dataclasses.replace(recipe, network=dataclasses.replace(recipe.network, encoder=encoder))
        case _:
            fitting = "fast" if isinstance(encoder, ResUNetEncoder) else "monodepth2-m"
            raise BadInputError(
                f"a {type(encoder).__name__} for the network of {recipe.name}, a {type(recipe.network).__name__}",
                "a network with such an encoder",
                f"use --recipe {fitting}, or pretrain another encoder",
            )
