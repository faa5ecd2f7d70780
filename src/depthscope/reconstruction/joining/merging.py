"""Several sequences of one map as one sequence."""

import torch

from depthscope.errors import BadInputError
from depthscope.reconstruction.joining.graph import Map
from depthscope.sequence import Observations, Sequence


def merged(sequences: list[Sequence], one_map: Map, name: str) -> Sequence:
    """All frames and points of a map's members in its world, frames in the order of the members.

    A frame that several members hold is taken from the one in which it lies furthest from the ends, where it is placed
    best; observations of the others in it are left out, with points that then have fewer than two.

    Args:
        sequences: All that were joined, as the map numbers them.
        one_map: Which of them, and where they lie.
        name: Of the result.

    Raises:
        BadInputError: Frames of different sizes.
    """
    members = {number: sequences[number].moved(one_map.map_from_member[number]) for number in one_map.members}
    if len({sequence.size_px for sequence in members.values()}) > 1:
        raise BadInputError("sequences of different frame sizes", "recordings of one scope", "join those of one size")
    owner: dict[str, tuple[int, int]] = {}
    for number, sequence in members.items():
        for frame, frame_name in enumerate(sequence.frame_names):
            inward = min(frame, len(sequence) - 1 - frame)
            if frame_name not in owner or inward > owner[frame_name][1]:
                owner[frame_name] = (number, inward)
    parts = []
    for number, sequence in members.items():
        kept = torch.tensor([owner[frame_name][0] == number for frame_name in sequence.frame_names])
        if int(kept.sum()) >= 2:
            parts.append(sequence.with_frames(kept))
    frames, points, observations = 0, 0, []
    for part in parts:
        seen = part.observations
        pixels = part.projections if seen.pixels is None else seen.pixels
        observations.append(Observations(seen.frame + frames, seen.point + points, pixels))
        frames, points = frames + len(part), points + len(part.points)
    masks = [part.mask for part in parts if part.mask is not None]
    return Sequence(
        name=name,
        images=tuple(image for part in parts for image in part.images),
        cameras=tuple(camera for part in parts for camera in part.cameras),
        camera_from_world=type(parts[0].camera_from_world)(
            torch.cat([part.camera_from_world.rotation for part in parts]),
            torch.cat([part.camera_from_world.translation for part in parts]),
        ),
        points=torch.cat([part.points for part in parts]),
        observations=Observations(
            torch.cat([one.frame for one in observations]),
            torch.cat([one.point for one in observations]),
            torch.cat([one.pixels for one in observations if one.pixels is not None]),
        ),
        mask=torch.stack(masks).all(0) if masks else None,
        point_colours=_all_or_none([part.point_colours for part in parts]),
        point_error_px=_all_or_none([part.point_error_px for part in parts]),
        unregistered=tuple(dict.fromkeys(lost for part in parts for lost in part.unregistered if lost not in owner)),
        unit=parts[0].unit,
        notes=tuple(dict.fromkeys(note for part in parts for note in part.notes)),
    )


def _all_or_none(parts):
    """What every part has, one after the other; None if one lacks it."""
    return None if any(part is None for part in parts) else torch.cat(parts)
