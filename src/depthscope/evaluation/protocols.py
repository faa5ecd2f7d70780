"""Protocols of depth by name: which pixels count, how predictions are scaled, what is printed. Values, not a registry.

Written after the evaluation scripts that were published with the data or the networks; where only papers tell, it says
so. Two protocols on the same data give numbers that cannot be compared, and each has a test that shows why.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from depthscope.errors import BadInputError
from depthscope.evaluation.depth import ComparedFrame, median

Map = Float[Tensor, "_ _"]  # of any size: a crop of it is another one
MapPair = tuple[str, Map, Map]  # name, prediction and truth of one size, 0 where unknown

INFINITY = float("inf")


@dataclass(frozen=True)
class Crop:
    """A part of frames of one size; a side of None reaches to the border.

    Attributes:
        left, top, right, bottom: In pixels.
        size_px: (width, height) that the frames must have, None for what is not told.
    """

    left: int
    top: int
    right: int
    bottom: int
    size_px: tuple[int | None, int | None]

    def __call__(self, values: Map) -> Map:
        """The part.

        Raises:
            BadInputError: The map has another size, so that the numbers mean another part.
        """
        found = (values.shape[1], values.shape[0])
        if any(wanted not in (None, side) for wanted, side in zip(self.size_px, found, strict=True)):
            wanted = " x ".join("any" if side is None else str(side) for side in self.size_px)
            raise BadInputError(
                f"true depth of {found[0]} x {found[1]} pixels", f"{wanted}, for which this protocol's crop is meant",
                "use the published maps in full size, or another --protocol",
            )  # fmt: skip
        return values[self.top : self.bottom, self.left : self.right]


@dataclass(frozen=True)
class ShareCrop:
    """A part of frames of any size, in shares of it.

    Attributes:
        left, top, right, bottom: From 0 to 1; pixels are cut off downwards.
    """

    left: float
    top: float
    right: float
    bottom: float

    def __call__(self, values: Map) -> Map:
        """The part."""
        height, width = values.shape
        rows, columns = (
            (int(self.top * height), int(self.bottom * height)),
            (int(self.left * width), int(self.right * width)),
        )
        return values[rows[0] : rows[1], columns[0] : columns[1]]


@dataclass(frozen=True)
class MedianProtocol:
    """Truth within a range, each frame by the ratio of medians, predictions then clamped; mean over frames.

    Attributes:
        name: On the command line and beside every number.
        about: The data, and who computes it so.
        nearest, farthest: Range of the truth that counts.
        ends_count: Whether truth at exactly these ends does.
        clamp: Where predictions are cut off after scaling, or None.
        crop: The part that counts, or None for all.
        metric: Whether predictions without any scaling are judged too, where they are in mm.
    """

    name: str
    about: str
    nearest: float = 0.0
    farthest: float = INFINITY
    ends_count: bool = False
    clamp: tuple[float, float] | None = None
    crop: Crop | ShareCrop | None = None
    metric: bool = False

    def frame(self, name: str, depth: Map, truth: Map) -> ComparedFrame:
        """The pixels of a frame that count."""
        if self.crop is not None:
            depth, truth = self.crop(depth), self.crop(truth)
        within = (truth > self.nearest) & (truth < self.farthest)
        if self.ends_count:
            within = (truth >= self.nearest) & (truth <= self.farthest)
        used = within & (depth > 0) & (truth > 0)
        return ComparedFrame(name, depth[used], truth[used])

    def figures(self, pairs: Iterable[MapPair]) -> dict[str, float | int]:
        """Nothing beside the metrics of both alignments."""
        return {}


@dataclass(frozen=True)
class MeanErrorProtocol:
    """Mean absolute error in mm as predicted, frames with little truth left out (SCARED's challenge, by its paper)."""

    name: str
    about: str
    least_coverage: float = 0.1
    clamp: None = None
    metric: bool = True

    def frame(self, name: str, depth: Map, truth: Map) -> ComparedFrame:
        """The pixels that both know; none where too few have truth."""
        used = (depth > 0) & (truth > 0) & (float((truth > 0).double().mean()) >= self.least_coverage)
        return ComparedFrame(name, depth[used], truth[used])

    def figures(self, pairs: Iterable[MapPair]) -> dict[str, float | int]:
        """The mean over frames of their mean absolute errors, and how many frames have too little truth."""
        errors, sparse = [], 0
        for name, depth, truth in pairs:
            frame = self.frame(name, depth, truth)
            sparse += float((truth > 0).double().mean()) < self.least_coverage
            if len(frame.depth):
                errors.append(float((frame.depth - frame.truth).double().abs().mean()))
        return {"mae_mm": float(np.mean(errors)) if errors else float("nan"), "frames_with_little_truth": sparse}


@dataclass(frozen=True)
class TrajectoryScaleProtocol:
    """One scale from the mean depths of all frames, every pixel counts, errors in cm (SimCol3D's script).

    The script takes float16 numbers that are 1 at 20 cm. What is given here in other units is first brought to 0..1 by
    its largest value, which the scale then undoes; so nothing is cut off at 20 cm.
    """

    name: str
    about: str
    full_mm: float = 200.0
    clamp: None = None
    metric: bool = False

    def frame(self, name: str, depth: Map, truth: Map) -> ComparedFrame:
        """The pixels that both know, for the alignments that are always given."""
        used = (depth > 0) & (truth > 0)
        return ComparedFrame(name, depth[used], truth[used])

    def figures(self, pairs: Iterable[MapPair]) -> dict[str, float | int]:
        """Mean error, median relative error and root mean square error, each the mean over frames.

        Args:
            pairs: Read three times.
        """
        largest = max((float(depth.max()) for _, depth, _ in pairs), default=0.0)
        if not largest > 0:
            raise BadInputError("predictions that are nowhere known", "positive depth")

        def stored(depth: Map) -> Tensor:
            return (depth / largest).half().double()

        means = [(float(stored(d).mean()), float(t.double().mean()) / self.full_mm) for _, d, t in pairs]
        scale = sum(p * g for p, g in means) / sum(p * p for p, _ in means)
        rows = []
        for _, depth, truth in pairs:
            found, true = stored(depth) * scale * self.full_mm / 10, truth.double() / 10
            error = (found - true).abs()
            relative = float(median((error / (true + 1e-4)).flatten()))
            rows.append((float(error.mean()), 100 * relative, float((error**2).mean().sqrt())))
        names = ("l1_cm", "median_relative_percent", "rmse_cm")
        return dict(zip(names, np.mean(rows, 0).tolist(), strict=True))


@dataclass(frozen=True)
class MedianSquaresProtocol:
    """The scale of each frame by least median of squares, no pixel left out (PPSNet's script on C3VD).

    Middle square of the frame at `side_px`; metres; relative errors over truth + 1e-6; ``within_10_percent`` is printed
    as "a1" there and is no delta1. Where truth is unknown it enters as 0, as in the script.
    """

    name: str
    about: str
    side_px: int = 384
    full_m: float = 0.1
    clamp: None = None
    metric: bool = False

    def frame(self, name: str, depth: Map, truth: Map) -> ComparedFrame:
        """The pixels that both know in the middle square, for the alignments that are always given."""
        depth, truth = self._square(depth), self._square(truth)
        used = (depth > 0) & (truth > 0)
        return ComparedFrame(name, depth[used], truth[used])

    def figures(self, pairs: Iterable[MapPair]) -> dict[str, float | int]:
        """The errors that the script prints, means over frames."""
        rows = [self._errors(depth, truth) for _, depth, truth in pairs]
        names = ("abs_rel", "sq_rel_m", "rmse_m", "rmse_log", "within_10_percent")
        return dict(zip(names, np.mean(rows, 0).tolist(), strict=True))

    def _errors(self, depth: Map, truth: Map) -> tuple[float, ...]:
        from scipy.optimize import leastsq

        depth, truth = self._square(depth), self._square(truth)
        if not float(depth.max()) > 0:
            raise BadInputError("a prediction that is nowhere known", "positive depth")
        g = truth.double().numpy().ravel() / 1000
        d = (depth / depth.max()).double().numpy().ravel() * self.full_m
        # As there: a local search from 1 on the median itself, not the least median over all factors.
        factor = float(leastsq(lambda s: np.median((g - s * d) ** 2), 1.0)[0][0])
        d, tiny = d * factor, 1e-6
        relative = np.abs(g - d) / (g + tiny)
        logs = np.log(g + tiny) - np.log(np.maximum(d, 0) + tiny)
        squares = (g - d) ** 2
        return (
            float(relative.mean()), float((squares / (g + tiny)).mean()), float(np.sqrt(squares.mean())),
            float(np.sqrt((logs**2).mean())), float((relative < 0.1).mean()),
        )  # fmt: skip

    def _square(self, values: Map) -> Map:
        height, width = values.shape
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        part = np.ascontiguousarray(values[top : top + side, left : left + side].numpy())
        if side == self.side_px:
            return torch.from_numpy(part)
        made = cv2.resize(part, (self.side_px, self.side_px), interpolation=cv2.INTER_CUBIC)
        return torch.from_numpy(np.maximum(made, 0))


DepthProtocol = MedianProtocol | MeanErrorProtocol | TrajectoryScaleProtocol | MedianSquaresProtocol

DENSE = MedianProtocol("dense-1", "any true depth, every pixel that both know, nothing cut off")

DEPTH_PROTOCOLS: tuple[DepthProtocol, ...] = (
    DENSE,
    MedianProtocol("phantom", "the simulator; also without scaling, where predictions are in mm", metric=True),
    MedianProtocol(
        "scared-af", "SCARED as AF-SfMLearner, IID-SfMLearner and EndoDAC print it",
        1e-3, 150.0, clamp=(1e-3, 150.0),
    ),
    MeanErrorProtocol("scared-challenge", "SCARED as its challenge scored stereo, by the paper and not by code"),
    MedianProtocol(
        "hamlyn-edm", "rectified Hamlyn with the range of Endo-Depth-and-Motion",
        1.0, 300.0, ends_count=True, clamp=(0.0, 300.0), metric=True,
    ),
    MedianProtocol(
        "hamlyn-endodac", "rectified Hamlyn up to sequence 13 as EndoDAC prints it",
        1e-3, 150.0, clamp=(1e-3, 150.0),
    ),
    MedianProtocol(
        "hamlyn-endodac-cropped", "rectified Hamlyn from sequence 14 on as EndoDAC prints it",
        1e-3, 150.0, clamp=(1e-3, 150.0), crop=Crop(180, 0, 590, 288, (None, 288)),
    ),
    MedianProtocol(
        "c3vd-endodac", "C3VD as EndoDAC prints it",
        1e-3, 100.0, clamp=(1e-3, 100.0), crop=Crop(200, 180, 1150, 900, (1350, 1080)),
    ),
    MedianSquaresProtocol("c3vd-ppsnet", "C3VD as PPSNet prints it"),
    TrajectoryScaleProtocol("simcol3d", "SimCol3D, one trajectory, as its challenge scored depth"),
    MedianProtocol(
        "servct", "SERV-CT as papers on one camera tell it, not by code",
        0.0, 180.0, clamp=(1e-3, 180.0),
    ),
    MedianProtocol(
        "kitti-eigen", "KITTI, Eigen's 697 frames against the lidar's points, up to 80 m, in mm here",
        1.0, 80e3, clamp=(1.0, 80e3), crop=ShareCrop(0.03594771, 0.40810811, 0.96405229, 0.99189189), metric=True,
    ),
    MedianProtocol(
        "kitti-eigen-improved", "KITTI, 652 of these frames against the annotated maps, all of them, in mm here",
        clamp=(1.0, 80e3), metric=True,
    ),
)  # fmt: skip
"""Every protocol of dense depth."""
