"""How a case was made: commands, versions, inputs with their hashes, durations."""

import shlex

from depthscope.report.folder import STAGES, CaseFolder, Results
from depthscope.report.markup import Figure, Html, Part, duration, element, joined
from depthscope.report.tables import table


def provenance(case: CaseFolder) -> Html:
    """A folded part for every stage that left a record."""
    found = [results for clip in case.clips if clip.name for results in (clip.sequence, clip.prediction, clip.surface)]
    parts = [_stage(case, results) for results in (*case.stages.values(), *found) if results or results.provenance]
    return joined(*parts)


def _stage(case: CaseFolder, results: Results) -> Html:
    said = results.provenance
    rows: list[tuple[str, Part]] = []
    command = said.get("command")
    if isinstance(command, list):
        rows.append(("command", element("code", shlex.join(map(str, command)))))
    seconds = _seconds(case, results)
    rows.append(("duration", duration(seconds)))
    rows += [(key, str(said[key])) for key in ("finished", "machine") if said.get(key)]
    versions = said.get("versions") or results.get("versions")
    if isinstance(versions, dict):
        rows.append(("versions", ", ".join(f"{name} {number}" for name, number in versions.items())))
    parts = [element("dt", name) + element("dd", value) for name, value in rows if value is not None]
    inputs = said.get("inputs")
    hashes = (
        table(
            ("input", "SHA-256"),
            [(element("code", str(name)), element("code", str(digest))) for name, digest in inputs.items()],
            "Inputs, by the hash of their content",
            "inputs",
        )
        if isinstance(inputs, dict) and inputs
        else None
    )
    options = said.get("options")
    words = element("pre", element("code", _lines(options))) if isinstance(options, dict) and options else None
    about = STAGES.get(results.name.split("/")[0], "")
    summary = element("summary", f"{results.name}: {about}")
    return element("details", summary, element("dl", *map(Html, parts)), hashes, words)


def _seconds(case: CaseFolder, results: Results) -> Figure | None:
    """Of the whole stage where the case recorded it, else of its command."""
    recorded = case.record.get(results.name)
    value = recorded.get("seconds") if isinstance(recorded, dict) else None
    if isinstance(value, int | float) and not isinstance(value, bool):
        return Figure(value, "case.json", (results.name, "seconds"))
    told = results.provenance.get("seconds")
    if isinstance(told, int | float) and not isinstance(told, bool):
        return Figure(told, f"{results.name}/provenance.yaml", ("seconds",))
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
