"""Geometry consistency: the depth of one frame, seen from another, against the other's own."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from depthscope.errors import BadInputError
from depthscope.geometry.depth import Maps, MaskMaps, sample
from depthscope.objectives.consistency import masked_mean
from depthscope.objectives.photometric.synthesis import Synthesis


@dataclass(frozen=True)
class GeometryConsistency:
    """``mean |D_c - D_s| / (D_c + D_s)`` over the valid pixels (Bian et al. 2019).

    D_c is the target's depth moved into the source's axes, D_s the source's own depth at the same place. It does not
    change with the unit of length, and holds the frames of a clip to one scale.

    Attributes:
        weight: Of the mean.
        weighting: Weigh the photometric error with 1 - |D_c - D_s| / (D_c + D_s), which is small where a frame hides
            what the other shows. The weight has no gradient: with one, disagreement would pay.
    """

    weight: float = 0.1
    weighting: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.weight < float("inf"):
            raise BadInputError(f"consistency.weight {self.weight}", "a weight of 0 or more")

    def __call__(self, difference: Maps, valid: MaskMaps) -> Float[Tensor, " batch"]:
        """The loss of each map, without its weight."""
        return masked_mean(difference, valid)


def depth_difference(view: Synthesis, source_depth: Maps) -> Maps:
    """|D_c - D_s| / (D_c + D_s), in 0..1, shape (batch, height, width); 0 where the synthesis is not valid.

    D_s is sampled in inverse depth, which is exact on planes.
    """
    at = 1 / sample(1 / source_depth[:, None], view.position)[:, 0]
    return torch.where(view.valid, (view.depth - at).abs() / (view.depth + at), 0.0)
