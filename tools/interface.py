"""Writes ``src/depthscope/cli/interface.json``: all options of all commands, as their parsers describe them.

python tools/interface.py             writes it (``make interface``)
python tools/interface.py --check     ends with 1 where it is out of date
"""

import argparse
import importlib
import json
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn
from unittest.mock import patch

import tyro

from depthscope.cli import VERBS, run
from depthscope.cli.pages import INTERFACE
from depthscope.pretext import SYSTEMS

PREDICTS = ("audio-visual", "colorization", "deepcluster", "error-boosting", "exemplar", "video-colorization")
"""Pretext tasks whose runs ``predict`` applies with options of their own."""

NO_DEFAULT = re.compile(r"\s*\((required|default: (None|''|))\)$")
"""Behind a help text, where it says nothing that the usage line does not."""


class Parsed(Exception):
    """Stops a command when its parser is known."""

    def __init__(self, call: Any, options: dict[str, Any]) -> None:
        self.call, self.options = call, options


@contextmanager
def recorded() -> Iterator[None]:
    """Within it, a command stops where it would parse its arguments."""

    def record(call: Any, **options: Any) -> NoReturn:
        raise Parsed(call, options)

    with patch.object(tyro, "cli", record):
        yield


def parser_of(verb: str, words: list[str]) -> argparse.ArgumentParser:
    """The parser of a command."""
    try:
        with recorded():
            run(verb, words)
    except Parsed as found:
        options = {key: found.options.get(key) for key in ("prog", "config", "registry")}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # the only way to a list of what tyro parses
            return tyro.extras.get_parser(found.call, **options)
    raise AssertionError(f"{verb} {words} parses nothing")


def described(parser: argparse.ArgumentParser) -> dict[str, Any]:
    """Description, groups and options of a parser."""
    groups = []
    for group in parser._action_groups:
        options = [_option(action) for action in group._group_actions if "--help" not in action.option_strings]
        if options:
            title = "inputs" if group.title == "positional arguments" else group.title
            groups.append({"title": title, "description": _plain(group.description), "options": options})
    return {"description": _plain(parser.description), "groups": groups}


def _option(action: argparse.Action) -> dict[str, Any]:
    text = _plain(action.help if isinstance(action.help, str) else "") or ""
    metavar = action.metavar if isinstance(action.metavar, str) else None
    several = not action.option_strings and (metavar or "").endswith("...")  # which tyro may take none of
    required = several or action.required or text.endswith("(required)")
    # Aliases come first: they are old names, which work and are not shown. A switch has a second name with "no-" in it.
    negative = [flag for flag in action.option_strings if flag.startswith("--no-") or ".no-" in flag]
    positive = [flag for flag in action.option_strings if flag not in negative]
    pair = [*positive[-1:], *negative[-1:]]
    if action.nargs == 0 and action.default is False:
        pair, text = positive[-1:], text.removesuffix("(default: False)").strip()
    choices = None if action.choices is None else [str(choice) for choice in action.choices]
    return {
        "flags": pair,
        "name": str(action.dest),
        "metavar": "{" + ",".join(choices) + "}" if choices else metavar,
        "help": NO_DEFAULT.sub("", text),
        "choices": choices,
        "nargs": 0 if action.nargs == 0 else None,
        "required": bool(required),
    }


def _plain(text: str | None) -> str | None:
    """Paragraphs of one line each, without reStructuredText's double backquotes."""
    if text is None:
        return None
    return "\n\n".join(" ".join(part.split()) for part in text.replace("``", "'").strip().split("\n\n"))


def interface() -> dict[str, dict[str, Any]]:
    """All commands by name."""
    found = {}
    for verb in VERBS:
        if verb == "pretrain":
            for task in (*SYSTEMS, "depth"):
                found[f"{verb} {task}"] = described(parser_of(verb, [task]))
            continue
        found[verb] = described(parser_of(verb, []))
        if verb == "predict":
            for task in PREDICTS:
                name = task.replace("-", "_")
                module = importlib.import_module(f"depthscope.commands.uses.{name}")
                with patch("depthscope.commands.predict.verb_of", lambda _, m=module, n=name: getattr(m, n)):
                    found[f"{verb} {task}"] = described(parser_of(verb, []))
    return found


def text() -> str:
    """What the file should hold."""
    return json.dumps(interface(), indent=1) + "\n"


def main() -> int:
    """Writes or checks."""
    if sys.argv[1:] == ["--check"]:
        return int(INTERFACE.read_text("utf-8") != text())
    INTERFACE.write_text(text())
    return 0


if __name__ == "__main__":
    sys.exit(main())
