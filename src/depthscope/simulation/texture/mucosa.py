"""The lining of a cavity: its colour and the wet film on it."""

from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from depthscope.simulation.texture.look import Look
from depthscope.simulation.texture.noise import Noise
from depthscope.simulation.texture.vessels import Vessels

PALE = (0.86, 0.57, 0.40)
"""Linear sRGB of tissue without blood."""

ARTERIAL, VENOUS = (0.32, 1.50, 1.60), (0.85, 1.70, 1.30)
"""What a unit of blood absorbs of red, green and blue: light red in the lining, dark and purple in deep veins."""

Places = Float[Tensor, "points 3"]


@dataclass(frozen=True, eq=False)
class Mucosa:
    """The texture of one patient: a solid colour and a wet film.

    Attributes:
        look: What it looks like.
        seed: What it is drawn by.
    """

    look: Look
    seed: int

    @property
    def noise(self) -> Noise:
        """Its noise."""
        return _noise(self.seed)

    @property
    def vessels(self) -> Vessels:
        """Its vessels."""
        return _vessels(self.seed)

    def albedo(
        self,
        points: Places,
        normals: Places,
        tones: Float[Tensor, "points n"],
        cell_mm: Float[Tensor, " points"],
    ) -> Places:
        """Linear RGB reflectance, in 0..1.

        Args:
            points: Of the wall, in mm, in the patient.
            normals: Unit normals.
            tones: How much blood and vessels this region has, both 1 in the mean, and how deep in a cavity it lies;
                three more columns, if there are, tint it.
            cell_mm: What one pixel covers at each point: finer detail is averaged out.
        """
        look = self.look
        size = look.scale
        wide, near = self.noise(points, 15.0 * size), self.noise(points, 4.5 * size, 1.0)
        bent = points.float() + 0.35 * size * near[:, :3]
        fine = self.noise(bent, 1.1 * size, 2.0)
        seen = torch.exp(-((cell_mm.float() / (0.6 * size)) ** 2))  # mottling is lost in pixels as wide as it
        blotch = 0.75 * wide[:, 0] + 0.5 * near[:, 3] + 0.22 * fine[:, 0] * seen
        local = tones[:, 0] if look.regional == 1 else tones[:, 0].clamp_min(0.05) ** look.regional
        blood = look.blood * local * torch.exp(look.contrast * look.blotches * blotch)
        blood = blood + look.contrast * look.grain * seen * (fine[:, 1] + 0.6 * fine[:, 2])

        if look.bleeding:  # pools have edges, and lie where the wide noise has its summits
            blood = blood + look.bleeding * torch.sigmoid(7 * (wide[:, 2] + 0.45 * near[:, 1] - 1.1))

        # Vessels come to the surface in some places and dive in others.
        artery, vein, capillary = self.vessels(bent, normals, look.tile_mm, cell_mm).unbind(-1)
        show = look.contrast * look.vessels * tones[:, 1]
        artery = 1.15 * show * torch.sigmoid(2.5 * wide[:, 1] + 0.8) * artery
        capillary = 0.55 * show * torch.sigmoid(3.0 * wide[:, 2]) * capillary
        vein = 0.75 * show * torch.sigmoid(2.5 * wide[:, 3] - 0.8) * vein

        red = (blood + artery + capillary).clamp_min(0)[:, None] * blood.new_tensor(ARTERIAL)
        purple = vein[:, None] * blood.new_tensor(VENOUS)
        pale = blood.new_tensor(PALE) * (1 + look.hue * blood.new_tensor([0.0, 1.0, 0.6])) * blood.new_tensor(look.tint)
        if tones.shape[1] > 3:
            pale = pale * tones[:, 3:]
        # Fat and scar scatter more, mucus less: lightness of its own, without hue.
        light = 1 + 0.10 * look.contrast * (wide[:, 3] + 0.5 * near[:, 0] + 0.3 * fine[:, 3] * seen)
        colour = pale * torch.exp(-red - purple) * light[:, None]
        if look.cover_share:
            level = NormalDist().inv_cdf(1 - min(look.cover_share, 0.99))
            over = torch.sigmoid(9 * ((0.8 * wide[:, 1] - 0.6 * near[:, 2]) - level))
            over = look.cover_opacity * over * (0.75 + 0.25 * torch.tanh(fine[:, 3]))
            colour = colour + over[:, None] * (colour.new_tensor(look.cover) * (1 + 0.08 * near[:, :1]) - colour)
        return colour.clamp(0.004, 0.98)

    def film(self, points: Places, normals: Places) -> tuple[Places, Float[Tensor, " points"]]:
        """Unit normals of the wet film at points of the wall, some degrees off it, and its roughness."""
        look = self.look
        wide, small = self.noise(points, 3.6 * look.scale, 3.0), self.noise(points, 1.0 * look.scale, 4.0)
        patch = torch.sigmoid(1.8 * wide[:, 3] + 4 * (look.wetness - 0.5))
        tilt = look.bumps * (wide[:, :3] + (0.1 + 0.2 * patch[:, None]) * small[:, :3])
        roughness = 0.22 - 0.17 * patch
        return functional.normalize(normals.float() + tilt, dim=-1), roughness


# A patient's noise and vessels depend on the seed alone: kept, since one patient may be shown in many looks.
@lru_cache(maxsize=4)
def _noise(seed: int) -> Noise:
    return Noise.drawn(np.random.default_rng((seed, 41)))


@lru_cache(maxsize=4)
def _vessels(seed: int) -> Vessels:
    return Vessels.drawn(np.random.default_rng((seed, 42)))
