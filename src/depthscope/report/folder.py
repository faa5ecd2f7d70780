"""What lies in the folder of a case: results, provenance and tables of every stage, with what is missing or damaged."""

import csv
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from depthscope.errors import BadInputError
from depthscope.reading import json_of, reader, text_of, yaml_of
from depthscope.report.markup import Figure

STAGES = {
    "patient": "a simulated patient, whose truth is known",
    "sequence": "structure from motion and the verdict on it",
    "run": "training of the network",
    "prediction": "depth maps",
    "surface": "the surface",
    "registration": "registration to a CT",
    "depth_error": "depth against the truth",
    "surface_error": "surface and path against the truth",
}
"""Folders of a case in their order, and what they hold."""

COMMANDS = {
    "sequence": "depthscope reconstruct VIDEO --out CASE/sequence",
    "run": "depthscope train CASE/sequence --out CASE/run",
    "prediction": "depthscope predict CASE/run CASE/sequence --out CASE/prediction --sequence CASE/sequence",
    "surface": "depthscope fuse CASE/prediction CASE/sequence --out CASE/surface",
    "registration": "depthscope register CASE/surface CT --sequence CASE/sequence --out CASE/registration",
    "depth_error": "depthscope evaluate CASE/prediction TRUTH --out CASE/depth_error",
}
"""How to make what is missing."""


@dataclass(frozen=True)
class Results:
    """The files of one result folder.

    Attributes:
        place: The folder.
        name: Its path from the case.
        content: Of ``result.json``, empty where there is none.
        provenance: Of ``provenance.yaml``, empty where there is none.
        problems: Files that could not be read.
    """

    place: Path
    name: str
    content: dict[str, Any] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)
    problems: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """Whether there are figures."""
        return bool(self.content)

    def get(self, *path: str) -> Any:
        """A value of ``result.json``, or None."""
        value: Any = self.content
        for key in path:
            value = value.get(key) if isinstance(value, dict) else None
        return value

    def figure(self, *path: str) -> Figure | None:
        """A number of ``result.json``, or None."""
        value = self.get(*path)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            return None
        return Figure(value, f"{self.name}/result.json", path)

    def said(self, key: str, otherwise: str = "") -> str:
        """A word of ``result.json``."""
        value = self.get(key)
        return value if isinstance(value, str) else otherwise

    def lines(self, key: str) -> list[str]:
        """Sentences of ``result.json``."""
        value = self.get(key)
        return [str(line) for line in value] if isinstance(value, list) else []

    def table(self, name: str) -> dict[str, list[str]]:
        """The columns of a CSV file; none where it is missing or damaged."""
        try:
            rows = list(csv.DictReader(text_of(self.place / name, "a table").splitlines()))
        except (BadInputError, csv.Error):
            return {}
        return {key: [row.get(key) or "" for row in rows] for key in (rows[0] if rows else {}) if key}


@dataclass(frozen=True)
class ClipResults:
    """What was made of one clip.

    Attributes:
        name: Of its folders, "" where the case has one clip only.
        sequence, prediction, surface, registration: Its results; without content where there are none.
    """

    name: str
    sequence: Results
    prediction: Results
    surface: Results
    registration: Results

    @property
    def scale(self) -> Figure | None:
        """Millimetres to a unit of the reconstruction by a registration that was not refused, or None."""
        return self.registration.figure("scale") if self.registration.get("ambiguous") is False else None


@dataclass(frozen=True)
class CaseFolder:
    """A case as it lies on disk.

    Attributes:
        place: The folder.
        clips: Its clips, at least one.
        stages: Every stage's own results by the name of its folder.
        record: Of ``case.json``.
    """

    place: Path
    clips: tuple[ClipResults, ...]
    stages: dict[str, Results]
    record: dict[str, Any]

    @property
    def name(self) -> str:
        """What the case is called."""
        return self.place.resolve().name

    @property
    def missing(self) -> list[str]:
        """Stages that have left nothing; truth and CT are missing only where there could be one."""
        there = {name for name, results in self.stages.items() if results}
        for clip in self.clips:
            there |= {name for name in ("prediction", "surface", "registration") if getattr(clip, name)}
        expected = [name for name in STAGES if name not in ("patient", "depth_error", "surface_error")]
        truths = [name for name in ("depth_error", "surface_error") if "patient" in there]
        return [name for name in [*expected, *truths] if name not in there]


@reader("a case that depthscope run or demo wrote", "check the path")
def open_case(place: Path) -> CaseFolder:
    """Reads the results of a case.

    Args:
        place: Its folder.

    Raises:
        BadInputError: It is no folder, or no stage has left anything in it.
    """
    place = Path(place)
    if not place.is_dir():
        raise BadInputError(f"{place} is no folder", "a case that depthscope run or demo wrote", "check the path")
    stages = {name: open_results(place / name, name) for name in STAGES}
    clips = _clips(place, stages)
    if not any(stages.values()) and not any(clip.sequence or clip.prediction or clip.surface for clip in clips):
        raise BadInputError(
            f"{place} holds no results", f"a case with any of {', '.join(STAGES)}", "give the --out of depthscope run"
        )
    record, _ = _read(place / "case.json", json_of)
    return CaseFolder(place, clips, stages, record)


def open_results(place: Path, name: str) -> Results:
    """Reads a result folder; what cannot be read is named, not raised."""
    content, damaged = _read(place / "result.json", json_of)
    provenance, torn = _read(place / "provenance.yaml", yaml_of)
    problems = [
        f"{name}/{file} is damaged" for file, bad in (("result.json", damaged), ("provenance.yaml", torn)) if bad
    ]
    if place.is_dir() and not content and not damaged:
        problems.append(f"{name} has no result.json: this stage has not ended")
    return Results(place, name, content, provenance, tuple(problems))


def _clips(place: Path, stages: dict[str, Results]) -> tuple[ClipResults, ...]:
    listed = stages["sequence"].get("clips")
    rows = [row for row in listed if isinstance(row, dict) and "name" in row] if listed else []
    names = [str(row["name"]) for row in rows if not row.get("map")]  # clips of a map are shown as that
    names = [name for name in names if Path(name).name == name]  # a name is never a way out of the case
    if not names:
        of_clip = (stages[stage] for stage in ("sequence", "prediction", "surface", "registration"))
        return (ClipResults("", *of_clip),)
    return tuple(_clip(place, name) for name in names)


def _clip(place: Path, name: str) -> ClipResults:
    parts = ("sequence", "prediction", "surface", "registration")
    return ClipResults(name, *(open_results(place / part / name, f"{part}/{name}") for part in parts))


def _read(path: Path, parse: Callable[[Path, str], Any]) -> tuple[dict[str, Any], bool]:
    """The content of a file, and whether it is there but no record."""
    if not path.is_file():
        return {}, False
    try:
        return parse(path, "what a stage has left"), False
    except BadInputError:
        return {}, True
