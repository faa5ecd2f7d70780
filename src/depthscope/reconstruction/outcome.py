"""What became of a clip: its sequence, the verdict on it, and the folder with both."""

import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from jaxtyping import Bool
from torch import Tensor

from depthscope.errors import BadInputError
from depthscope.formats import camera_file, colmap, read_sequence
from depthscope.geometry import Camera
from depthscope.inspection import Verdict, in_doubt, inspect_cleaned, with_second_run
from depthscope.reconstruction.lens import SELF_CALIBRATED, camera_from_report, field_of_view_deg
from depthscope.reconstruction.process import Ended
from depthscope.reconstruction.witnesses import HiddenMatches, hidden_matches, witnesses_of
from depthscope.sequence import Sequence

FEW_FEATURES = 100
"""Features of a frame (median) below which nothing can be expected."""

STILL_PX = 2.0
"""Neighbouring frames that moved less (median, pixels of the frame) show no parallax."""

SELF_CALIBRATION_NOTE = (
    "no camera was given, so it was self-calibrated: the scale of depth and the angles are less sure; "
    "calibrate with a board and give --camera"
)


@dataclass(frozen=True, eq=False)
class Outcome:
    """One clip's result.

    Attributes:
        sequence: What was registered, or None.
        camera: The camera of the clip, or None where none was found.
        verdict: On the sequence, or None without one.
        reasons: Why it was refused, in words; none if it was accepted.
        notes: What a user should know, in words.
        report: Of the child; attempts, support, figures.
        problem: What the child ended with, if it did not end by itself.
        hidden: Matches that mapping never saw, if some were hidden.
    """

    sequence: Sequence | None
    camera: Camera | None
    verdict: Verdict | None
    reasons: tuple[str, ...]
    notes: tuple[str, ...]
    report: dict[str, Any]
    problem: str = ""
    hidden: HiddenMatches | None = None

    @property
    def accepted(self) -> bool:
        """Whether the clip can be trained on."""
        return self.verdict is not None and self.verdict.accepted and not self.reasons


def judge(
    folder: Path,
    ended: Ended,
    camera: Camera | None,
    frames: int,
    size_px: tuple[int, int],
    again: Callable[[], Path | None] = lambda: None,
) -> Outcome:
    """Reads the model that the child left in a clip's folder and judges it.

    Args:
        folder: The clip with ``colmap``, if there is a model, ``images`` and ``mask.png``.
        ended: How the child ended.
        camera: The camera that was given.
        frames: How many frames the child was given.
        size_px: Their (width, height).
        again: Reconstructs a second time, and says where; asked where the verdict is in doubt.
    """
    report = ended.report or {"attempts": [], "best": None, "support": {}, "seconds": {}}
    notes: list[str] = []
    if not report["best"] or not (folder / "colmap").is_dir():
        reasons = (
            [_ending(ended)]
            if ended.problem
            else [no_lens_because(report) or unregistered_because(report["support"], frames)]
        )
        return Outcome(None, camera, None, tuple(reasons), (), report, ended.problem)
    if ended.problem:
        notes.append(f"{ended.problem}; the best of {len(report['attempts'])} attempts before that was kept")
    elif report.get("out_of_time"):
        notes.append("--minutes ended before all attempts were made: another call with more may place more frames")
    notes += depth_order_notes(report["best"].get("depth_order", {}))
    found = camera_from_report(report["best"]["camera"], size_px, camera)
    if camera is None:
        notes.append(SELF_CALIBRATION_NOTE)
    camera_file.write(found, folder / "camera.yaml")
    try:
        sequence = read_sequence(folder)
    except BadInputError as error:
        reasons = (f"what was registered makes no sequence: {error}",)
        return Outcome(None, found, None, reasons, tuple(notes), report, ended.problem)
    sequence = replace(sequence, notes=(*sequence.notes, *notes))
    rest, verdict = inspect_cleaned(sequence, lambda kept: witnesses_of(folder, kept))
    if in_doubt(verdict) and (second := again()) is not None:
        verdict = with_second_run(verdict, rest.sequence, colmap.read(second, folder / "images"))
    if rest.sequence is not sequence:
        rewrite(rest.sequence, folder / "colmap")
    if not rest.too_much:
        notes += rest.notes
    sequence = rest.sequence
    if camera is None:
        notes.append(lens_note(found, sequence.mask))
    hidden = hidden_matches(folder, sequence)
    return Outcome(sequence, found, verdict, verdict.reasons, tuple(notes), report, ended.problem, hidden)


def lens_note(camera: Camera, content: Bool[Tensor, "height width"] | None) -> str:
    """Which lens self-calibration found, and how wide it is."""
    lens = "a fisheye" if camera.model == "fisheye" else "a lens with radial distortion"
    field = field_of_view_deg(camera, content)
    return f"self-calibration found {lens} that sees {field:.0f} degrees across the content"


def rewrite(sequence: Sequence, place: Path) -> None:
    """Puts a sequence in the place of the model that it came from."""
    shutil.rmtree(place)  # with the files that repeat the poses of dropped frames
    colmap.write_model(sequence, place, [image.name for image in sequence.images])


def depth_order_notes(choice: dict[str, Any]) -> list[str]:
    """What to say of a model that has a depth-reversed twin."""
    if not choice.get("by"):
        return []

    def light(name: str) -> str:
        return "cannot tell" if choice[name] is None else f"{choice[name]:+.2f}"

    figures = (
        f"brightness against depth {light('light')}, reversed {light('reversed_light')}; "
        f"error {choice['error_px']:.2f} px, reversed {choice['reversed_error_px']:.2f} px"
    )
    if choice["taken"]:
        return [f"the depth-reversed solution was found first; {choice['by']} decided for its twin ({figures})"]
    return [f"the depth-reversed twin of the solution was tried and left; {choice['by']} decided ({figures})"]


def no_lens_because(report: dict[str, Any]) -> str:
    """One sentence where every model was dropped for a lens that ran away; "" where none was."""
    faults = [row["lens_ran_away"] for row in report["attempts"] if row.get("lens_ran_away")]
    if not faults:
        return ""
    return (
        f"self-calibration found no lens: in {len(faults)} of {len(report['attempts'])} attempts it ran away to "
        f"{faults[-1]}, as where the motion tells nothing of the lens; calibrate with a board and give --camera"
    )


def unregistered_because(support: dict[str, Any], frames: int) -> str:
    """One sentence for a clip in which no frame was placed: what was found, and what to do."""
    features, pairs = support.get("features_per_frame", 0.0), support.get("matched_pairs", 0)
    moved, flat = support.get("displacement_px", 0.0), support.get("flat_share", 0.0)
    start = f"none of the {frames} frames could be placed: "
    if features < FEW_FEATURES:
        return (
            f"{start}a frame shows only {features:.0f} features (median), too few to follow; the picture is too dark, "
            "blurred or smooth; choose a sharper, better lit part of the video"
        )
    if pairs < max(2, frames // 4):
        return (
            f"{start}only {pairs} pairs of frames show the same place; "
            "choose a part of the video in which the scope moves slowly"
        )
    if moved < STILL_PX:
        return (
            f"{start}the picture moves by {moved:.1f} pixels from frame to frame, so there is no parallax to measure "
            "depth by; choose a part in which the scope moves, or take every n-th frame"
        )
    if flat > 0.8:
        return (
            f"{start}{flat:.0%} of the matched pairs are explained by a turn of the camera or by a flat scene, "
            "which tell nothing about depth; choose a part in which the scope moves forward or sideways"
        )
    return (
        f"{start}{pairs} pairs of frames match, but their motions do not fit together; the tissue may move by itself, "
        "or the camera file may be wrong; check --camera, or choose another part of the video"
    )


def figures(outcome: Outcome, frames: int) -> dict[str, Any]:
    """What ``result.json`` of a clip says."""
    sequence, best = outcome.sequence, outcome.report.get("best")
    verdict = outcome.verdict
    return {
        "accepted": outcome.accepted,
        "outcome": "refused" if verdict is None else verdict.outcome,
        "confidence": None if verdict is None else verdict.confidence,
        "anomaly": None if verdict is None else verdict.anomaly,
        "expected_error": None if verdict is None else asdict(verdict.expected_error),
        "reasons": list(outcome.reasons),
        "checks": {} if verdict is None else {name: asdict(check) for name, check in verdict.checks.items()},
        "frames": frames,
        "registered": 0 if sequence is None else len(sequence),
        "points": 0 if sequence is None else len(sequence.points),
        "mean_track_length": None if sequence is None else len(sequence.observations) / len(sequence.points),
        "mean_reprojection_px": None if sequence is None or best is None else best["mean_reprojection_px"],
        "found_again_share": None if best is None else best.get("found_again_share"),
        "two_depths_share": None if best is None else best.get("two_depths_share"),
        "unregistered": [] if sequence is None else list(sequence.unregistered),
        "camera_source": _camera_source(outcome.camera),
        "camera": None if outcome.camera is None else _camera_figures(outcome.camera),
        "field_of_view_deg": None if outcome.camera is None else field_of_view_deg(outcome.camera, _content(sequence)),
        "notes": list(outcome.notes),
        "problem": outcome.problem,
        "out_of_time": outcome.report.get("out_of_time", False),
        "held_out": None if outcome.hidden is None else outcome.hidden.figures(),
        "attempts": outcome.report.get("attempts", []),
        "support": outcome.report.get("support", {}),
        "stage_seconds": outcome.report.get("seconds", {}),
        "stage_cpu_seconds": outcome.report.get("cpu_seconds", {}),
    }


def _content(sequence: Sequence | None) -> Bool[Tensor, "height width"] | None:
    return None if sequence is None else sequence.mask


def _camera_source(camera: Camera | None) -> str:
    if camera is None:
        return "none"
    return "self-calibrated" if camera.source == SELF_CALIBRATED else "given"


def _camera_figures(camera: Camera) -> dict[str, Any]:
    return {
        "model": camera.model,
        "size_px": list(camera.size_px),
        "focal_px": list(camera.focal_px),
        "centre_px": list(camera.centre_px),
        "distortion": list(camera.distortion.coefficients),
        "source": camera.source,
    }


def _ending(ended: Ended) -> str:
    told = f"; the end of its log: {' | '.join(ended.log_tail.splitlines()[-3:])}" if ended.log_tail else ""
    return f"{ended.problem}{told}"


def move_into(draft: Path, target: Path) -> None:
    """Makes the draft's content the result in `target`, ``result.json`` last, so that what has one is whole."""
    target.mkdir(parents=True, exist_ok=True)
    (target / "result.json").unlink(missing_ok=True)
    for item in sorted(draft.iterdir(), key=lambda path: path.name == "result.json"):
        place = target / item.name
        if place.is_dir():
            shutil.rmtree(place)
        item.replace(place)
    draft.rmdir()
