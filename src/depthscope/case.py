"""A case folder: stages in order, each done once, redone when what it depends on changes, resumed when interrupted.

Every stage has a key: a hash of its options, of the files it reads and of the keys of the stages before it.
``case.json`` holds the keys of what was done, and ``log.txt`` grows with what is being done. A stage whose key is there
and whose folder has its ``result.json`` is up to date.
"""

import hashlib
import json
import time
from collections.abc import Callable, Sequence as Rows
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from depthscope.errors import BadInputError
from depthscope.memory import keeping
from depthscope.progress import LOG_FILE, log, logging_to
from depthscope.reading import json_of
from depthscope.workspace import content_hash, empty, holding, telling_write_errors, write_text

RECORD = "case.json"

MINUTE_S = 60


@dataclass(frozen=True)
class Stage:
    """One step of the pipeline.

    Attributes:
        name: Of its folder in the case.
        title: What it does, in words.
        work: Does it; is given its folder, and whether it goes on with what an interrupted one left there.
        options: All that decides its result beside its inputs, in terms of JSON.
        files: Files and folders outside the case that it reads.
        after: Names of the stages whose results it reads.
    """

    name: str
    title: str
    work: Callable[[Path, bool], None]
    options: dict[str, Any] = field(default_factory=dict)
    files: tuple[Path, ...] = ()
    after: tuple[str, ...] = ()


@dataclass(frozen=True)
class Walked:
    """What was done.

    Attributes:
        done: Names of the stages that were done now.
        kept: Names of those that were up to date.
        seconds: Of the stages that were done now, by name.
    """

    done: tuple[str, ...]
    kept: tuple[str, ...]
    seconds: dict[str, float]


class Case:
    """A folder of stages.

    Args:
        folder: Made if it is not there.

    Raises:
        BadInputError: It holds something that is not a case.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        if self.folder.exists() and not self.folder.is_dir():
            raise BadInputError(f"{folder} is a file", "a folder to work in", "choose another --out")
        there = self.folder.is_dir() and any(self.folder.iterdir())
        if there and not (self.folder / RECORD).is_file():
            raise BadInputError(f"{folder} exists and is no case", "a new or empty folder", "choose another --out")
        self.record = self._read()

    def _read(self) -> dict[str, dict[str, Any]]:
        """What was done."""
        if not (self.folder / RECORD).is_file():
            return {}
        try:
            found = json_of(self.folder / RECORD, "the record of a case")
        except BadInputError as error:
            raise BadInputError(
                f"{self.folder / RECORD} is damaged ({error.found})",
                "the record of a case",
                "remove it: all stages are done again",
            ) from error
        return {name: stage for name, stage in found.items() if isinstance(stage, dict)}

    def keys(self, stages: Rows[Stage]) -> dict[str, str]:
        """The key of each stage."""
        found: dict[str, str] = {}
        hashes: dict[Path, str] = {}
        for stage in stages:
            for path in stage.files:
                if path not in hashes:
                    hashes[path] = content_hash(path)
            parts = [stage.name, stage.options, [hashes[p] for p in stage.files], [found[name] for name in stage.after]]
            found[stage.name] = hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()
        return found

    def is_done(self, stage: Stage, key: str) -> bool:
        """Whether the stage is up to date."""
        there = (self.folder / stage.name / "result.json").is_file()
        return there and self.record.get(stage.name, {}).get("done") == key

    def walk(self, stages: Rows[Stage], tell: Callable[[str], None] = print) -> Walked:
        """Does what is missing or stale, in order; an interruption loses at most the stage it fell into.

        Args:
            stages: In order; each names only earlier ones in `after`.
            tell: Is given a line for each stage.

        Raises:
            DepthscopeError: What a stage raises; those before it stay done.
        """
        outside = [path for stage in stages for path in stage.files]
        with telling_write_errors(self.folder), holding(self.folder, outside), keeping():
            self.record = self._read()  # another process may have worked here since
            fresh = not any(self.folder.iterdir())
            try:
                return self._walk(stages, self.keys(stages), tell)
            except BadInputError:
                if fresh and not any(path.is_dir() for path in self.folder.iterdir()):
                    empty(self.folder)  # nothing was done: leave no trace
                raise

    def _walk(self, stages: Rows[Stage], keys: dict[str, str], tell: Callable[[str], None]) -> Walked:
        with logging_to(self.folder / LOG_FILE):
            return self._do(stages, keys, tell)

    def _do(self, stages: Rows[Stage], keys: dict[str, str], tell: Callable[[str], None]) -> Walked:
        seconds: dict[str, float] = {}
        for number, stage in enumerate(stages, 1):
            head = f"[{number}/{len(stages)}] {stage.title}"
            if self.is_done(stage, keys[stage.name]):
                tell(f"{head}: up to date")
                continue
            place = self.folder / stage.name
            same = self.record.get(stage.name, {}).get("started") == keys[stage.name]
            resumed = same and place.is_dir() and any(place.iterdir())
            with holding(place):
                if not same:
                    empty(place)
                tell(f"{head}{self._expected(stage)}" + (" (goes on)" if resumed else ""))
                self._note(stage, started=keys[stage.name])
                log(f"{head}: begins" + (" again, and goes on" if resumed else ""))
                start = time.perf_counter()
                try:
                    stage.work(place, resumed)
                except BaseException as error:
                    log(f"{head}: ended after {time.perf_counter() - start:.0f} s by {type(error).__name__}: {error}")
                    raise
            seconds[stage.name] = time.perf_counter() - start
            log(f"{head}: done in {seconds[stage.name]:.1f} s")
            self._note(stage, started=keys[stage.name], done=keys[stage.name], seconds=round(seconds[stage.name], 1))
        kept = tuple(stage.name for stage in stages if stage.name not in seconds)
        return Walked(tuple(seconds), kept, seconds)

    def _expected(self, stage: Stage) -> str:
        """How long it took last time, if there was one."""
        before = self.record.get(stage.name, {}).get("seconds")
        if before is None:
            return ""
        return f", {before:.0f} s last time" if before < 2 * MINUTE_S else f", {before / MINUTE_S:.0f} min last time"

    def _note(self, stage: Stage, **values: Any) -> None:
        """Writes the record; an older duration stays until there is a new one."""
        seconds = {"seconds": s} if (s := self.record.get(stage.name, {}).get("seconds")) is not None else {}
        self.record[stage.name] = {**seconds, **values}
        write_text(self.folder / RECORD, json.dumps(self.record, indent=2) + "\n")
