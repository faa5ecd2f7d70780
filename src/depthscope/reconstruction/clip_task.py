"""One clip from its frames to its result folder; the same here, in a thread, and on a Ray worker."""

import json
import shutil
import threading
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from depthscope.geometry import Camera
from depthscope.reconstruction.front_end import window_of
from depthscope.reconstruction.job import FOLLOWED, Frame, FrontEnd, Job, Lens
from depthscope.reconstruction.outcome import figures, judge, move_into
from depthscope.reconstruction.process import LOG, PROGRESS, SECOND, Limits, run_child
from depthscope.reconstruction.witnesses import HELD_OUT
from depthscope.video import list_images, read_grey
from depthscope.workspace import write_provenance, write_result, write_text


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

    @property
    def frames(self) -> Path:
        """Folder of the clip's frames and masks."""
        return self.work / "clip"

    @property
    def child(self) -> Path:
        """Folder that the child works in."""
        return self.work / "child"

    @property
    def progress(self) -> Path:
        """File of the child's progress."""
        return self.child / PROGRESS

    def job(self) -> Job:
        """What the child is asked to do."""
        images = list_images(self.frames / "images")
        masks = [self.frames / "masks" / f"{image.name}.png" for image in images]
        rows = tuple(
            Frame(image.name, str(image), str(mask) if mask.is_file() else "")
            for image, mask in zip(images, masks, strict=True)
        )
        area, followed, front_end = self.frames / "mask.png", self.frames / FOLLOWED, FrontEnd()
        size = front_end.working_size(self.size_px)
        return Job(
            str(self.child),
            rows,
            self.size_px,
            self.lenses,
            str(area),
            str(followed) if followed.is_file() else "",
            window_of(read_grey(area).numpy(), size),
            front_end,
            seconds=self.limits.attempt_seconds,
            threads=self.threads,
            seed=self.seed,
        )


def is_done(target: Path) -> bool:
    """Whether a clip has a result that another run would not change; a crash or a limit may not come again."""
    result = target / "result.json"
    if not result.is_file():
        return False
    found = json.loads(result.read_text())
    return not (found.get("problem") or found.get("out_of_time"))


def reconstruct_clip(task: ClipTask, stop: threading.Event | None = None) -> dict[str, Any]:
    """Does one clip; a finished one is not done again unless it ran into a limit, and a killed one goes on.

    Returns:
        The figures of its ``result.json``.
    """
    result = task.target / "result.json"
    if is_done(task.target):
        return json.loads(result.read_text())
    began = time.monotonic()
    job = task.job()
    same = task.work / "asked.json"
    asked = json.dumps(asdict(job), indent=1)
    if not same.is_file() or same.read_text() != asked:
        shutil.rmtree(task.child, ignore_errors=True)
    task.child.mkdir(parents=True, exist_ok=True)
    write_text(same, asked)
    ended = run_child(job, task.limits, stop)

    draft = task.work / "done"
    shutil.rmtree(draft, ignore_errors=True)
    shutil.copytree(task.frames, draft)
    if ended.report and ended.report["best"] and (task.child / "model").is_dir():
        shutil.copytree(task.child / "model", draft / "colmap")
    for name in (LOG, HELD_OUT):
        if (task.child / name).is_file():
            shutil.copyfile(task.child / name, draft / name)

    def again() -> Path | None:
        done = run_child(replace(job, second_run=True), task.limits, stop)
        place = task.child / SECOND
        return place if not done.problem and place.is_dir() else None

    outcome = judge(draft, ended, task.camera, len(job.frames), task.size_px, again)
    seconds = time.monotonic() - began
    found = {"name": task.name} | figures(outcome, len(job.frames))
    found |= {"seconds": seconds, "peak_memory_mb": ended.peak_bytes / 2**20}
    found["notes"] = [*task.notes, *found["notes"]]
    write_provenance(draft, options=task.options, inputs=task.inputs, seconds=seconds)
    write_result(draft, found)
    move_into(draft, task.target)
    shutil.rmtree(task.work, ignore_errors=True)
    return json.loads(result.read_text())
