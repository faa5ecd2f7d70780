"""The ladder of attempts: what to try next where too few frames were registered, and which attempt to keep."""

from dataclasses import asdict, dataclass
from typing import Any

OVERLAP, WIDE_OVERLAP = 15, 30
PEAK, LOW_PEAK = 0.002, 0.001
ANGLE_DEG, SMALL_ANGLE_DEG = 4.0, 2.0

MOST_FOR_EXHAUSTIVE = 150
"""Frames of a clip up to which all pairs are matched, at last."""

KEPT_SHARE, CLEAR_GAIN = 0.85, 0.95
"""A model with a lens of another kind is looked at if it has this share of the observations of the one before it, and
taken if its reprojection error, once refined, is below this times its. On a colon of 140 degrees a radial lens has
5 % more observations than a fisheye, and 20 % more error."""

LEAST_FOR_HALVES = 12
"""Frames of a clip from which its halves are tried alone."""


DETECTION_S, MATCHING_S, MAPPING_S = 3.5e-6, 6e-9, 0.6
"""What work costs on the processors of 2026: a pixel to find features in; a pair of frames, for each pair of features
that might match; a frame to place and refine."""

BASE_EFFORT, EFFORT_PER_FRAME = 60.0, 5.0
"""Effort after which no further attempt is begun: the first nearly always decides."""


@dataclass(frozen=True)
class Neighbours:
    """Each frame is matched with the next ones.

    Attributes:
        overlap: So many of them.
    """

    overlap: int = OVERLAP


@dataclass(frozen=True)
class EveryPair:
    """Every frame is matched with every other."""


@dataclass(frozen=True)
class Incremental:
    """Frame after frame, from a first pair.

    Attributes:
        first_angle_deg: Least triangulation angle of the first pair.
    """

    first_angle_deg: float = ANGLE_DEG


@dataclass(frozen=True)
class AtOnce:
    """All rotations, then all positions (global mapping)."""


@dataclass(frozen=True)
class Halves:
    """Each half of the clip alone, frame after frame; the larger model counts.

    Attributes:
        first_angle_deg: Least triangulation angle of the first pair.
    """

    first_angle_deg: float = SMALL_ANGLE_DEG


@dataclass(frozen=True)
class Attempt:
    """One way to reconstruct a clip.

    Attributes:
        name: In words.
        peak_threshold: Contrast from which SIFT takes a feature.
        pairs: Which frames are matched.
        mapper: How they are put together.
    """

    name: str
    peak_threshold: float = PEAK
    pairs: Neighbours | EveryPair = Neighbours()
    mapper: Incremental | AtOnce | Halves = Incremental()

    def figures(self) -> dict[str, Any]:
        """The options as plain values."""
        return {
            "name": self.name,
            "peak_threshold": self.peak_threshold,
            "pairs": {"kind": type(self.pairs).__name__, **asdict(self.pairs)},
            "mapper": {"kind": type(self.mapper).__name__, **asdict(self.mapper)},
        }


def ladder(frames: int, sift: bool = True) -> tuple[Attempt, ...]:
    """What is tried in turn on a clip of so many frames; attempts that would change nothing are left out.

    Args:
        frames: Of the clip.
        sift: Whether SIFT features are used, of which there can be fainter ones.
    """
    low_peak = LOW_PEAK if sift else PEAK
    wide = Neighbours(WIDE_OVERLAP) if frames > OVERLAP + 1 else Neighbours()
    tried = [
        Attempt("standard"),
        Attempt("wider overlap", pairs=wide),
        Attempt("fainter features", low_peak, wide),
        Attempt("smaller first angle", low_peak, wide, Incremental(SMALL_ANGLE_DEG)),
    ]
    pairs: Neighbours | EveryPair = wide
    if WIDE_OVERLAP + 1 < frames <= MOST_FOR_EXHAUSTIVE:
        pairs = EveryPair()
        tried.append(Attempt("every pair", low_peak, pairs, Incremental(SMALL_ANGLE_DEG)))
    tried.append(Attempt("all at once", low_peak, pairs, AtOnce()))
    if frames >= LEAST_FOR_HALVES:
        tried.append(Attempt("halves", low_peak, pairs, Halves()))
    different: dict[tuple, Attempt] = {}
    for attempt in tried:
        different.setdefault((attempt.peak_threshold, attempt.pairs, attempt.mapper), attempt)
    return tuple(different.values())


def matching_effort(pixels: int, frames: int, pairs: int, features: float) -> float:
    """Nominal seconds for the features and matches of a clip.

    Efforts are counted from what was done, never measured by a clock: what a clip comes to must not depend on how fast
    or how busy a machine is.

    Args:
        pixels: Of a working image.
        frames: Of the clip.
        pairs: Of frames that were matched.
        features: Of a frame.
    """
    return DETECTION_S * pixels * frames + MATCHING_S * pairs * features**2


def mapping_effort(frames: int, mappings: int) -> float:
    """Nominal seconds for putting a clip of so many frames together so many times."""
    return MAPPING_S * frames * mappings


def most_effort(frames: int) -> float:
    """Nominal seconds after which no further attempt is begun on a clip of so many frames."""
    return BASE_EFFORT + EFFORT_PER_FRAME * frames


@dataclass(frozen=True, order=True)
class Size:
    """How much of a clip a model covers; the larger is the better of two.

    Attributes:
        registered: Frames placed.
        observations: How often points were seen.
        points: Points.
    """

    registered: int = 0
    observations: int = 0
    points: int = 0

    def comparable(self, other: "Size") -> bool:
        """Whether it has more frames, or as many and `KEPT_SHARE` of the observations."""
        if self.registered != other.registered:
            return self.registered > other.registered
        return self.observations > KEPT_SHARE * other.observations
