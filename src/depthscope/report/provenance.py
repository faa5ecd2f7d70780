"""How a case was made: commands, versions, inputs with their hashes, durations."""

import shlex
from dataclasses import dataclass

from depthscope.report.folder import STAGES, CaseFolder, Results
from depthscope.report.markup import Figure, Part, duration


@dataclass(frozen=True)
class Record:
    """How one stage was made.

    Attributes:
        title: The stage, and what it is.
        command: The command line, or "".
        rows: Name and value of everything else that is known.
        inputs: Path and SHA-256 of the inputs.
        options: The options, as indented lines.
    """

    title: str
    command: str
    rows: tuple[tuple[str, Part], ...]
    inputs: tuple[tuple[str, str], ...]
    options: str


def records(case: CaseFolder) -> tuple[Record, ...]:
    """The records of every stage that left one, in the order of the method."""
    of_clips = [r for clip in case.clips if clip.name for r in (clip.sequence, clip.prediction, clip.surface)]
    stages = (*case.stages.values(), *of_clips)
    return tuple(_record(case, results) for results in stages if results or results.provenance)


def _record(case: CaseFolder, results: Results) -> Record:
    found = results.provenance
    rows: list[tuple[str, Part]] = [("Duration", duration(_seconds(case, results)))]
    rows += [
        (title, str(found[key])) for title, key in (("Finished", "finished"), ("Machine", "machine")) if found.get(key)
    ]
    versions = found.get("versions") or results.get("versions")
    if isinstance(versions, dict):
        rows.append(("Versions", ", ".join(f"{name} {number}" for name, number in versions.items())))
    command, inputs, options = found.get("command"), found.get("inputs"), found.get("options")
    return Record(
        f"{results.name}: {STAGES.get(results.name.split('/')[0], '')}",
        shlex.join(map(str, command)) if isinstance(command, list) else "",
        tuple((name, value) for name, value in rows if value is not None),
        tuple((str(name), str(digest)) for name, digest in inputs.items()) if isinstance(inputs, dict) else (),
        _lines(options) if isinstance(options, dict) and options else "",
    )


def _seconds(case: CaseFolder, results: Results) -> Figure | None:
    """Of the whole stage where the case recorded it, else of its command."""
    recorded = case.record.get(results.name)
    value = recorded.get("seconds") if isinstance(recorded, dict) else None
    if isinstance(value, int | float) and not isinstance(value, bool):
        return Figure(value, "case.json", (results.name, "seconds"))
    value = results.provenance.get("seconds")
    if isinstance(value, int | float) and not isinstance(value, bool):
        return Figure(value, f"{results.name}/provenance.yaml", ("seconds",))
    return results.figure("seconds")


def _lines(options: dict, indent: str = "") -> str:
    """Options as indented lines."""
    lines = []
    for key, value in options.items():
        if isinstance(value, dict):
            lines += [f"{indent}{key}:", _lines(value, indent + "  ")]
        else:
            lines.append(f"{indent}{key}: {value}")
    return "\n".join(lines)
