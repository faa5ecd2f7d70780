"""How truth is stored as images: normals and flow as 16-bit colours."""

from pathlib import Path

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from torch import Tensor

from depthscope.errors import BadInputError
from depthscope.reading import reading
from depthscope.video import read_grey

FLOW_STEP, FLOW_ZERO = 64.0, 32768.0
"""Flow files hold 64 steps to a pixel around 32768, as KITTI's do."""


def write_array(path: Path, values: NDArray) -> None:
    """Writes an image; what the disk refuses is an OSError."""
    options = [cv2.IMWRITE_PNG_COMPRESSION, 1] if path.suffix == ".png" else []
    _, data = cv2.imencode(path.suffix, values, options)
    path.write_bytes(data.tobytes())


def packed_normals(normals: Float[Tensor, "height width 3"]) -> NDArray[np.uint16]:
    """Normals as 16-bit colours for OpenCV: (n + 1) / 2 of full scale as red, green, blue; black is unknown."""
    known = (normals != 0).any(-1, keepdim=True)
    steps = torch.where(known, ((normals + 1) / 2 * 65535).round().clamp(1, 65535), 0.0)
    return np.ascontiguousarray(steps.flip(-1).numpy().astype(np.uint16))


def packed_flow(flow: Float[Tensor, "height width 2"], seen: Bool[Tensor, "height width"]) -> NDArray[np.uint16]:
    """Flow as KITTI stores it, for OpenCV: red x, green y, blue 1 where the point is seen in the next frame."""
    steps = (flow * FLOW_STEP + FLOW_ZERO).round().clamp(0, 65535)
    channels = torch.cat([seen[..., None].to(steps), steps.flip(-1)], -1)
    return np.ascontiguousarray(channels.numpy().astype(np.uint16))


def unpacked_flow(path: Path) -> tuple[Float[Tensor, "height width 2"], Bool[Tensor, "height width"]]:
    """What `packed_flow` stored: flow in pixels, and where the point is seen in the next frame.

    Raises:
        BadInputError: It is no such file.
    """
    with reading(path, "a 16-bit colour PNG", "simulate the clip again"):
        values = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_UNCHANGED)
    if values is None or values.dtype != np.uint16 or values.ndim != 3:
        raise BadInputError(f"{path} holds no flow", "a 16-bit colour PNG", "simulate the clip again")
    flow = (torch.from_numpy(values[..., :0:-1].astype(np.float32)) - FLOW_ZERO) / FLOW_STEP
    return flow, torch.from_numpy(values[..., 0] > 0)


def read_grey_mask(path: Path) -> NDArray[np.bool_]:
    """A mask grown by two pixels.

    Raises:
        BadInputError: It cannot be read.
    """
    return cv2.dilate(read_grey(path).numpy(), np.ones((5, 5), np.uint8)) > 0
