"""The sequence behind a clip's results, where it can still be read, and its frames as the depth maps see them."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch

from depthscope.errors import DepthscopeError
from depthscope.formats import depth_maps, read_sequence, recognised
from depthscope.geometry import Camera
from depthscope.pictures import Picture, depth_picture, depth_range, error_picture, resized
from depthscope.report.folder import Clip
from depthscope.sequence import Sequence
from depthscope.supervision.view import View
from depthscope.video import list_images, read_grey, read_image

STD_SHOWN = (0.02, 0.05, 0.1, 0.2, 0.5)
"""Relative standard deviations that may be the end of the scale."""

HATCH_PX = 10
"""Distance of the stripes over what a mask hides."""


@dataclass(frozen=True, eq=False)
class Moment:
    """One frame of the strip.

    Attributes:
        name: Of the frame.
        frame: Undistorted where a depth map is.
        points: The frame with its SfM points in the colours of their depth.
        depth: In colours.
        deviation: Relative standard deviation of depth in colours.
        masked: The frame with what the masks hide striped.
    """

    name: str
    frame: Picture | None
    points: Picture | None
    depth: Picture | None
    deviation: Picture | None
    masked: Picture | None


@dataclass(frozen=True, eq=False)
class Strip:
    """Frames of a clip.

    Attributes:
        moments: In the order of time.
        limits: Nearest and farthest depth of the colours, or None.
        unit: Of the depth.
        most_deviation: End of the colours of the standard deviation.
        total: Frames that there are.
    """

    moments: tuple[Moment, ...]
    limits: tuple[float, float] | None
    unit: str
    most_deviation: float
    total: int


def sequence_of(clip: Clip) -> Sequence | None:
    """The sequence that the results are about, or None where it is not there any more."""
    places = [clip.sequence.place]
    inputs = clip.sequence.provenance.get("inputs")
    places += [Path(str(name)) for name in inputs] if isinstance(inputs, dict) else []
    for place in places:
        try:
            if place.is_dir() and recognised(place):
                return read_sequence(place)
        except DepthscopeError:
            continue
    return None


def strip_of(clip: Clip, sequence: Sequence | None, most: int, height: int) -> Strip | None:
    """Some frames of a clip with everything that is known of them.

    Args:
        clip: Its results.
        sequence: What they are about, or None.
        most: How many frames at most.
        height: Of the pictures, in pixels.
    """
    maps = _maps(clip)
    images = {} if sequence is None else dict(zip(sequence.frame_names, sequence.images, strict=True))
    if not images and (clip.sequence.place / "images").is_dir():
        images = _listed(clip.sequence.place / "images")
    names = list(maps) or list(images)
    if not names:
        return None
    chosen = [names[i] for i in sorted(set(np.linspace(0, len(names) - 1, min(most, len(names))).round().astype(int)))]
    depths = {name: depth for name in chosen if (depth := _read(maps.get(name))) is not None}
    stds = {n: s for n in depths if (s := _read(clip.prediction.place / "std" / f"{n}.tiff")) is not None}
    stds = {name: std for name, std in stds.items() if std.shape == depths[name].shape}
    limits = depth_range(torch.cat([depth.flatten() for depth in depths.values()])[None]) if depths else None
    most_std = _end([std / depths[name].clamp_min(1e-9) for name, std in stds.items()])
    moments = []
    for name in chosen:
        depth, window, camera = depths.get(name), None, None
        if sequence is not None and name in images:
            camera = sequence.cameras[sequence.frame_names.index(name)]
            window = _window(camera, depth)
        frame = _frame(clip, name, depth, images.get(name), window, camera)
        moment = Moment(
            name,
            frame,
            None if sequence is None or window is None else _with_points(sequence, name, window, frame),
            None if depth is None or limits is None else depth_picture(depth, limits),
            None if name not in stds else _deviation(stds[name], depths[name], most_std),
            None if sequence is None or window is None else _masked(clip, sequence, name, window, frame),
        )
        moments.append(_at_height(moment, height))
    return Strip(tuple(moments), limits, clip.prediction.said("unit", "sfm"), most_std, len(names))


def _maps(clip: Clip) -> dict[str, Path]:
    try:
        return depth_maps.listed(clip.prediction.place) if clip.prediction.place.is_dir() else {}
    except DepthscopeError:
        return {}


def _listed(folder: Path) -> dict[str, Path]:
    try:
        return {path.stem: path for path in list_images(folder)}
    except DepthscopeError:
        return {}


def _read(path: Path | None) -> torch.Tensor | None:
    try:
        return None if path is None or not path.is_file() else depth_maps.read(path)
    except DepthscopeError:
        return None


def _image(path: Path) -> Picture | None:
    try:
        return read_image(path)
    except DepthscopeError:
        return None


def _end(relative: list[torch.Tensor]) -> float:
    known = torch.cat([values[(values > 0) & (values < 10)] for values in relative]) if relative else torch.zeros(0)
    if not len(known):
        return STD_SHOWN[2]
    high = float(known[:: max(1, len(known) // 100_000)].quantile(0.95))
    return next((end for end in STD_SHOWN if end >= high), STD_SHOWN[-1])


def _window(camera: Camera, depth: torch.Tensor | None) -> View:
    """The whole undistorted frame at the size of the depth map."""
    size = camera.size_px if depth is None else (depth.shape[1], depth.shape[0])
    return View(0, 0, camera.size_px, size, camera.undistorted())


def _frame(
    clip: Clip,
    name: str,
    depth: torch.Tensor | None,
    image: Path | None,
    window: View | None,
    camera: Camera | None,
) -> Picture | None:
    """From the preview beside the depth map, or else from the sequence."""
    if depth is not None and (pair := _image(clip.prediction.place / "preview" / f"{name}.png")) is not None:
        width = round(depth.shape[1] * pair.shape[0] / depth.shape[0])
        if width <= pair.shape[1]:
            return pair[:, :width].contiguous()
    source = None if image is None else _image(image)
    if source is None or window is None or camera is None or (source.shape[1], source.shape[0]) != camera.size_px:
        return source
    return torch.from_numpy(window.image(source.numpy(), camera))


def _with_points(sequence: Sequence, name: str, window: View, frame: Picture | None) -> Picture | None:
    """The frame with the SfM points that it sees; near ones bright."""
    if frame is None:
        return None
    number = sequence.frame_names.index(name)
    seen = sequence.points[sequence.observations.point[sequence.observations.frame == number]]
    inside = sequence.camera_from_world[number].apply(seen)
    inside = inside[inside[:, 2] > 0]
    if not len(inside):
        return None
    pixels = window.camera.project(inside) * (frame.shape[1] / window.size_px[0])
    shades = depth_picture(inside[None, :, 2].float(), depth_range(inside[None, :, 2]))[0]
    canvas = np.ascontiguousarray((frame.float() * 0.55).byte().numpy())
    radius = max(2, frame.shape[1] // 150)
    for (x, y), shade in zip((pixels - 0.5).round().int().tolist(), shades.tolist(), strict=True):  # OpenCV border
        cv2.circle(canvas, (x, y), radius + 1, (20, 20, 20), -1, cv2.LINE_AA)
        cv2.circle(canvas, (x, y), radius, shade, -1, cv2.LINE_AA)
    return torch.from_numpy(canvas)


def _masked(clip: Clip, sequence: Sequence, name: str, window: View, frame: Picture | None) -> Picture | None:
    """The frame with stripes over all that the content mask or the frame's own mask hides."""
    if frame is None:
        return None
    number = sequence.frame_names.index(name)
    camera, image = sequence.cameras[number], sequence.images[number]
    kept = None if sequence.mask is None else window.mask(sequence.mask, camera, 0)
    own = clip.sequence.place / "masks" / f"{image.name}.png"
    if own.is_file():
        try:
            mask = read_grey(own) >= 128
        except DepthscopeError:
            mask = None
        if mask is not None and (mask.shape[1], mask.shape[0]) == camera.size_px:
            seen = window.mask(mask, camera, 0)
            kept = seen if kept is None else kept & seen
    if kept is None:
        return None
    size = frame.shape[1], frame.shape[0]
    shown = cv2.resize(kept.numpy().astype(np.uint8), size, interpolation=cv2.INTER_NEAREST).astype(bool)
    rows, columns = np.indices(shown.shape)
    stripe = (rows + columns) // (HATCH_PX // 2) % 2 == 0
    canvas = frame.numpy().copy()
    canvas[~shown] = np.where(stripe[~shown][:, None], 150, 70)
    return torch.from_numpy(canvas)


def _deviation(std: torch.Tensor, depth: torch.Tensor, most: float) -> Picture:
    return error_picture(std / depth.clamp_min(1e-9), depth > 0, most)


def _at_height(moment: Moment, height: int) -> Moment:
    def fitted(picture: Picture | None) -> Picture | None:
        return picture if picture is None or picture.shape[0] == height else resized(picture, height)

    pictures = (moment.frame, moment.points, moment.depth, moment.deviation, moment.masked)
    return Moment(moment.name, *(fitted(picture) for picture in pictures))
