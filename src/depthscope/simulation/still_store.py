"""Single frames with their true depth, packed in a few arrays that are mapped into memory, not read.

A patient is a folder: ``images.npy`` (frames, height, width, 3) uint8, ``depth.npy`` (frames, height, width) float16,
z in mm and 0 where unknown, ``rays.npy`` (frames, height, width, 2) float16 as
`depthscope.networks.ray_channels.ray_channels` has them, ``labels.npy`` (frames, height, width) uint8, and
``result.json``. So a set of patients is copied, extended and shared by copying folders.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy.lib.format import open_memmap
from torch import Tensor

from depthscope.errors import BadInputError
from depthscope.geometry import Camera
from depthscope.geometry.depth import pixel_grid
from depthscope.workspace import read_result

CONTENT, FOREIGN = 1, 2
"""Bits of a label: the pixel lies within the content area; it shows a tool or another thing that is no tissue."""

ARRAYS = ("images", "depth", "rays", "labels")


@dataclass(frozen=True, eq=False)
class StillFrame:
    """One frame of a store.

    Attributes:
        image: sRGB, shape (height, width, 3).
        depth: z-depth in mm, 0 where unknown, shape (height, width).
        rays: Channels of each pixel's ray, shape (height, width, 2).
        labels: `CONTENT` and `FOREIGN` bits, shape (height, width).
        metric: The depth is in mm; otherwise in a unit of the clip's own.
    """

    image: UInt8[np.ndarray, "height width 3"]
    depth: Float[np.ndarray, "height width"]
    rays: Float[np.ndarray, "height width 2"]
    labels: UInt8[np.ndarray, "height width"]
    metric: bool = True


@dataclass(frozen=True, eq=False)
class PackedPatient:
    """The frames of one patient.

    Attributes:
        folder: Where its arrays lie.
        anatomy: What kind of cavity.
        seed: The patient's.
        frames: How many.
        size_px: (width, height) of each.
        metric: Their depth is in mm; otherwise in a unit of the clip's own, which teaches shape alone.
    """

    folder: Path
    anatomy: str
    seed: int
    frames: int
    size_px: tuple[int, int]
    metric: bool = True

    @classmethod
    def read(cls, folder: Path) -> "PackedPatient":
        """The patient in a folder.

        Raises:
            BadInputError: The folder is no packed patient, or an array is missing or of another size.
        """
        try:
            figures = read_result(folder)
            found = cls(
                folder,
                figures["anatomy"],
                figures["patient"],
                figures["frames"],
                tuple(figures["size_px"]),
                figures.get("metric", True),
            )
            shapes = {name: getattr(found, name).shape[:3] for name in ARRAYS}
        except (BadInputError, OSError, ValueError, KeyError, TypeError) as error:
            raise BadInputError(
                f"{folder} is no packed patient ({str(error).splitlines()[0]})",
                "a folder written by depthscope stills",
                "make it again",
            ) from error
        expected = (found.frames, found.size_px[1], found.size_px[0])
        wrong = next((name for name, shape in shapes.items() if shape != expected), None)
        if wrong is not None:
            raise BadInputError(f"{folder / wrong}.npy has the shape {shapes[wrong]}", f"{expected}", "make it again")
        return found

    @cached_property
    def images(self) -> np.ndarray:
        """See the module."""
        return self._mapped("images")

    @cached_property
    def depth(self) -> np.ndarray:
        """See the module."""
        return self._mapped("depth")

    @cached_property
    def rays(self) -> np.ndarray:
        """See the module."""
        return self._mapped("rays")

    @cached_property
    def labels(self) -> np.ndarray:
        """See the module."""
        return self._mapped("labels")

    def _mapped(self, name: str) -> np.ndarray:
        return np.load(self.folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)


@dataclass(frozen=True, eq=False)
class StillStore:
    """Frames of many patients, counted one after the other.

    Attributes:
        patients: In the order of their folders' names.
    """

    patients: tuple[PackedPatient, ...]

    @classmethod
    def read(cls, folders: Iterable[Path]) -> "StillStore":
        """All packed patients in some folders, at any depth.

        Raises:
            BadInputError: A folder holds none.
        """
        patients: list[PackedPatient] = []
        for folder in folders:
            places = (
                [folder] if (folder / "images.npy").is_file() else sorted(p.parent for p in folder.rglob("images.npy"))
            )
            places = [
                place for place in places if not any(part.startswith(".") for part in place.parts[len(folder.parts) :])
            ]
            if not places:
                raise BadInputError(f"{folder} holds no packed frames", "a folder written by depthscope stills")
            patients += [PackedPatient.read(place) for place in places]
        return cls(tuple(patients))

    def __len__(self) -> int:
        return int(self._last[-1])

    @cached_property
    def _last(self) -> np.ndarray:
        return np.cumsum([patient.frames for patient in self.patients])

    def __getitem__(self, number: int) -> StillFrame:
        """A frame; its arrays are views of the mapped files."""
        index = int(np.searchsorted(self._last, number, side="right"))
        patient = self.patients[index]
        row = number - int(self._last[index]) + patient.frames
        arrays = (getattr(patient, name)[row] for name in ARRAYS)
        return StillFrame(*arrays, metric=patient.metric)


def packing(folder: Path, frames: int, size_px: tuple[int, int]) -> dict[str, np.ndarray]:
    """Empty arrays of a patient, open for writing in a folder that exists."""
    shape = (frames, size_px[1], size_px[0])
    kinds = {"images": ("u1", (3,)), "depth": ("f2", ()), "rays": ("f2", (2,)), "labels": ("u1", ())}
    return {
        name: open_memmap(folder / f"{name}.npy", mode="w+", dtype=kind, shape=(*shape, *more))
        for name, (kind, more) in kinds.items()
    }


def rays_of(camera: Camera) -> Tensor:
    """The ray of every pixel of a camera, z = 1, NaN where the lens sends none, float32, shape (height, width, 3)."""
    width, height = camera.size_px
    return camera.unproject(pixel_grid(height, width, torch.zeros(1, dtype=torch.float64))).float()


def patients_of(store: StillStore) -> Sequence[str]:
    """The patients in words: the anatomy and the seed of each."""
    return [f"{patient.anatomy} {patient.seed}" for patient in store.patients]
