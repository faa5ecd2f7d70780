"""Folders of depth maps: one 32-bit float TIFF for each frame, 0 where nothing is known.

They lie on the recorded frames and hold z-depth, unless the ``result.json`` beside them says otherwise: ``depth`` is
"z" or "distance" (along the ray), and ``undistorted`` maps have the pinhole of the ``camera.yaml`` beside them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from depthscope.errors import BadInputError
from depthscope.formats import camera_file
from depthscope.geometry import Camera, Kind, converted
from depthscope.geometry.map_grid import MapGrid
from depthscope.ground_truth import undistorted_depth
from depthscope.memory import keep, once
from depthscope.reading import bytes_of, reader
from depthscope.workspace import read_result

ENDINGS = (".tiff", ".tif")

OTHER_MAPS = (".png", ".npy", ".npz", ".exr", ".pfm", ".mat", ".jpg", ".jpeg")
"""What depth maps of other programs end in."""


def write(path: Path, depth: Float[Tensor, "height width"]) -> Path:
    """Writes one map as a 32-bit float TIFF, losslessly compressed."""
    _, data = cv2.imencode(".tiff", depth.detach().cpu().numpy().astype(np.float32))
    path = Path(path)
    path.write_bytes(data.tobytes())  # not OpenCV, which tells of a full disk in lines of its own
    keep("depth", path, _known(depth.detach().cpu().float()))
    return path


@reader("a 32-bit float TIFF of depth", "write it again")
def read(path: Path) -> Float[Tensor, "height width"]:
    """Reads one map; NaN, infinite and negative values become 0, which is unknown.

    Raises:
        BadInputError: It is not a float image of one channel.
    """
    return once("depth", Path(path), lambda: _read(path))


def _read(path: Path) -> Float[Tensor, "height width"]:
    data = bytes_of(path, "a 32-bit float TIFF of depth")
    values = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if values is None:
        raise BadInputError(f"{path} cannot be read", "a 32-bit float TIFF of depth", "write it again")
    if values.ndim != 2 or values.dtype.kind != "f":
        raise BadInputError(
            f"{path} holds {values.dtype} in {1 if values.ndim == 2 else values.shape[2]} channels",
            "one channel of 32-bit float depth",
            "a coloured preview is not depth; use the files in depth/",
        )
    return _known(torch.from_numpy(values.astype(np.float32)))


def _known(depth: Float[Tensor, "height width"]) -> Float[Tensor, "height width"]:
    """What is no depth (NaN, infinite, negative) becomes 0, which is unknown."""
    return torch.where(depth.isfinite() & (depth > 0), depth, 0.0)


@reader("a folder with depth/<frame>.tiff")
def listed(folder: Path, remedy: str = "run depthscope predict") -> dict[str, Path]:
    """The maps of a folder (or of its ``depth`` folder) by frame name.

    Args:
        folder: Where they are.
        remedy: The way out where there are none.

    Raises:
        BadInputError: There are none.
    """
    place = folder / "depth" if (folder / "depth").is_dir() else folder
    found = {path.stem: path for path in sorted(place.glob("*")) if path.suffix.lower() in ENDINGS}
    if found:
        return found
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "is missing"
        raise BadInputError(f"{folder} {what}", "a folder with depth/<frame>.tiff", remedy)
    others = sorted(path for path in place.iterdir() if path.suffix.lower() in OTHER_MAPS)
    if others:
        raise BadInputError(
            f"{folder} holds no depth maps that are read, but {len(others)} files like {others[0].name}",
            "depth/<frame>.tiff with 32-bit floats in one unit",
            "convert them: what a level of an image file is worth, only its writer knows",
        )
    raise BadInputError(f"{folder} holds no depth maps", "a folder with depth/<frame>.tiff", remedy)


def grid_of(folder: Path) -> MapGrid:
    """What the pixels of a folder's maps are, by the ``result.json`` and ``camera.yaml`` in it or above ``depth``.

    Raises:
        BadInputError: It says something that no maps are.
    """
    places = [folder, *([folder.parent] if folder.name == "depth" else [])]
    place = next((place for place in places if (place / "result.json").is_file()), None)
    said = {} if place is None else read_result(place)
    kind = said.get("depth", "z")
    if kind not in ("z", "distance"):
        raise BadInputError(f"{place} says that its depth is {kind!r:.80}", "z or distance", "predict again")
    if place is None or said.get("undistorted") is not True:
        return MapGrid(kind)
    path = place / "camera.yaml"
    if not path.is_file():
        raise BadInputError(f"{place} says that its maps are undistorted", "their camera.yaml", "predict again")
    return MapGrid(kind, camera_file.read(path))


@dataclass(frozen=True, eq=False)
class TrueMaps:
    """True depth of a clip's frames, read one at a time on the pixels that predictions lie on.

    Attributes:
        files: The maps by frame name: z on the pixels of the recorded frames.
        camera: Of these frames, or None where that is not known.
        grid: What the predictions' pixels and depth are.
    """

    files: dict[str, Path]
    camera: Camera | None = None
    grid: MapGrid = MapGrid("z")  # noqa: RUF009 - a frozen value

    @property
    def shown_by(self) -> Camera | None:
        """The camera of the maps that are given, at the size of the recorded frame; None where it is not known."""
        return None if self.camera is None else (self.grid.undistorted or self.camera)

    def __iter__(self) -> Iterator[str]:
        return iter(self.files)

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, name: str) -> Float[Tensor, "height width"]:
        """The map of a frame, 0 where unknown.

        Raises:
            BadInputError: It cannot be read, or is not of the camera's size.
        """
        depth = read(self.files[name])
        if self.camera is None:
            return depth
        if tuple(depth.shape[::-1]) != self.camera.size_px:
            raise BadInputError(
                f"{self.files[name]} has {depth.shape[1]} x {depth.shape[0]} pixels",
                f"{self.camera.size_px[0]} x {self.camera.size_px[1]} as the camera.yaml beside it says",
                "take the camera file away, or that of these frames",
            )
        return on_grid(depth, self.camera, self.grid)


def on_grid(depth: Float[Tensor, "height width"], camera: Camera, grid: MapGrid) -> Float[Tensor, "height width"]:
    """The true z-depth of a recorded frame on the pixels, and of the kind, of some predictions."""
    if grid.undistorted is not None:
        depth, camera = undistorted_depth(depth, camera, grid.undistorted), grid.undistorted
    kind: Kind = grid.kind_of(camera)
    return depth if kind == "z" else converted(depth, camera.rays.to(depth), "z", kind).nan_to_num()


def true_maps(folder: Path, grid: MapGrid = MapGrid("z")) -> TrueMaps:  # noqa: B008 - a frozen value
    """The true depth of a folder; the ``camera.yaml`` in it or beside its maps says what lens its frames have.

    Args:
        folder: With maps, or with a folder ``depth`` of them.
        grid: What the pixels and the depth of the predictions are.

    Raises:
        BadInputError: There is none.
    """
    places = (folder, folder.parent) if folder.name == "depth" else (folder,)
    cameras = [place / "camera.yaml" for place in places if (place / "camera.yaml").is_file()]
    return TrueMaps(
        listed(folder, "give a data set, or a folder of true depth"),
        camera_file.read(cameras[0]) if cameras else None,
        grid,
    )
