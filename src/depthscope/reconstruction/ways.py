"""Which features a clip is reconstructed with, and when others are tried."""

from dataclasses import dataclass, replace
from typing import Any, Literal

from depthscope.reconstruction.learned import INSTALL, LEARNED, available
from depthscope.reconstruction.outcome import STILL_PX, Outcome

Features = Literal["auto", "sift", "xfeat", "aliked", "disk", "both"]
"""On the command line; ``auto`` begins with SIFT and tries XFeat where the result is in doubt, ``both`` joins them."""

LEARNED_OF_CHOICE = "xfeat"
"""Of ``auto`` and ``both``: the one that costs no more than SIFT, from the smallest package."""


@dataclass(frozen=True)
class Way:
    """Features that are matched together.

    Attributes:
        name: In words.
        sift: Whether SIFT is among them.
        learned: Name of the learned ones, or "".
        resting: Whether they keep off what does not move with the rest of the picture.
    """

    name: str
    sift: bool = True
    learned: str = ""
    resting: bool = False

    @property
    def without_moving(self) -> "Way":
        """The same, away from what moves by itself."""
        return replace(self, name=f"{self.name} without moving parts", resting=True)


SIFT = Way("sift")


def ways(features: Features) -> tuple[Way, ...]:
    """What is tried in turn until a clip is accepted; what is not installed is left out of ``auto``."""
    match features:
        case "sift":
            return (SIFT,)
        case "both":
            return (Way("both", True, LEARNED_OF_CHOICE),)
        case "auto":
            learned = Way(LEARNED_OF_CHOICE, False, LEARNED_OF_CHOICE)
            return (SIFT, learned) if available(LEARNED[LEARNED_OF_CHOICE]) else (SIFT,)
        case name:
            return (Way(name, False, name),)


def others_may_help(outcome: Outcome) -> bool:
    """Whether other features could change what became of a clip: a camera that does not move stays so."""
    if outcome.accepted or outcome.problem:
        return False
    support = outcome.report.get("support", {})
    still = support.get("matched_pairs", 0) > 0 and support.get("displacement_px", 0.0) < STILL_PX
    return not (outcome.sequence is None and still)


CONTRADICTED = (
    *("retracking", "track_fit", "epipolar_share", "broken_links", "path_break", "held_out_matches", "own_adjustment"),
    *("split_tracks", "point_depth", "depth_scale", "lock_on_unseen"),
)
"""Checks that fail where something in the picture moves by itself."""


def may_move(outcome: Outcome) -> bool:
    """Whether something that moves by itself could be why a clip was not accepted."""
    if outcome.accepted or outcome.problem:
        return False
    if outcome.verdict is None:
        return outcome.report.get("support", {}).get("matched_pairs", 0) > 0 and others_may_help(outcome)
    checks = outcome.verdict.checks
    return any(name in checks and checks[name].passed is False for name in CONTRADICTED)


def worth(outcome: Outcome) -> tuple[bool, bool, int]:
    """Orders outcomes of one clip: accepted before "cannot tell" before refused, then by the frames placed."""
    undecided = outcome.verdict is not None and outcome.verdict.outcome == "cannot tell"
    return outcome.accepted, undecided, 0 if outcome.sequence is None else len(outcome.sequence)


def row(way: Way, outcome: Outcome) -> dict[str, Any]:
    """What became of one way, for the record."""
    sequence = outcome.sequence
    return {
        "features": way.name,
        "outcome": "refused" if outcome.verdict is None else outcome.verdict.outcome,
        "registered": 0 if sequence is None else len(sequence),
        "points": 0 if sequence is None else len(sequence.points),
        "reasons": list(outcome.reasons),
        "cpu_seconds": sum(outcome.report.get("cpu_seconds", {}).values()),
    }


def notes(features: Features, tried: list[dict[str, Any]], taken: str) -> list[str]:
    """What to say of several ways, or of one that could not be tried."""
    if len(tried) > 1:
        told = ", ".join(f"{one['features']}: {one['outcome']}, {one['registered']} frames" for one in tried)
        return [f"several kinds of features were tried ({told}); those of {taken} were kept"]
    if features == "auto" and tried[0]["outcome"] != "accepted" and len(ways("auto")) == 1:
        return [f"learned features may place more where SIFT is in doubt: {INSTALL}"]
    return []
