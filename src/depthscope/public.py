"""The public face: what a notebook needs, NumPy in and NumPy out.

import depthscope as ds

depth = ds.depth("frame.png")                            # the weights that ship; depth.depth, depth.std, depth.show()
sequence = ds.reconstruct("clip.mp4", camera="camera.yaml")
model = ds.train(sequence)                               # or ds.load("run")
depths = ds.predict(model, sequence)                     # of every frame
surface = ds.fuse(depths); surface.save("surface.ply")
found = ds.register(depths, "ct.nii.gz"); found.target_from_source
"""

from collections.abc import Iterator, Sequence as Rows
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8

from depthscope.errors import BadInputError
from depthscope.geometry import Camera, Kind, Surface
from depthscope.geometry.units import LengthUnit
from depthscope.pipeline.clip_depth import ClipDepth
from depthscope.prediction import (
    DepthMap,
    DepthModel,
    Recording,
    along_axis,
    cloud,
    load_model,
    predict as predict_maps,
)
from depthscope.pretrained import SHIPPED
from depthscope.recipes import Recipe, recipe_named
from depthscope.sequence import Sequence

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
        kind: What depth is: "z", along the optical axis, or "distance", along the ray, for a field near 180 degrees.
    """

    depth: Float[np.ndarray, "height width"]
    std: Float[np.ndarray, "height width"] | None
    content: Bool[np.ndarray, "height width"]
    image: UInt8[np.ndarray, "height width 3"]
    camera: Camera | None
    unit: LengthUnit
    kind: Kind = "z"

    @classmethod
    def of(cls, found: DepthMap) -> "FrameDepth":
        """What prediction gives, as arrays."""
        found = along_axis(found)
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


@dataclass(frozen=True, eq=False)
class FrameDepths:
    """The depth of every frame of a clip, one after the other: an iterable of `FrameDepth`.

    Attributes:
        maps: What is gone through.
    """

    maps: ClipDepth

    def __len__(self) -> int:
        return len(self.maps)

    def __iter__(self) -> Iterator[FrameDepth]:
        return (FrameDepth.of(found) for found in self.maps)


@dataclass(frozen=True, eq=False)
class FusedSurface:
    """One surface of a clip.

    Attributes:
        surface: Its mesh, with normals and colours.
        unit: "sfm", "mm".
        voxel: Side of a voxel, in `unit`.
    """

    surface: Surface
    unit: LengthUnit
    voxel: float

    @property
    def points(self) -> Float[np.ndarray, "points 3"]:
        """Its vertices in the world of the clip."""
        return self.surface.points.numpy()

    @property
    def faces(self) -> Int[np.ndarray, "faces 3"]:
        """Its triangles, as numbers of vertices."""
        faces = self.surface.faces
        return np.zeros((0, 3), np.int64) if faces is None else faces.numpy()

    def save(self, path: Path | str) -> Path:
        """Writes a PLY file."""
        from depthscope.formats import ply

        ply.write(self.surface, Path(path))
        return Path(path)


@dataclass(frozen=True, eq=False)
class Registered:
    """Where a surface lies in a CT.

    Attributes:
        target_from_source: Similarity as a 4x4 matrix, row-major, from the surface to LPS mm.
        scale: Millimetres to a unit of the surface.
        residual_mm: Mean distance of what was registered to the CT's surface.
        confidence: Probability that it lies right.
        ambiguous: Whether it was refused.
        reasons: Why.
    """

    target_from_source: Float[np.ndarray, "4 4"]
    scale: float
    residual_mm: float
    confidence: float
    ambiguous: bool
    reasons: tuple[str, ...]


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
        BadInputError: The image or the camera cannot be used, or the image shows nothing.

    Example:
        >>> import numpy as np, depthscope as ds
        >>> image = np.random.default_rng(0).integers(60, 200, (256, 320, 3), np.uint8)
        >>> found = ds.depth(image)
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
    source = f"{image}" if isinstance(image, Path | str) else "the image"
    (found,) = predict_maps(load(run), Recording(("image",), [pixels], size, camera, shown, source=source))
    return FrameDepth.of(found)


@lru_cache(maxsize=2)
def load(run: Path | str = SHIPPED) -> DepthModel:
    """The network of a run or a checkpoint, or (without an argument) the one that ships; kept for later calls.

    Raises:
        BadInputError: There is none.
    """
    return load_model(run)


def reconstruct(
    source: Path | str, camera: Camera | Path | str | None = None, *, out: Path | str | None = None
) -> Sequence:
    """Structure from motion on a video or a folder of images: the accepted clip with the most frames.

    Args:
        source: Video file or folder of images.
        camera: The camera or its camera.yaml; without it the camera is self-calibrated, which is less sure.
        out: Folder for the frames and the model; one that lasts as long as this process by default.

    Raises:
        BadInputError: The source cannot be read.
        NoAnswerError: No clip can be trusted.
    """
    from depthscope.pipeline import values

    return values.reconstruct(source, camera, out=out)


def train(
    sequence: Sequence | Rows[Sequence],
    recipe: Recipe | str = "adapt",
    *,
    steps: int | None = None,
    out: Path | str | None = None,
) -> DepthModel:
    """A network that has learned from the points of a sequence, or of several, ready to predict.

    Args:
        sequence: From `reconstruct`, or `read_sequence` of depthscope.formats.
        recipe: How, or the name of a recipe; "adapt" fits the weights that ship, "fast" begins with nothing.
        steps: In place of the recipe's number.
        out: Folder of the run; one that lasts as long as this process by default.

    Raises:
        BadInputError: The recipe is not known, or cannot learn from this sequence.
    """
    from depthscope.pipeline import values

    chosen = recipe_named(recipe) if isinstance(recipe, str) else recipe
    return values.train(sequence, chosen, steps=steps, out=out)


def predict(model: DepthModel, sequence: Sequence) -> FrameDepths:
    """The depth of every frame of a sequence, in its unit, made when asked for.

    Args:
        model: From `train` or `load`.
        sequence: The frames.
    """
    from depthscope.pipeline import values

    return FrameDepths(values.predict(model, sequence))


def fuse(depths: FrameDepths) -> FusedSurface:
    """One surface from the depth of a clip's frames.

    Args:
        depths: From `predict`.
    """
    from depthscope.pipeline import values

    found = values.fuse(depths.maps)
    return FusedSurface(found.surface, found.surface.unit, found.voxel)


def register(source: FusedSurface | FrameDepths, target: Path | str) -> Registered:
    """Where a surface lies in a CT, without a start by hand; depths of frames are placed more surely than a surface.

    Args:
        source: From `fuse`, or from `predict`.
        target: CT (DICOM folder, NIfTI, NRRD, MetaImage), or a surface in LPS mm with normals into the air.

    Raises:
        BadInputError: The target cannot be read, or there is too little to register.
    """
    from depthscope.formats import ct
    from depthscope.pipeline import values
    from depthscope.pipeline.registration import target_surface

    goal, _, _ = target_surface(Path(target), ct.AIR_BELOW, None, 0.0)
    found = values.register(source.surface if isinstance(source, FusedSurface) else source.maps, goal)
    return Registered(
        found.target_from_source.matrix.numpy(),
        float(found.scale),
        found.residuals.figures["mean"],
        found.confidence,
        found.ambiguous,
        tuple(found.reasons),
    )


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
