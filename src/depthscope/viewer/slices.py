"""Slices of the CT about a surface: axial, coronal and sagittal, as the browser asks for them."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from depthscope.errors import DepthscopeError
from depthscope.formats import ct as ct_files, surfaces
from depthscope.pictures import Picture
from depthscope.report.folder import CaseFolder, ClipResults
from depthscope.report.space import Space

PLANES = {"axial": 2, "coronal": 1, "sagittal": 0}
"""Planes, and the axis of LPS that they stand across."""

MARGIN_MM = 12.0
"""How far beyond the surface the slices reach."""

MOST_SAMPLES = 192
"""Of the longest side."""

FINEST_MM = 0.5
"""Distance of two samples at least."""

WINDOW_HU = (-1000.0, 1200.0)
"""What is black and what is white: air, and bone."""

SIDE_PX = 384
"""Longest side of a picture."""


@dataclass(frozen=True, eq=False)
class Slices:
    """A box of the CT, along the axes of LPS.

    Attributes:
        ct: The CT; it is read when the first slice is asked for.
        low: Corner of the box, LPS mm.
        step: Distance of two samples, in mm.
        counts: Samples along x, y and z.
    """

    ct: Path
    low: tuple[float, float, float]
    step: float
    counts: tuple[int, int, int]

    @cached_property
    def volume(self) -> NDArray[np.uint8]:
        """Grey values, shape (z, y, x).

        Raises:
            DepthscopeError: The CT cannot be read.
        """
        ct = ct_files.read_ct(self.ct)
        turn = np.array(ct.direction).reshape(3, 3)
        axes = [self.low[k] + self.step * np.arange(self.counts[k]) for k in range(3)]
        out = np.empty(self.counts[::-1], np.uint8)
        y, x = np.meshgrid(axes[1], axes[0], indexing="ij")
        black, white = WINDOW_HU
        for row, z in enumerate(axes[2]):  # slice by slice, to bound the memory
            points = np.stack([x, y, np.full_like(x, z)], -1).reshape(-1, 3)
            voxels = (points - np.array(ct.origin_mm)) @ turn / np.array(ct.voxel_mm)
            values = map_coordinates(
                ct.hounsfield, voxels[:, ::-1].T, order=1, mode="constant", cval=int(black), output=np.float32
            )
            out[row] = np.clip((values - black) / (white - black) * 255, 0, 255).reshape(x.shape)
        return out

    def count(self, plane: str) -> int:
        """How many slices there are."""
        return self.counts[PLANES[plane]]

    def picture(self, plane: str, number: int) -> Picture | None:
        """A slice as radiologists hang it: the patient's left on the right, the head up; None beyond the last.

        Raises:
            KeyError: There is no such plane.
            DepthscopeError: The CT cannot be read.
        """
        axis = PLANES[plane]
        if not 0 <= number < self.counts[axis]:
            return None
        upright = self.volume if axis == 2 else self.volume[::-1]
        grey = upright.take(number, 2 - axis)
        factor = max(1, round(SIDE_PX / max(grey.shape)))
        large = grey.repeat(factor, 0).repeat(factor, 1)
        return torch.from_numpy(np.ascontiguousarray(np.repeat(large[..., None], 3, 2)))

    @property
    def described(self) -> dict:
        """What the page's script must know."""
        return {"low": list(self.low), "step": self.step, "counts": list(self.counts)}


def slices_of(case: CaseFolder, clip: ClipResults, space: Space) -> Slices | None:
    """The slices about a surface that lies in the frame of a CT, or None where there is no such CT."""
    if space.surface is None or space.target is None:
        return None
    ct = ct_of(case, clip, space)
    if ct is None:
        return None
    low = space.surface.points.amin(0).double().numpy() - MARGIN_MM
    high = space.surface.points.amax(0).double().numpy() + MARGIN_MM
    step = max(FINEST_MM, float((high - low).max()) / (MOST_SAMPLES - 1))
    x, y, z = (int(n) for n in np.ceil((high - low) / step).astype(int) + 1)
    corner = (float(low[0]), float(low[1]), float(low[2]))
    return Slices(ct, corner, step, (x, y, z))


def ct_of(case: CaseFolder, clip: ClipResults, space: Space) -> Path | None:
    """The CT whose frame the space has: that of the registration, or that of a simulated patient."""
    registered = space.target is not None and space.target.parent == clip.registration.place
    if not registered:
        path = case.place / "patient" / "ct.nii.gz"
        return path if path.is_file() else None
    inputs = clip.registration.provenance.get("inputs")
    for name in inputs if isinstance(inputs, dict) else ():
        path = Path(str(name))
        if path.suffix.lower() in (*surfaces.ENDINGS, ".yaml", ".yml", ".json", ".txt", ".tfm"):
            continue
        if path.is_file() or (path.is_dir() and not (path / "result.json").is_file() and _dicom(path)):
            return path
    return None


def _dicom(folder: Path) -> bool:
    try:
        files = [path for path in folder.iterdir() if path.is_file()][:50]
        return any(path.suffix.lower() == ".dcm" or path.read_bytes()[128:132] == b"DICM" for path in files)
    except (OSError, DepthscopeError):
        return False
