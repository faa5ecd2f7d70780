"""A stack of slices on a regular lattice, resampled where the slices do not lie on one."""

import math

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from depthscope.errors import BadInputError
from depthscope.formats.ct.stack import TILT_DEG, Stack
from depthscope.formats.ct.volume import CT

EVEN_MM, EVEN_SHARE = 0.05, 0.05
"""Positions are even where they are off by less than this, and than this share of the distance between slices."""

GAP_MM = 2.5
"""One gap is bridged where one slice is missing, or where it is no wider than this."""


def volume_of(stack: Stack, name: str, where: str) -> CT:
    """A regular volume of a stack, resampled where its slices do not lie on one.

    Raises:
        BadInputError: More is missing than can be filled.
    """
    depth, offset, notes = stack.depth_mm, stack.offset_mm, list(stack.notes)
    step = _step(stack, depth, where, notes)
    shear = _shear(stack, depth, offset, notes)
    spacing = stack.slices[0].spacing_mm
    assert spacing is not None
    images, first = stack.images, np.zeros(2)
    if step is not None or shear:
        images, first = _resampled(stack, depth, offset if shear else np.zeros_like(offset), step, spacing)
    step = step or float(depth[-1]) / (len(depth) - 1)
    axes = stack.axes
    origin = stack.origin_mm + first @ axes
    direction = np.column_stack([*axes, stack.normal])
    return CT(
        images,
        (float(origin[0]), float(origin[1]), float(origin[2])),
        (*spacing, step),
        name,
        tuple(direction.ravel().tolist()),
        tuple(notes),
    )


def _step(stack: Stack, depth: NDArray[np.float64], where: str, notes: list[str]) -> float | None:
    """The distance between slices to resample to, or None where they are even as they are.

    Raises:
        BadInputError: More than one gap.
    """
    steps, count = np.diff(depth), len(depth)
    even = float(depth[-1]) / (count - 1)
    if np.abs(depth - even * np.arange(count)).max() <= min(EVEN_MM, EVEN_SHARE * even):
        return None
    # Where all distances are multiples of one, slices are missing; where they are not, slices lie unevenly.
    least = float(np.median(steps[steps <= 1.5 * steps.min()]))
    multiple = bool((np.abs(steps / least - np.rint(steps / least)) < 0.1).all())
    usual = least if multiple else float(np.median(steps))
    wide = np.flatnonzero(steps > (1.5 if multiple else 1.75) * usual)
    if _changes_spacing(steps):
        notes.append(f"slices {steps.min():.2f} to {steps.max():.2f} mm apart: resampled evenly")
        return float(np.min(steps))
    missing = [round(float(steps[i] / usual)) - 1 for i in wide]
    told = "; ".join(
        f"{many} after {stack.slices[i].name} (a gap of {steps[i]:.4g} mm)"
        for i, many in list(zip(wide.tolist(), missing, strict=True))[:6]
    )
    if len(wide) > 1 or (len(wide) and missing[0] > 1 and steps[wide[0]] > GAP_MM):
        raise BadInputError(
            f"{where}: {sum(missing)} slices are missing: {told}{' ...' if len(wide) > 6 else ''}",
            f"a slice every {usual:.4g} mm",
            "export the whole series",
        )
    if len(wide):
        notes.append(f"slices are missing, {told}: filled in from its neighbours")
    else:
        notes.append(f"slices {steps.min():.2f} to {steps.max():.2f} mm apart: resampled evenly")
    return usual


def _changes_spacing(steps: NDArray[np.float64]) -> bool:
    """Whether the slices lie in a few blocks, each with a spacing of its own, as some protocols have them."""
    ends = np.flatnonzero(np.abs(np.diff(steps)) > EVEN_SHARE * np.median(steps))
    blocks = np.diff([0, *(ends + 1).tolist(), len(steps)])
    return 2 <= len(blocks) <= 4 and int(blocks.min()) >= 4


def _shear(stack: Stack, depth: NDArray[np.float64], offset: NDArray[np.float64], notes: list[str]) -> bool:
    """Whether slices lie beside each other and not straight above, which is told."""
    spacing = np.array(stack.slices[0].spacing_mm)
    tag = float(np.median([one.tilt_deg for one in stack.slices]))
    slope = (depth @ offset) / (depth @ depth)
    angle = math.degrees(math.atan(float(np.linalg.norm(slope))))
    if not (np.abs(offset) > np.minimum(0.05, 0.1 * spacing)).any():
        level = float(np.abs(stack.normal).max())
        if TILT_DEG < abs(tag) < 60 and level > math.cos(math.radians(TILT_DEG)):
            notes.append(
                f"the gantry is said to have been tilted by {tag:g} degrees, of which the slices' positions know "
                "nothing: taken as straightened already"
            )
        return False
    uneven = float(np.abs(offset - depth[:, None] * slope).max())
    if uneven > 0.5:
        notes.append(f"slices lie up to {uneven:.2g} mm beside each other: each is put where it says it lies")
    else:
        cause = "gantry tilt" if abs(abs(tag) - angle) < 1 else "a tilted gantry, or an origin that drifts"
        notes.append(f"slices lie obliquely above each other, by {angle:.1f} degrees ({cause}): straightened")
    return True


def _resampled(
    stack: Stack,
    depth: NDArray[np.float64],
    offset: NDArray[np.float64],
    step: float | None,
    spacing: tuple[float, float],
) -> tuple[NDArray, NDArray[np.float64]]:
    """The volume at even depths, its slices shifted to their places, and the first pixel's offset in mm.

    Beyond a slice's edge its outermost pixels go on: air remains air, and tissue tissue.
    """
    pixels = offset / np.array(spacing)
    low, high = np.floor(pixels.min(0)).astype(int), np.ceil(pixels.max(0)).astype(int)
    (right, down), (rows, columns) = high - low, stack.images.shape[1:]
    even = depth[-1] / (len(depth) - 1) if step is None else step
    depths = np.arange(math.floor(depth[-1] / even + 0.01) + 1) * even
    result = np.empty((len(depths), rows + down, columns + right), stack.images.dtype)
    shown: dict[int, NDArray[np.float32]] = {}

    def shifted(row: int) -> NDArray[np.float32]:
        if row not in shown:
            padded = np.pad(stack.images[row].astype(np.float32), ((0, down), (0, right)), mode="edge")
            x, y = pixels[row] - low
            moved = padded if not x and not y else ndimage.shift(padded, (y, x), order=1, mode="nearest")
            shown[row] = np.asarray(moved, np.float32)
        return shown[row]

    for i, z in enumerate(depths):
        below = int(np.clip(np.searchsorted(depth, z, side="right") - 1, 0, len(depth) - 2))
        share = float(np.clip((z - depth[below]) / (depth[below + 1] - depth[below]), 0, 1))
        image = shifted(below) if share < 1e-6 else (1 - share) * shifted(below) + share * shifted(below + 1)
        result[i] = np.rint(image) if result.dtype.kind in "iu" else image
        for row in [row for row in shown if row < below]:
            del shown[row]
    return result, low * np.array(spacing)
