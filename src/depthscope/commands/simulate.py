"""``depthscope simulate``: phantom patients with CT, and clips of them with exact truth.

Work is cut into jobs that depend on seeds only: a patient's anatomy and CT, a few frames of a clip, the end of a clip.
Whichever process does them, the bytes are the same. A patient and a clip are written whole or not at all; what is there
already is not done again.
"""

import dataclasses
import json
import math
import os
import shutil
import time
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import torch
import yaml

from depthscope.errors import BadInputError
from depthscope.geometry import RigidMotion, Surface
from depthscope.simulation.anatomy import SPLITS, Kind, Split
from depthscope.simulation.presets import Preset, Subject, subject
from depthscope.workspace import telling_write_errors, versions, write_result

FRAMES_AT_ONCE = 6
"""Frames of one job: few enough to keep all cores busy to the end."""

BYTES_PER_PIXEL, BYTES_PER_PATIENT = 18, 60_000_000
"""What a frame with its truth takes for each pixel, and a patient's CT and surface; measured, and rounded up."""

RECORD = "simulation.yaml"
"""The options that all patients of a folder share."""


@dataclass(frozen=True)
class Options:
    """What all patients and clips of a folder have in common.

    Attributes:
        anatomy: What is simulated.
        frames: Of each clip.
        preset: How difficult.
        variety: Dial of the domain randomisation.
        size_px: (width, height) of the frames.
        board_frames: Frames of the calibration clip.
        first: Number of the first patient.
        split: That the patients belong to.
    """

    anatomy: Kind
    frames: int
    preset: Preset
    variety: float
    size_px: tuple[int, int]
    board_frames: int
    first: int
    split: Split

    def subject(self, patient: int) -> Subject:
        """What is drawn for a patient."""
        return subject(patient, self.anatomy, self.preset, self.variety, self.size_px)


@dataclass(frozen=True)
class Job:
    """Something to do for a patient.

    Attributes:
        out: The folder of all.
        options: What all have in common.
        patient: Seed of the patient.
        clips: Clips that are to be made.
        clip: Which of them this job is for, or -1.
        frames: First and last but one of the frames that it makes; (0, 0) is the end of the clip.
    """

    out: Path
    options: Options
    patient: int
    clips: tuple[int, ...]
    clip: int = -1
    frames: tuple[int, int] = (0, 0)

    @property
    def folder(self) -> Path:
        """Of the patient."""
        return self.out / f"patient_{self.patient:05d}"

    @property
    def scratch(self) -> Path:
        """What the other jobs need of the patient."""
        return self.out / ".work" / f"patient_{self.patient:05d}.pt"

    @property
    def draft(self) -> Path:
        """The clip while it is made."""
        return self.folder / f".clip_{self.clip:02d}.partial"

    @property
    def target(self) -> Path:
        """The clip."""
        return self.folder / f"clip_{self.clip:02d}"


def simulate(
    out: Path,
    anatomy: Literal["nasal", "colon"] = "nasal",
    patients: int = 1,
    clips: int = 1,
    frames: int = 40,
    seed: int = 0,
    preset: Literal["clean", "typical", "hard"] = "typical",
    size: str = "320x256",
    variety: float = 1.0,
    split: Literal["train", "validation", "test"] = "train",
    board_frames: int = 20,
    workers: int = 0,
) -> int:
    """Simulates patients: a CT and a surface of each, and endoscopic clips with true depth, motions and points.

    A second call with the same options does what is missing; more patients or clips may be asked for.

    Args:
        out: Folder for all patients.
        anatomy: What is simulated.
        patients: How many patients.
        clips: Clips of each patient.
        frames: Frames of each clip.
        seed: Number of the first patient within its split; everything drawn is a function of the patients' numbers.
        preset: How difficult: clean (pinhole, light in the lens, no faults), typical, hard.
        size: Size of the frames in pixels.
        variety: Dial of the domain randomisation: 0 gives every patient the middle of each range, 1 all of it.
        split: That the patients belong to; no patient is in two.
        board_frames: Frames of each clip's calibration board clip.
        workers: Processes (0: one for each core). The result does not depend on it.

    Raises:
        BadInputError: Options out of range, a folder made with others, or too little space.
    """
    start, out = time.perf_counter(), Path(out)
    numbers = {"patients": patients, "clips": clips, "board_frames": board_frames}
    for name, value in numbers.items():
        if value < 1:
            raise BadInputError(f"--{name.replace('_', '-')} {value}", "at least 1")
    if frames < 3:
        raise BadInputError(f"--frames {frames}", "at least 3 to follow a point over")
    if seed < 0 or seed + patients > len(SPLITS[split]):
        raise BadInputError(
            f"patients {seed} to {seed + patients - 1} of the {split} split",
            f"0 to {len(SPLITS[split]) - 1}",
            "choose a smaller --seed or fewer --patients",
        )
    first = SPLITS[split].start + seed
    options = Options(anatomy, frames, preset, variety, _size(size), board_frames, first, split)
    for number in range(first, first + patients):
        options.subject(number)  # refuses what cannot be drawn before anything is written
    with telling_write_errors(out):
        _prepare(out, options)
        jobs = [_patient_job(out, options, number, clips) for number in range(first, first + patients)]
        jobs = [job for job in jobs if job is not None]
        _require_space(out, options, jobs)
        try:
            _do(jobs, workers or os.cpu_count() or 1)
        finally:
            shutil.rmtree(out / ".work", ignore_errors=True)
            for partial in out.glob("**/.*.partial"):
                shutil.rmtree(partial, ignore_errors=True)
        seconds = time.perf_counter() - start
        figures = _figures(out, options, patients, clips)
        made = sum(len(job.clips) for job in jobs) * frames
        write_result(out, {**figures, "frames_made": made, "seconds": seconds, "versions": versions()})
    print(f"{out}: {patients} patients, {patients * clips} clips of {frames} frames, in {seconds:.0f} s")
    return 0


def _size(text: str) -> tuple[int, int]:
    parts = text.lower().split("x")
    if len(parts) != 2 or not all(part.isdigit() for part in parts):
        raise BadInputError(f"--size {text}", "WIDTHxHEIGHT in pixels, such as 320x256")
    return int(parts[0]), int(parts[1])


def _prepare(out: Path, options: Options) -> None:
    """Makes the folder, or checks that it was made with the same options."""
    record = json.loads(json.dumps(dataclasses.asdict(options)))
    if out.is_dir() and any(out.iterdir()):
        if not (out / RECORD).is_file():
            raise BadInputError(f"{out} exists and is no simulation", "a new or empty folder", "choose another --out")
        found = yaml.safe_load((out / RECORD).read_text())
        different = [f"{k} {found.get(k)} (now {v})" for k, v in record.items() if found.get(k) != v]
        if different:
            raise BadInputError(
                f"{out} was made with {', '.join(different)}",
                "the same options",
                "choose another --out, or these options",
            )
    out.mkdir(parents=True, exist_ok=True)
    (out / RECORD).write_text(yaml.safe_dump(record, sort_keys=False))
    (out / ".work").mkdir(exist_ok=True)


def _patient_job(out: Path, options: Options, patient: int, clips: int) -> Job | None:
    """What is missing of a patient."""
    job = Job(out, options, patient, ())
    missing = [n for n in range(clips) if not (dataclasses.replace(job, clip=n).target / "result.json").is_file()]
    if not missing and (job.folder / "result.json").is_file():
        return None
    return dataclasses.replace(job, clips=tuple(missing))


def _require_space(out: Path, options: Options, jobs: list[Job]) -> None:
    width, height = options.size_px
    clips = sum(len(job.clips) for job in jobs)
    needed = BYTES_PER_PIXEL * width * height * options.frames * clips + BYTES_PER_PATIENT * len(jobs)
    free = shutil.disk_usage(out).free
    if free < needed:
        raise BadInputError(
            f"{free / 1e9:.1f} GB free for {out}",
            f"about {needed / 1e9:.1f} GB for {clips} clips of {options.frames} frames",
            "free space, choose another --out, or ask for less",
        )


def _do(jobs: list[Job], workers: int) -> None:
    """Does all jobs, and what follows from them, with a progress bar over the frames."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    total = sum(len(job.clips) * job.options.frames for job in jobs)
    if not jobs:
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    pool: Executor = Inline() if workers == 1 else ProcessPoolExecutor(workers, get_context("spawn"), _single_thread)
    with pool, Progress(*columns) as progress:
        bar = progress.add_task("frames", total=total)
        pending: dict[Future, Job] = {pool.submit(build_patient, job): job for job in jobs}
        left: dict[tuple[int, int], int] = {}
        try:
            while pending:
                done, _ = wait(pending, return_when=FIRST_COMPLETED)
                for future in done:
                    job = pending.pop(future)
                    future.result()
                    for following in _following(job, left):
                        work = end_clip if following.frames == (0, 0) else make_frames
                        pending[pool.submit(work, following)] = following
                    progress.advance(bar, job.frames[1] - job.frames[0])
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _following(job: Job, left: dict[tuple[int, int], int]) -> list[Job]:
    """Jobs that can begin once this one is done; `left` counts the frame jobs that a clip still waits for."""
    if job.clip < 0:  # a patient: the frames of its clips
        spans = [
            (first, min(first + FRAMES_AT_ONCE, job.options.frames))
            for first in range(0, job.options.frames, FRAMES_AT_ONCE)
        ]
        left.update({(job.patient, clip): len(spans) for clip in job.clips})
        return [dataclasses.replace(job, clip=clip, frames=span) for clip in job.clips for span in spans]
    if job.frames == (0, 0):
        return []
    left[job.patient, job.clip] -= 1
    return [] if left[job.patient, job.clip] else [dataclasses.replace(job, frames=(0, 0))]


class Inline(Executor):
    """Does what is submitted at once, in this process."""

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future:
        """The result, already there."""
        future: Future = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


def _single_thread() -> None:
    """One thread in each process: the processes are the cores' work."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)


def build_patient(job: Job) -> None:
    """Anatomy, CT and landmarks of a patient as files, and what the other jobs need of it."""
    from depthscope.formats import ply
    from depthscope.formats.ct import write_nifti
    from depthscope.simulation.anatomy import patient
    from depthscope.simulation.clip_files import scene_of
    from depthscope.simulation.ct import scanned
    from depthscope.simulation.path import camera_from_world

    options, drawn = job.options, job.options.subject(job.patient)
    anatomy = patient(job.patient, options.anatomy, drawn.swelling_mm)
    if not (job.folder / "result.json").is_file():
        before = patient(job.patient, options.anatomy) if drawn.swelling_mm else anatomy
        draft = job.out / f".patient_{job.patient:05d}.partial"
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        write_nifti(scanned(before), draft / "ct.nii.gz")
        frame = ("frame LPS", "scale from the phantom, exact")
        ply.write(anatomy.surface, draft / "anatomy.ply", comments=frame)
        if drawn.swelling_mm:
            ply.write(before.surface, draft / "anatomy_ct.ply", comments=frame)
        landmarks = {name: place.tolist() for name, place in anatomy.landmarks.items()}
        in_ct = {name: place.tolist() for name, place in before.landmarks.items()}
        record = {"frame": "LPS", "unit": "mm", "landmarks": landmarks, "landmarks_ct": in_ct}
        (draft / "landmarks.json").write_text(json.dumps(record, indent=1) + "\n")
        identity = [[float(i == j) for j in range(4)] for i in range(4)]
        told = {
            "seed": job.patient,
            "split": options.split,
            "anatomy": options.anatomy,
            "preset": options.preset,
            "variety": options.variety,
            "ct_from_world": identity,
            "shape": _told(anatomy.shape),
            "subject": _told(drawn),
        }
        (draft / "patient.yaml").write_text(yaml.safe_dump(told, sort_keys=False, default_flow_style=None))
        write_result(draft, {"seed": job.patient, "split": options.split, "unit": "mm", "landmarks": len(landmarks)})
        if job.folder.exists():  # a draft of a clip at most: without a result the patient was not done
            shutil.rmtree(job.folder)
        draft.rename(job.folder)

    scene = scene_of(anatomy, drawn.look)
    motions = [camera_from_world(anatomy, clip, options.frames + 1, drawn.trajectory) for clip in job.clips]
    kept = {
        "points": scene.surface.points,
        "normals": scene.surface.normals,
        "faces": scene.surface.faces,
        "tones": scene.tones,
        "rotations": {clip: m.rotation for clip, m in zip(job.clips, motions, strict=True)},
        "translations": {clip: m.translation for clip, m in zip(job.clips, motions, strict=True)},
    }
    torch.save(kept, job.scratch)


@lru_cache(maxsize=1)
def _scene(scratch: Path, options: Options, patient: int):
    """A patient's scene and the motions of its clips; kept, since the next job is mostly for the same one."""
    from depthscope.simulation.render import Scene
    from depthscope.simulation.texture import Mucosa

    kept = torch.load(scratch, weights_only=True)
    surface = Surface(kept["points"], kept["normals"], None, kept["faces"], "mm")
    scene = Scene(surface, Mucosa(options.subject(patient).look, patient), kept["tones"])
    motions = {clip: RigidMotion(r, kept["translations"][clip]) for clip, r in kept["rotations"].items()}
    return scene, motions


def _take(job: Job):
    from depthscope.simulation.clip_files import Take

    scene, motions = _scene(job.scratch, job.options, job.patient)
    return Take(scene, job.options.subject(job.patient).scope, motions[job.clip], job.patient, job.clip)


def make_frames(job: Job) -> None:
    """Some frames of a clip."""
    from depthscope.simulation.clip_files import write_frames

    write_frames(_take(job), range(*job.frames), job.draft)


def end_clip(job: Job) -> None:
    """What a clip needs besides its frames: videos, camera, sparse points, figures; then it is there."""
    from depthscope.formats import camera_file, colmap
    from depthscope.simulation.clip_files import tracked, write_videos

    take, drawn = _take(job), job.options.subject(job.patient)
    write_videos(take, job.draft, drawn.trajectory.frames_per_second, job.options.board_frames)
    camera_file.write(take.scope.camera, job.draft / "camera.yaml")
    sequence = tracked(take, job.draft, drawn.tracks, f"patient_{job.patient:05d}/clip_{job.clip:02d}")
    colmap.write(sequence, job.draft)
    observations = len(sequence.observations)
    figures = {
        "patient": job.patient,
        "clip": job.clip,
        "split": job.options.split,
        "preset": job.options.preset,
        "frames": len(sequence),
        "points": len(sequence.points),
        "points_per_frame": observations / len(sequence),
        "mean_track_length": observations / max(len(sequence.points), 1),
        "median_depth_mm": sequence.median_depth,
        "path_mm": float((take.motions.origin[1:-1] - take.motions.origin[:-2]).norm(dim=-1).sum()),
        "unit": "mm",
    }
    write_result(job.draft, figures)
    if job.target.exists():
        shutil.rmtree(job.target)
    job.draft.rename(job.target)


def _figures(out: Path, options: Options, patients: int, clips: int) -> dict[str, Any]:
    numbers = range(options.first, options.first + patients)
    names = [f"patient_{n:05d}/clip_{c:02d}" for n in numbers for c in range(clips)]
    found = [json.loads((out / name / "result.json").read_text()) for name in names]
    return {
        "anatomy": options.anatomy,
        "preset": options.preset,
        "patients": list(numbers),
        "split": options.split,
        "clips": names,
        "frames": options.frames * len(names),
        "points_per_frame": sum(f["points_per_frame"] for f in found) / len(found),
        "mean_track_length": sum(f["mean_track_length"] for f in found) / len(found),
        "unit": "mm",
    }


def _told(value: Any) -> Any:
    """Drawn parameters in terms of YAML."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _told(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, torch.Tensor | np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, dict):
        return {str(key): _told(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_told(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
