"""Which sequences see one place: by frames that both hold, and by matching frames spread over each."""

from collections.abc import Callable
from itertools import combinations, product

from depthscope.reconstruction.joining.correspondences import (
    Correspondences,
    Matcher,
    in_matched_frames,
    in_shared_frames,
)
from depthscope.reconstruction.joining.graph import Map, maps_of
from depthscope.reconstruction.joining.joint import Joint, joint_of
from depthscope.sequence import Sequence

LOOKED_AT = 6
"""Frames of each sequence, spread evenly, that are matched with those of another."""

FOLLOWED_UP, BESIDE = 3, 1
"""So many of the best pairs of frames are looked around, so many looked-at steps to both sides."""

Tell = Callable[[int, int], None]


def joints_of(
    sequences: list[Sequence], matcher: Matcher, seed: int = 0, tell: Tell = lambda done, total: None
) -> dict[tuple[int, int], Joint]:
    """The joints of all pairs of sequences that may have one.

    Pairs with common frames come first. The others are matched, all that are not yet in one map: what lies in one map
    already needs no further joint.

    Args:
        sequences: With images that can be read.
        matcher: Of two images.
        seed: Of everything random.
        tell: Told how many of how many pairs were looked at.
    """
    count = len(sequences)
    every = list(combinations(range(count), 2))
    joints: dict[tuple[int, int], Joint] = {}
    for a, b in every:
        if set(sequences[a].frame_names) & set(sequences[b].frame_names):
            joints[a, b] = joint_of(sequences[a], sequences[b], in_shared_frames(sequences[a], sequences[b]), seed)
    depth = [sequence.median_depth for sequence in sequences]
    for done, (a, b) in enumerate(every):
        tell(done, len(every))
        if together(maps_of(count, joints, depth), a, b):
            continue
        joint = joint_of(sequences[a], sequences[b], matched(sequences[a], sequences[b], matcher), seed)
        if joint.accepted or (a, b) not in joints:
            joints[a, b] = joint
    tell(len(every), len(every))
    return joints


def together(maps: tuple[Map, ...], a: int, b: int) -> bool:
    """Whether two sequences lie in one map."""
    return any(a in one.members and b in one.members for one in maps)


def matched(first: Sequence, second: Sequence, matcher: Matcher) -> Correspondences:
    """Points in common by matching: frames spread over both, then those around the pairs with the most."""
    looked = product(spread(len(first)), spread(len(second)))
    found = {pair: in_matched_frames(first, second, [pair], matcher) for pair in looked}
    best = sorted(found, key=lambda pair: -len(found[pair]))[:FOLLOWED_UP]
    steps = [max(1, len(sequence) // (2 * LOOKED_AT)) for sequence in (first, second)]
    for one, other in best:
        for left, right in product(range(-BESIDE, BESIDE + 1), repeat=2):
            pair = one + left * steps[0], other + right * steps[1]
            if pair not in found and 0 <= pair[0] < len(first) and 0 <= pair[1] < len(second):
                found[pair] = in_matched_frames(first, second, [pair], matcher)
    return Correspondences.joined(list(found.values()))


def spread(frames: int) -> list[int]:
    """Frames spread evenly over a sequence."""
    count = min(LOOKED_AT, frames)
    return sorted({round((number + 0.5) * frames / count - 0.5) for number in range(count)})
