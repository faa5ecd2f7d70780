"""The verdict: all checks, combined into accept, refuse or cannot tell, with reasons in order of weight."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Literal

import torch

from depthscope.inspection import (
    agreement,
    degeneracy,
    drift,
    epipolar,
    geometry,
    lens,
    light,
    lock,
    retracking,
    support,
)
from depthscope.inspection.check import Check
from depthscope.inspection.cleaning import Cleaned, cleaned
from depthscope.inspection.evidence import Evidence, Witnesses
from depthscope.inspection.rule import Rule, excess, shipped_rule
from depthscope.sequence import Sequence

Outcome = Literal["accepted", "refused", "cannot tell"]

CHECKS: dict[str, Callable[[Evidence], Check]] = {
    "frames_placed": support.frames_placed,
    "registered_share": support.registered_share,
    "points_per_frame": support.points_per_frame,
    "track_length": support.track_length,
    "co_visible_pairs": support.co_visible_pairs,
    "cells_occupied": support.cells_occupied,
    "stationary_share": support.stationary_share,
    "highlight_share": support.highlight_share,
    "in_front": geometry.in_front,
    "inside_image": geometry.inside_image,
    "inside_mask": geometry.inside_mask,
    "path_jump": geometry.path_jump,
    "path_break": retracking.path_break,
    "lock_on": lock.lock_on_seen,
    "lock_on_above_null": lock.lock_on_above_null,
    "lock_on_unseen": lock.lock_on_unseen,
    "retracking": retracking.retracking,
    "epipolar_share": epipolar.epipolar_share,
    "broken_links": epipolar.broken_links,
    "track_fit": epipolar.track_fit,
    "held_out_matches": epipolar.held_out_matches,
    "resection": agreement.resection,
    "own_adjustment": agreement.own_adjustment,
    "split_tracks": agreement.split_tracks,
    "two_runs": agreement.two_runs,
    "second_run_share": agreement.second_run_share,
    "self_calibration": lens.self_calibration,
    "scale_drift": drift.scale_drift,
    "point_depth": retracking.point_depth,
    "depth_order": retracking.depth_order,
    "depth_scale": retracking.depth_scale,
    "relief": geometry.relief,
    "light_falloff": light.light_falloff,
    "near_and_far": light.near_and_far,
    "triangulation_angle": degeneracy.triangulation_angle,
    "parallax": degeneracy.parallax,
    "forward_motion": degeneracy.forward_motion,
    "depth_uncertainty": degeneracy.depth_uncertainty,
}
"""The checks in the order in which they are told."""

UNLIKE_HINT = "reconstruct another stretch of the video, or film this place with more sideways motion"

SURE = 0.9
"""Confidence from which no second run is asked for."""


@dataclass(frozen=True)
class Verdict:
    """Whether a sequence is usable.

    Attributes:
        outcome: "accepted", "refused" or "cannot tell".
        reasons: Sentences with hints, the most telling first; empty where accepted.
        checks: All of them by name.
        confidence: Of the outcome, 0..1, by how unlike sound reconstructions it is.
    """

    outcome: Outcome
    reasons: tuple[str, ...]
    checks: dict[str, Check]
    confidence: float = 1.0

    @property
    def accepted(self) -> bool:
        """Whether it may be trained on."""
        return self.outcome == "accepted"


@contextmanager
def one_thread() -> Iterator[None]:
    """Torch with one thread: the checks are thousands of small steps; waiting threads cost up to ten times more."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def inspect(sequence: Sequence, witnesses: Witnesses | None = None) -> Verdict:
    """Runs every check on a sequence as it is, and combines them.

    Args:
        sequence: Images, poses and points.
        witnesses: What else the reconstruction can give.

    Raises:
        BadInputError: An image cannot be read.
    """
    with one_thread():
        evidence = Evidence(sequence, witnesses or Witnesses())
        return judged({name: check(evidence) for name, check in CHECKS.items()})


def inspect_cleaned(
    sequence: Sequence, witnesses_of: Callable[[Sequence], Witnesses | None] = lambda rest: None
) -> tuple[Cleaned, Verdict]:
    """Drops what is bad by itself, then judges what remains; refuses where too much would have to be dropped.

    Args:
        sequence: Images, poses and points.
        witnesses_of: What else the reconstruction can give on what remains.

    Raises:
        BadInputError: An image cannot be read.
    """
    with one_thread():
        rest = cleaned(sequence)
        witnesses = witnesses_of(rest.sequence) or Witnesses()
        evidence = rest.evidence.of_rest(rest.sequence, rest.kept, witnesses)
        verdict = judged({name: check(evidence) for name, check in CHECKS.items()})
    if rest.too_much:
        confidence = verdict.confidence if verdict.outcome == "refused" else 0.5
        verdict = replace(verdict, outcome="refused", reasons=(*verdict.reasons, *rest.notes), confidence=confidence)
    return rest, verdict


def in_doubt(verdict: Verdict) -> bool:
    """Whether a second reconstruction is worth its time: what is refused or clear stays so."""
    return verdict.outcome != "refused" and (verdict.outcome == "cannot tell" or verdict.confidence < SURE)


def with_second_run(verdict: Verdict, sequence: Sequence, second: Sequence) -> Verdict:
    """The verdict with what a second reconstruction of the clip says; the other checks stay as they are.

    Args:
        verdict: On the sequence.
        sequence: What was judged.
        second: The same clip reconstructed in another way.
    """
    evidence = Evidence(sequence, Witnesses(second_run=second))
    said = {name: CHECKS[name](evidence) for name in ("two_runs", "second_run_share")}
    return judged({**verdict.checks, **said})


def judged(checks: dict[str, Check], rule: Rule | None = None) -> Verdict:
    """The verdict on the figures."""
    rule = rule or shipped_rule()
    failed = [name for name, check in checks.items() if check.passed is False]
    strangeness, chance = rule.strangeness(checks), rule.failure(checks)
    outcome: Outcome
    if any(name in rule.gates for name in failed) or strangeness > rule.refuse_from:
        outcome, confidence = "refused", max(chance, 0.5)
    elif strangeness <= rule.accept_up_to:
        outcome, confidence = "accepted", 1 - chance
    else:
        outcome, confidence = "cannot tell", 1 - abs(2 * chance - 1)
    if outcome == "accepted":
        return Verdict(outcome, (), checks, confidence)

    def rank(name: str) -> tuple[float, float]:
        return -rule.leads.get(name, 0.0), -excess(checks[name])

    reasons = [f"{checks[name].sentence}: {checks[name].hint}" for name in sorted(failed, key=rank)]
    if outcome == "cannot tell" or not reasons:
        told = [checks[name].sentence for name in list(rule.unusual(checks))[: rule.worst]]
        reasons.append(f"together too unlike sound reconstructions ({'; '.join(told)}): {UNLIKE_HINT}")
    return Verdict(outcome, tuple(reasons), checks, confidence)
