"""The frames of a sequence as the network sees them: cropped and resized once, kept as bytes on disk."""

import hashlib
import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Int, UInt8
from torch import Tensor

from depthscope.errors import BadInputError
from depthscope.sequence import Sequence
from depthscope.supervision.view import View
from depthscope.unposed_clip import UnposedClip, tissue_in
from depthscope.video import read_image
from depthscope.workspace import atomic_folder

LAYOUT = 2
"""Raised whenever the files of a store change their meaning, so that older stores are made again."""


@dataclass(frozen=True, eq=False)
class FrameStore:
    """Frames of one sequence at network size.

    Attributes:
        frames: sRGB bytes, mapped from disk, shape (frames, height, width, 3).
        mask: Where the network's image shows tissue, shape (height, width).
        view: The window through which the frames were taken.
        key: Content hash of the sources and options.
        tissue: Where each frame shows tissue that may be learned from, shape (frames, height, width), or None where
            that is the mask in all of them.
    """

    frames: UInt8[Tensor, "frames height width 3"]
    mask: Bool[Tensor, "height width"]
    view: View
    key: str
    tissue: Bool[Tensor, "frames height width"] | None = None

    def __len__(self) -> int:
        return len(self.frames)

    def to_learn_from(self, frames: Int[Tensor, " chosen"]) -> Bool[Tensor, "chosen height width"]:
        """Where these frames show tissue, and nothing that hides it."""
        return self.mask.expand(len(frames), -1, -1) if self.tissue is None else self.tissue[frames]


def frame_store(sequence: Sequence | UnposedClip, view: View, erosion_px: int, folder: Path) -> FrameStore:
    """Opens the store of a sequence in `folder`, making it first where it is missing or out of date.

    The name of a store is a hash of what is in it (the image files, cameras, window), and of nothing else: a
    folder may be moved or shared, and a changed image makes another store.

    Raises:
        BadInputError: An image cannot be read, has another size, or no pixel is left in the mask.
    """
    mask = view.mask(sequence.mask, sequence.cameras[0], erosion_px)
    if not bool(mask.any()):
        raise BadInputError(
            f"{sequence.name}: no pixel shows tissue after the mask was shrunk by {erosion_px} px",
            "a mask with content",
            "check the mask, or lower supervision.erosion_px",
        )
    key = store_key(sequence, view)
    place = Path(folder) / f"{sequence.name}-{key[:16]}"
    if not (place / "store.json").is_file():
        write_store(sequence, view, place, key)
    width, height = view.size_px
    shape = (len(sequence), height, width, 3)
    frames = np.memmap(place / "frames.u8", np.uint8, mode="c", shape=shape)
    tissue = None
    if sequence.foreign is not None:
        own = [view.mask(tissue_in(sequence, f), sequence.cameras[f], erosion_px) for f in range(len(sequence))]
        tissue = torch.stack(own)
    return FrameStore(torch.from_numpy(frames), mask, view, key, tissue)


def write_store(sequence: Sequence | UnposedClip, view: View, place: Path, key: str) -> None:
    """Decodes every frame once and writes the store whole or not at all."""
    width, height = view.size_px
    if not (place / "store.json").is_file():
        shutil.rmtree(place, ignore_errors=True)
    with atomic_folder(place, replace=False) as draft:  # another process of this run may be quicker
        with (draft / "frames.u8").open("wb") as stream:
            for path, camera in zip(sequence.images, sequence.cameras, strict=True):
                stream.write(network_frame(path, view, camera).tobytes())
        description = {"key": key, "layout": LAYOUT, "frames": len(sequence), "size_px": [width, height]}
        (draft / "store.json").write_text(json.dumps(description, indent=2))


def network_frame(path: Path, view: View, camera) -> UInt8[np.ndarray, "height width 3"]:
    """One image file through the window.

    Raises:
        BadInputError: It cannot be read or has another size than its camera.
    """
    image = read_image(path).numpy()
    size = (image.shape[1], image.shape[0])
    if size != camera.size_px:
        raise BadInputError(
            f"{path} is {size[0]} x {size[1]} pixels",
            f"{camera.size_px[0]} x {camera.size_px[1]} as its camera",
            "use the frames that SfM was run on",
        )
    return view.image(image, camera)


def store_key(sequence: Sequence | UnposedClip, view: View) -> str:
    """Hash of everything that decides the bytes of the store."""
    digest = hashlib.sha256(json.dumps([LAYOUT, asdict(view)], sort_keys=True, default=str).encode())
    for path, camera in zip(sequence.images, sequence.cameras, strict=True):
        digest.update(json.dumps(asdict(camera), default=str).encode())
        try:
            digest.update(path.read_bytes())
        except OSError as error:
            raise BadInputError(f"{path} cannot be read ({error.strerror})", "an image", "check the folder") from error
    return digest.hexdigest()
