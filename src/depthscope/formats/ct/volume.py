"""A CT volume: Hounsfield units at known places in LPS mm."""

from dataclasses import dataclass

import numpy as np
import SimpleITK
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from depthscope.errors import BadInputError

MUCOSA = 40.0
"""Hounsfield units of soft tissue."""

AIR_BELOW = -475.0
"""Half-way from air (-1000 HU) to soft tissue (40 to 60): there a blurred wall is neither thickened nor thinned."""

LEAST_HU = -1024
"""Below this there is no tissue and no air, only padding outside the scanner's field of view."""

COARSE_VOXEL_MM = 1.5
"""Voxels larger than this show a nose's thin sheets badly."""


@dataclass(frozen=True, eq=False)
class CT:
    """A volume of Hounsfield units, its axes in the order that is nearest to LPS.

    Attributes:
        hounsfield: int16, shape (slices, rows, columns), that is along z, y and x.
        origin_mm: Centre of the first voxel, (x, y, z) in LPS.
        voxel_mm: Size of a voxel along x, y and z.
        name: Of the patient.
        direction: Directions of the voxels' axes in LPS, as the columns of a 3x3 matrix that is written in rows; a
            scanner or cone-beam device may stand obliquely.
        notes: What was found amiss in the files and mended, in words.
    """

    hounsfield: NDArray[np.int16]
    origin_mm: tuple[float, float, float]
    voxel_mm: tuple[float, float, float]
    name: str = "phantom"
    direction: tuple[float, ...] = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.hounsfield.ndim != 3 or min(self.hounsfield.shape) < 2:
            raise BadInputError(f"a CT of shape {self.hounsfield.shape}", "at least 2 voxels along three axes")
        if not all(size > 0 for size in self.voxel_mm):
            raise BadInputError(f"voxels of {self.voxel_mm} mm", "positive sizes")

    def placed(self, columns: Float[Tensor, "points 3"]) -> Float[Tensor, "points 3"]:
        """LPS mm of points in voxels along (x, y, z), where the first voxel's centre is (0, 0, 0)."""
        turn = torch.tensor(self.direction, dtype=torch.float64).reshape(3, 3)
        sizes = torch.tensor(self.voxel_mm, dtype=torch.float64)
        return (columns * sizes) @ turn.T + torch.tensor(self.origin_mm, dtype=torch.float64)

    def columns(self, point_mm: tuple[float, float, float]) -> tuple[int, int, int]:
        """The voxel (z, y, x) that a point in LPS mm lies in; it may be outside."""
        turn = np.array(self.direction).reshape(3, 3)
        x, y, z = turn.T @ (np.array(point_mm) - np.array(self.origin_mm)) / np.array(self.voxel_mm)
        return round(float(z)), round(float(y)), round(float(x))

    @property
    def image(self) -> SimpleITK.Image:
        """As ITK has it."""
        image = SimpleITK.GetImageFromArray(self.hounsfield)
        image.SetOrigin(self.origin_mm)
        image.SetSpacing(self.voxel_mm)
        image.SetDirection(self.direction)
        return image
