"""The slices of one volume, in order, each place once.

What does not belong to them is left out and told: localizers, copies, a damaged slice or two. Slices that contradict
each other, or too many that are damaged, are refused and named.
"""

import math
from collections.abc import Callable, Sequence as Rows
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from depthscope.errors import BadInputError
from depthscope.formats.ct.slices import Slice, angle_deg

SAME_MM = 0.01
"""Slices closer than this lie in the same place."""

MOST_DAMAGED = 2
"""Damaged slices with which a series is still used."""

FAR_HU = 200.0
"""How far a pixel may be beyond those of its neighbours before it is counted as unlike them."""

TILT_DEG = 0.5
"""Tilts below this are taken for none."""


@dataclass(frozen=True, eq=False)
class Stack:
    """Slices in order, with their images.

    Attributes:
        slices: In order of depth.
        images: Of each, shape (slices, rows, columns), Hounsfield units or stored values.
        notes: What was left out, in words.
    """

    slices: tuple[Slice, ...]
    images: NDArray
    notes: tuple[str, ...]

    @property
    def origin_mm(self) -> NDArray[np.float64]:
        """Centre of the first slice's first pixel, LPS."""
        return _position(self.slices[0])

    @property
    def axes(self) -> NDArray[np.float64]:
        """Directions in which columns and rows are counted, shape (2, 3)."""
        return _axes(self.slices[0])

    @property
    def normal(self) -> NDArray[np.float64]:
        """The direction in which depth is counted."""
        return np.cross(*self.axes)

    @property
    def depth_mm(self) -> NDArray[np.float64]:
        """Of each slice along the normal, from the first one."""
        positions = np.stack([_position(one) for one in self.slices])
        return (positions - positions[0]) @ self.normal

    @property
    def offset_mm(self) -> NDArray[np.float64]:
        """Of each slice along its rows and columns, from the first one, shape (slices, 2)."""
        positions = np.stack([_position(one) for one in self.slices])
        return (positions - positions[0]) @ self.axes.T

    def without(self, rows: list[int], why: str) -> "Stack":
        """The stack without some slices, and a note that says why."""
        kept = np.setdiff1d(np.arange(len(self.slices)), rows)
        names = named([self.slices[row] for row in rows])
        return Stack(tuple(self.slices[i] for i in kept), self.images[kept], (*self.notes, f"{names} left out: {why}"))


def stacked(slices: Rows[Slice], read: Callable[[Slice], NDArray], where: str) -> Stack:
    """The slices of one series that belong to one volume, in order, each place once.

    Args:
        slices: Of one series.
        read: Gives the pixels of a slice.
        where: What they are from, for messages.

    Raises:
        BadInputError: They do not say where they lie, or several differ in one place, or too many are damaged.
    """
    notes: list[str] = []
    slices = _of_one_volume([one for one in slices if not one.localizer] or list(slices), where, notes, slices)
    normal = np.cross(*_axes(slices[0]))
    slices = sorted(slices, key=lambda one: float(_position(one) @ normal))
    slices = _of_one_scale(slices, where, notes)
    kept, images, damaged = [], [], []
    for one in slices:
        try:
            images.append(read(one))
            kept.append(one)
        except BadInputError as error:
            damaged.append((one, error.found))
    if len(damaged) > MOST_DAMAGED or len(kept) < 2:
        raise BadInputError(
            f"{where}: {len(damaged)} of {len(slices)} slices are damaged: {named([one for one, _ in damaged])} "
            f"({damaged[0][1]})"
            if damaged
            else f"{where}: {len(kept)} slice",
            "a whole series",
            "copy or export it again",
        )
    notes += [f"{one.name} left out: {why}" for one, why in damaged]
    stack = Stack(tuple(kept), np.stack(images), tuple(notes))
    return _without_outliers(_without_copies(stack, where), where)


def named(slices: Rows[Slice]) -> str:
    """Names of slices for a message, at most six of them."""
    shown = [one.name for one in slices[:6]]
    return ", ".join(shown) + (f" and {len(slices) - 6} more" if len(slices) > 6 else "")


def _position(one: Slice) -> NDArray[np.float64]:
    assert one.position_mm is not None
    return one.position_mm


def _axes(one: Slice) -> NDArray[np.float64]:
    assert one.axes is not None
    return one.axes


def _of_one_volume(candidates: list[Slice], where: str, notes: list[str], given: Rows[Slice]) -> list[Slice]:
    """Slices of one size, spacing and orientation: those of nearly all, what differs being left out and told."""
    scouts = [one for one in given if one not in candidates]
    if scouts:
        notes.append(f"{named(scouts)} left out: localizer")
    homeless = [one for one in candidates if one.position_mm is None or one.axes is None or one.spacing_mm is None]
    groups: list[list[Slice]] = []
    for one in candidates:
        if one.position_mm is None or one.axes is None or one.spacing_mm is None:
            continue
        home = next((group for group in groups if _alike(group[0], one)), None)
        if home is None:
            groups.append([one])
        else:
            home.append(one)
    groups.sort(key=len, reverse=True)
    if not groups or len(homeless) > MOST_DAMAGED:
        raise BadInputError(
            f"{where}: {len(homeless)} of {len(candidates)} slices do not say where they lie: {named(homeless)}",
            "ImagePositionPatient, ImageOrientationPatient and PixelSpacing in each",
            "export the original series",
        )
    if homeless:
        notes.append(f"{named(homeless)} left out: no position")
    others = [one for group in groups[1:] for one in group]
    if len(others) > max(MOST_DAMAGED, len(groups[0]) // 10):
        told = "; ".join(f"{len(group)} of {_described(group[0])}, from {group[0].name}" for group in groups[:4])
        raise BadInputError(
            f"{where}: slices of {len(groups)} sizes or orientations: {told}",
            "one stack of slices alike in size and orientation",
            "put each stack in a folder of its own",
        )
    if others:
        notes.append(f"{named(others)} left out: {_described(others[0])}, unlike the other slices (a localizer?)")
    return groups[0]


def _alike(one: Slice, other: Slice) -> bool:
    if one.size != other.size or not np.allclose(one.spacing_mm or 0, other.spacing_mm or 0, rtol=1e-3):
        return False
    return all(angle_deg(a, b) < TILT_DEG for a, b in zip(_axes(one), _axes(other), strict=True))


def _described(one: Slice) -> str:
    axes, (rows, columns) = _axes(one), one.size
    facing = int(np.abs(np.cross(*axes)).argmax())
    return f"{columns}x{rows} {('sagittal', 'coronal', 'axial')[facing]} pixels"


def _of_one_scale(slices: list[Slice], where: str, notes: list[str]) -> list[Slice]:
    """Slices that all say how their values become Hounsfield units, or that all do not."""
    without = [one for one in slices if one.rescale is None]
    if not without or len(without) == len(slices):
        return slices
    if len(without) > MOST_DAMAGED:
        raise BadInputError(
            f"{where}: {len(without)} of {len(slices)} slices have no rescale slope and intercept: {named(without)}",
            "all of them in Hounsfield units",
            "export the series again",
        )
    notes.append(f"{named(without)} left out: no rescale slope and intercept")
    return [one for one in slices if one.rescale is not None]


def _without_copies(stack: Stack, where: str) -> Stack:
    """Each place once: copies go, and different images of one place are refused."""
    depth, offset = stack.depth_mm, stack.offset_mm
    copies, clashes = [], []
    for i in range(1, len(depth)):
        if depth[i] - depth[i - 1] >= SAME_MM:
            continue
        same = np.array_equal(stack.images[i], stack.images[i - 1]) and np.abs(offset[i] - offset[i - 1]).max() < 1
        (copies if same else clashes).append(i)
    if clashes:
        pairs = "; ".join(f"{stack.slices[i - 1].name} and {stack.slices[i].name}" for i in clashes[:4])
        raise BadInputError(
            f"{where}: {len(clashes)} places hold different slices ({pairs}{' ...' if len(clashes) > 4 else ''})",
            "one slice in each place",
            "keep one acquisition or reconstruction in the folder",
        )
    return stack.without(copies, "copies of slices that are there") if copies else stack


def _without_outliers(stack: Stack, where: str) -> Stack:
    """Slices that cannot be what lies between their neighbours go: noise, blanks, another slice's image."""
    few = stack.images[:, ::3, ::3].astype(np.float32)
    count = len(few)
    if count < 6:
        return stack
    near = np.array([_correlation(few[i], few[i + 1]) for i in range(count - 1)])
    usual, wrong = float(np.median(near)), []
    for i in range(count):
        beside = [near[k] for k in (i - 1, i) if 0 <= k < count - 1]
        over = (i - 1, i + 1) if 0 < i < count - 1 else ((1, 2) if i == 0 else (count - 3, count - 2))
        # Air beyond the body is unlike the body too; it is quiet, and a damaged image loud.
        blank_end = i in (0, count - 1) and float(few[i].std()) < 0.5 * float(few[over[0]].std())
        unlike = usual > 0.7 and max(beside) < 0.3 and _correlation(few[over[0]], few[over[1]]) > 0.6
        if (unlike and not blank_end) or (0 < i < count - 1 and _beyond(few[i - 1], few[i], few[i + 1]) > 0.5):
            wrong.append(i)
    repeated = _repeated(few)
    rows = sorted({*wrong, *repeated})
    if len(rows) > MOST_DAMAGED:
        raise BadInputError(
            f"{where}: {len(rows)} slices do not fit between their neighbours: "
            f"{named([stack.slices[i] for i in rows])}",
            "a series whose slices follow each other",
            "export it again",
        )
    if repeated:
        stack = stack.without(repeated, "the image of the slice beside it once more")
        wrong = [i - sum(r < i for r in repeated) for i in wrong if i not in repeated]
    return stack.without(wrong, "its image has nothing in common with its neighbours") if wrong else stack


def _correlation(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    a, b = one - one.mean(), other - other.mean()
    size = math.sqrt(float((a * a).sum()) * float((b * b).sum()))
    return float((a * b).sum()) / size if size > 0 else float(not a.any() and not b.any())


def _beyond(before: NDArray[np.float32], image: NDArray[np.float32], after: NDArray[np.float32]) -> float:
    """Share of an image's tissue that is far from what both neighbours have there."""
    low, high = np.minimum(before, after), np.maximum(before, after)
    tissue = high - low.min() > 500
    far = (image < low - FAR_HU) | (image > high + FAR_HU)
    return float(far[tissue].mean()) if tissue.mean() > 0.05 else 0.0


def _repeated(images: NDArray[np.float32]) -> list[int]:
    """Slices that are exactly the one beside them, in a volume with noise, where no two slices are the same."""
    differ = np.array([(a != b).mean() for a, b in zip(images[:-1], images[1:], strict=True)])
    if float(np.median(differ)) < 0.5:
        return []
    found = []
    for i in np.flatnonzero(differ == 0).tolist():
        if images[i].std() == 0:
            continue
        before = np.abs(images[i] - images[i - 1]).mean() if i > 0 else math.inf
        after = np.abs(images[i + 1] - images[i + 2]).mean() if i + 2 < len(images) else math.inf
        found.append(i if after < before else i + 1)  # the image belongs where the next one is more like it
    return found
