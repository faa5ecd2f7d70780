"""Where the words of a command go: ``--quiet`` drops them, ``--json`` leaves standard output to the result."""

import json
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, redirect_stdout
from pathlib import Path
from typing import Any

GLOBAL = ("--verbose", "--quiet", "--json")
"""Options that every command takes, anywhere on its line."""

CASES = ("run", "demo")
"""Commands whose folder holds one result for each stage."""


@contextmanager
def words_to(stream: Any) -> Iterator[None]:
    """Sends what is printed, also by child processes, to another stream, or nowhere if it is None."""
    with open(os.devnull, "w") if stream is None else nullcontext(stream) as target:
        try:
            output, other = sys.stdout.fileno(), target.fileno()
        except (OSError, ValueError, AttributeError):  # streams of a test or a notebook: no file behind them
            with redirect_stdout(target):
                yield
            return
        sys.stdout.flush()
        before = os.dup(output)
        try:
            os.dup2(other, output)
            with redirect_stdout(target):
                yield
        finally:
            target.flush()
            os.dup2(before, output)
            os.close(before)


@contextmanager
def result_folder(verb: str, arguments: list[str]) -> Iterator[tuple[list[str], Path | None]]:
    """The arguments to run with, and the folder whose result is printed; a temporary one for ``inspect`` without --out.

    Args:
        verb: Of the command.
        arguments: The others.
    """
    out = value_of("--out", arguments)
    words = positionals(arguments)
    if out is None and verb == "inspect":
        with tempfile.TemporaryDirectory() as temporary:
            place = Path(temporary) / "verdict"
            yield [*arguments, "--out", str(place)], place
        return
    if out is None:
        match verb, words:
            case "demo", _:
                out = "depthscope-demo"
            case "convert", [_, destination, *_]:
                out = destination
            case "report", [case, *_]:
                out = f"{case}/report"
    yield arguments, None if out is None else Path(out)


def value_of(flag: str, arguments: Sequence[str]) -> str | None:
    """The value of an option, as ``--out DIR`` or ``--out=DIR``; the last one counts."""
    found = None
    for number, argument in enumerate(arguments):
        if argument == flag and number + 1 < len(arguments):
            found = arguments[number + 1]
        elif argument.startswith(f"{flag}="):
            found = argument.split("=", 1)[1]
    return found


def positionals(arguments: Sequence[str]) -> list[str]:
    """The words before the first option."""
    found = []
    for argument in arguments:
        if argument.startswith("-"):
            break
        found.append(argument)
    return found


def result_of(verb: str, place: Path | None) -> Any:
    """What a command found: its ``result.json``, or of a case those of its stages by name.

    What writes a file and no ``result.json`` is told by the path of that file.
    """
    if place is None:
        return {}
    if verb in CASES:
        return {path.parent.name: _read(path) for path in sorted(place.glob("*/result.json"))}
    path = place / "result.json"
    return _read(path) if path.is_file() else {"path": str(place)}


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def print_json(value: Any) -> None:
    """Prints a value as JSON."""
    print(json.dumps(value, indent=2))
