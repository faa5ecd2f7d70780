"""Which sequences lie in one world: the strongest joints as a tree, then all joints together by least squares."""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation
from torch import Tensor

from depthscope.geometry import RigidMotion, Similarity
from depthscope.reconstruction.joining.joint import Joint

MOST_LOOP_SCALE, MOST_LOOP_TURN_DEG = 0.1, 10.0
"""A joint that closes a loop may disagree with the others by so much; one that disagrees more is left out."""

TURN_WEIGHT = 1.0
"""Of a radian against a shift by one depth and a factor e of scale."""


@dataclass(frozen=True, eq=False)
class Map:
    """Sequences in one world.

    Attributes:
        members: Numbers of the sequences; the first one's world and unit are those of the map.
        map_from_member: For each the similarity into the world of the map.
        joints: Pairs of numbers whose joint was used.
        left_out: Pairs whose joint contradicts the others.
    """

    members: tuple[int, ...]
    map_from_member: dict[int, Similarity]
    joints: tuple[tuple[int, int], ...]
    left_out: tuple[tuple[int, int], ...] = ()


def maps_of(count: int, joints: dict[tuple[int, int], Joint], depth: list[float]) -> tuple[Map, ...]:
    """The maps that sequences make, largest first; one for each that joins no other.

    Args:
        count: Of the sequences.
        joints: Between pairs of them (first number below the second); those that are not believed are passed over.
        depth: Median depth of each sequence, its unit of length.
    """
    believed = {pair: joint for pair, joint in joints.items() if joint.accepted}
    order = sorted(believed, key=lambda pair: (-believed[pair].agreeing, pair))
    group = list(range(count))
    tree: list[tuple[int, int]] = []
    for a, b in order:
        if group[a] != group[b]:
            group = [group[a] if one == group[b] else one for one in group]
            tree.append((a, b))
    found = []
    for name in dict.fromkeys(group):
        members = [number for number in range(count) if group[number] == name]
        own = [pair for pair in tree if pair[0] in members]
        start = along_tree(members, own, believed)
        loops = [pair for pair in order if pair[0] in members and pair not in own]
        agreeing = [pair for pair in loops if loop_agrees(start, pair, believed[pair])]
        used = [*own, *agreeing]
        solved = relaxed(start, used, believed, depth) if agreeing else start
        left_out = tuple(pair for pair in loops if pair not in agreeing)
        found.append(Map(tuple(members), solved, tuple(used), left_out))
    return tuple(sorted(found, key=lambda one: (-len(one.members), one.members)))


def along_tree(
    members: list[int], tree: list[tuple[int, int]], joints: dict[tuple[int, int], Joint]
) -> dict[int, Similarity]:
    """Similarities into the world of the first member, from joint to joint."""
    placed = {members[0]: identity()}
    left = list(tree)
    while left:
        for a, b in left:
            similarity = joints[a, b].second_from_first
            assert similarity is not None
            if a in placed and b not in placed:
                placed[b] = placed[a] @ similarity.inverse()
            elif b in placed and a not in placed:
                placed[a] = placed[b] @ similarity
            elif a not in placed:
                continue
            left.remove((a, b))
            break
    return placed


def identity() -> Similarity:
    """The similarity that changes nothing."""
    return Similarity(torch.tensor(1.0, dtype=torch.float64), RigidMotion.identity())


def loop_agrees(placed: dict[int, Similarity], pair: tuple[int, int], joint: Joint) -> bool:
    """Whether a joint says about what the way round by others does."""
    assert joint.second_from_first is not None
    round_ = placed[pair[1]].inverse() @ placed[pair[0]] @ joint.second_from_first.inverse()
    turn = Rotation.from_matrix(round_.motion.rotation.numpy()).magnitude()
    return abs(float(round_.scale.log())) < MOST_LOOP_SCALE and float(np.degrees(turn)) < MOST_LOOP_TURN_DEG


def relaxed(
    start: dict[int, Similarity],
    used: list[tuple[int, int]],
    joints: dict[tuple[int, int], Joint],
    depth: list[float],
) -> dict[int, Similarity]:
    """Similarities that fit all joints best; the first stays. Residuals are in depths, radians and ln of scale."""
    members = list(start)
    free = members[1:]

    def at(step: np.ndarray) -> dict[int, Similarity]:
        moved = dict(start)
        for row, member in zip(step.reshape(-1, 7), free, strict=True):
            moved[member] = start[member] @ small(row, depth[member])
        return moved

    def residuals(step: np.ndarray) -> np.ndarray:
        placed, rows = at(step), []
        for a, b in used:
            similarity = joints[a, b].second_from_first
            assert similarity is not None
            round_ = placed[b].inverse() @ placed[a] @ similarity.inverse()
            turn = Rotation.from_matrix(round_.motion.rotation.numpy()).as_rotvec()
            shift = round_.motion.translation.numpy() / depth[b]
            weight = joints[a, b].agreeing ** 0.5
            rows.append(weight * np.concatenate([TURN_WEIGHT * turn, shift, [float(round_.scale.log())]]))
        return np.concatenate(rows)

    solved = least_squares(residuals, np.zeros(7 * len(free)), loss="soft_l1", max_nfev=50)
    return at(solved.x)


def small(step: np.ndarray, depth: float) -> Similarity:
    """A similarity near the identity from a turn, a shift in depths and the logarithm of a scale."""

    def tensor(values: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values))

    rotation = tensor(Rotation.from_rotvec(step[:3]).as_matrix())
    return Similarity(tensor(np.exp(step[6:7]))[0], RigidMotion(rotation, tensor(step[3:6] * depth)))
