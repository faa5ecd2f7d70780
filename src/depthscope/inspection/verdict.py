"""The verdict: all checks, combined into accept, refuse or cannot tell, with the reasons, causes first."""

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
from depthscope.inspection.expected_error import ExpectedError, shipped_error_models
from depthscope.inspection.rule import Rule, shipped_rule
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
    "lock_on": lock.photo_consistency_seen,
    "lock_on_above_null": lock.photo_consistency_above_null,
    "lock_on_unseen": lock.photo_consistency_unseen,
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

MOST_REASONS = 3

SURE = 0.9
"""Confidence from which no second run is asked for."""


@dataclass(frozen=True)
class Verdict:
    """Whether a sequence is usable.

    Attributes:
        outcome: "accepted", "refused" or "cannot tell".
        reasons: What speaks against it, at most three sentences with hints, causes first; empty where accepted.
        checks: All of them by name.
        confidence: Chance that the reconstruction is right, 0..1, by how unlike sound ones it is.
        anomaly: How unlike sound ones; 0 where every witness says what it usually says (`Rule.anomaly`).
    """

    outcome: Outcome
    reasons: tuple[str, ...]
    checks: dict[str, Check]
    confidence: float = 1.0
    anomaly: float = 0.0

    @property
    def accepted(self) -> bool:
        """Whether it may be trained on."""
        return self.outcome == "accepted"

    @property
    def expected_error(self) -> ExpectedError:
        """How large the errors of path and depth probably are, by the checks."""
        return shipped_error_models().expected(self.checks)


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
        verdict = refused(verdict, "; ".join(rest.notes))
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


def refused(verdict: Verdict, because: str) -> Verdict:
    """The verdict turned into a refusal by something that is no check; causes that checks name stand first."""
    rule = shipped_rule()
    anomaly = verdict.anomaly + (0.0 if verdict.outcome == "refused" else rule.refuse_from)
    named = verdict.reasons[: MOST_REASONS - 1] if verdict.outcome == "refused" else ()
    return replace(
        verdict,
        outcome="refused",
        reasons=(*named, because),
        anomaly=anomaly,
        confidence=rule.chance_of_sound(anomaly),
    )


def doubted(verdict: Verdict, because: str, rule: Rule | None = None) -> Verdict:
    """The verdict that is no better than "cannot tell", for something that is no check."""
    if verdict.outcome == "refused":
        return refused(verdict, because)
    rule = rule or shipped_rule()
    anomaly = max(verdict.anomaly, (rule.accept_up_to + rule.refuse_from) / 2)
    return replace(
        verdict,
        outcome="cannot tell",
        reasons=(because, *verdict.reasons[: MOST_REASONS - 1]),
        anomaly=anomaly,
        confidence=rule.chance_of_sound(anomaly),
    )


def judged(checks: dict[str, Check], rule: Rule | None = None) -> Verdict:
    """The verdict on the checks.

    No check that gets better makes outcome, anomaly score or confidence worse.
    """
    rule = rule or shipped_rule()
    anomaly = rule.anomaly(checks)
    confidence = rule.chance_of_sound(anomaly)
    if anomaly <= rule.accept_up_to:
        verdict = Verdict("accepted", (), checks, confidence, anomaly)
        few = len(rule.speaking(checks))
        return verdict if few >= rule.least_speaking else doubted(verdict, _silent(few, len(rule.from_images)), rule)
    if anomaly > rule.refuse_from or rule.failed_gates(checks):
        return Verdict("refused", reasons(checks, rule), checks, confidence, anomaly)
    return Verdict("cannot tell", reasons(checks, rule), checks, confidence, anomaly)


def reasons(checks: dict[str, Check], rule: Rule) -> tuple[str, ...]:
    """What speaks against a sequence: checks that fail, causes first, then witnesses that are merely unusual."""
    gates, against, unusual = rule.failed_gates(checks), rule.against(checks), rule.unusual(checks)
    usual = set(rule.usual) - set(unusual) - set(gates)  # sound ones miss the gate of such a check as well
    failed = [name for name, check in checks.items() if check.passed is False and name not in usual]

    def rank(name: str) -> tuple[float, bool, float]:
        return -rule.leads.get(name, 0.0), name not in gates and name not in against, -checks[name].excess

    named = [f"{checks[name].sentence}: {checks[name].hint}" for name in sorted(failed, key=rank)]
    if not gates:  # nothing refuses alone: say what adds up, and what would be usual
        passed = [name for name in sorted(against, key=rank) if checks[name].passed]
        named += [f"{checks[name].sentence} ({_usual(name, checks[name], rule)}): {UNLIKE_HINT}" for name in passed]
    return tuple(named[:MOST_REASONS])


def _silent(few: int, count: int) -> str:
    return (
        f"only {few} of the {count} checks that hold poses and points against the images have something to go by: "
        "choose a sharper part of the video with more texture, or smaller steps between frames"
    )


def _usual(name: str, check: Check, rule: Rule) -> str:
    bound = "at least" if check.direction == "at least" else "at most"
    usual = check.shown(rule.usual[name].value)
    return (
        f"{name.replace('_', ' ')} {check.shown(check.value)}; nine of ten sound reconstructions have {bound} {usual}"
    )
