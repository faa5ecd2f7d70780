"""Exemplar networks: an encoder that knows a place again, and finds it in other frames."""

from depthscope.pretext.exemplar.exemplar import (
    Exemplar,
    ExemplarBatch,
    ExemplarDraws,
    ExemplarNetwork,
    Exemplars,
    descriptors,
)
from depthscope.pretext.exemplar.seeds import Seeds, seed_patches
from depthscope.pretext.exemplar.transformations import Transformation, Transformations, transformed

__all__ = [
    "Exemplar",
    "ExemplarBatch",
    "ExemplarDraws",
    "ExemplarNetwork",
    "Exemplars",
    "Seeds",
    "Transformation",
    "Transformations",
    "descriptors",
    "seed_patches",
    "transformed",
]
