"""Maps continued beyond the rim of what is known, a few pixels outwards."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True, eq=False)
class Ring:
    """Pixels that touch what is known, and what of it each of them touches.

    Attributes:
        pixels: Their numbers, row by row.
        neighbours: Numbers of the nine pixels around each, shape (pixels, 9).
        weights: 1 over the number of known ones for these, 0 for the others, in the same shape.
    """

    pixels: Int64[Tensor, " pixels"]
    neighbours: Int64[Tensor, "pixels 9"]
    weights: Float[Tensor, "pixels 9"]

    def to(self, device: torch.device) -> "Ring":
        """The ring on another device."""
        return Ring(self.pixels.to(device), self.neighbours.to(device), self.weights.to(device))


def rings_around(mask: Bool[Tensor, "height width"], count: int = 8) -> tuple[Ring, ...]:
    """The pixels around a mask, ring by ring outwards.

    Args:
        mask: What is known.
        count: How many rings, each of one pixel.
    """
    height, width = mask.shape
    known, rings = mask.clone(), []
    steps = torch.tensor([(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)])
    for _ in range(count):
        near = functional.max_pool2d(known[None].float(), 3, stride=1, padding=1)[0] > 0
        ring = (near & ~known).nonzero()
        if not len(ring):
            break
        around = ring[:, None] + steps
        inside = (around >= 0).all(-1) & (around < torch.tensor([height, width])).all(-1)
        around = around.clamp(torch.zeros(2, dtype=torch.int64), torch.tensor([height - 1, width - 1]))
        told = (known[around[..., 0], around[..., 1]] & inside).float()
        rings.append(
            Ring(ring @ torch.tensor([width, 1]), around @ torch.tensor([width, 1]), told / told.sum(1, keepdim=True))
        )
        known[ring[:, 0], ring[:, 1]] = True
    return tuple(rings)


def spread_outwards(
    maps: Float[Tensor, "batch height width"], rings: tuple[Ring, ...]
) -> Float[Tensor, "batch height width"]:
    """Maps whose values around a mask are means of known neighbours, ring by ring outwards.

    Args:
        maps: In any unit.
        rings: Around the mask (`rings_around`), on the device of the maps.
    """
    values = maps.flatten(1).clone()
    for ring in rings:
        values[:, ring.pixels] = (values[:, ring.neighbours] * ring.weights).sum(-1)
    return values.unflatten(1, maps.shape[1:])
