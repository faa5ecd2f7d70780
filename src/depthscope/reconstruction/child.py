"""The child process: ``python -m depthscope.reconstruction.child JOB.json``.

Tells its progress on standard output, one JSON object a line; COLMAP's own log goes to standard error. The model, the
attempts and all figures are left in the job's folder, each file whole, so that a killed run goes on where it was.
"""

import copy
import json
import shutil
import signal
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from depthscope.reconstruction.attempts import (
    CLEAR_GAIN,
    Attempt,
    Size,
    ladder,
    mapping_effort,
    matching_effort,
    most_effort,
)
from depthscope.reconstruction.features import MatchSupport, detect, match, support, use_lens
from depthscope.reconstruction.front_end import prepare
from depthscope.reconstruction.held_out import LEAST_MATCHES, spared, write_held_out
from depthscope.reconstruction.job import Job, Lens, read_job
from depthscope.reconstruction.mapping import Mapped, finished, mapped, with_hidden_tracks, write_model
from depthscope.reconstruction.refinement import refine
from depthscope.reconstruction.reversal import right_way_round
from depthscope.reconstruction.runaway import runaway
from depthscope.workspace import die_with_parent, holding, write_text

REPORT = "report.json"

SECOND, SECOND_SPARED = "second_run", 0.5
"""Folder of the model of a second run, and the share of the tracks that it does not get."""

LEAST_MAPPING_S = 45.0
"""Where time is limited, seconds that a mapping gets at least; half of all where there is no model yet."""


def main(arguments: list[str]) -> int:
    """Does one job; given the number of the parent's process as well, it ends with that."""
    if len(arguments) > 1:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # COLMAP's handler writes log files among the temporary ones
        die_with_parent(int(arguments[1]))
    job = read_job(Path(arguments[0]))
    with holding(Path(job.folder)):
        (run_again if job.second_run else run)(job)
    return 0


class Spent:
    """The processor's time since it was made, against a limit that a user set.

    Args:
        limit_s: Seconds of the processor; None for no limit.
    """

    def __init__(self, limit_s: float | None = None) -> None:
        self.limit_s = limit_s
        self._cpu, self._wall = time.process_time(), time.monotonic()

    @property
    def seconds(self) -> float:
        """Of the processor, all threads together."""
        return time.process_time() - self._cpu

    @property
    def slowness(self) -> float:
        """Seconds that pass for one of the processor; 1 where several threads run at a time."""
        return max(1.0, (time.monotonic() - self._wall) / max(self.seconds, 1e-3))

    @property
    def over(self) -> bool:
        """Whether the limit is reached."""
        return self.limit_s is not None and self.seconds > self.limit_s

    def mapping_limit(self, first: bool) -> float | None:
        """Seconds of the clock that a mapping may take.

        Args:
            first: Whether there is no model yet.
        """
        if self.limit_s is None:
            return None
        return self.slowness * max(self.limit_s - self.seconds, self.limit_s / 2 if first else LEAST_MAPPING_S)


def tell(stage: str, done: int, total: int) -> None:
    """One line of progress."""
    print(json.dumps({"stage": stage, "done": done, "total": total}), flush=True)


def run(job: Job) -> dict[str, Any]:
    """Goes up the ladder until enough frames are registered; leaves the model and the report."""
    spent, count = Spent(job.seconds), len(job.frames)
    folder = Path(job.folder)
    images, masks = folder / "images", folder / "masks"
    report = earlier(folder)
    watch = Watch()
    for done in prepare(job, images, masks):
        tell("frames", done, len(job.frames))
    watch.lap("frames")
    lenses = job.lenses
    for number, attempt in enumerate(ladder(count, job.sift)):
        best = Size(*report["best"]["size"]) if report["best"] else Size()
        effort = sum(report["matching_effort"].values()) + mapping_effort(count, len(report["attempts"]))
        if best.registered >= job.least_share * count or effort > most_effort(count):
            break
        if number < report["tried"]:
            continue
        if number > 0 and spent.over:
            report["out_of_time"] = True
            break
        if report["best"] and not job.lenses[0].fixed:
            lenses = (lens_of(report["best"]),)
        database, seen = matched(job, attempt, images, masks, watch)
        report["support"] = asdict(seen)
        write_text(folder / REPORT, json.dumps(report, indent=1))
        for lens in lenses if seen.matched_pairs else ():
            if spent.over and report["best"]:
                report["out_of_time"] = True
                break
            limit = spent.mapping_limit(first=not report["best"])
            row, better = attempted(job, attempt, lens, database, seen, report["best"], limit, watch)
            report["attempts"].append(row)
            if better is not None:
                best, report["best"] = Size(*better["size"]), better
        report["tried"] = number + 1
        pixels = job.working_window[2] * job.working_window[3]
        done = matching_effort(pixels, count, seen.asked_pairs, seen.features_per_frame)
        report["matching_effort"][f"{attempt.peak_threshold:g}"] = done
        write_text(folder / REPORT, json.dumps(report, indent=1))
    for key, laps in (("seconds", watch.laps), ("cpu_seconds", watch.cpu_laps)):
        report[key] = {stage: report[key].get(stage, 0.0) + value for stage, value in laps.items()}
    report["finished"] = True
    write_text(folder / REPORT, json.dumps(report, indent=1))
    tell("done", 1, 1)
    return report


def run_again(job: Job) -> dict[str, Any]:
    """Maps half of the tracks, with another seed, by the attempt that came out best; leaves `SECOND` beside the model.

    Features and matches are those of the first run; the lens is the one it ended with.
    """
    folder, watch = Path(job.folder), Watch()
    report = earlier(folder)
    best = report["best"]
    attempt = next(a for a in ladder(len(job.frames), job.sift) if a.name == best["attempt"])
    database, chosen = folder / f"features_{attempt.peak_threshold:g}.db", folder / "mapping.db"
    spared(database, chosen, SECOND_SPARED, job.seed + 1)
    again = replace(job, seed=job.seed + 1)
    lens, limit = lens_of(best), None if job.seconds is None else job.seconds / 2
    result = mapped(again, attempt, lens, chosen, folder / "images", folder / "scratch", limit, tell)
    shutil.rmtree(folder / SECOND, ignore_errors=True)
    if result.model is not None:
        result, _ = right_way_round(again, result, chosen, folder / "images", folder / "scratch")
        assert result.model is not None
        write_model(finished(job, result.model), folder / SECOND)
    watch.lap("second run")
    for key, laps in (("seconds", watch.laps), ("cpu_seconds", watch.cpu_laps)):
        report[key] |= laps
    report["finished"] = True
    write_text(folder / REPORT, json.dumps(report, indent=1))
    tell("done", 1, 1)
    return report


def lens_of(best: dict[str, Any]) -> Lens:
    """The lens that the best attempt of a report started from; JSON has no tuples."""
    return Lens(**best["lens"] | {"numbers": tuple(best["lens"]["numbers"])})


def earlier(folder: Path) -> dict[str, Any]:
    """The report of a run of the same job that was killed, or a new one."""
    if (folder / REPORT).is_file():
        return json.loads((folder / REPORT).read_text("utf-8"))
    return {
        "tried": 0,
        "matching_effort": {},
        "out_of_time": False,
        "attempts": [],
        "best": None,
        "support": asdict(MatchSupport()),
        "seconds": {},
        "cpu_seconds": {},
        "finished": False,
    }


def matched(job: Job, attempt: Attempt, images: Path, masks: Path, watch: "Watch") -> tuple[Path, MatchSupport]:
    """The database with the attempt's features and matches."""
    database = Path(job.folder) / f"features_{attempt.peak_threshold:g}.db"
    detect(job, images, masks, database, attempt.peak_threshold, tell)
    watch.lap("features")
    match(job, database, attempt.pairs, masks, tell)
    watch.lap("matching")
    return database, support(job, database)


def attempted(
    job: Job,
    attempt: Attempt,
    lens: Lens,
    database: Path,
    seen: MatchSupport,
    before: dict[str, Any] | None,
    seconds: float | None,
    watch: "Watch",
) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """One mapping: its row in the report, and what is to be kept of it if it is better than what there was before."""
    folder, began = Path(job.folder), time.monotonic()
    share = job.held_out if seen.matches_per_pair >= LEAST_MATCHES else 0.0
    chosen = folder / "mapping.db"
    hidden = spared(database, chosen, share, job.seed)
    images, scratch = folder / "images", folder / "scratch"
    result = mapped(job, attempt, lens, chosen, images, scratch, seconds, tell)
    size, fault = result.size, result.ran_away
    better = None
    if before is not None and lens.guessed_fisheye and result.model is not None:
        better, fault = kept_if_better(job, attempt, result, database, chosen, hidden, before)
    elif size > (Size() if before is None else Size(*before["size"])):
        better, fault = kept(job, attempt, result, database, hidden_from=chosen, hidden=hidden)
    watch.lap("mapping")
    row = attempt.figures() | {
        "lens": asdict(lens),
        "registered": size.registered,
        "points": size.points,
        "observations": size.observations,
        "held_out_matches": len(hidden),
        "refined_focal_px": better["camera"]["focal_px"] if better else None,
        "lens_ran_away": fault,
        "seconds": round(time.monotonic() - began, 2),
    }
    return row, better


def kept(
    job: Job, attempt: Attempt, result: Mapped, database: Path, hidden_from: Path, hidden
) -> tuple[dict[str, Any] | None, str]:
    """Turns the model the right way round, writes it with its witnesses, and returns its figures.

    Where the lens runs away on the last steps, it stays what it was before them; where it had run away by then, nothing
    is kept.

    Returns:
        The figures, or None; and what was wrong with the lens, in words.
    """
    folder = Path(job.folder)
    result, choice = right_way_round(job, result, hidden_from, folder / "images", folder / "scratch")
    assert result.model is not None
    size = result.size
    free_lens = not result.lens.fixed
    if free_lens and (fault := runaway(job, result.model)):
        return None, fault
    before, fault = copy.deepcopy(result.model) if free_lens else None, ""
    refined = refine(job, result.model, folder / "images", free_poses=True, free_lens=free_lens)
    if before is not None and (fault := runaway(job, result.model)):
        result = replace(result, model=before)
        refined = refine(job, before, folder / "images", free_poses=True, free_lens=False)
    if len(hidden):
        assert result.model is not None
        write_held_out(folder / "held_out_matches.npz", hidden, result.model, job)
        full = folder / "full.db"
        spared(database, full, 0.0, job.seed)
        use_lens(full, job, result.lens)  # that of the first lens that was tried may be of another model
        result = replace(result, model=with_hidden_tracks(job, result, full, folder / "images", folder / "scratch"))
        full.unlink()
        assert result.model is not None
        refine(job, result.model, folder / "images", refined.done, free_poses=False, free_lens=False)
    else:
        (folder / "held_out_matches.npz").unlink(missing_ok=True)
    assert result.model is not None
    model = finished(job, result.model)
    write_model(model, folder / "model")
    camera = next(iter(model.cameras.values()))
    found = {
        "attempt": attempt.name,
        "size": [size.registered, size.observations, size.points],
        "lens": asdict(result.lens),
        "depth_order": choice.figures(),
        "found_again_share": refined.found_again,
        "two_depths_share": refined.given_up,
        "points": model.num_points3D(),
        "observations": model.compute_num_observations(),
        "mean_track_length": model.compute_mean_track_length(),
        "mean_reprojection_px": model.compute_mean_reprojection_error(),
        "camera": {
            "model": camera.model_name,
            "numbers": camera.params.tolist(),
            "focal_px": camera.mean_focal_length(),
        },
    }
    return found, fault


def kept_if_better(
    job: Job, attempt: Attempt, result: Mapped, database: Path, hidden_from: Path, hidden, before: dict[str, Any]
) -> tuple[dict[str, Any] | None, str]:
    """`kept`, of a model with a lens of another kind than the one before it: only where it fits better once refined.

    Counts do not tell: a wrong lens that bends the scene to it may keep more observations than the right one.
    """
    earlier_size = Size(*before["size"])
    if not result.size.comparable(earlier_size):
        return None, ""
    folder = Path(job.folder)
    spare, places = folder / "spare", (folder / "model", folder / "held_out_matches.npz")
    shutil.rmtree(spare, ignore_errors=True)
    spare.mkdir()
    for place in places:
        if place.exists():
            shutil.move(place, spare / place.name)
    found, fault = kept(job, attempt, result, database, hidden_from, hidden)
    more = result.size.registered > earlier_size.registered
    if found is not None and (more or found["mean_reprojection_px"] < CLEAR_GAIN * before["mean_reprojection_px"]):
        shutil.rmtree(spare)
        return found, fault
    for place in places:
        shutil.rmtree(place) if place.is_dir() else place.unlink(missing_ok=True)
        if (spare / place.name).exists():
            shutil.move(spare / place.name, place)
    shutil.rmtree(spare)
    return None, fault


class Watch:
    """Seconds of clock and processor by stage."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self.cpu_laps: dict[str, float] = {}
        self.last, self.last_cpu = time.monotonic(), time.process_time()

    def lap(self, stage: str) -> None:
        """Counts the time since the last lap to a stage."""
        now, now_cpu = time.monotonic(), time.process_time()
        self.laps[stage] = self.laps.get(stage, 0.0) + now - self.last
        self.cpu_laps[stage] = self.cpu_laps.get(stage, 0.0) + now_cpu - self.last_cpu
        self.last, self.last_cpu = now, now_cpu


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
