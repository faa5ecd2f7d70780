"""The surface between air and tissue in a CT."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from scipy import ndimage
from skimage import measure
from torch import Tensor

from depthscope.errors import BadInputError
from depthscope.formats.ct.volume import AIR_BELOW, CT, MUCOSA
from depthscope.geometry import Surface
from depthscope.geometry.surface import largest_piece, vertex_normals


@dataclass(frozen=True)
class Region:
    """Which air a surface is taken of.

    Attributes:
        seed_mm: A point in the air, LPS mm: its air space is taken. None takes the largest one.
        inside_body: Leave out the air around the body, from which nostrils lead in. None decides by whether air fills
            most of the volume's sides.
        bridged_mm: Openings up to about this wide are closed off from the air around the body.
        smoothing_mm: Standard deviation of a blur before the surface is taken; 0 for none.
    """

    seed_mm: tuple[float, float, float] | None = None
    inside_body: bool | None = None
    bridged_mm: float = 20.0
    smoothing_mm: float = 0.0

    def __post_init__(self) -> None:
        if not (0 < self.bridged_mm <= 100 and 0 <= self.smoothing_mm <= 3):
            raise BadInputError(
                f"openings of {self.bridged_mm:g} mm and a blur (--smoothing-mm) of {self.smoothing_mm:g} mm",
                "above 0 and up to 100 mm, and 0 to 3 mm",
            )


def extracted_surface(ct: CT, air_below: float = AIR_BELOW, region: Region | None = None) -> Surface:
    """The surface of one air space, in mm in LPS, by threshold and marching cubes.

    Normals point into air; faces are counter-clockwise seen from the air.

    Args:
        ct: The volume.
        air_below: Hounsfield units below which a voxel is air.
        region: Which air; by default the largest space inside the body.

    Raises:
        BadInputError: There is no air, or nothing else, or none at the seed.
    """
    region = region or Region()
    volume = ct.hounsfield.astype(np.float32)
    if region.smoothing_mm:
        volume = ndimage.gaussian_filter(volume, [region.smoothing_mm / size for size in ct.voxel_mm[::-1]])
    air = volume < air_below
    if not air.any() or air.all():
        raise BadInputError(
            f"{ct.name}: {'only' if air.any() else 'no'} voxels below {air_below:g} HU",
            "air and tissue",
            "check that the volume is a CT in Hounsfield units",
        )
    around = _surrounded(air) if region.inside_body is None else region.inside_body
    wanted = air & _body(air, ct.voxel_mm, region.bridged_mm) if around else air
    label = np.empty(wanted.shape, np.int32)
    count = ndimage.label(wanted, output=label)
    if not count:
        raise BadInputError(
            f"{ct.name}: air around the body, and none within",
            "air spaces in the body",
            "check that the volume covers the nose or the colon",
        )
    chosen = np.bincount(label.ravel())[1:].argmax() + 1
    if region.seed_mm is not None:
        chosen = _at_seed(ct, label, region.seed_mm)
    # Other air becomes tissue; a frame of tissue closes the surface where the air leaves the volume.
    volume = np.where(air & (label != chosen), np.float32(MUCOSA), volume)
    volume = np.pad(volume, 1, constant_values=MUCOSA)
    # Between two whole numbers: a level that voxels take exactly would leave triangles without area.
    z_y_x, faces, _, _ = measure.marching_cubes(volume, math.ceil(air_below) - 0.5)
    points = ct.placed(torch.from_numpy(z_y_x[:, ::-1].astype(np.float64)) - 1)
    points, faces = largest_piece(points, torch.from_numpy(faces.astype(np.int64)))
    # Marching cubes turns its faces for (z, y, x); mirrored to (x, y, z) they are turned the other way.
    faces = faces if _volume_mm3(points, faces) < 0 else faces.flip(1)
    return Surface(points, vertex_normals(points, faces), None, faces, "mm")


def _surrounded(air: NDArray[np.bool_]) -> bool:
    """Whether most of the volume's sides (left, right, front, back) is air: a body in a room."""
    sides = [air[:, 0], air[:, -1], air[:, :, 0], air[:, :, -1]]
    return float(np.median([side.mean() for side in sides])) > 0.5


def _body(air: NDArray[np.bool_], voxel_mm: tuple[float, ...], bridged_mm: float) -> NDArray[np.bool_]:
    """The body with its cavities: tissue closed over openings on a lattice of about 2 mm, filled slice by slice."""
    steps = [max(1, round(2.0 / size)) for size in voxel_mm[::-1]]
    few = air[:: steps[0], :: steps[1], :: steps[2]]
    reach = bridged_mm / 2
    sizes = [size * step for size, step in zip(voxel_mm[::-1], steps, strict=True)]
    margin = [math.ceil(reach / size) + 1 for size in sizes]
    tissue = np.pad(~few, [(m, m) for m in margin])
    near = np.asarray(ndimage.distance_transform_edt(~tissue, sizes)) <= reach
    closed = np.asarray(ndimage.distance_transform_edt(near, sizes)) > reach
    label = np.empty(tissue.shape, np.int32)
    ndimage.label(closed | tissue, output=label)
    body = label == np.bincount(label.ravel())[1:].argmax() + 1
    body = np.stack([np.asarray(ndimage.binary_fill_holes(part)) for part in body])
    body = body[tuple(slice(m, -m) for m in margin)]
    full = body.repeat(steps[0], 0).repeat(steps[1], 1).repeat(steps[2], 2)
    return full[: air.shape[0], : air.shape[1], : air.shape[2]]


def _at_seed(ct: CT, label: NDArray[np.int32], seed_mm: tuple[float, float, float]) -> int:
    """The label of the air at a point."""
    place = ct.columns(seed_mm)
    inside = all(0 <= i < n for i, n in zip(place, label.shape, strict=True))
    if not inside or not label[place]:
        raise BadInputError(
            f"{ct.name}: the seed {seed_mm} mm lies {'in tissue' if inside else 'outside the volume'}",
            "a point in the air, LPS mm",
            "Slicer shows RAS: the signs of the first two numbers change",
        )
    return int(label[place])


def _volume_mm3(points: Float[Tensor, "points 3"], faces: Tensor) -> float:
    """Signed volume within a closed mesh; negative where faces look counter-clockwise from within."""
    a, b, c = (points - points.mean(0))[faces].unbind(1)
    return float((a * torch.linalg.cross(b, c)).sum() / 6)
