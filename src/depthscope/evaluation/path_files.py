"""Errors of camera paths: which pose belongs to which, how far they are apart, and what looks wrong about them."""

from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import torch

from depthscope.errors import BadInputError
from depthscope.evaluation import PathProtocol, associated, path_warnings
from depthscope.evaluation.frame_names import frame_number, same_frames
from depthscope.evaluation.unit_mistakes import scale_warning, thousand_warning
from depthscope.geometry import RigidMotion
from depthscope.geometry.units import LengthUnit

LEAST_TIME = Decimal(10**9)
"""Whole numbers from here on that name frames are times: no clip has as many frames."""


@dataclass(frozen=True, eq=False)
class CameraPath:
    """A camera path as it was found.

    Attributes:
        place: Where.
        camera_from_world: The motions, batch shape (frames,).
        unit: Of length.
        names: Of the frames, or None where only times are known.
        times_s: Of the frames, or None where only names are known.
        notes: What its reader found, in words.
    """

    place: Path
    camera_from_world: RigidMotion
    unit: LengthUnit
    names: tuple[str, ...] | None
    times_s: tuple[Decimal, ...] | None
    notes: tuple[str, ...] = ()


def measured_path(
    prediction: Path,
    truth: Path,
    protocol: PathProtocol,
    limit_s: Decimal | None = None,
    offset_s: Decimal = Decimal(0),
) -> dict[str, Any]:
    """The errors of a camera path at the frames that both have.

    Args:
        prediction: Sequence folder, or a file of poses.
        truth: The same.
        protocol: What is measured.
        limit_s: Times further apart belong to different frames; None for `associated`'s own limit.
        offset_s: Added to the times of the prediction.

    Raises:
        BadInputError: One of them cannot be read, or no frame is in both.
    """
    found, true = path_in(prediction), path_in(truth)
    pairs, how = matched(found, true, limit_s, offset_s)
    estimate = found.camera_from_world[torch.tensor([n for n, _ in pairs])]
    reference = true.camera_from_world[torch.tensor([n for _, n in pairs])]
    figures = protocol.figures(estimate, reference)
    warnings = list(path_warnings(estimate, reference))
    if {found.unit, true.unit} == {"mm"} and "scale" in figures:
        warnings += scale_warning(figures["scale"])
    elif "sfm" not in (found.unit, true.unit) and "scale" in figures:
        warnings += thousand_warning(figures["scale"])
    return {
        "protocol": protocol.name,
        "unit": true.unit,
        "unit_of_estimate": found.unit,
        **figures,
        "frames": len(pairs),
        "registered_share": len(pairs) / len(true.camera_from_world.translation),
        "association": how,
        "notes": [*found.notes, *true.notes],
        "warnings": warnings,
    }


def path_in(place: Path) -> CameraPath:
    """The camera path of a folder of any layout, or of a file of poses.

    Raises:
        BadInputError: There is no path.
    """
    from depthscope.formats import is_truth, read_sequence, read_truth, trajectory

    if place.is_file():
        poses = trajectory.read(place)
        return CameraPath(place, poses.camera_from_world, poses.unit, poses.names, poses.times_s, poses.notes)
    clip = read_truth(place) if is_truth(place) else read_sequence(place)
    motions = clip.camera_from_world
    if motions is None:
        raise BadInputError(f"{place} has no poses", "a camera path", "choose another folder")
    return CameraPath(place, motions, clip.unit, clip.frame_names, _times_in(clip.frame_names), clip.notes)


def matched(
    found: CameraPath, true: CameraPath, limit_s: Decimal | None, offset_s: Decimal
) -> tuple[list[tuple[int, int]], dict[str, Any]]:
    """Which pose of the estimate belongs to which of the truth, and how that was decided.

    Raises:
        BadInputError: No pose does, or one path counts frames and the other one has times.
    """
    if found.names is not None and true.names is not None:
        same = same_frames(true.names, found.names)
        place = {name: n for n, name in enumerate(found.names)}
        pairs = [(place[same[name]], n) for n, name in enumerate(true.names) if name in same]
        return pairs, {"by": "name" if all(k == v for k, v in same.items()) else "number"}
    if found.times_s is not None and true.times_s is not None:
        _check_both_are_times(found, true)
        try:
            result = associated(found.times_s, true.times_s, limit_s, offset_s)
        except BadInputError as error:
            problem = f"{found.place} and {true.place}: {error.found}"
            raise BadInputError(problem, error.expected, error.remedy) from None
        return list(result.pairs), {
            "by": "time",
            "limit_s": float(result.limit_s),
            "largest_difference_s": float(result.largest_s),
            "offset_s": float(offset_s),
        }
    numbers = [_numbers_of(path) for path in (found, true)]
    place = {number: n for n, number in enumerate(numbers[0])}
    pairs = [(place[number], n) for n, number in enumerate(numbers[1]) if number in place]
    if not pairs:
        raise BadInputError(
            f"{found.place} and {true.place} have no frame number in common", "the same frames", "check the paths"
        )
    return pairs, {"by": "number"}


def _check_both_are_times(found: CameraPath, true: CameraPath) -> None:
    counting = [path for path in (found, true) if _counts_frames(path.times_s or ())]
    if len(counting) == 1:
        other = true if counting[0] is found else found
        raise BadInputError(
            f"{counting[0].place} counts frames (0, 1, 2, ...) and {other.place} has times",
            "times in both, or numbers of frames in both",
            "write the time of each frame in place of its number",
        )


def _counts_frames(times_s: tuple[Decimal, ...]) -> bool:
    """Whether times are 0, 1, 2, ... and so numbers of frames; no clock ticks like that."""
    whole = all(time == time.to_integral_value() for time in times_s)
    steps = [later - earlier for earlier, later in zip(times_s, times_s[1:], strict=False)]
    return whole and 2 * sum(step == 1 for step in steps) > len(steps) and times_s[0] < LEAST_TIME


def _times_in(names: tuple[str, ...]) -> tuple[Decimal, ...] | None:
    """Times that frames are named by (TUM's and EuRoC's are), or None."""
    from depthscope.formats import times

    values = [times.parsed(name) for name in names]
    stored = [value for value in values if value is not None]
    dated = ("." in name or value >= LEAST_TIME for name, value in zip(names, stored, strict=False))
    if len(stored) < len(names) or not all(dated):
        return None
    rising = all(later > earlier for earlier, later in zip(stored, stored[1:], strict=False))
    return times.in_seconds(stored, times.unit_of(stored)[0]) if rising else None


def _numbers_of(path: CameraPath) -> list[int]:
    """Numbers of frames by their names, or by times that are whole numbers.

    Raises:
        BadInputError: There are none, or two frames have the same.
    """
    if path.names is not None:
        numbers = [frame_number(name) for name in path.names]
    else:
        numbers = [int(time) if time == time.to_integral_value() else None for time in path.times_s or ()]
    known = [number for number in numbers if number is not None]
    if len(known) < len(numbers) or len(set(known)) < len(known):
        raise BadInputError(
            f"{path.place} has no number for each frame",
            "frames numbered as the times of the other path, or named by their times",
            "give both paths as files with times, or write the number of the frame in place of its time",
        )
    return known
