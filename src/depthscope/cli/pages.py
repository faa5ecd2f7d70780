"""Help pages and shell completion, from a description of all options that is written ahead of time.

The option dataclasses import torch, which takes seconds; ``interface.json`` holds what their parsers say, so that help
is there at once. ``tools/interface.py`` writes it, and a test compares it with the parsers.
"""

import argparse
import json
import shutil
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from depthscope.cli.examples import EXAMPLES, EXIT_CODES

INTERFACE = Path(__file__).with_name("interface.json")

WIDEST = 100
"""Columns of a help page on a wider terminal."""


@cache
def interface() -> dict[str, dict[str, Any]]:
    """The commands by name (``train``, ``pretrain jigsaw``): description and groups of options of each."""
    return json.loads(INTERFACE.read_text(encoding="utf-8"))


def page_named(arguments: Sequence[str]) -> str | None:
    """The help page that the arguments ask for, or None where it depends on more than the command's name.

    Example:
        >>> page_named(["train", "--help"]).splitlines()[0]
        'usage: depthscope train INPUT... --out PATH [options]'
    """
    *name, last = arguments
    if last not in ("-h", "--help") or " ".join(name) not in interface():
        return None
    return page(" ".join(name))


def page(name: str) -> str:
    """The help page of a command."""
    return parser_of(name).format_help().rstrip()


def parser_of(name: str, into: Any = None, summary: str = "") -> argparse.ArgumentParser:
    """A parser that shows a command's options; values are parsed by the command itself.

    Args:
        name: Of the command, as in `interface`.
        into: What `add_subparsers` gave, to add it there.
        summary: What the command does, in a line.
    """
    told = interface()[name]
    options: dict[str, Any] = {
        "prog": f"depthscope {name}",
        "usage": f"depthscope {usage(name)}",
        "description": told["description"],
        "epilog": epilog(name),
        "formatter_class": Formatter,
        "add_help": False,
    }
    found = (
        argparse.ArgumentParser(**options)
        if into is None
        else into.add_parser(name.split()[-1], help=summary, **options)
    )
    for group in told["groups"]:
        section = found.add_argument_group(group["title"], group["description"])
        for option in group["options"]:
            _add(section, option)
    return found


def _add(section: Any, option: dict[str, Any]) -> None:
    """Adds one option to a group of a parser."""
    help_text = option["help"].replace("%", "%%")
    if option["nargs"] == 0:
        section.add_argument(*option["flags"], action="store_true", help=help_text, dest=option["name"])
        return
    shown: dict[str, Any] = {"help": help_text, "metavar": option["metavar"]}
    if option["choices"]:
        shown["choices"] = option["choices"]
    action = section.add_argument(*(option["flags"] or [option["name"]]), **shown)
    if not option["choices"]:
        action.complete = _files()


@cache
def _files() -> Any:
    """How shtab completes the name of a file; only needed to write a completion script."""
    return {
        "bash": "_shtab_compgen_files",
        "zsh": "_files",
        "tcsh": "f",
        "fish": "(__fish_complete_path (commandline -ct))",
        "powershell": "_shtab_powershell_compgen_files",
    }


class Formatter(argparse.RawDescriptionHelpFormatter):
    """Plain text, at most `WIDEST` columns wide; line ends of descriptions and examples stay."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=28, width=min(shutil.get_terminal_size().columns, WIDEST) - 2)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        """Wraps paragraphs; lines that begin with blanks are examples and tables, and stay as they are."""
        fill = argparse.HelpFormatter._fill_text
        parts = text.split("\n\n")
        kept = [p if p.startswith("  ") or "\n  " in p else fill(self, p, width, indent) for p in parts]
        return "\n\n".join("\n".join(indent + line for line in part.splitlines()) for part in kept)


def usage(name: str) -> str:
    """One line: the inputs, what must be given, and that there is more."""
    words = [name]
    for group in interface()[name]["groups"]:
        for option in group["options"]:
            if not option["flags"]:
                words.append(option["metavar"] if option["required"] else f"[{option['metavar']}]")
    for group in interface()[name]["groups"]:
        for option in group["options"]:
            if option["flags"] and option["required"]:
                words.append(f"{option['flags'][0]} {option['metavar']}".strip())
    return " ".join([*words, "[options]"])


def epilog(name: str) -> str:
    """Examples and exit codes."""
    examples = EXAMPLES.get(name, ())
    lines = ["examples:", *(f"  {line}" for line in examples), ""] if examples else []
    codes = ", ".join(f"{code} {meaning}" for code, meaning in EXIT_CODES.items() if code in (0, 2, 3, 130))
    return "\n".join([*lines, f"exit codes: {codes}", "", "also: --json, --quiet, --verbose (see depthscope --help)"])


def completion(shell: str, verbs: dict[str, str]) -> str:
    """A completion script of the whole program.

    Args:
        shell: bash, zsh, fish, tcsh or powershell.
        verbs: The commands, and what each does.

    Raises:
        BadInputError: Another shell.
    """
    import shtab

    from depthscope.errors import BadInputError

    if shell not in shtab.SUPPORTED_SHELLS:
        raise BadInputError(f"no completion for '{shell}'", f"one of {', '.join(shtab.SUPPORTED_SHELLS)}")
    root = argparse.ArgumentParser("depthscope", add_help=False)
    commands = root.add_subparsers()
    for verb, summary in verbs.items():
        tasks = [name for name in interface() if name.startswith(f"{verb} ")]
        if verb in interface():
            parser_of(verb, commands, summary)
        elif tasks:
            inner = commands.add_parser(verb, help=summary, add_help=False).add_subparsers()
            for task in tasks:
                parser_of(task, inner, interface()[task]["description"].split(".")[0])
    return shtab.complete(root, shell=shell)
