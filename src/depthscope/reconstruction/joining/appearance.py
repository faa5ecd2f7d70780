"""Matches between two images for joining: learned features where they are installed, SIFT otherwise."""

from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import nn

from depthscope.errors import BadInputError
from depthscope.reconstruction.described import mutual_matches
from depthscope.reconstruction.front_end import working_image
from depthscope.reconstruction.job import FrontEnd
from depthscope.reconstruction.learned import LEARNED, available
from depthscope.reconstruction.learned.networks import features_of, loaded

SIFT_FEATURES, SIFT_CONTRAST = 4000, 0.01
LEAST_SIFT_COSINE = 0.8
"""Of two SIFT descriptors of length 1 after taking square roots (RootSIFT, Arandjelovic and Zisserman 2012)."""

Features = tuple[np.ndarray, np.ndarray]
"""Places in pixels of the frame, shape (features, 2), and descriptors of length 1."""


@dataclass
class Appearance:
    """Finds and keeps the features of images, and matches them by mutual nearest neighbours.

    Attributes:
        mask: Where the frames show tissue, 0 where not, shape (height, width); None for everywhere.
        learned: Name of learned features, or "" for SIFT.
    """

    mask: np.ndarray | None = None
    learned: str = ""
    kept: dict[Path, Features] = field(default_factory=dict)

    @classmethod
    def best(cls, mask: np.ndarray | None) -> "Appearance":
        """With XFeat where it is installed: it keeps five times as many right matches at long gaps."""
        return cls(mask, "xfeat" if available(LEARNED["xfeat"]) else "")

    def __post_init__(self) -> None:
        self.front_end = FrontEnd()
        self.network: nn.Module | None = None  # loaded when the first image is looked at

    @property
    def least_cosine(self) -> float:
        """Of two descriptors that match."""
        return LEARNED[self.learned].least_cosine if self.learned else LEAST_SIFT_COSINE

    def __call__(self, one: Path, other: Path) -> tuple[np.ndarray, np.ndarray]:
        """Where two images show the same, pixels of each, shape (matches, 2)."""
        (places, left), (there, right) = self.features(one), self.features(other)
        rows = mutual_matches(left, right, self.least_cosine).astype(np.int64)
        return places[rows[:, 0]], there[rows[:, 1]]

    def features(self, path: Path) -> Features:
        """Those of an image, found once.

        Raises:
            BadInputError: It cannot be read.
        """
        if path not in self.kept:
            self.kept[path] = self._found(path)
        return self.kept[path]

    def _found(self, path: Path) -> Features:
        bgr = cv2.imread(str(path), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
        if bgr is None:
            raise BadInputError(f"{path} cannot be read", "a frame of the sequence", "reconstruct it again")
        size = bgr.shape[1], bgr.shape[0]
        working = self.front_end.working_size(size)
        grey = working_image(bgr, working, (0, 0, *working), self.front_end)
        places, descriptors = self._learned(grey) if self.learned else sift(grey)
        if self.mask is not None and len(places):
            shown = cv2.resize(self.mask, working, interpolation=cv2.INTER_NEAREST)
            columns, rows = places.astype(int).T
            inside = shown[rows.clip(0, working[1] - 1), columns.clip(0, working[0] - 1)] > 0
            places, descriptors = places[inside], descriptors[inside]
        return places * (np.array(size) / working), descriptors

    def _learned(self, grey: np.ndarray) -> Features:
        if self.network is None:
            self.network = loaded(LEARNED[self.learned])
        places, _, descriptors = features_of(LEARNED[self.learned], self.network, torch.from_numpy(grey).float() / 255)
        return places.double().numpy(), descriptors.numpy()


def sift(grey: np.ndarray) -> Features:
    """SIFT by OpenCV, descriptors as RootSIFT."""
    keypoints, descriptors = cv2.SIFT.create(SIFT_FEATURES, contrastThreshold=SIFT_CONTRAST).detectAndCompute(
        grey, None
    )
    if descriptors is None or not len(keypoints):
        return np.empty((0, 2)), np.empty((0, 128), np.float32)
    root = np.sqrt(descriptors / np.maximum(descriptors.sum(1, keepdims=True), 1e-9)).astype(np.float32)
    return np.array([keypoint.pt for keypoint in keypoints]) + 0.5, root
