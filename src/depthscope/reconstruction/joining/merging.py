"""Several sequences of one map as one sequence."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Int
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from depthscope.errors import BadInputError
from depthscope.reconstruction.joining.graph import Map
from depthscope.reconstruction.joining.joint import Joint
from depthscope.sequence import Observations, Sequence


@dataclass(frozen=True, eq=False)
class Merged:
    """A map as one sequence.

    Attributes:
        sequence: Its frames and points.
        linking: Which points several members saw.
    """

    sequence: Sequence
    linking: Bool[Tensor, " points"]


def merged(
    sequences: list[Sequence], one_map: Map, name: str, joints: Mapping[tuple[int, int], Joint] | None = None
) -> Merged:
    """All frames and points of a map's members in its world, frames in the order of the members.

    A frame that several members hold is taken from the one in which it lies furthest from the ends, where it is placed
    best; observations of the others in it are left out, with points that then have fewer than two.

    Args:
        sequences: All that were joined, as the map numbers them.
        one_map: Which of them, and where they lie.
        name: Of the result.
        joints: What was found between pairs: points that agree become one.

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
    parts, place, count = [], {}, 0
    for number, sequence in members.items():
        kept = torch.tensor([owner[frame_name][0] == number for frame_name in sequence.frame_names])
        place[number] = torch.full((len(sequence.points),), -1)
        if int(kept.sum()) >= 2:
            parts.append(sequence.with_frames(kept))
            left = sequence.seen[kept].sum(0) >= 2
            place[number][left] = torch.arange(count, count + int(left.sum()))
            count += int(left.sum())
    frames, points, observations = 0, 0, []
    for part in parts:
        seen = part.observations
        pixels = part.projections if seen.pixels is None else seen.pixels
        observations.append(Observations(seen.frame + frames, seen.point + points, pixels))
        frames, points = frames + len(part), points + len(part.points)
    masks = [part.mask for part in parts if part.mask is not None]
    together = Sequence(
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
    pairs = [torch.empty(0, 2, dtype=torch.int64)]
    for a, b in one_map.joints:
        shared = pairs[0] if joints is None else joints[a, b].shared
        both = torch.stack([place[a][shared[:, 0]], place[b][shared[:, 1]]], 1)
        pairs.append(one_to_one(both[(both >= 0).all(1)]))
    return fused(together, torch.cat(pairs))


def one_to_one(pairs: Int[Tensor, "pairs 2"]) -> Int[Tensor, "some 2"]:
    """The pairs of which neither number occurs twice: which of the others is right is not known."""
    alone = [torch.bincount(column)[column] == 1 if len(column) else column.bool() for column in pairs.unbind(1)]
    return pairs[alone[0] & alone[1]]


def fused(sequence: Sequence, pairs: Int[Tensor, "pairs 2"]) -> Merged:
    """The sequence with each pair of points as one, at their middle, seen by the frames of both."""
    count = len(sequence.points)
    ones = np.ones(len(pairs), bool)
    graph = coo_matrix((ones, (pairs[:, 0].numpy(), pairs[:, 1].numpy())), (count, count))
    _, labels = connected_components(graph, directed=False)
    _, first, number = np.unique(labels, return_index=True, return_inverse=True)
    whole = torch.from_numpy(number.reshape(-1))
    seen, here = sequence.observations, torch.from_numpy(first)
    sizes = torch.bincount(whole)
    points = torch.zeros(len(sizes), 3, dtype=sequence.points.dtype).index_add(0, whole, sequence.points)
    point = whole[seen.point]
    _, rows = np.unique((seen.frame * len(sizes) + point).numpy(), return_index=True)
    once = torch.from_numpy(np.sort(rows))  # a frame sees a point once
    pixels = None if seen.pixels is None else seen.pixels[once]
    result = replace(
        sequence,
        points=points / sizes[:, None],
        observations=Observations(seen.frame[once], point[once], pixels),
        point_colours=None if sequence.point_colours is None else sequence.point_colours[here],
        point_error_px=None if sequence.point_error_px is None else sequence.point_error_px[here],
    )
    return Merged(result, sizes > 1)


def _all_or_none(parts):
    """What every part has, one after the other; None if one lacks it."""
    return None if any(part is None for part in parts) else torch.cat(parts)
