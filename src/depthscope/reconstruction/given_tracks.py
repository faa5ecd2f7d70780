"""Points that were followed elsewhere, cut down to the frames of a clip, for the child to read."""

from collections.abc import Sequence as Rows
from pathlib import Path

import numpy as np

from depthscope.formats.tracks import Tracks


def write_followed(path: Path, tracks: Tracks, names: Rows[str], least: float) -> int:
    """Writes the places of points in the frames of a clip, and returns how many they are.

    Args:
        path: An .npz file.
        tracks: Points in frames of the whole video.
        names: What the clip's frames are called, in their order.
        least: Confidence that a place must have.
    """
    number = {name: n for n, name in enumerate(names)}
    frames = np.array([number.get(name, -1) for name in tracks.frames], np.int64)
    chosen = (frames >= 0) & (tracks.confidence >= least)
    np.savez_compressed(path, frames=frames[chosen], points=tracks.points[chosen], places=tracks.places[chosen])
    return int(chosen.sum())
