"""The CT of a phantom's anatomy: partial volume, bone or fat behind the mucosa, blur and noise."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from depthscope.errors import BadInputError
from depthscope.formats.ct import CT, MUCOSA
from depthscope.simulation.anatomy import Anatomy, Kind
from depthscope.simulation.anatomy.extraction import STEEPEST, sampled
from depthscope.simulation.anatomy.field import Ripples, in_blocks

AIR, FAT, BONE = -1000.0, -90.0, 800.0
"""Hounsfield units."""

WALL_MM: dict[Kind, float] = {"nasal": 3.0, "colon": 3.0, "bronchus": 1.5, "abdomen": 4.0}
"""Thickness of the wall with fat around it; within so much of a nose's surface its bone begins.

Around airways fat stands for the lung: what scatters as little as lung would be taken for air."""


@dataclass(frozen=True)
class Scanner:
    """How the CT is taken.

    Attributes:
        voxel_mm: Size of a voxel along x, y and z, 0.3 to 1.5 mm.
        blur_voxels: Standard deviation of the blur.
        noise_hu: Standard deviation of the noise, which has the blur's correlation.
        seed: Of the noise.
    """

    voxel_mm: tuple[float, float, float] = (0.5, 0.5, 0.6)
    blur_voxels: float = 0.5
    noise_hu: float = 35.0
    seed: int = 0

    def __post_init__(self) -> None:
        if not all(0.3 <= size <= 1.5 for size in self.voxel_mm):
            raise BadInputError(f"voxels of {self.voxel_mm} mm", "0.3 to 1.5 mm")
        if not 0 <= self.blur_voxels <= 3:
            raise BadInputError(f"a blur of {self.blur_voxels} voxels", "0 to 3")
        if not 0 <= self.noise_hu <= 200:
            raise BadInputError(f"noise of {self.noise_hu} HU", "0 to 200 HU", "more would pass for air")
        if self.seed < 0:
            raise BadInputError(f"scanner seed {self.seed}", "0 or more")


SCANNERS: dict[Kind, Scanner] = {
    "nasal": Scanner(),
    "colon": Scanner(),
    "bronchus": Scanner(),
    "abdomen": Scanner((1.0, 1.0, 1.25)),
}
"""How each anatomy is scanned: an abdomen in fewer voxels, for it is fifty times a nose."""


def scanned(anatomy: Anatomy, scanner: Scanner | None = None) -> CT:
    """The CT of an anatomy: partial volume by 3^3 samples in each voxel, bone or fat behind the mucosa, blur, noise.

    Args:
        anatomy: Who is scanned.
        scanner: How; that of `SCANNERS` where none is given.
    """
    scanner = scanner or SCANNERS[anatomy.kind]
    low, high = anatomy.shape.bounds
    x, y, z = (
        a + size * torch.arange(int((b - a) / size) + 1, dtype=torch.float64)
        for a, b, size in zip(low, high, scanner.voxel_mm, strict=True)
    )
    axes = (x, y, z)
    field = sampled(anatomy.field, axes, band_mm=WALL_MM[anatomy.kind])
    tissue = _behind_the_surface(anatomy, field, axes)
    air = _air_share(anatomy, field, axes, scanner.voxel_mm)
    volume = (air * AIR + (1 - air) * tissue).numpy().transpose(2, 1, 0)

    if scanner.blur_voxels:
        volume = ndimage.gaussian_filter(volume, scanner.blur_voxels, mode="nearest")
    if scanner.noise_hu:
        draw = np.random.default_rng((anatomy.seed, scanner.seed, 41))
        noise = draw.standard_normal(volume.shape, np.float32)
        noise = ndimage.gaussian_filter(noise, scanner.blur_voxels) if scanner.blur_voxels else noise
        volume = volume + scanner.noise_hu / noise.std() * noise
    hounsfield = np.ascontiguousarray(volume.round().clip(-1024, 3071).astype(np.int16))
    origin = (float(axes[0][0]), float(axes[1][0]), float(axes[2][0]))
    return CT(hounsfield, origin, scanner.voxel_mm, f"phantom-{anatomy.kind}-{anatomy.seed:05d}")


def _behind_the_surface(anatomy: Anatomy, field: Tensor, axes: tuple[Tensor, ...]) -> Tensor:
    """Hounsfield units of the tissue at each voxel: mucosa, and bone or fat deeper in."""
    if anatomy.kind != "nasal":
        share = ((field - WALL_MM[anatomy.kind]) / 0.5 + 0.5).clamp(0, 1)
        return MUCOSA + (FAT - MUCOSA) * share
    thickness = torch.full_like(field, 1.5)
    rows = ((field > 0) & (field < 3.0)).nonzero()
    points = torch.stack([axis[row] for axis, row in zip(axes, rows.unbind(-1), strict=True)], -1).float()
    uneven = Ripples.drawn(np.random.default_rng((anatomy.seed, 42)), (9.0,), (0.3,))
    thickness[rows[:, 0], rows[:, 1], rows[:, 2]] += in_blocks(uneven, points)
    share = ((field - thickness.clamp(1.0, 2.0)) / 0.4 + 0.5).clamp(0, 1)
    return MUCOSA + (BONE - MUCOSA) * share


def _air_share(
    anatomy: Anatomy, field: Tensor, axes: tuple[Tensor, ...], voxel_mm: tuple[float, float, float]
) -> Tensor:
    """How much of each voxel is air: the share of 27 samples within those that the surface may cross."""
    share = (field < 0).float()
    half_diagonal = 0.5 * math.hypot(*voxel_mm)
    rows = (field.abs() < STEEPEST * half_diagonal).nonzero()
    centres = torch.stack([axis[row] for axis, row in zip(axes, rows.unbind(-1), strict=True)], -1).float()
    thirds = torch.tensor([-1.0, 0.0, 1.0]) / 3
    shifts = torch.cartesian_prod(thirds, thirds, thirds) * torch.tensor(voxel_mm)
    inside = torch.zeros(len(centres))
    for shift in shifts:
        inside += in_blocks(anatomy.field, centres + shift) < 0
    share[rows[:, 0], rows[:, 1], rows[:, 2]] = inside / len(shifts)
    return share
