"""Frames of a video with the depth that `run` found for them, packed to teach the network of every video.

The depth is that of a network which was fitted to the clip's own structure from motion: no label, and no truth either.
Where that network doubts itself, nothing is learned from it. The scale of a clip is its own, so that it teaches the
shape of depth alone. (Learning from what another network says: Lee 2013, pseudo-labels; Hinton et al. 2015.)
"""

import zlib
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from depthscope.errors import BadInputError
from depthscope.formats import read_sequence
from depthscope.geometry import converted
from depthscope.networks.ray_channels import ray_channels
from depthscope.pipeline.cases import RUN, SEQUENCE
from depthscope.prediction import DepthMap, Recording, load_model, predict
from depthscope.sequence import Sequence
from depthscope.simulation.still_store import CONTENT, packing
from depthscope.supervised.losses import UNIT_MM
from depthscope.workspace import read_result, write_result, writing_folder

CLIP = "clip"
"""What takes the anatomy's place in the result of a packed clip."""


@dataclass(frozen=True)
class ClipStills:
    """How a clip is packed.

    Attributes:
        size_px: (width, height) of the frames.
        most: Most frames, evenly spaced.
        largest_deviation: Pixels whose predicted deviation is a larger share of their depth are not learned from.
    """

    size_px: tuple[int, int]
    most: int
    largest_deviation: float = 0.15


def pack_case(case: Path, out: Path, options: ClipStills) -> int:
    """Packs the frames of a finished case, whole or not at all.

    Args:
        case: Folder that `depthscope run` wrote.
        out: Folder of the store; the clip gets a folder of its own there, called as the case.
        options: How.

    Returns:
        How many frames were packed.

    Raises:
        BadInputError: The case has no accepted sequence or no network.
    """
    sequence, number = _trusted(case)
    model = load_model(case / RUN)
    chosen = np.unique(np.linspace(0, len(sequence.frame_names) - 1, options.most).round().astype(int)).tolist()
    with writing_folder(out / case.resolve().name, inputs=(case,)) as folder:
        arrays = packing(folder, len(chosen), options.size_px)
        fields, row = [], 0
        for frame, found in enumerate(predict(model, Recording.of_sequence(sequence), scaled=True)):
            if frame in chosen:
                fields.append(_pack(found, sequence, {name: array[row] for name, array in arrays.items()}, options))
                row += 1
        for array in arrays.values():
            array.flush()  # type: ignore[attr-defined]
        write_result(
            folder,
            {
                "anatomy": CLIP,
                "patient": number,
                "draw": 0,
                "frames": len(chosen),
                "size_px": list(options.size_px),
                "metric": False,
                "field_deg": fields,
            },
        )
    return len(chosen)


def _trusted(case: Path) -> tuple[Sequence, int]:
    """The sequence of a case, and a number that is the same for the same frames."""
    for name in (SEQUENCE, RUN):
        if not (case / name / "result.json").is_file():
            raise BadInputError(f"{case} has no {name}/result.json", "a finished case", "finish it with depthscope run")
    if not read_result(case / SEQUENCE).get("accepted", False):
        raise BadInputError(
            f"the structure from motion of {case} was not accepted", "one that can be trusted", "leave this case out"
        )
    sequence = read_sequence(case / SEQUENCE)
    return sequence, zlib.crc32(b"".join(sorted(path.read_bytes() for path in sequence.images)))


def _pack(found: DepthMap, sequence: Sequence, row: dict[str, np.ndarray], options: ClipStills) -> float:
    """Fills one row of the arrays; returns the frame's field of view in degrees."""
    assert found.camera is not None
    rays = found.camera.rays
    depth = converted(found.depth, rays.to(found.depth), found.kind, "z").nan_to_num()
    known = found.content & (depth > 0) & rays.isfinite().all(-1)
    if found.std is not None:
        known &= found.std <= options.largest_deviation * found.depth
    depth = depth.where(known, depth.new_zeros(())) * (UNIT_MM / sequence.median_depth)
    channels = ray_channels(rays).float()
    labels = CONTENT * found.content.numpy().astype(np.uint8)
    row["images"][:] = fitted(found.image.numpy(), options.size_px, cv2.INTER_AREA)
    row["depth"][:] = fitted(depth.numpy(), options.size_px, cv2.INTER_NEAREST)
    row["rays"][:] = fitted(channels.numpy(), options.size_px, cv2.INTER_LINEAR)
    row["labels"][:] = fitted(labels, options.size_px, cv2.INTER_NEAREST)
    return 2 * float(channels.norm(dim=-1)[found.content].max().rad2deg()) if bool(found.content.any()) else 0.0


def fitted(array: np.ndarray, size_px: tuple[int, int], how: int) -> np.ndarray:
    """An image as large as it fits into `size_px` (width, height), in the middle, zeros around it."""
    height, width = array.shape[:2]
    scale = min(size_px[0] / width, size_px[1] / height)
    inner = max(1, round(width * scale)), max(1, round(height * scale))
    left, top = (size_px[0] - inner[0]) // 2, (size_px[1] - inner[1]) // 2
    canvas = np.zeros((size_px[1], size_px[0], *array.shape[2:]), array.dtype)
    canvas[top : top + inner[1], left : left + inner[0]] = cv2.resize(array, inner, interpolation=how)
    return canvas
