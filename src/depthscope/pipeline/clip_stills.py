"""Frames of videos, packed to teach the network of every video: with true depth, or with the depth that `run` found.

True depth is that of simulated clips and of datasets. That of a case is of a network which was fitted to the clip's own
structure from motion: no label, and no truth either. Where that network doubts itself, nothing is learned from it, and
the scale of a clip is its own, so that it teaches the shape of depth alone. (Learning from what another network says:
Lee 2013, pseudo-labels; Hinton et al. 2015.)
"""

import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
import yaml
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from depthscope.errors import BadInputError
from depthscope.formats import depth_maps, is_truth, read_sequence, read_truth
from depthscope.geometry import Camera, converted
from depthscope.ground_truth import GroundTruth
from depthscope.networks.ray_channels import ray_channels
from depthscope.pipeline.cases import RUN, SEQUENCE
from depthscope.prediction import DepthModel, Recording, load_model, predict
from depthscope.sequence import Sequence
from depthscope.simulation.still_store import CONTENT, FOREIGN, packing
from depthscope.supervised.losses import UNIT_MM
from depthscope.unposed_clip import tissue_in
from depthscope.video import read_image
from depthscope.workspace import read_result, write_result, writing_folder

CLIP = "clip"
"""What takes the anatomy's place where that is not known."""


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

    def chosen(self, frames: int) -> list[int]:
        """The numbers of the frames that are packed."""
        return np.unique(np.linspace(0, frames - 1, self.most).round().astype(int)).tolist()


@dataclass(frozen=True, eq=False)
class LabelledFrame:
    """A frame and its depth.

    Attributes:
        image: sRGB, shape (height, width, 3).
        depth: z-depth, 0 where it is not learned from, shape (height, width).
        content: Where the pixel shows anything, shape (height, width).
        camera: Of these pixels, or None where it is not known.
        foreign: Where it shows what is no tissue, or None for nowhere.
    """

    image: UInt8[Tensor, "height width 3"]
    depth: Float[Tensor, "height width"]
    content: Bool[Tensor, "height width"]
    camera: Camera | None
    foreign: Bool[Tensor, "height width"] | None = None


def pack_case(case: Path, folder: Path, options: ClipStills) -> int:
    """Packs the frames of a finished case, whole or not at all.

    Args:
        case: Folder that `depthscope run` wrote.
        folder: Where the packed frames come to lie.
        options: How.

    Returns:
        How many frames were packed.

    Raises:
        BadInputError: The case has no accepted sequence or no network.
    """
    for name in (SEQUENCE, RUN):
        if not (case / name / "result.json").is_file():
            raise BadInputError(f"{case} has no {name}/result.json", "a finished case", "finish it with depthscope run")
    if not read_result(case / SEQUENCE).get("accepted", False):
        raise BadInputError(
            f"the structure from motion of {case} was not accepted", "one that can be trusted", "leave this case out"
        )
    sequence = read_sequence(case / SEQUENCE)
    chosen = options.chosen(len(sequence.frame_names))
    frames = _predicted(load_model(case / RUN), sequence, set(chosen), options.largest_deviation)
    return _pack(folder, frames, len(chosen), options.size_px, (CLIP, _number(sequence.images)), metric=False)


def _predicted(
    model: DepthModel, sequence: Sequence, chosen: set[int], largest_deviation: float
) -> Iterator[LabelledFrame]:
    """The chosen frames of a sequence with the depth that its own network finds, median-scaled to `UNIT_MM`."""
    for number, found in enumerate(predict(model, Recording.of_sequence(sequence), scaled=True)):
        if number not in chosen:
            continue
        assert found.camera is not None
        known = found.content & (found.depth > 0)
        if found.std is not None:
            known &= found.std <= largest_deviation * found.depth
        depth = converted(found.depth, found.camera.rays.to(found.depth), found.kind, "z").nan_to_num()
        depth = torch.where(known, depth * (UNIT_MM / sequence.median_depth), 0.0)
        yield LabelledFrame(found.image, depth, found.content, found.camera)


def pack_clip(clip: Path, folder: Path, options: ClipStills) -> int:
    """Packs the frames of a clip with true depth, whole or not at all.

    Args:
        clip: A simulated clip, or the folder of a dataset with dense depth.
        folder: Where the packed frames come to lie.
        options: How.

    Returns:
        How many frames were packed.

    Raises:
        BadInputError: There is no true depth, or see `depthscope.formats`.
    """
    if is_truth(clip):
        dataset = read_truth(clip)
        numbers = [n for n, depth in enumerate(dataset.depth) if depth is not None]
        numbers = [numbers[n] for n in options.chosen(len(numbers))]
        who, metric = (CLIP, _number(dataset.images)), dataset.unit == "mm"
        return _pack(folder, _of_dataset(dataset, numbers), len(numbers), options.size_px, who, metric=metric)
    sequence, maps = read_sequence(clip), depth_maps.true_maps(clip)
    numbers = [n for n, name in enumerate(sequence.frame_names) if name in maps.files]
    if not numbers:
        raise BadInputError(f"no frame of {clip} has a map in depth/", "true depth called as the frames are")
    numbers = [numbers[n] for n in options.chosen(len(numbers))]
    who, metric = _simulated(clip) or (CLIP, _number(sequence.images)), sequence.unit == "mm"
    return _pack(folder, _of_sequence(sequence, maps, numbers), len(numbers), options.size_px, who, metric=metric)


def clips_in(folder: Path) -> list[Path]:
    """The folders at or below `folder` that hold frames and true depth.

    Raises:
        BadInputError: There is none.
    """
    if not folder.is_dir():
        raise BadInputError(f"{folder} is no folder", "a folder of depthscope simulate, or of a dataset with depth")
    if is_truth(folder):
        return [folder]
    found = sorted(p.parent for p in folder.rglob("depth") if p.is_dir() and (p.parent / "camera.yaml").is_file())
    found = [p for p in found if not any(part.startswith(".") for part in p.relative_to(folder).parts)]
    if not found:
        raise BadInputError(
            f"{folder} holds no clip with true depth", "a folder of depthscope simulate, or of a dataset with depth"
        )
    return found


def _of_dataset(dataset: GroundTruth, numbers: list[int]) -> Iterator[LabelledFrame]:
    for number in numbers:
        image = read_image(dataset.images[number])
        height, width = image.shape[:2]
        source = dataset.depth[number]
        assert source is not None  # `pack_clip` leaves out frames without depth
        depth = source.read((width, height))
        content = torch.ones(height, width, dtype=torch.bool) if dataset.mask is None else dataset.mask
        camera = None if dataset.cameras is None else dataset.cameras[number]
        yield LabelledFrame(image, torch.where(content, depth, 0.0), content, camera)


def _of_sequence(sequence: Sequence, maps: depth_maps.TrueMaps, numbers: list[int]) -> Iterator[LabelledFrame]:
    for number in numbers:
        image, depth = read_image(sequence.images[number]), maps[sequence.frame_names[number]]
        everywhere = torch.ones(depth.shape, dtype=torch.bool)
        content = everywhere if sequence.mask is None else sequence.mask
        tissue = tissue_in(sequence, number)
        foreign = None if tissue is None else content & ~tissue
        yield LabelledFrame(image, depth, content, sequence.cameras[number], foreign)


def _simulated(clip: Path) -> tuple[str, int] | None:
    """Anatomy and number of a simulated patient, so that nobody learns from it who is measured on it."""
    path = clip.parent / "patient.yaml"
    if not path.is_file():
        return None
    told = yaml.safe_load(path.read_text("utf-8"))
    return str(told["anatomy"]), int(told["seed"])


def _number(images: Iterable[Path]) -> int:
    """A number that is the same for the same frames."""
    number = 0
    for path in images:
        number = zlib.crc32(path.read_bytes(), number)
    return number


def _pack(
    folder: Path,
    frames: Iterable[LabelledFrame],
    count: int,
    size_px: tuple[int, int],
    who: tuple[str, int],
    *,
    metric: bool,
) -> int:
    """Writes the arrays of a store; see `depthscope.simulation.still_store`."""
    with writing_folder(folder) as draft:
        arrays, fields = packing(draft, count, size_px), []
        for row, frame in enumerate(frames):
            channels = torch.zeros(*frame.depth.shape, 2)
            known = frame.content
            if frame.camera is not None:
                rays = frame.camera.rays
                channels, known = ray_channels(rays).float(), known & rays.isfinite().all(-1)
            labels = CONTENT * frame.content.to(torch.uint8)
            if frame.foreign is not None:
                labels += FOREIGN * frame.foreign.to(torch.uint8)
            arrays["images"][row] = fitted(frame.image.numpy(), size_px, cv2.INTER_AREA)
            depth = torch.where(known, frame.depth, 0.0)
            arrays["depth"][row] = fitted(depth.numpy(), size_px, cv2.INTER_NEAREST)
            arrays["rays"][row] = fitted(channels.numpy(), size_px, cv2.INTER_LINEAR)
            arrays["labels"][row] = fitted(labels.numpy(), size_px, cv2.INTER_NEAREST)
            fields.append(2 * float(channels.norm(dim=-1)[known].max().rad2deg()) if bool(known.any()) else 0.0)
        for array in arrays.values():
            array.flush()  # type: ignore[attr-defined]
        anatomy, patient = who
        write_result(
            draft,
            {
                "anatomy": anatomy,
                "patient": patient,
                "draw": 0,
                "frames": count,
                "size_px": list(size_px),
                "metric": metric,
                "field_deg": fields,
            },
        )
    return count


def fitted(array: np.ndarray, size_px: tuple[int, int], how: int) -> np.ndarray:
    """An image as large as it fits into `size_px` (width, height), in the middle, zeros around it."""
    height, width = array.shape[:2]
    scale = min(size_px[0] / width, size_px[1] / height)
    inner = max(1, round(width * scale)), max(1, round(height * scale))
    left, top = (size_px[0] - inner[0]) // 2, (size_px[1] - inner[1]) // 2
    canvas = np.zeros((size_px[1], size_px[0], *array.shape[2:]), array.dtype)
    canvas[top : top + inner[1], left : left + inner[0]] = cv2.resize(array, inner, interpolation=how)
    return canvas
