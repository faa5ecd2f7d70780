"""All clips of a video: surveyed, written, done by workers here or on a Ray cluster, and summed up.

A clip is finished when its folder has a ``result.json``; it is not done again. Work in progress lies in ``.work``
beside the results, and goes on where it was killed.
"""

import json
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from depthscope.errors import BadInputError, DepthscopeError
from depthscope.formats.intrinsics import remarks_on_camera
from depthscope.formats.tracks import Tracks
from depthscope.geometry import Camera
from depthscope.reconstruction.clip_task import ClipTask, is_done, reconstruct_clip
from depthscope.reconstruction.given_tracks import write_followed
from depthscope.reconstruction.job import FOLLOWED
from depthscope.reconstruction.lens import fitted, guessed_lenses, known_lens
from depthscope.reconstruction.omnidirectional import representable
from depthscope.reconstruction.process import Limits, memory_limit, read_step
from depthscope.reconstruction.ways import Features
from depthscope.threads import usable_cores
from depthscope.video import ClipPlan, Survey, camera_as_shown, image_size, open_frames, write_clip
from depthscope.video.class_masks import MaskFolder
from depthscope.workspace import check_outside, empty, write_result, write_text

WORK = ".work"
RECORD = "asked.json"

BASE_SECONDS, SECONDS_PER_FRAME = 600.0, 60.0
"""Limit of a clip's time where none is given: far more than a good clip needs on a slow machine."""

POLL_S = 0.3


@dataclass(frozen=True)
class Options:
    """How clips are done.

    Attributes:
        seed: Of everything random.
        workers: Clips at a time; 0 is one for every four cores.
        threads: Of each clip; 0 shares all cores between the workers.
        minutes: Limit for each clip, half of it for new attempts; 0 is ten and one more for each frame, and no limit
            for attempts: what a clip comes to must not depend on how busy the machine is.
        memory_gb: Limit for each clip; 0 shares 80 % of the machine's memory between the workers.
        features: Which are found and matched.
    """

    seed: int = 0
    workers: int = 0
    threads: int = 0
    minutes: float = 0.0
    memory_gb: float = 0.0
    features: Features = "auto"

    def __post_init__(self) -> None:
        for name in ("seed", "workers", "threads", "minutes", "memory_gb"):
            if getattr(self, name) < 0:
                raise BadInputError(f"--{name.replace('_', '-')} {getattr(self, name)}", "0 or more")

    def workers_for(self, clips: int) -> int:
        """How many clips are done at a time."""
        return max(1, min(clips, self.workers or usable_cores() // 4))

    def limits(self, frames: int, workers: int) -> Limits:
        """What a clip of so many frames may take."""
        seconds = 60 * self.minutes or BASE_SECONDS + SECONDS_PER_FRAME * frames
        memory = int(self.memory_gb * 1e9) or memory_limit(workers)
        attempts = 30 * self.minutes or None
        return Limits(seconds, max(seconds / 2, 600.0), memory, attempts)


@dataclass(frozen=True)
class Asked:
    """One command's request.

    Attributes:
        source: Video or folder of images.
        out: Where the results go.
        camera: As given, or None.
        camera_name: Where it came from.
        survey: Of the source.
        options: How it is done.
        inputs: Hash of each input.
        tracks: Points that were followed elsewhere, or None.
        least_confidence: That a place of them must have.
        masks: Masks of classes for every keyframe, whose tissue alone is used; None uses what is found.
    """

    source: Path
    out: Path
    camera: Camera | None
    camera_name: str
    survey: Survey
    options: Options
    inputs: Mapping[str, str]
    tracks: Tracks | None = None
    least_confidence: float = 0.0
    masks: MaskFolder | None = None

    @property
    def record(self) -> dict[str, Any]:
        """What must be the same for a finished clip to count."""
        return {
            "inputs": dict(self.inputs),
            "seed": self.options.seed,
            "features": self.options.features,
            **({} if self.survey.cut.whole else {"cut": self.survey.cut.options}),
            **({} if self.tracks is None else {"least_confidence": self.least_confidence}),
            "clips": [[plan.name, list(plan.keyframes)] for plan in self.survey.clips],
        }

    def target(self, plan: ClipPlan) -> Path:
        """Folder of a clip's result: that of all where there is only one."""
        return self.out if len(self.survey.clips) == 1 else self.out / plan.name


Pool = Callable[[ClipTask, threading.Event], dict[str, Any]]
"""Does one clip somewhere and waits for it."""


def reconstruct_clips(asked: Asked, pool: Pool | None = None, tell: "Display | None" = None) -> list[dict[str, Any]]:
    """Does all clips; one that fails does not take the others down.

    Args:
        asked: What is to be done.
        pool: Where; this machine if None.
        tell: What shows the progress.

    Returns:
        The figures of each clip, in their order.
    """
    tell = tell or Display()
    camera, notes = asked.camera, ()
    if camera is not None:
        camera = camera_as_shown(camera, asked.survey.size_px, asked.survey.stored_px)
        camera, notes = fitted(camera, asked.survey.size_px, asked.camera_name)
        camera, lens = representable(camera, asked.camera_name, asked.survey.area)
        notes = (*notes, *lens, *remarks_on_camera(camera))
    prepare_folder(asked)
    tasks = [_task(asked, plan, camera, notes) for plan in asked.survey.clips]
    for task, plan in zip(tasks, asked.survey.clips, strict=True):
        if not is_done(task.target):
            write_frames(asked, plan, task, tell)
    results = _all(tasks, asked.options.workers_for(len(tasks)), pool or reconstruct_clip, tell)
    write_text(asked.out / f".{RECORD}", json.dumps(asked.record))  # before the other copy goes: one is always there
    shutil.rmtree(asked.out / WORK, ignore_errors=True)
    return results


def prepare_folder(asked: Asked) -> None:
    """Keeps what an earlier call with the same inputs left, and removes what another one left.

    Raises:
        BadInputError: The folder holds something else.
    """
    out = asked.out
    for given in asked.inputs:
        if Path(given).resolve().is_relative_to(out.resolve()):
            raise BadInputError(f"{out} holds the input {given}", "a folder beside it", "choose another --out")
    check_outside(out, [Path(given) for given in asked.inputs])
    finished, going_on = out / f".{RECORD}", out / WORK / RECORD
    if out.exists() and not out.is_dir():
        raise BadInputError(f"{out} is a file", "a folder to write in", "choose another --out")
    ours = any(path.is_file() for path in (finished, going_on, out / "result.json"))
    if out.is_dir() and any(out.iterdir()) and not ours:
        raise BadInputError(
            f"{out} exists and is not a result of depthscope", "a new or empty folder", "choose another --out"
        )
    wanted = json.dumps(asked.record)
    if ours and not any(path.is_file() and path.read_text("utf-8") == wanted for path in (finished, going_on)):
        empty(out)
    (out / WORK).mkdir(parents=True, exist_ok=True)
    write_text(going_on, wanted)
    if len(asked.survey.clips) > 1:
        (out / "result.json").unlink(missing_ok=True)  # the summary is written anew


def write_frames(asked: Asked, plan: ClipPlan, task: ClipTask, tell: "Display") -> None:
    """The clip's images and masks; images of a folder are the files themselves."""
    if (task.frames / "mask.png").is_file():  # it is written last
        return
    shutil.rmtree(task.frames, ignore_errors=True)
    task.frames.mkdir(parents=True)
    draft = task.work / "writing"
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir()
    tell.step(plan.name, "writing frames", 0, len(plan.keyframes))
    for image in write_clip(
        asked.source,
        plan,
        asked.survey,
        draft,
        lambda done, total: tell.step(plan.name, "writing frames", done, total or len(plan.keyframes)),
        asked.masks,
    ):
        original = asked.source / image.name
        if asked.source.is_dir() and original.is_file() and image_size(original) == asked.survey.size_px:
            shutil.copyfile(original, image)
    if asked.tracks is not None:
        source = open_frames(asked.source, asked.survey.cut)
        names = [source.name_of(index) for index in plan.keyframes]
        write_followed(draft / FOLLOWED, asked.tracks, names, asked.least_confidence)
    for item in sorted(draft.iterdir(), key=lambda path: path.name == "mask.png"):
        item.replace(task.frames / item.name)
    draft.rmdir()


def _task(asked: Asked, plan: ClipPlan, camera: Camera | None, notes: tuple[str, ...]) -> ClipTask:
    workers = asked.options.workers_for(len(asked.survey.clips))
    threads = asked.options.threads or max(1, usable_cores() // workers)
    size = asked.survey.size_px
    area = plan.area or asked.survey.area
    return ClipTask(
        name=plan.name,
        work=asked.out / WORK / plan.name,
        target=asked.target(plan),
        size_px=size,
        camera=camera,
        lenses=(known_lens(camera),) if camera is not None else guessed_lenses(size, area),
        notes=(*asked.survey.notes, *notes),
        threads=threads,
        seed=asked.options.seed,
        limits=asked.options.limits(len(plan.keyframes), workers),
        options={
            "source": asked.source,
            "camera": asked.camera_name,
            **asked.survey.cut.options,
            "masks": None if asked.masks is None else asked.masks.path,
            "seed": asked.options.seed,
            "features": asked.options.features,
            "threads": threads,
        },
        inputs=dict(asked.inputs),
        features=asked.options.features,
    )


def _all(tasks: list[ClipTask], workers: int, pool: Pool, tell: "Display") -> list[dict[str, Any]]:
    """Does the tasks, so many at a time, showing how far each is."""
    stop, results = threading.Event(), {}
    executor = ThreadPoolExecutor(workers)
    try:
        running: dict[Future, ClipTask] = {executor.submit(pool, task, stop): task for task in tasks}
        while running:
            done, _ = wait(running, POLL_S, FIRST_COMPLETED)
            for future in done:
                task = running.pop(future)
                results[task.name] = _result(future, task)
                tell.finished(task.name, results[task.name])
            for task in running.values():
                if (step := last_step(task.progress)) is not None:
                    tell.step(task.name, step["stage"], step["done"], step["total"])
    except BaseException:
        stop.set()
        raise
    finally:
        executor.shutdown(wait=True, cancel_futures=True)
    return [results[task.name] for task in tasks]


def _result(future: Future, task: ClipTask) -> dict[str, Any]:
    """What a clip came to; what nobody expected becomes a refusal of this clip alone."""
    try:
        return future.result()
    except DepthscopeError as error:
        problem = str(error)
    except (KeyboardInterrupt, SystemExit):
        raise
    except Exception as error:
        problem = f"the clip failed unexpectedly ({type(error).__name__}: {error})"
    found = {"name": task.name, "accepted": False, "outcome": "refused", "reasons": [problem], "checks": {}}
    found |= {"frames": 0, "problem": problem}
    found |= {"registered": 0, "points": 0, "mean_track_length": None, "mean_reprojection_px": None}
    task.target.mkdir(parents=True, exist_ok=True)
    write_result(task.target, found)
    return found


def last_step(path: Path) -> dict[str, Any] | None:
    """The last whole line of a file of progress."""
    try:
        with path.open("rb") as stream:
            stream.seek(max(0, path.stat().st_size - 400))
            lines = stream.read().splitlines()
    except OSError:
        return None
    return next((step for line in reversed(lines) if (step := read_step(line)) is not None), None)


class Display:
    """Shows nothing; what a terminal shows is in the command."""

    def step(self, clip: str, stage: str, done: int, total: int) -> None:
        """How far a clip is."""

    def finished(self, clip: str, result: dict[str, Any]) -> None:
        """A clip has ended."""


@contextmanager
def ray_pool(address: str) -> Iterator[Pool]:
    """Workers of a Ray cluster instead of this machine's; it must share the folder of the results.

    Args:
        address: Of the cluster, or "local" to start one here.

    Raises:
        BadInputError: Ray is not installed, or the cluster does not answer.
    """
    try:
        import ray
    except ImportError as error:
        raise BadInputError(
            "--ray needs the package ray",
            "an installation with it",
            "pip install 'depthscope[ray]', or leave --ray away",
        ) from error
    options: dict[str, Any] = {"include_dashboard": False, "log_to_driver": False, "logging_level": "ERROR"}
    if address != "local":
        options = {"address": address, "log_to_driver": False, "logging_level": "ERROR"}
    try:
        ray.init(ignore_reinit_error=True, **options)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise BadInputError(
            f"no Ray cluster at {address} ({str(error).splitlines()[0]})",
            "the address of a running cluster, or local",
            "check it with `ray status`",
        ) from error
    remote = ray.remote(reconstruct_clip)

    def elsewhere(task: ClipTask, stop: threading.Event) -> dict[str, Any]:
        cores = max(1, int(ray.cluster_resources().get("CPU", 1)))
        running = remote.options(num_cpus=min(task.threads, cores), max_retries=1).remote(task)
        while True:
            ready, _ = ray.wait([running], timeout=1.0)
            if ready:
                return ray.get(running)
            if stop.is_set():
                ray.cancel(running, force=True)
                raise KeyboardInterrupt

    try:
        yield elsewhere
    finally:
        ray.shutdown()
