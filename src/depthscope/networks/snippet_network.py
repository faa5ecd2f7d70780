"""Everything that view synthesis trains, as one module: depth, motions, and if asked for the camera."""

import math
from dataclasses import replace
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from depthscope.geometry import Camera, Lens
from depthscope.networks.depth_head import DepthPrediction, as_prediction
from depthscope.networks.disparity import Disparities, disparities_of
from depthscope.networks.pose import Motions

DEPTH = "depth."
"""Prefix of the depth network's weights."""


class SnippetPrediction(NamedTuple):
    """What is predicted of a batch of snippets; a tuple, which wrappers of networks know how to look into.

    Attributes:
        disparities: Of the target, the finest first.
        source_disparities: Finest disparity of each source in time, shape (batch, sources, height, width), or None.
        motions: Of the sources in time, or None where they are known.
        camera: Two logarithms of factors on the focal lengths and two shifts of the centre in focal lengths, shape
            (4,), or None where the camera is known.
    """

    disparities: Disparities
    source_disparities: Tensor | None = None
    motions: Motions | None = None
    camera: Float[Tensor, " 4"] | None = None


class SnippetNetwork(nn.Module):
    """A depth network, a pose network and the corrections of a camera.

    Called with images alone it is the depth network, so that whatever looks at depth looks at this module alike.

    Attributes:
        depth: From images to depth.
        pose: From snippets to motions, or None.
        camera: Corrections of the camera, or None; they start at none.
        of_sources: Whether depth of the sources is predicted too.
    """

    def __init__(
        self, depth: nn.Module, pose: nn.Module | None, *, of_sources: bool = False, learn_camera: bool = False
    ) -> None:
        super().__init__()
        self.depth, self.pose, self.of_sources = depth, pose, of_sources
        self.camera = nn.Parameter(torch.zeros(4)) if learn_camera else None

    def forward(
        self,
        images: Float[Tensor, "batch 3 height width"],
        sources: Float[Tensor, "batch sources 3 height width"] | None = None,
    ) -> DepthPrediction | SnippetPrediction:
        """Depth of images; or with their sources in time all that a snippet gives (which may be none: stereo)."""
        if sources is None:
            return as_prediction(self.depth(images))
        source_disparities = None
        if self.of_sources and sources.shape[1]:
            everything = torch.cat([images, *sources.unbind(1)])
            maps = disparities_of(self.depth, everything)
            count = len(images)
            source_disparities = maps[0][count:].unflatten(0, (sources.shape[1], count)).transpose(0, 1)
            maps = tuple(one[:count] for one in maps)
        else:
            maps = disparities_of(self.depth, images)
        motions = None
        if self.pose is not None and sources.shape[1]:
            motions = self.pose(torch.cat([images[:, None], sources], 1))
        return SnippetPrediction(maps, source_disparities, motions, self.camera)


def depth_weights(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The depth network's share of a `SnippetNetwork`'s weights."""
    return {name.removeprefix(DEPTH): value for name, value in weights.items() if name.startswith(DEPTH)}


def corrected(camera: Lens, correction: Float[Tensor, " 4"], mirrored: Bool[Tensor, " batch"]) -> Lens:
    """Cameras of batch shape (batch, frames) with the learned corrections; mirrored images shift to the other side."""
    focal = camera.focal_px * correction[:2].exp()
    across = torch.where(mirrored, -1.0, 1.0)[:, None]
    shift = torch.stack([across * correction[2], correction[3].expand_as(across)], -1)  # (batch, 1, 2)
    return camera.with_intrinsics(focal, camera.centre_px + shift * camera.focal_px)


def learned_camera(camera: Camera, correction: Float[Tensor, " 4"]) -> Camera:
    """A recording's camera with what was learned of it: the corrections do not depend on the size of the image."""
    (fx, fy), (cx, cy) = camera.focal_px, camera.centre_px
    log_x, log_y, across, down = correction.double().tolist()
    return replace(
        camera,
        focal_px=(fx * math.exp(log_x), fy * math.exp(log_y)),
        centre_px=(cx + across * fx, cy + down * fy),
        source="learned by view synthesis",
    )
