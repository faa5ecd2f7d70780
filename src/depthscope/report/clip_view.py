"""The sequence behind a clip's results, where it can still be read, and its frames as the depth maps see them."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from depthscope.errors import DepthscopeError
from depthscope.formats import depth_maps, read_sequence, recognised
from depthscope.geometry import Camera
from depthscope.pictures import Picture, depth_picture, depth_range, error_picture, resized
from depthscope.report.folder import ClipResults
from depthscope.report.layers import masked, with_points
from depthscope.sequence import Sequence
from depthscope.supervision.view import View
from depthscope.video import list_images, read_image

STD_SHOWN = (0.02, 0.05, 0.1, 0.2, 0.5)
"""Relative standard deviations that may be the end of the scale."""

SAMPLED = 12
"""Depth maps that decide the ends of the colours."""


@dataclass(frozen=True, eq=False)
class StripFrame:
    """One frame of the strip.

    Attributes:
        name: Of the frame.
        number: Of the frame in the sequence, or None.
        frame: As it was recorded.
        points: The frame with its SfM points in the colours of their depth.
        depth: In colours.
        deviation: Relative standard deviation of depth in colours.
        masked: The frame with what the masks hide striped.
    """

    name: str
    number: int | None
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

    moments: tuple[StripFrame, ...]
    limits: tuple[float, float] | None
    unit: str
    most_deviation: float
    total: int


def sequence_of(clip: ClipResults) -> Sequence | None:
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


@dataclass(frozen=True, eq=False)
class ClipView:
    """All frames of a clip; each picture is made when it is asked for, so a long clip costs no more than a short one.

    Attributes:
        clip: Its results.
        sequence: What they are about, or None.
        names: Of the frames, in the order of time.
        maps: Depth map of each frame that has one.
        images: File of each frame that can still be read.
        limits: Nearest and farthest depth of the colours, or None.
        most_deviation: End of the colours of the standard deviation.
        height: Of the pictures, in pixels.
    """

    clip: ClipResults
    sequence: Sequence | None
    names: tuple[str, ...]
    maps: dict[str, Path]
    images: dict[str, Path]
    limits: tuple[float, float] | None
    most_deviation: float
    height: int

    @property
    def unit(self) -> str:
        """Of the depth."""
        return self.clip.prediction.said("unit", "sfm")

    def number(self, name: str) -> int | None:
        """Where a frame stands in the sequence, or None where it is not in it."""
        known = self.sequence is not None and name in self.sequence.frame_names
        return self.sequence.frame_names.index(name) if known and self.sequence is not None else None

    def moment(self, name: str) -> StripFrame:
        """All that there is of a frame."""
        frame, depth = self.frame(name), _read(self.maps.get(name))
        return StripFrame(
            name,
            self.number(name),
            frame,
            self.points(name, frame),
            self._depth(depth),
            self._deviation(name, depth),
            self.masked(name, frame),
        )

    def picture(self, name: str, panel: str) -> Picture | None:
        """One of the pictures of a frame, by its name in `StripFrame`.

        Raises:
            KeyError: There is no such panel.
        """
        make = {
            "frame": lambda: self.frame(name),
            "points": lambda: self.points(name, self.frame(name)),
            "depth": lambda: self._depth(_read(self.maps.get(name))),
            "deviation": lambda: self._deviation(name, _read(self.maps.get(name))),
            "masked": lambda: self.masked(name, self.frame(name)),
        }
        return make[panel]()

    def frame(self, name: str) -> Picture | None:
        """The frame as recorded, from the sequence, or else from the preview beside the depth map."""
        number, source = self.number(name), _image(self.images.get(name))
        if source is None:
            return self._fitted(self._preview(name))
        if number is None or self.sequence is None:
            return self._fitted(source)
        camera = self.sequence.cameras[number]
        if (source.shape[1], source.shape[0]) != camera.size_px:
            return self._fitted(source)
        return torch.from_numpy(self._window(camera).image(source.numpy(), camera))

    def points(self, name: str, frame: Picture | None) -> Picture | None:
        """The frame with the points of structure from motion that it sees."""
        number = self.number(name)
        if number is None or self.sequence is None:
            return None
        return with_points(self.sequence, number, self._window(self.sequence.cameras[number]), frame)

    def masked(self, name: str, frame: Picture | None) -> Picture | None:
        """The frame with stripes over what counts for nothing."""
        number = self.number(name)
        if number is None or self.sequence is None:
            return None
        return masked(self.clip, self.sequence, number, self._window(self.sequence.cameras[number]), frame)

    def _depth(self, depth: torch.Tensor | None) -> Picture | None:
        known = depth is not None and self.limits is not None
        return self._fitted(depth_picture(depth, self.limits)) if known else None  # type: ignore[arg-type]

    def _deviation(self, name: str, depth: torch.Tensor | None) -> Picture | None:
        std = _deviation_of(self.clip, name, depth)
        if std is None or depth is None:
            return None
        return self._fitted(error_picture(std / depth.clamp_min(1e-9), depth > 0, self.most_deviation))

    def _preview(self, name: str) -> Picture | None:
        """The left half of the preview that was stored with a depth map."""
        depth, pair = _read(self.maps.get(name)), _image(self.clip.prediction.place / "preview" / f"{name}.png")
        if depth is None or pair is None:
            return None
        width = round(depth.shape[1] * pair.shape[0] / depth.shape[0])
        return pair[:, :width].contiguous() if width <= pair.shape[1] else None

    def _window(self, camera: Camera) -> View:
        """The whole frame at the height of the pictures."""
        width = max(1, round(camera.size_px[0] * self.height / camera.size_px[1]))
        return View.whole(camera, (width, self.height))

    def _fitted(self, picture: Picture | None) -> Picture | None:
        return picture if picture is None or picture.shape[0] == self.height else resized(picture, self.height)


def clip_view(clip: ClipResults, sequence: Sequence | None, height: int, most: int = SAMPLED) -> ClipView | None:
    """The frames of a clip, or None where there are none; the ends of the colours are those of `most` frames.

    Args:
        clip: Its results.
        sequence: What they are about, or None.
        height: Of the pictures, in pixels.
        most: Depth maps that are looked at.
    """
    maps = _maps(clip)
    images = {} if sequence is None else dict(zip(sequence.frame_names, sequence.images, strict=True))
    if not images and (clip.sequence.place / "images").is_dir():
        images = _listed(clip.sequence.place / "images")
    names = tuple(maps) or tuple(images)
    if not names:
        return None
    depths = {name: depth for name in spread(names, most) if (depth := _read(maps.get(name))) is not None}
    stds = {name: std for name, depth in depths.items() if (std := _deviation_of(clip, name, depth)) is not None}
    limits = depth_range(torch.cat([depth.flatten() for depth in depths.values()])[None]) if depths else None
    most_std = _end([std / depths[name].clamp_min(1e-9) for name, std in stds.items()])
    return ClipView(clip, sequence, names, maps, images, limits, most_std, height)


def spread(names: tuple[str, ...], most: int) -> list[str]:
    """At most so many of the names, evenly from the first to the last."""
    return [names[i] for i in sorted(set(np.linspace(0, len(names) - 1, min(most, len(names))).round().astype(int)))]


def strip_of(clip: ClipResults, sequence: Sequence | None, most: int, height: int) -> Strip | None:
    """Some frames of a clip with everything that is known of them.

    Args:
        clip: Its results.
        sequence: What they are about, or None.
        most: How many frames at most.
        height: Of the pictures, in pixels.
    """
    view = clip_view(clip, sequence, height, most)
    if view is None:
        return None
    moments = tuple(view.moment(name) for name in spread(view.names, most))
    return Strip(moments, view.limits, view.unit, view.most_deviation, len(view.names))


def _maps(clip: ClipResults) -> dict[str, Path]:
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


def _image(path: Path | None) -> Picture | None:
    try:
        return None if path is None else read_image(path)
    except DepthscopeError:
        return None


def _end(relative: list[torch.Tensor]) -> float:
    known = torch.cat([values[(values > 0) & (values < 10)] for values in relative]) if relative else torch.zeros(0)
    if not len(known):
        return STD_SHOWN[2]
    high = float(known[:: max(1, len(known) // 100_000)].quantile(0.95))
    return next((end for end in STD_SHOWN if end >= high), STD_SHOWN[-1])


def _deviation_of(clip: ClipResults, name: str, depth: torch.Tensor | None) -> torch.Tensor | None:
    """The standard deviation of a depth map, where there is one of its size."""
    std = _read(clip.prediction.place / "std" / f"{name}.tiff")
    return std if std is not None and depth is not None and std.shape == depth.shape else None
