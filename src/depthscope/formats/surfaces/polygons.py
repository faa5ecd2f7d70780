"""Polygons and strips of VTK's files as triangles."""

import numpy as np
from numpy.typing import NDArray


def fans(corners: NDArray[np.int64], ends: NDArray[np.int64]) -> NDArray[np.int64]:
    """Polygons as fans of triangles, shape (triangles, 3).

    Args:
        corners: Vertex numbers of all polygons, one after the other.
        ends: Where each polygon ends among them.

    Raises:
        ValueError: The ends do not fit the corners.
    """
    starts = _starts(corners, ends)
    lengths = ends - starts
    if len(lengths) and (lengths == 3).all():
        return corners[starts[0] :].reshape(-1, 3)
    found = [np.empty((0, 3), np.int64)]
    for length in np.unique(lengths[lengths > 2]).tolist():
        rows = corners[starts[lengths == length, None] + np.arange(length)]
        found += [rows[:, [0, i, i + 1]] for i in range(1, length - 1)]
    return np.concatenate(found)


def strips(corners: NDArray[np.int64], ends: NDArray[np.int64]) -> NDArray[np.int64]:
    """Triangle strips as triangles, every other one turned round; arguments as those of `fans`."""
    starts = _starts(corners, ends)
    found = [np.empty((0, 3), np.int64)]
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        strip = corners[start:end]
        rows = np.stack([strip[:-2], strip[1:-1], strip[2:]], 1) if len(strip) > 2 else found[0]
        rows[1::2] = rows[1::2][:, [1, 0, 2]]
        found.append(rows)
    return np.concatenate(found)


def _starts(corners: NDArray[np.int64], ends: NDArray[np.int64]) -> NDArray[np.int64]:
    starts = np.concatenate([[0], ends[:-1]]).astype(np.int64)
    if len(ends) and (ends[-1] != len(corners) or (ends < starts).any()):
        raise ValueError(f"cells end at {ends[-1]} of {len(corners)} corners")
    return starts
