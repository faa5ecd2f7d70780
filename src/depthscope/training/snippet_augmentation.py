"""What the network sees of a snippet: changed colours for it alone, flips and crops for the geometry too."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from depthscope.errors import BadInputError
from depthscope.geometry import RigidMotion
from depthscope.geometry.depth import pixel_grid, sample
from depthscope.supervision import SnippetBatch, SparsePoints
from depthscope.training.draws import generator_of

GREY = (0.299, 0.587, 0.114)
"""Weights of the colours in brightness."""


@dataclass(frozen=True)
class SnippetAugmentation:
    """Options of augmentation of snippets; one draw holds for all frames of a snippet.

    Attributes:
        brightness: Largest change of brightness, as a share.
        contrast: Largest change of contrast about the mean grey, as a share.
        saturation: Largest change of saturation, as a share.
        hue: Largest turn of the colours about grey, as a share of a full turn.
        chance: Share of the snippets whose colours are changed. Losses use the unchanged frames.
        flip: Mirror half of the snippets left to right, with cameras, motions and points.
        zoom: Enlarge width and height apart by up to this share, and crop back at random (Zhou et al. 2017: 0.15).
    """

    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0
    chance: float = 0.5
    flip: bool = False
    zoom: float = 0.0

    def __post_init__(self) -> None:
        for name in ("brightness", "contrast", "saturation", "zoom"):
            if not 0 <= getattr(self, name) < 1:
                raise BadInputError(f"augmentation.{name} {getattr(self, name)}", "0 to below 1")
        if not 0 <= self.hue <= 0.5 or not 0 <= self.chance <= 1:
            raise BadInputError(f"augmentation.hue {self.hue}, chance {self.chance}", "0 to 0.5, and 0 to 1")

    def __call__(self, batch: SnippetBatch, seed: int) -> tuple[SnippetBatch, Float[Tensor, "batch frames 3 h w"]]:
        """The batch that losses use, and the images that the network sees: black outside the content."""
        device = batch.images.device
        batch = replace(batch, images=batch.clean)
        generators = [generator_of(seed, draw, device) for draw in batch.draws.tolist()]
        uniform = torch.stack([torch.rand(10, generator=g, device=device) for g in generators])
        if self.zoom:
            batch = zoomed(batch, 1 + self.zoom * uniform[:, 6:8], uniform[:, 8:10])
        if self.flip:
            batch = mirrored_snippets(batch, uniform[:, 5] < 0.5)
        seen = batch.clean
        if self.brightness or self.contrast or self.saturation or self.hue:
            chosen = (uniform[:, 4] < self.chance)[:, None, None, None, None]
            seen = torch.where(chosen, self._recoloured(seen, 2 * uniform[:, :4] - 1), seen)
        if batch.shown is not None:
            seen = torch.where(batch.shown[:, :, None], seen, 0.0)
        return batch, seen

    def _recoloured(self, images: Tensor, change: Float[Tensor, "batch 4"]) -> Tensor:
        brightness, contrast, saturation, hue = change[..., None, None, None, None].unbind(1)
        images = images * (1 + self.brightness * brightness)
        mean = _grey(images).mean((-1, -2), keepdim=True)
        images = (images - mean) * (1 + self.contrast * contrast) + mean
        grey = _grey(images)
        images = (images - grey) * (1 + self.saturation * saturation) + grey
        if self.hue:
            images = turned_colours(images, 2 * torch.pi * self.hue * hue[:, 0, 0, 0, 0])
        return images.clamp(0, 1)


def _grey(images: Tensor) -> Tensor:
    return (images * images.new_tensor(GREY)[:, None, None]).sum(-3, keepdim=True)


def turned_colours(images: Float[Tensor, "batch frames 3 height width"], angle_rad: Float[Tensor, " batch"]) -> Tensor:
    """Colours turned about the grey axis of the colour cube; a third of a turn sends red to green."""
    axis = RigidMotion.from_axis_angle(
        angle_rad[:, None] * angle_rad.new_ones(3) / 3**0.5, angle_rad.new_zeros(len(angle_rad), 3)
    )
    return torch.einsum("bij,bfjhw->bfihw", axis.rotation, images)


def mirrored_snippets(batch: SnippetBatch, chosen: Bool[Tensor, " batch"]) -> SnippetBatch:
    """The chosen snippets mirrored left to right: images, masks, cameras, motions and points."""
    width = batch.images.shape[-1]
    pick = chosen[:, None, None, None]

    def turned(motion: RigidMotion | None) -> RigidMotion | None:
        if motion is None:
            return None
        which = chosen.reshape(-1, *(1,) * (motion.translation.ndim - 1))
        other = motion.mirrored
        return RigidMotion(
            torch.where(which[..., None], other.rotation, motion.rotation),
            torch.where(which, other.translation, motion.translation),
        )

    points = batch.points
    if points is not None:
        x, y = points.pixels.unbind(-1)
        across = torch.where(chosen[:, None, None], width - x, x)
        points = SparsePoints(torch.stack([across, y], -1), points.depth, points.weight)
    return replace(
        batch,
        images=torch.where(pick[..., None], batch.images.flip(-1), batch.images),
        mask=None if batch.mask is None else torch.where(pick, batch.mask.flip(-1), batch.mask),
        content=None if batch.content is None else torch.where(pick, batch.content.flip(-1), batch.content),
        camera=batch.camera.mirrored(chosen, width),
        temporal=turned(batch.temporal),
        stereo=turned(batch.stereo),
        points=points,
        mirrored=batch.mirrored ^ chosen,
    )


def zoomed(batch: SnippetBatch, factor: Float[Tensor, "batch 2"], place: Float[Tensor, "batch 2"]) -> SnippetBatch:
    """Snippets enlarged by a factor per axis, and cropped back to their size.

    Args:
        batch: With images as floats.
        factor: Of width and height, 1 or more.
        place: Where the window lies in what there is to spare, 0..1 per axis.
    """
    height, width = batch.images.shape[-2:]
    size = factor.new_tensor([width, height])
    corner = place * (factor - 1) * size  # of the window in the enlarged image
    pixels = (pixel_grid(height, width, factor) + corner[:, None, None]) / factor[:, None, None]
    frames = batch.images.shape[1]
    images = sample(batch.images.flatten(1, 2), pixels).unflatten(1, (frames, 3))
    mask, content = (
        None if one is None else sample(one.to(images), pixels) >= 1 - 1e-3 for one in (batch.mask, batch.content)
    )
    camera = batch.camera.with_intrinsics(
        batch.camera.focal_px * factor[:, None], batch.camera.centre_px * factor[:, None] - corner[:, None]
    )
    points = batch.points
    if points is not None:
        moved = points.pixels * factor[:, None, None] - corner[:, None, None]
        inside = ((moved >= 0) & (moved <= size)).all(-1)
        points = SparsePoints(moved.clamp_min(0).minimum(size), points.depth, torch.where(inside, points.weight, 0.0))
    return replace(batch, images=images, mask=mask, content=content, camera=camera, points=points)
