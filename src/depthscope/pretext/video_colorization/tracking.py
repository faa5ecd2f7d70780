"""Points and masks of a clip's first frame, followed through the clip."""

from dataclasses import dataclass, field

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

from depthscope.corpus import Window
from depthscope.errors import BadInputError
from depthscope.pretext.video_colorization.propagation import (
    Features,
    Memory,
    Propagation,
    confidence,
    enlarged,
    hats,
    peaks,
    pointed,
    sampled,
)
from depthscope.pretext.video_colorization.refinement import Pyramid, refined
from depthscope.video import Image

Places = Float[Tensor, "points 2"]


@dataclass(frozen=True)
class Tracking:
    """How points are followed.

    Attributes:
        propagation: How the pointer carries labels from frame to frame.
        refine: Refine points by normalised correlation at full size: cells are coarse.
        least_correlation: From which a refined place is taken.
    """

    propagation: Propagation = field(default_factory=Propagation)
    refine: bool = True
    least_correlation: float = 0.7

    def __post_init__(self) -> None:
        if not 0 < self.least_correlation < 1:
            raise BadInputError(f"least-correlation {self.least_correlation:g}", "between 0 and 1")


@dataclass(frozen=True, eq=False)
class Tracked:
    """Where points are in a frame.

    Attributes:
        places: (x, y) in pixels of the video.
        confidence: 0..1; orders points by how much they are to be trusted, and is no probability.
    """

    places: Places
    confidence: Float[Tensor, " points"]


class PointTracker:
    """Follows points from the first frame on.

    Args:
        points: (x, y) in the first frame, pixels of the video.
        window: Where the network's frames lie in those of the video.
        content: Cells that show tissue.
        stride: Side of a cell in pixels of the network's frame.
        options: How.
    """

    def __init__(
        self, points: Places, window: Window, content: Bool[Tensor, "rows columns"], stride: int, options: Tracking
    ) -> None:
        self.points, self.window, self.content, self.stride = points.double(), window, content, stride
        self.options, self.memory = options, Memory(options.propagation)
        self.first = self._cells(self.points)
        self.now = self.points
        self.source: Features | None = None
        self.pyramids: tuple[Pyramid, Pyramid] | None = None  # of the first frame, and of the last one

    def step(self, features: Features, image: Image) -> Tracked:
        """Goes on to the next frame.

        Args:
            features: Of the cells of the network's frame.
            image: The same frame of the video.
        """
        rows, columns = features.shape[-2:]
        shrunk = self.window.window_px[0] / self.window.size_px[0]
        pyramid = Pyramid.of(cv2.cvtColor(image.numpy(), cv2.COLOR_RGB2GRAY), shrunk)
        if self.source is None or self.pyramids is None:
            self.source, self.pyramids = features, (pyramid, pyramid)
            labels = hats(self.first, rows, columns)
            self.memory.add(features, labels)
            return Tracked(self.points, labels.flatten(1).sum(1).gt(0) * self._inside(self.first))
        heat = self.memory.copied(features) * self.content
        followed = heat.flatten(1).amax(1) > 0
        cells = torch.where(followed[:, None], peaks(heat), self._cells(self.now))
        back = pointed(sampled(features, cells), cells, self.source, self.options.propagation)
        sure = confidence(back.entropy, (back.cells - self.first).norm(dim=-1))
        sure = sure * followed * self._inside(cells)
        places = self.window.in_source(cells.double() * self.stride)
        if self.options.refine:
            places = self._refined(pyramid, places, sure > 0)
        limits = places.new_tensor(self.window.source_px)
        self.now = places.clamp_min(0).minimum(limits)
        self.memory.add(features, hats(self._cells(self.now), rows, columns) * sure[:, None, None])
        self.pyramids = self.pyramids[0], pyramid
        return Tracked(self.now, sure)

    def _cells(self, places: Places) -> Float[Tensor, "points 2"]:
        return (self.window.from_source(places) / self.stride).float()

    def _inside(self, cells: Places) -> Float[Tensor, " points"]:
        """1 in cells that show tissue."""
        rows, columns = self.content.shape
        column, row = cells.floor().long().unbind(-1)
        within = (column >= 0) & (row >= 0) & (column < columns) & (row < rows)
        return (within & self.content[row.clamp(0, rows - 1), column.clamp(0, columns - 1)]).float()

    def _refined(self, now: Pyramid, places: Places, wanted: Bool[Tensor, " points"]) -> Places:
        """Correlation with the first frame, which does not drift, else with the last one."""
        assert self.pyramids is not None
        first, last = self.pyramids
        search = self.stride * self.window.window_px[0] / self.window.size_px[0]
        least, better = self.options.least_correlation, places.clone()
        for number in wanted.nonzero().flatten().tolist():
            guess = places[number].numpy()
            found, score = refined(first, self.points[number].numpy(), now, guess, search, least)
            if not score:
                found, score = refined(last, self.now[number].numpy(), now, guess, search, least)
            better[number] = torch.from_numpy(found)
        return better


class MaskCarrier:
    """Carries the labels of the first frame's pixels.

    Args:
        mask: A whole number for each pixel of the first frame of the video.
        window: Where the network's frames lie in those of the video.
        content: Cells that show tissue; elsewhere the smallest label is put.
        options: How.
    """

    def __init__(
        self,
        mask: Int[Tensor, "height width"],
        window: Window,
        content: Bool[Tensor, "rows columns"],
        options: Propagation,
    ) -> None:
        self.values, self.window, self.content = torch.unique(mask), window, content
        layers = [torch.from_numpy(window.cut((mask == value).numpy().astype(np.float32))) for value in self.values]
        self.first = functional.adaptive_avg_pool2d(torch.stack(layers), (content.shape[0], content.shape[1]))
        self.memory = Memory(options)

    def step(self, features: Features) -> Int[Tensor, "height width"]:
        """The mask of the next frame at the size of the video."""
        labels = self.memory.copied(features) if self.memory.seen else self.first
        self.memory.add(features, labels)
        shown = labels * self.content
        shown[0] += (~self.content).float()
        size = self.window.size_px
        return self.values[self.window.map_in_source(enlarged(shown, size), 0.0).argmax(0)]


def content_cells(content: Bool[Tensor, "height width"], stride: int) -> Bool[Tensor, "rows columns"]:
    """Cells of which half shows tissue."""
    return functional.avg_pool2d(content[None].float(), stride)[0] >= 0.5


def grid_of_points(content: Bool[Tensor, "height width"], window: Window, across: int) -> Places:
    """Points of an even grid on the tissue, pixels of the video.

    Args:
        content: Where the network's frame shows tissue.
        window: Where that lies in the video.
        across: Points across the frame.
    """
    height, width = content.shape
    step = width / across
    x = (torch.arange(across) + 0.5) * step
    y = (torch.arange(max(1, round(height / step))) + 0.5) * height / max(1, round(height / step))
    places = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1).reshape(-1, 2).double()
    column, row = places.floor().long().unbind(-1)
    return window.in_source(places[content[row, column]])
