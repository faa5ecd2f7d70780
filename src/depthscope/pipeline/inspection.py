"""The verdict on a sequence folder."""

import time
from dataclasses import asdict
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from depthscope import inspection
from depthscope.agreement import Agreement, agreement, depth_remarks
from depthscope.errors import NoAnswerError, UnusableSequenceError
from depthscope.formats import PoseDirection, UndecidedDirectionError, is_truth, read_sequence, read_truth
from depthscope.ground_truth import GroundTruth, with_points
from depthscope.inspection import Verdict
from depthscope.pipeline.outcomes import UNDECIDED, WORDS
from depthscope.reconstruction.witnesses import witnesses_of
from depthscope.sequence import Sequence
from depthscope.workspace import content_hash, write_provenance, write_result, writing_folder


def read(sequence: Path, pose_direction: PoseDirection) -> tuple[Sequence, UndecidedDirectionError | None]:
    """The sequence, in the likelier direction of its poses where the images leave that open, and that they do."""
    try:
        return read_sequence(sequence, pose_direction), None
    except UndecidedDirectionError as error:
        return read_sequence(sequence, error.likelier), error


def with_direction(verdict: Verdict, undecided: UndecidedDirectionError | None) -> Verdict:
    """The verdict on a sequence whose direction of poses the images leave open: never accepted."""
    if undecided is None:
        return verdict
    if undecided.fits_neither:
        return inspection.refused(verdict, str(undecided))
    return inspection.doubted(verdict, str(undecided))


def dataset_figures(truth: GroundTruth, found: Agreement, doubts: tuple[str, ...]) -> dict:
    """What ``result.json`` says of a dataset with dense depth."""
    warnings = [*doubts, *([found.warning] if found.warning else [])]
    return {
        "layout": truth.layout,
        "frames_with_depth": truth.with_depth,
        "depth_agreement": found.difference,
        "depth_warnings": warnings,
    }


def show_dataset(truth: GroundTruth, found: Agreement, doubts: tuple[str, ...]) -> None:
    """Prints what a dataset folder is and holds, before anything can be refused."""
    has = [f"{truth.with_depth} depth maps" if truth.with_depth else "no depth"]
    has += ["no camera" if truth.cameras is None else f"{truth.cameras[0].model} camera"]
    has += ["no poses" if truth.camera_from_world is None else f"poses stored as {truth.pose_direction}"]
    print(f"{truth.name}: {truth.layout}, {len(truth)} frames, {', '.join(has)}, unit {truth.unit}")
    for note in truth.notes:
        print(f"  {note}")
    if found.difference is not None:
        print(f"  depth differs between frames by {found.difference:.2%} (median) after warping with poses and camera")
    for warning in (*doubts, found.warning):
        if warning:
            print(f"  warning: {warning}")


def figures(clip: Sequence | None, verdict: Verdict) -> dict:
    """What ``result.json`` says; without a clip, where nothing could be judged, of the verdict only."""
    said = {
        "accepted": verdict.accepted,
        "outcome": verdict.outcome,
        "confidence": verdict.confidence,
        "anomaly": verdict.anomaly,
        "expected_error": asdict(verdict.expected_error),
        "reasons": list(verdict.reasons),
        "checks": {name: asdict(check) for name, check in verdict.checks.items()},
    }
    if clip is None:
        return {**said, "pose_direction": "", "registered": 0, "points": 0, "observations": 0, "notes": []}
    camera = clip.cameras[0]
    return {
        **said,
        "pose_direction": clip.pose_direction,
        "registered": len(clip),
        "points": len(clip.points),
        "observations": len(clip.observations),
        "unregistered": list(clip.unregistered),
        "size_px": list(clip.size_px),
        "camera": {
            "model": camera.model,
            "focal_px": camera.focal_px,
            "centre_px": camera.centre_px,
            "distortion": camera.distortion.coefficients,
        },
        "mask_share": None if clip.mask is None else float(clip.mask.double().mean()),
        "median_depth": clip.median_depth,
        "unit": clip.unit,
        "notes": list(clip.notes),
    }


MARKS = {True: "[green]ok[/]", False: "[red]no[/]", None: "?"}


def show(sequence: Path, clip: Sequence | None, verdict: Verdict) -> None:
    """Prints the verdict, then why, then every check."""
    console = Console(soft_wrap=True, highlight=False)
    name = sequence.resolve().name if clip is None else clip.name
    console.print(f"{WORDS[verdict.outcome]}: {name}", emoji=False)
    for reason in verdict.reasons:
        console.print(f"  - {reason}", markup=False)
    if verdict.outcome == "cannot tell":
        console.print(UNDECIDED, markup=False)
    if clip is None:
        return
    if expected := verdict.expected_error.summary:
        console.print(expected, markup=False)
    width, height = clip.size_px
    console.print(
        f"{len(clip)} registered frames of {width} x {height}, {len(clip.points)} points, "
        f"{len(clip.observations)} observations"
    )
    for note in clip.notes:
        console.print(note, markup=False)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("check")
    table.add_column("found", justify="right")
    table.add_column("gate", justify="right")
    table.add_column("null", justify="right")
    table.add_column("")
    table.add_column("in words", overflow="fold")
    for name, check in verdict.checks.items():
        sign = ">=" if check.direction == "at least" else "<="
        found = "" if check.passed is None else f"{check.value:.3g}"
        null = "" if check.null is None else f"{check.null:.2g}"
        table.add_row(
            name.replace("_", " "), found, f"{sign} {check.gate:g}", null, MARKS[check.passed], check.sentence
        )
    Console(highlight=False).print(table)


def inspect_folder(sequence: Path, out: Path | None = None, pose_direction: PoseDirection = "auto") -> int:
    """The verdict on a sequence folder; written where `out` says so.

    The parameters are those of ``depthscope inspect``.
    """
    started = time.monotonic()
    truth = read_truth(sequence) if is_truth(sequence) else None
    dataset = {}
    if truth is not None:
        found, doubts = agreement(truth), depth_remarks(truth)
        dataset = dataset_figures(truth, found, doubts)
        show_dataset(truth, found, doubts)
    try:
        clip, undecided = (with_points(truth), None) if truth is not None else read(sequence, pose_direction)
    except UnusableSequenceError as error:
        clip, verdict = None, Verdict("refused", (str(error),), {}, 0.0)
    else:
        rest, verdict = inspection.inspect_cleaned(clip, lambda kept: witnesses_of(sequence, kept))
        clip, verdict = rest.sequence, with_direction(verdict, undecided)
    if out is not None:
        with writing_folder(out, inputs=(sequence,)) as folder:
            write_result(folder, {**figures(clip, verdict), **dataset})
            write_provenance(
                folder,
                options={"sequence": sequence, "pose_direction": pose_direction},
                inputs={str(sequence): content_hash(sequence)},
                seconds=time.monotonic() - started,
            )
    show(sequence, clip, verdict)
    return 0 if verdict.accepted else NoAnswerError.exit_code
