"""The public face: what a notebook needs, NumPy in and NumPy out.

import depthscope as ds

depth = ds.depth("frame.png")
depth.depth, depth.std, depth.show()
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8

from depthscope.errors import BadInputError
from depthscope.geometry import Camera, Kind, Surface
from depthscope.prediction import DepthMap, DepthModel, Recording, cloud, load_model, predict
from depthscope.pretrained import SHIPPED

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True, eq=False)
class FrameDepth:
    """The depth of one frame.

    Attributes:
        depth: In `unit`, float32, 0 where nothing is known, on the pixels that were recorded, shape (height, width).
        std: Its standard deviation, or None where the network does not predict it.
        content: Where the frame shows tissue, shape (height, width).
        image: The frame at the same size, sRGB, shape (height, width, 3).
        camera: The camera of this image, or None where it is not known.
        unit: "relative", "sfm" or "mm".
        kind: What depth is: "z", along the optical axis, or "distance", along the ray, for lenses too wide for z.
    """

    depth: Float[np.ndarray, "height width"]
    std: Float[np.ndarray, "height width"] | None
    content: Bool[np.ndarray, "height width"]
    image: UInt8[np.ndarray, "height width 3"]
    camera: Camera | None
    unit: str
    kind: Kind = "z"

    @classmethod
    def of(cls, found: DepthMap) -> "FrameDepth":
        """What prediction gives, as arrays."""
        std = None if found.std is None else found.std.numpy()
        arrays = found.depth.numpy(), std, found.content.numpy(), found.image.numpy()
        return cls(*arrays, found.camera, found.unit, found.kind)

    def cloud(self, stride: int = 1) -> Surface:
        """The coloured points of every `stride`-th pixel in the camera's axes.

        Raises:
            BadInputError: The camera is not known.
        """
        std = None if self.std is None else torch.from_numpy(self.std)
        depth, content, image = (torch.from_numpy(a) for a in (self.depth, self.content, self.image))
        return cloud(DepthMap("", depth, std, content, image, self.camera, self.unit, self.kind), stride)

    def picture(self) -> UInt8[np.ndarray, "height columns 3"]:
        """The frame and its depth in colours, side by side: near is bright."""
        from depthscope.pictures import depth_picture, depth_range, side_by_side

        depth = torch.from_numpy(self.depth)
        return side_by_side([torch.from_numpy(self.image), depth_picture(depth, depth_range(depth[None]))]).numpy()

    def show(self) -> "Image":
        """The picture as a PIL image, which a notebook displays."""
        from PIL import Image

        return Image.fromarray(self.picture())


def depth(
    image: "np.ndarray | Image | Path | str",
    camera: Camera | Path | str | None = None,
    *,
    run: Path | str = SHIPPED,
    mask: Bool[np.ndarray, "rows columns"] | None = None,
) -> FrameDepth:
    """Depth of one image, by the weights that ship.

    Args:
        image: sRGB of shape (rows, columns, 3) and type uint8, a PIL image, or the path of an image file.
        camera: The camera or its camera.yaml; without one the field of view is guessed from the picture.
        run: Another network: the folder of a run.
        mask: Where the image shows tissue; without it the content area is found.

    Raises:
        BadInputError: The image or the camera cannot be used.

    Example:
        >>> import numpy as np, depthscope as ds
        >>> found = ds.depth(np.full((256, 320, 3), 90, np.uint8))
        >>> found.depth.shape == found.image.shape[:2], found.unit
        (True, 'relative')
    """
    from depthscope.formats import camera_file
    from depthscope.video import content_of_image

    frame = _as_array(image)
    if isinstance(camera, Path | str):
        camera = camera_file.read(Path(camera))
    size = frame.shape[1], frame.shape[0]
    if camera is not None and camera.size_px != size:
        raise BadInputError(
            f"a camera for {camera.size_px} pixels", f"{size} as the image", "calibrate at this size, or resize it"
        )
    pixels = torch.from_numpy(frame)
    shown = content_of_image(pixels) if mask is None else torch.from_numpy(np.ascontiguousarray(mask, bool))
    recording = Recording(("image",), [pixels], size, camera, shown)
    return FrameDepth.of(next(iter(predict(load(run), recording))))


@lru_cache(maxsize=2)
def load(run: Path | str = SHIPPED) -> DepthModel:
    """The network of a run or a checkpoint, or (without an argument) the one that ships; kept for later calls.

    Raises:
        BadInputError: There is none.
    """
    return load_model(run)


def _as_array(image: Any) -> UInt8[np.ndarray, "rows columns 3"]:
    from depthscope.video import read_image

    if isinstance(image, Path | str):
        return read_image(Path(image)).numpy()
    if hasattr(image, "convert"):  # a PIL image of any mode
        image = np.asarray(image.convert("RGB"))
    array = np.asarray(image)
    if array.ndim != 3 or array.shape[2] != 3 or array.dtype != np.uint8:
        raise BadInputError(
            f"an image of shape {array.shape} and type {array.dtype}",
            "(rows, columns, 3) and uint8, sRGB",
            "convert it, or give the path of the file",
        )
    return np.array(array)
