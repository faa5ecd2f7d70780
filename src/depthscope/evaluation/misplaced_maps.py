"""Depth maps of the right scene in the wrong place: mirrored, turned by half, or those of the frame before or after."""

from collections.abc import Callable, Sequence
from statistics import fmean

import torch
from torch import Tensor

from depthscope.evaluation.depth import spread

BETTER, AT_LEAST = 0.5, 0.01
"""Another placement is named if it leaves less than the first share of the error, and the second less of it."""

MOST_FRAMES, LEAST_FRAMES, LEAST_PIXELS = 6, 3, 50

FLIPS = {
    "mirrored left to right": (1,),
    "mirrored top to bottom": (0,),
    "turned by 180 degrees": (0, 1),
}
"""How a map was laid out, and the axes to flip to undo it."""

SHIFTS = (-2, -1, 1, 2)
"""Frames by which numbers may be off: one counts from 0 and the other from 1, or a first frame was dropped."""


def placement_warning(names: Sequence[str], read: Callable[[str], tuple[Tensor, Tensor]]) -> list[str]:
    """What to say where predictions fit the truth clearly better flipped, or under another frame's number.

    Each frame counts at its own scale, so that neither the unit nor the error of the scale matters.

    Args:
        names: Of the frames that are compared, in order.
        read: The prediction and the truth of a frame, of one size, 0 where unknown.
    """
    rows = range(len(names)) if len(names) <= MOST_FRAMES else _spread_over(len(names))
    errors: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        prediction, truth = read(names[row])
        as_read = _error(prediction, truth)
        if as_read is None:
            continue
        candidates = {how: (prediction.flip(axes), truth) for how, axes in FLIPS.items()}
        for shift in SHIFTS:
            if 0 <= row + shift < len(names):
                when = f"{abs(shift)} frame{'s' * (abs(shift) > 1)} {'later' if shift > 0 else 'earlier'}"
                candidates[f"of the frame {when}"] = (prediction, read(names[row + shift])[1])
        for how, (one, other) in candidates.items():
            if (error := _error(one, other)) is not None:
                errors.setdefault(how, []).append((as_read, error))
    found = [
        (fmean(other for _, other in pairs), fmean(own for own, _ in pairs), how)
        for how, pairs in errors.items()
        if len(pairs) >= min(LEAST_FRAMES, len(names)) and all(other < own for own, other in pairs)
    ]
    if not found:
        return []
    error, as_read, how = min(found)
    if error >= BETTER * as_read or as_read - error < AT_LEAST:
        return []
    return [
        f"PREDICTION fits better taken as {how} ({error:.2%} against {as_read:.2%}): check how the maps were written "
        "and named"
    ]


def _spread_over(count: int) -> list[int]:
    """Some frames over the whole clip; not the very ends, whose neighbours are missing."""
    return sorted({int(row) for row in torch.linspace(2, count - 3, MOST_FRAMES).round()})


def _error(prediction: Tensor, truth: Tensor) -> float | None:
    """Median of |ln(prediction / truth)| about its own median; None with too few pixels, or maps of two sizes."""
    if prediction.shape != truth.shape:
        return None
    known = (prediction > 0) & (truth > 0)
    if int(known.sum()) < LEAST_PIXELS:
        return None
    return float(spread((prediction[known].double() / truth[known].double()).log()))
