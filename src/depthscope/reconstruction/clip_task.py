"""One clip from its frames to its result folder; the same here, in a thread, and on a Ray worker."""

import json
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from depthscope.geometry import Camera
from depthscope.reconstruction.front_end import window_of
from depthscope.reconstruction.job import FOLLOWED, FrontEnd, Job, JobFrame, Lens
from depthscope.reconstruction.learned import LEARNED, describe
from depthscope.reconstruction.moving_parts import LEAST_MOVING, MASKED, mask_moving_parts
from depthscope.reconstruction.outcome import Outcome, figures, judge, move_into
from depthscope.reconstruction.process import LOG, PROGRESS, SECOND, Limits, StoppedError, run_child
from depthscope.reconstruction.ways import SIFT, Features, Way, may_move, notes, others_may_help, row, ways, worth
from depthscope.reconstruction.witnesses import HELD_OUT
from depthscope.video import list_images, read_grey
from depthscope.workspace import write_provenance, write_result, write_text

REST = "rest"
"""Masks of what moves with the rest, and of what does not, in the folder that a clip is worked on in."""

DESCRIBED = "described.npz"
"""Learned features, in the folder of a child."""


@dataclass(frozen=True)
class ClipTask:
    """One clip to do.

    Attributes:
        name: Of the clip.
        work: Where it is worked on; holds ``clip/`` with ``images``, ``masks`` and ``mask.png``.
        target: Folder of the result.
        size_px: (width, height) of the frames.
        camera: The camera, or None.
        lenses: What the child starts from.
        notes: To be told with the result.
        threads: For COLMAP.
        seed: Of everything random.
        limits: When to give up.
        options: What was asked for, for the provenance.
        inputs: Hash of each input, for the provenance.
        features: Which are used.
    """

    name: str
    work: Path
    target: Path
    size_px: tuple[int, int]
    camera: Camera | None
    lenses: tuple[Lens, ...]
    notes: tuple[str, ...]
    threads: int
    seed: int
    limits: Limits
    options: dict[str, Any]
    inputs: dict[str, str]
    features: Features = "sift"

    @property
    def frames(self) -> Path:
        """Folder of the clip's frames and masks."""
        return self.work / "clip"

    def child(self, way: Way) -> Path:
        """Folder that the child works in with these features."""
        return self.work / ("child" if way == SIFT else f"child_{_file_name(way)}")

    @property
    def progress(self) -> Path:
        """File of the progress of the child that works now."""
        tried = [w for way in ways(self.features) for w in (way, way.without_moving)]
        return max((self.child(way) / PROGRESS for way in tried), key=_modified)

    @property
    def log(self) -> Path:
        """File that grows while the clip is worked on."""
        return self.target / LOG

    def job(self, way: Way = SIFT) -> Job:
        """What the child is asked to do."""
        images = list_images(self.frames / "images")
        folder = self.work / REST if way.resting else self.frames
        masks = [folder / "masks" / f"{image.name}.png" for image in images]
        rows = tuple(
            JobFrame(image.name, str(image), str(mask) if mask.is_file() else "")
            for image, mask in zip(images, masks, strict=True)
        )
        area, followed, front_end = self.frames / "mask.png", self.frames / FOLLOWED, FrontEnd()
        size = front_end.working_size(self.size_px)
        return Job(
            str(self.child(way)),
            rows,
            self.size_px,
            self.lenses,
            str(area),
            str(followed) if followed.is_file() else "",
            window=window_of(read_grey(area).numpy(), size),
            front_end=front_end,
            described=str(self.child(way) / DESCRIBED) if way.learned else "",
            sift=way.sift,
            seconds=self.limits.attempt_seconds,
            threads=self.threads,
            seed=self.seed,
        )


def _file_name(way: Way) -> str:
    return way.name.replace(" ", "_")


def _modified(path: Path) -> float:
    """When a file was last written; 0 where there is none, or where the clip's own thread removes it meanwhile."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def is_done(target: Path) -> bool:
    """Whether a clip has a result that another run would not change; a crash or a limit may not come again."""
    result = target / "result.json"
    if not result.is_file():
        return False
    found = json.loads(result.read_text("utf-8"))
    return not (found.get("problem") or found.get("out_of_time"))


def reconstruct_clip(task: ClipTask, stop: threading.Event | None = None) -> dict[str, Any]:
    """Does one clip; a finished one is not done again unless it ran into a limit, and a killed one goes on.

    Returns:
        The figures of its ``result.json``.
    """
    result = task.target / "result.json"
    if is_done(task.target):
        return json.loads(result.read_text("utf-8"))
    began, count = time.monotonic(), len(list_images(task.frames / "images"))
    task.target.mkdir(parents=True, exist_ok=True)
    tried: list[Tried] = []
    for way in ways(task.features):
        if not tried or others_may_help(tried[-1].outcome):
            tried.append(attempted(task, way, stop))
    moving = 0.0
    if may_move(max(tried, key=lambda one: worth(one.outcome)).outcome):
        moving = mask_moving_parts(task.frames, task.work / REST)
        if moving >= LEAST_MOVING:
            tried.append(attempted(task, tried[-1].way.without_moving, stop))
    best = max(tried, key=lambda one: worth(one.outcome))  # the first of those that are as good
    draft, seconds = best.draft, time.monotonic() - began
    rows = [row(one.way, one.outcome) for one in tried]
    found = {"name": task.name} | figures(best.outcome, count) | {"features": best.way.name, "tried": rows}
    found |= {"moving_share": moving if best.way.resting else None}
    found |= {"seconds": seconds, "peak_memory_mb": max(one.peak_bytes for one in tried) / 2**20}
    found["notes"] = [*task.notes, *found["notes"], *notes(task.features, rows, best.way.name)]
    if best.way.resting:
        found["notes"].append(MASKED.format(moving))
    write_provenance(draft, options=task.options, inputs=task.inputs, seconds=seconds)
    write_result(draft, found)
    move_into(draft, task.target)
    shutil.rmtree(task.work, ignore_errors=True)
    return json.loads(result.read_text("utf-8"))


@dataclass(frozen=True, eq=False)
class Tried:
    """A clip reconstructed with some features.

    Attributes:
        way: Which.
        draft: Folder with the result.
        outcome: What became of it.
        peak_bytes: Most memory that was seen.
    """

    way: Way
    draft: Path
    outcome: Outcome
    peak_bytes: int


def attempted(task: ClipTask, way: Way, stop: threading.Event | None = None) -> Tried:
    """Reconstructs and judges a clip with some features; goes on where it was killed."""
    job, child = task.job(way), task.child(way)
    same = child.with_name("asked.json" if way == SIFT else f"asked_{_file_name(way)}.json")
    asked = json.dumps(asdict(job), indent=1)
    if not same.is_file() or same.read_text("utf-8") != asked:
        shutil.rmtree(child, ignore_errors=True)
        if way == ways(task.features)[0]:
            task.log.unlink(missing_ok=True)
    child.mkdir(parents=True, exist_ok=True)
    write_text(same, asked)
    spent = time.process_time()
    if way.learned and not Path(job.described).is_file():
        describe(job, LEARNED[way.learned], Path(job.described), told(child / PROGRESS, stop))
    spent = time.process_time() - spent
    ended = run_child(job, task.limits, stop, log=task.log)
    if ended.report and way.learned:
        ended.report.setdefault("cpu_seconds", {})["learned features"] = round(spent, 2)

    draft = task.work / ("done" if way == SIFT else f"done_{_file_name(way)}")
    shutil.rmtree(draft, ignore_errors=True)
    shutil.copytree(task.frames, draft)
    if way.resting:
        shutil.copytree(task.work / REST, draft, dirs_exist_ok=True)
    if ended.report and ended.report["best"] and (child / "model").is_dir():
        shutil.copytree(child / "model", draft / "colmap")
    if (child / HELD_OUT).is_file():
        shutil.copyfile(child / HELD_OUT, draft / HELD_OUT)

    def again() -> Path | None:
        done = run_child(replace(job, second_run=True), task.limits, stop, log=task.log)
        place = child / SECOND
        return place if not done.problem and place.is_dir() else None

    outcome = judge(draft, ended, task.camera, len(job.frames), task.size_px, again)
    return Tried(way, draft, outcome, ended.peak_bytes)


def told(path: Path, stop: threading.Event | None) -> Callable[[str, int, int], None]:
    """Tells progress as the child does, and ends what is told of where the user stopped the run."""

    def tell(stage: str, done: int, total: int) -> None:
        if stop is not None and stop.is_set():
            raise StoppedError
        path.write_text(json.dumps({"stage": stage, "done": done, "total": total}) + "\n")

    return tell
