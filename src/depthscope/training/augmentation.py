"""What the network sees of a frame beside the frame itself; computed on the device, drawn by (seed, draw number)."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from depthscope.errors import BadInputError
from depthscope.geometry import RigidMotion
from depthscope.supervision import PairBatch, SparsePoints
from depthscope.training.draws import generator_of


@dataclass(frozen=True)
class Augmentation:
    """Options of augmentation; the paper's is noise alone.

    Attributes:
        noise: Standard deviation of Gaussian noise on the image, of full scale 1.
        brightness: Largest change of brightness, as a share.
        contrast: Largest change of contrast, as a share.
        gamma: Largest change of the exponent, as a share.
        colour: Largest change of each colour channel, as a share.
        flip: Mirror half of the pairs left to right, with camera, motion and points.
        apart: Change the colours of the two frames of a pair separately.
    """

    noise: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    gamma: float = 0.0
    colour: float = 0.0
    flip: bool = False
    apart: bool = False

    def __post_init__(self) -> None:
        for name in ("noise", "brightness", "contrast", "gamma", "colour"):
            if not 0 <= getattr(self, name) < 1:
                raise BadInputError(f"augmentation.{name} {getattr(self, name)}", "0 to below 1")

    def __call__(self, batch: PairBatch, seed: int) -> PairBatch:
        """The batch with images as floats in 0..1, changed as drawn, and black outside the content."""
        device = batch.images.device
        images = batch.images.float() / 255
        generators = [generator_of(seed, draw, device) for draw in batch.draws.tolist()]
        uniform = torch.stack([torch.rand(16, generator=g, device=device) for g in generators]) * 2 - 1
        if self.brightness or self.contrast or self.gamma or self.colour:
            images = self._recoloured(images, uniform[:, :14])
        if self.noise:
            noise = [torch.randn(images.shape[1:], generator=g, device=device) for g in generators]
            images = images + self.noise * torch.stack(noise)
        images = images.clamp(0, 1) * batch.shown[:, :, None]
        batch = replace(batch, images=images)
        return mirrored(batch, uniform[:, 15] > 0) if self.flip else batch

    def _recoloured(self, images: Tensor, uniform: Float[Tensor, "pairs 14"]) -> Tensor:
        change = uniform.reshape(-1, 2, 7)[..., None, None, None]
        if not self.apart:
            change = change[:, :1].expand(-1, 2, -1, -1, -1, -1)
        gamma = 1 + self.gamma * change[:, :, 0]
        contrast = 1 + self.contrast * change[:, :, 1]
        brightness = 1 + self.brightness * change[:, :, 2]
        colour = 1 + self.colour * change[:, :, 3:6].squeeze(3)
        mean = images.mean((-1, -2, -3), keepdim=True)
        images = ((images - mean) * contrast + mean) * brightness * colour
        return images.clamp(1e-4, 1) ** gamma


def mirrored(batch: PairBatch, chosen: Tensor) -> PairBatch:
    """The chosen pairs mirrored left to right: the image, and with it camera, motion, mask and points."""
    width = batch.images.shape[-1]
    pick = chosen[:, None, None, None]
    turned = batch.k_from_j.mirrored
    x, y = batch.points.pixels.unbind(-1)
    return replace(
        batch,
        images=torch.where(pick[..., None], batch.images.flip(-1), batch.images),
        mask=torch.where(pick, batch.mask.flip(-1), batch.mask),
        content=None if batch.content is None else torch.where(pick, batch.content.flip(-1), batch.content),
        camera=batch.camera.mirrored(chosen, width),
        k_from_j=RigidMotion(
            torch.where(pick[..., 0], turned.rotation, batch.k_from_j.rotation),
            torch.where(pick[..., 0, 0], turned.translation, batch.k_from_j.translation),
        ),
        points=SparsePoints(
            torch.stack([torch.where(pick[..., 0], width - x, x), y], -1), batch.points.depth, batch.points.weight
        ),
    )
