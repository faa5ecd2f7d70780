"""From a video to sequences with their verdict."""

import shutil
import time
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cattrs
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from depthscope.errors import BadInputError, NoAnswerError
from depthscope.formats import camera_file, read_sequence, tracks as track_files
from depthscope.inspection import ExpectedError
from depthscope.pipeline.outcomes import UNDECIDED, WORDS, best_outcome
from depthscope.progress import Lines, suggest
from depthscope.reconstruction.clips import Asked, Display, Options, ray_pool, reconstruct_clips
from depthscope.reconstruction.joining import write_maps
from depthscope.reconstruction.learned import LEARNED
from depthscope.reconstruction.learned.networks import check_installed
from depthscope.reconstruction.ways import Features, ways
from depthscope.video import WHOLE, Survey, is_video, open_frames, survey
from depthscope.video.class_masks import read_mask_folder
from depthscope.video.cut import Cut
from depthscope.workspace import (
    content_hash,
    holding,
    telling_write_errors,
    write_provenance,
    write_result,
    writing_folder,
)


def frames_of(path: Path) -> Path:
    """The video or folder of images that an input names; of a folder with ``images`` in it, that one.

    Raises:
        BadInputError: There is nothing that could be frames.
    """
    if not path.exists():
        raise BadInputError(f"{path} does not exist", "a video or a folder of images", "check the path")
    if path.is_file() and not is_video(path):
        raise BadInputError(f"{path} is no video by its name", "a video or a folder of images", "check the path")
    inner = path / "images"
    if path.is_dir() and not inner.is_dir():
        check_frames_alone(path)
    return inner if inner.is_dir() else path


def check_frames_alone(folder: Path) -> None:
    """Refuses a folder of a dataset in which depth and other pictures lie among the frames: all would count as frames.

    Raises:
        BadInputError: It is one.
    """
    from depthscope.formats import c3vd, simcol3d

    for layout, frames in ((c3vd, c3vd.COLOUR), (simcol3d, simcol3d.COLOUR)):
        if layout.recognises(folder) and any(folder.glob(frames)):
            raise BadInputError(
                f"{folder} holds depth and other pictures among its frames ({frames})",
                "a folder of frames alone",
                f"copy the files {frames} into a folder of their own",
            )


def check_frames(tracks: track_files.Tracks, path: Path, source: Path, surveyed: Survey) -> None:
    """Refuses tracks through another video.

    Raises:
        BadInputError: A frame is not one of the video, or a place lies outside of it.
    """
    frames = open_frames(source, surveyed.cut)
    known = {frames.name_of(frame.index) for frame in surveyed.frames}
    unknown = sorted(set(tracks.frames) - known)
    if unknown and (surveyed.cut.whole or known.isdisjoint(tracks.frames)):  # tracks may lead beyond a part
        raise BadInputError(
            f"{path} names {len(unknown)} frames that {source} does not have ({', '.join(unknown[:3])})",
            f"names such as {min(known)}",
            "give the tracks of this very video",
        )
    width, height = surveyed.size_px
    if len(tracks) and ((tracks.places < 0).any() or (tracks.places > [width, height]).any()):
        raise BadInputError(
            f"{path} has places outside of the frame",
            f"0 to {width} and 0 to {height}",
            "give the tracks of this video",
        )


def refuse(out: Path, error: NoAnswerError, inputs: dict[str, str], options: dict[str, Any], seconds: float) -> None:
    """Writes the result of an input that no clip could be taken from."""
    with writing_folder(out, inputs=tuple(Path(name) for name in inputs)) as folder:
        write_provenance(folder, options=options, inputs=inputs, seconds=seconds)
        write_result(
            folder,
            {
                "accepted": False,
                "outcome": "refused",
                "reasons": [str(error)],
                "checks": {},
                "frames": 0,
                "registered": 0,
                "points": 0,
                "mean_track_length": None,
                "mean_reprojection_px": None,
            },
        )


def joined_maps(out: Path, results: list[dict[str, Any]], seed: int, display: Display) -> list[dict[str, Any]]:
    """Joins the accepted clips of a video that see the same places; each map gets a folder beside theirs."""
    for old in out.glob("map_*"):
        shutil.rmtree(old)
    accepted = [read_sequence(out / result["name"]) for result in results if result["accepted"]]
    if len(accepted) < 2:
        return []
    return write_maps(accepted, out, seed, lambda done, total: display.step("maps", "joining clips", done, total))


def summary(
    results: list[dict[str, Any]], surveyed: Survey, seconds: float, maps: list[dict[str, Any]]
) -> dict[str, Any]:
    """``result.json`` of several clips: totals, a row for each, and one for each map, which its clips name."""
    map_of = {name: row["name"] for row in maps for name in row["members"]}
    placed = [result for result in results if result["registered"]]

    def mean(name: str, weight: str) -> float | None:
        total = sum(result[weight] for result in placed)
        return sum(result[name] * result[weight] for result in placed) / total if total else None

    rows = ("name", "accepted", "outcome", "reasons", "expected_error")
    rows = (*rows, "frames", "registered", "points", "camera_source")
    return {
        "accepted": any(result["accepted"] for result in results),
        "outcome": best_outcome(result["outcome"] for result in results),
        "accepted_clips": sum(result["accepted"] for result in results),
        "reasons": [f"{result['name']}: {reason}" for result in results for reason in result["reasons"]],
        "checks": {},
        "frames": sum(result["frames"] for result in results),
        "registered": sum(result["registered"] for result in results),
        "points": sum(result["points"] for result in results),
        "mean_track_length": mean("mean_track_length", "points"),
        "mean_reprojection_px": mean("mean_reprojection_px", "points"),
        "clips": [{key: result.get(key) for key in rows} | {"map": map_of.get(result["name"])} for result in results]
        + [{key: row.get(key) for key in (*rows, "members")} for row in maps],
        "maps": maps,
        "notes": list(surveyed.notes),
        "seconds": seconds,
    }


def expected_error_of(result: dict[str, Any]) -> ExpectedError:
    """The expected error that a clip's ``result.json`` names."""
    stored = result.get("expected_error")
    return ExpectedError(None, None) if stored is None else cattrs.structure(stored, ExpectedError)


def show(console: Console, out: Path, results: list[dict[str, Any]], maps: list[dict[str, Any]]) -> None:
    """Prints what became of each clip, why, and where to go next."""
    for result in results:
        word = WORDS[result["outcome"]]
        place = out if len(results) == 1 else out / result["name"]
        console.print(
            f"{word}: {place}, {result['registered']} of {result['frames']} frames, {result['points']} points",
            emoji=False,
        )
        for reason in result["reasons"]:
            console.print(f"  - {reason}", markup=False)
        if expected := expected_error_of(result).summary:
            console.print(f"  {expected}", markup=False)
        for note in result.get("notes", []):
            console.print(f"  {note}", markup=False)
    if best_outcome(result["outcome"] for result in results) == "cannot tell":
        console.print(UNDECIDED, markup=False)
    joined = {name for row in maps for name in row["members"]}
    for row in maps:
        console.print(
            f"one map of {', '.join(row['members'])}: {out / row['name']}, {row['registered']} frames, "
            f"{row['points']} points",
            markup=False,
        )
    usable = [out / row["name"] for row in maps]
    usable += [
        out if len(results) == 1 else out / r["name"] for r in results if r["accepted"] and r["name"] not in joined
    ]
    if usable:
        suggest(f"depthscope train {' '.join(map(str, usable))} --out RUN")


class Bars(Display):
    """One progress display for the survey and all clips; plain lines where there is no terminal.

    Args:
        console: Where to.
    """

    def __init__(self, console: Console) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self.console, self.rows = console, dict[str, TaskID]()
        self.lines = Lines(shown=not console.is_terminal)
        self.progress = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)

    def __enter__(self) -> "Bars":
        self.progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.progress.stop()

    def surveying(self, done: int, total: int | None) -> None:
        """How far the survey is."""
        self._set("survey", "looking at frames", done, total)

    def step(self, clip: str, stage: str, done: int, total: int) -> None:
        """How far a clip is."""
        self._set(clip, f"{clip}: {stage}", done, total)

    def finished(self, clip: str, result: dict[str, Any]) -> None:
        """A clip has ended."""
        if clip in self.rows:
            self.progress.remove_task(self.rows.pop(clip))
        if not self.console.is_terminal:
            print(f"{clip}: {result['registered']} of {result['frames']} frames placed", flush=True)

    def _set(self, row: str, text: str, done: int, total: int | None) -> None:
        if row not in self.rows:
            self.rows[row] = self.progress.add_task(text, total=total)
        self.progress.update(self.rows[row], description=text, completed=done, total=total)
        self.lines.update(text, done, total)


def reconstruct_folder(
    source: Path,
    out: Path,
    camera: Path | None = None,
    tracks: Path | None = None,
    least_confidence: float = 0.5,
    masks: Path | None = None,
    seed: int = 0,
    workers: int = 0,
    threads: int = 0,
    minutes: float = 0.0,
    memory_gb: float = 0.0,
    ray: str = "",
    features: Features = "auto",
    part: Cut = WHOLE,
) -> int:
    """Structure from motion on a video or a folder of images, as a folder.

    The parameters are those of ``depthscope reconstruct``.
    """
    began = time.monotonic()
    options = Options(seed, workers, threads, minutes, memory_gb, features)
    source = frames_of(Path(source))
    for way in ways(features):
        if way.learned:
            check_installed(LEARNED[way.learned])
    given = None if camera is None else camera_file.read(camera)
    followed = None if tracks is None else track_files.read(tracks)
    named = None if masks is None else read_mask_folder(masks)
    if not 0 <= least_confidence <= 1:
        raise BadInputError(f"--least-confidence {least_confidence:g}", "0 to 1")
    sources = [path for path in (source, camera, tracks, masks) if path is not None]
    console = Console(soft_wrap=True, highlight=False)
    with ExitStack() as stack:
        stack.enter_context(telling_write_errors(out))
        stack.enter_context(holding(out, sources))
        inputs = {str(path): content_hash(path) for path in sources}
        asked_for = asdict(options) | {"camera": camera, "masks": masks} | part.options
        display = stack.enter_context(Bars(console))
        try:
            surveyed = survey(source, progress=display.surveying, cut=part)
        except NoAnswerError as error:
            refuse(out, error, inputs, asked_for, time.monotonic() - began)
            raise
        if followed is not None and tracks is not None:
            check_frames(followed, tracks, source, surveyed)
        if named is not None:
            frames = open_frames(source, part)
            keyframes = (frames.name_of(index) for clip in surveyed.clips for index in clip.keyframes)
            named.check_complete(keyframes, surveyed.size_px)
        name = "" if camera is None else str(camera)
        asked = Asked(source, out, given, name, surveyed, options, inputs, followed, least_confidence, named)
        pool = stack.enter_context(ray_pool(ray)) if ray else None
        results = reconstruct_clips(asked, pool, display)
        seconds = time.monotonic() - began
        if len(results) > 1:
            write_provenance(out, options=asked_for, inputs=inputs, seconds=seconds)
            write_result(out, summary(results, surveyed, seconds, []))  # whatever becomes of joining
            maps = joined_maps(out, results, seed, display)
            write_result(out, summary(results, surveyed, seconds, maps))
        else:
            maps = []
    show(console, out, results, maps)
    return 0 if any(result["accepted"] for result in results) else NoAnswerError.exit_code
