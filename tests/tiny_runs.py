"""A tiny simulated tube with its true depth, a recipe that learns it in seconds, and networks in closed form."""

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from depthscope.formats import colmap
from depthscope.geometry.depth import pixel_grid
from depthscope.networks import DepthPrediction, ResUNet
from depthscope.recipes import FAST, Recipe, to_yaml
from depthscope.sequence import Sequence
from depthscope.simulation import Tube, simulate
from depthscope.supervision import Holdout, PairRule, Supervision
from depthscope.training import BEST, Adam, Augmentation, Training, save_checkpoint

TUBE = Tube(frames=8, size_px=(96, 80), points=200, travel=0.9)

TINY = Recipe(
    name="tiny",
    network=ResUNet(width=8, levels=3),
    objective=FAST.objective,
    supervision=Supervision(area_px=4000, pairs=PairRule(max_gap=7), holdout=Holdout(points=0.1)),
    augmentation=Augmentation(noise=0.02, brightness=0.1, contrast=0.1, gamma=0.1, colour=0.05, flip=True),
    training=Training(steps=6, batch=4, optimiser=Adam(1e-3), clip_norm=1.0, ema=0.9, precision="fp32", log_every=2),
)
"""One of each kind: everything random is on, and nothing is bf16, so that runs can be compared bit for bit."""


def tiny(**training) -> Recipe:
    return replace(TINY, training=replace(TINY.training, **training))


def tube_clip(folder: Path, options: Tube = TUBE) -> Sequence:
    """A sequence folder in COLMAP's layout with depth/ beside it."""
    folder.mkdir(parents=True)
    sequence = simulate(options, folder)
    colmap.write(sequence, folder)
    return sequence


@dataclass(frozen=True)
class Wall:
    """A network that sees a plane whatever it is shown: inverse depth is affine in its image (0..1 in both axes)."""

    inverse: float = 0.5
    across: float = 0.0
    down: float = 0.0
    log_std: float | None = None
    plain: bool = False

    @property
    def divisor(self) -> int:
        return 1

    def build(self) -> nn.Module:
        return WallNetwork(self)


class WallNetwork(nn.Module):
    def __init__(self, options: Wall) -> None:
        super().__init__()
        self.options = options
        self.unused = nn.Parameter(torch.zeros(1))

    def forward(self, images: Tensor) -> DepthPrediction | Tensor:
        height, width = images.shape[-2:]
        share = pixel_grid(height, width, images) / images.new_tensor([width, height])
        options = self.options
        inverse = options.inverse + options.across * share[..., 0] + options.down * share[..., 1]
        depth = (1 / inverse).expand(len(images), -1, -1) + 0 * self.unused
        if options.plain:
            return depth[:, None]
        return DepthPrediction(
            depth.log(), None if options.log_std is None else torch.full_like(depth, options.log_std)
        )


def wall_run(folder: Path, wall: Wall, size_px: tuple[int, int] = (40, 30)) -> Path:
    """A run folder with the checkpoint of a wall."""
    recipe = replace(TINY, network=wall, supervision=Supervision(size_px=size_px))
    folder.mkdir(parents=True, exist_ok=True)
    save_checkpoint(folder / BEST, {"network": wall.build().state_dict(), "step": 0, "recipe": to_yaml(recipe)})
    return folder
