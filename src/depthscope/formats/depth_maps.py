"""Folders of depth maps: one 32-bit float TIFF for each frame, z-depth, 0 where nothing is known."""

from pathlib import Path

import cv2
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from depthscope.errors import BadInputError

ENDINGS = (".tiff", ".tif")


def write(path: Path, depth: Float[Tensor, "height width"]) -> Path:
    """Writes one map as a 32-bit float TIFF, losslessly compressed."""
    done = cv2.imwrite(str(path), depth.detach().cpu().numpy().astype(np.float32))
    if not done:
        raise OSError(5, "the image could not be written", str(path))
    return Path(path)


def read(path: Path) -> Float[Tensor, "height width"]:
    """Reads one map; NaN, infinite and negative values become 0, which is unknown.

    Raises:
        BadInputError: It is not a float image of one channel.
    """
    values = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if values is None:
        raise BadInputError(f"{path} cannot be read", "a 32-bit float TIFF of depth", "write it again")
    if values.ndim != 2 or values.dtype.kind != "f":
        raise BadInputError(
            f"{path} holds {values.dtype} in {1 if values.ndim == 2 else values.shape[2]} channels",
            "one channel of 32-bit float depth",
            "a coloured preview is not depth; use the files in depth/",
        )
    known = np.isfinite(values) & (values > 0)
    return torch.from_numpy(np.where(known, values, 0).astype(np.float32))


def listed(folder: Path) -> dict[str, Path]:
    """The maps of a folder (or of its ``depth`` folder) by frame name.

    Raises:
        BadInputError: There are none.
    """
    place = folder / "depth" if (folder / "depth").is_dir() else folder
    found = {path.stem: path for path in sorted(place.glob("*")) if path.suffix.lower() in ENDINGS}
    if not found:
        raise BadInputError(
            f"{folder} holds no depth maps", "a folder with depth/<frame>.tiff", "run depthscope predict"
        )
    return found
