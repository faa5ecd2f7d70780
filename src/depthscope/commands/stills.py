"""``depthscope stills --out STORE``."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal, get_args

from depthscope.errors import BadInputError
from depthscope.simulation.anatomy import SPLITS, Kind
from depthscope.supervised.still_folders import StillsOfPatient, make_stills, require_space
from depthscope.threads import usable_cores


def stills(
    out: Path,
    anatomy: Literal["all", "nasal", "colon", "bronchus", "abdomen"] = "all",
    patients: int = 4,
    frames: int = 48,
    seed: int = 0,
    draw: int = 0,
    size: str = "288x240",
    split: Literal["train", "validation", "test"] = "train",
    workers: int = 0,
    clips: tuple[Path, ...] = (),
    cases: tuple[Path, ...] = (),
) -> int:
    """Single frames of simulated patients with their true depth, to train on: every frame has its own lens and light.

    A second call does what is missing; more patients may be asked for, and folders of several calls used together.
    With --clips, frames of simulated clips or of datasets with their true depth, and with --cases frames of real videos
    with the depth that `depthscope run` found for them, in place of new patients.

    Args:
        out: Folder for all patients.
        anatomy: What is simulated; all takes each kind in turn.
        patients: How many patients, of each kind.
        frames: Frames of each patient.
        seed: Number of the first patient within its split.
        draw: Number that viewpoints, lenses and looks are drawn from; another one gives other frames of the patients.
        size: Size of the frames in pixels.
        split: That the patients belong to; no patient is in two.
        workers: Processes (0: one for each core). The result does not depend on it.
        clips: Folders of depthscope simulate, or of datasets with dense depth: the frames of each clip in them
            (--frames at most, evenly spaced) are packed. No patient is simulated then.
        cases: Folders of finished cases: their frames (--frames at most, evenly spaced) are packed with the depth of
            the network that was fitted to each, where it does not doubt itself. No patient is simulated then.

    Raises:
        BadInputError: Options out of range, or too little space.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from depthscope.simulation.patients.options import size_px
    from depthscope.workspace import holding, telling_write_errors

    began, pixels = time.perf_counter(), size_px(size)
    if patients < 1 or frames < 1 or seed < 0 or draw < 0 or workers < 0:
        raise BadInputError(
            f"--patients {patients}, --frames {frames}, --seed {seed}, --draw {draw}, --workers {workers}",
            "1 or more patients and frames, and nothing negative",
        )
    if seed + patients > len(SPLITS[split]):
        raise BadInputError(
            f"patients up to {seed + patients - 1} of the {split} split", f"0 to {len(SPLITS[split]) - 1}"
        )
    if clips or cases:
        return _packed(clips, cases, out, frames, pixels)
    kinds = get_args(Kind) if anatomy == "all" else (anatomy,)
    first = SPLITS[split].start + seed
    wanted = [StillsOfPatient(out, kind, first + n, frames, pixels, draw) for n in range(patients) for kind in kinds]
    missing = [patient for patient in wanted if not (patient.folder / "result.json").is_file()]
    with telling_write_errors(out), holding(out):
        require_space(out, missing)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns) as progress:
            bar = progress.add_task("patients", total=len(wanted), completed=len(wanted) - len(missing))
            make_stills(missing, workers or usable_cores(), lambda: progress.advance(bar))
    seconds = time.perf_counter() - began
    print(f"{out}: {len(wanted)} patients of {frames} frames, {len(missing)} made in {seconds:.0f} s")
    return 0


def _packed(clips: tuple[Path, ...], cases: tuple[Path, ...], out: Path, frames: int, size_px: tuple[int, int]) -> int:
    """Packs clips and finished cases in place of simulated patients."""
    from rich.progress import track

    from depthscope.pipeline.clip_stills import ClipStills, clips_in, pack_case, pack_clip
    from depthscope.workspace import holding, telling_write_errors

    options = ClipStills(size_px, frames)
    wanted: list[tuple[Path, Callable[[Path, Path, ClipStills], int], Path]]
    wanted = [(out / case.resolve().name, pack_case, case) for case in cases]
    for root in clips:
        for clip in clips_in(root):
            name = "_".join((root.name or root.resolve().name, *clip.relative_to(root).parts))
            wanted.append((out / name, pack_clip, clip))
    if len({folder for folder, _, _ in wanted}) < len(wanted):
        raise BadInputError(
            f"two of {', '.join(path.name for path in (*clips, *cases))} have one name",
            "folders of different names",
            "rename one of them",
        )
    with telling_write_errors(out), holding(out, (*clips, *cases)):
        missing = [each for each in wanted if not (each[0] / "result.json").is_file()]
        packed = sum(pack(source, folder, options) for folder, pack, source in track(missing, "clips"))
    print(f"{out}: {len(wanted)} clips, {packed} frames of {len(missing)} packed now")
    return 0
