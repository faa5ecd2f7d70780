"""Keypoints with descriptors that were made outside the child, and their matches by mutual nearest neighbours."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt32

from depthscope.workspace import atomic_file


@dataclass(frozen=True, eq=False)
class Described:
    """The keypoints of the frames of a clip.

    Attributes:
        pixels: For each frame where they are, working pixels within the window, shape (keypoints, 2).
        descriptors: And what they look like, of length 1, shape (keypoints, channels).
        least_cosine: Of two descriptors that match.
    """

    pixels: tuple[np.ndarray, ...]
    descriptors: tuple[np.ndarray, ...]
    least_cosine: float

    def write(self, path: Path) -> Path:
        """Writes an .npz file whole or not at all."""
        counts = np.array([len(one) for one in self.pixels], np.int64)
        with atomic_file(path) as draft, draft.open("wb") as stream:
            np.savez(
                stream,
                counts=counts,
                pixels=np.concatenate(self.pixels),
                descriptors=np.concatenate(self.descriptors),
                least_cosine=self.least_cosine,
            )
        return path

    @classmethod
    def read(cls, path: Path) -> "Described":
        """What `write` wrote."""
        with np.load(path) as file:
            ends = np.cumsum(file["counts"])[:-1]
            pixels, descriptors = np.split(file["pixels"], ends), np.split(file["descriptors"], ends)
            return cls(tuple(pixels), tuple(descriptors), float(file["least_cosine"]))

    def places(self, frame: int) -> np.ndarray:
        """Where they are in a frame, shape (keypoints, 2)."""
        return self.pixels[frame]

    def matches(self, one: int, other: int) -> UInt32[np.ndarray, "matches 2"]:
        """Numbers of keypoints in two frames that are each other's nearest."""
        return mutual_matches(
            self.descriptors[one].astype(np.float32), self.descriptors[other].astype(np.float32), self.least_cosine
        )


def mutual_matches(
    one: Float[np.ndarray, "first channels"], other: Float[np.ndarray, "second channels"], least_cosine: float
) -> UInt32[np.ndarray, "matches 2"]:
    """Rows of two sets of descriptors that are each other's nearest.

    Args:
        one: Of length 1.
        other: Of length 1.
        least_cosine: Of the angle between the two.
    """
    if not len(one) or not len(other):
        return np.empty((0, 2), np.uint32)
    cosine = one @ other.T
    right, left = cosine.argmax(1), cosine.argmax(0)
    rows = np.arange(len(one))
    good = (left[right] == rows) & (cosine[rows, right] >= least_cosine)
    return np.stack([rows[good], right[good]], 1).astype(np.uint32)
