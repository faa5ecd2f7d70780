"""Patches of tracks aligned under a window: Lucas and Kanade 1981 in the inverse form of Baker and Matthews 2004.

The patch of each track's middle frame is brought over by the plane that the model knows there, and sought around the
other keypoints to a small part of a pixel. Brightness and contrast are free.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int

from depthscope.reconstruction.sightings import Sightings

REACH_PX = 7
"""Half the side of a patch, in working pixels."""

WIDTH_PX = 0.6 * REACH_PX
"""Standard deviation of the round window."""

STEPS, ENOUGH_PX, LONGEST_STEP_PX, LOST_PX = 10, 0.01, 1.0, 6.0
"""Steps at most; the step that ends them; the longest one; how far from its keypoint a patch is given up."""

STRETCH = (0.3, 3.0)
"""Change of area between two frames up to which a patch is compared."""

AT_ONCE = 30_000
"""Rows of a table of places: OpenCV takes no more than 32767."""

_offset = np.arange(-REACH_PX, REACH_PX + 1, dtype=np.float64)
PLACES = np.stack(np.meshgrid(_offset, _offset, indexing="xy"), -1).reshape(-1, 2)
"""Pixels of a patch, from its middle."""

ROUND = np.exp(-(PLACES**2).sum(1) / (2 * WIDTH_PX**2))
"""The window that all of a patch is aligned under."""


def comparable(
    seen: Sightings, warp: Float[np.ndarray, "sightings 2 2"], wanted: Bool[np.ndarray, " sightings"]
) -> Int[np.ndarray, " rows"]:
    """The wanted sightings whose patch can be compared with that of the middle frame, which is another one."""
    area = np.abs(np.linalg.det(np.nan_to_num(warp)))
    alike = np.isfinite(warp).all((1, 2)) & (area > STRETCH[0]) & (area < STRETCH[1])
    return np.flatnonzero(alike & wanted & (seen.reference != np.arange(len(seen.image))))


@dataclass(frozen=True, eq=False)
class Patches:
    """What is compared, for some sightings.

    Attributes:
        grey: The images.
        image: Number of the image of each sighting, shape (rows,).
        start: Pixels of the patch in it, shape (rows, pixels, 2).
        inverse: Of the warp to it, shape (rows, 2, 2).
        of: Which of the middle frames' patches is its, shape (rows,).
        middle: Brightness in the middle frames, shape (patches, pixels).
        slope: Its gradient, shape (patches, pixels, 2).
    """

    grey: dict[int, np.ndarray]
    image: Int[np.ndarray, " rows"]
    start: Float[np.ndarray, "rows pixels 2"]
    inverse: Float[np.ndarray, "rows 2 2"]
    of: Int[np.ndarray, " rows"]
    middle: Float[np.ndarray, "patches pixels"]
    slope: Float[np.ndarray, "patches pixels 2"]

    @classmethod
    def around(
        cls,
        seen: Sightings,
        pixels: Float[np.ndarray, "sightings 2"],
        grey: dict[int, np.ndarray],
        warp: Float[np.ndarray, "sightings 2 2"],
        rows: Int[np.ndarray, " rows"],
    ) -> "Patches":
        """The patches of some sightings, each sought from `pixels` on."""
        middle = np.unique(seen.reference[rows])
        side = 2 * REACH_PX + 3
        ring = np.arange(-REACH_PX - 1, REACH_PX + 2, dtype=np.float64)
        wide = np.stack(np.meshgrid(ring, ring, indexing="xy"), -1).reshape(-1, 2)
        patch = sampled(grey, seen.image[middle], pixels[middle][:, None] + wide).reshape(-1, side, side)
        across, down = patch[:, 1:-1, 2:] - patch[:, 1:-1, :-2], patch[:, 2:, 1:-1] - patch[:, :-2, 1:-1]
        return cls(
            grey,
            seen.image[rows],
            (pixels[rows][:, None] + PLACES @ warp[rows].transpose(0, 2, 1)).astype(np.float32),
            np.linalg.inv(warp[rows]).astype(np.float32),
            np.searchsorted(middle, seen.reference[rows]),
            patch[:, 1:-1, 1:-1].reshape(len(middle), -1),
            np.stack([across, down], -1).reshape(len(middle), -1, 2) / 2,
        )

    def aligned(
        self, window: Float[np.ndarray, " pixels"], steps: int = STEPS
    ) -> tuple[Float[np.ndarray, "rows 2"], Float[np.ndarray, " rows"]]:
        """How far each patch has moved from its start, and its correlation with that of the middle frame there.

        Args:
            window: Weight of each pixel.
            steps: At most.
        """
        weight = (window / window.sum()).astype(np.float32)
        patch, length = normalised(self.middle, weight)
        slope = (self.slope - (weight @ self.slope)[:, None]) / length[:, None, None]
        toward = slope[self.of] @ self.inverse  # by a shift in the other frame
        weighted = toward.transpose(0, 2, 1) * weight
        normal = weighted @ toward + 1e-6 * np.eye(2, dtype=np.float32)
        gain = -np.linalg.inv(normal) @ weighted
        moved = np.zeros((len(self.of), 2), np.float32)
        active = np.arange(len(self.of))
        for _ in range(steps):
            there = self._there(active, moved, weight)
            step = (gain[active] @ (there - patch[self.of[active]])[..., None])[..., 0]
            step *= np.minimum(1, LONGEST_STEP_PX / np.maximum(np.linalg.norm(step, axis=1), 1e-9))[:, None]
            moved[active] += step
            going_on = np.linalg.norm(step, axis=1) > ENOUGH_PX
            active = active[going_on & (np.linalg.norm(moved[active], axis=1) < LOST_PX)]
            if not len(active):
                break
        there = self._there(np.arange(len(self.of)), moved, weight)
        return moved, (there * patch[self.of]) @ weight

    def _there(
        self, rows: Int[np.ndarray, " rows"], moved: Float[np.ndarray, "all 2"], weight: Float[np.ndarray, " pixels"]
    ) -> Float[np.ndarray, "rows pixels"]:
        return normalised(sampled(self.grey, self.image[rows], self.start[rows] + moved[rows, None]), weight)[0]


def normalised(
    patches: Float[np.ndarray, "patches pixels"], weight: Float[np.ndarray, " pixels"]
) -> tuple[Float[np.ndarray, "patches pixels"], Float[np.ndarray, " patches"]]:
    """Patches of weighted mean 0 and variance 1, and the standard deviations that they had."""
    flat = patches - (patches @ weight)[:, None]
    length = np.sqrt(np.maximum(flat**2 @ weight, 1e-6))
    return flat / length[:, None], length


def sampled(
    grey: dict[int, np.ndarray], image: Int[np.ndarray, " rows"], places: Float[np.ndarray, "rows pixels 2"]
) -> Float[np.ndarray, "rows pixels"]:
    """Brightness at places of images, between pixels linearly."""
    found = np.empty(places.shape[:2], np.float32)
    for number in np.unique(image):
        rows = np.flatnonzero(image == number)
        for some in np.array_split(rows, len(rows) // AT_ONCE + 1):
            columns, lines = np.moveaxis((places[some] - 0.5).astype(np.float32), -1, 0)  # to OpenCV's pixels
            found[some] = cv2.remap(
                grey[number],
                np.ascontiguousarray(columns),
                np.ascontiguousarray(lines),
                cv2.INTER_LINEAR,
                borderMode=cv2.BORDER_REPLICATE,
            )
    return found
