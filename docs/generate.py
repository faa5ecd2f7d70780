"""Writes the pages of ``reference/`` from the code: commands, recipes, errors. Sphinx calls it before it reads."""

import ast
from collections.abc import Iterator
from pathlib import Path

from depthscope.cli import VERBS
from depthscope.cli.examples import EXAMPLES, EXIT_CODES
from depthscope.cli.pages import interface, usage
from depthscope.recipes import RECIPES, to_yaml

DOCS = Path(__file__).resolve().parent
SOURCE = DOCS.parent / "src" / "depthscope"

ERRORS = {"BadInputError": 2, "NoAnswerError": 3, "UnusableSequenceError": 2, "InterruptedRunError": 130}


def main() -> None:
    """Writes all pages; a page that is already as it should be is left alone, so that Sphinx does not read it again."""
    folder = DOCS / "reference"
    folder.mkdir(exist_ok=True)
    pages = {"commands": commands(), "recipes": recipes(), "errors": errors()}
    for name, text in pages.items():
        place = folder / f"{name}.md"
        if not place.is_file() or place.read_text("utf-8") != text:
            place.write_text(text)
    for place in folder.glob("*.md"):
        if place.stem not in pages:
            place.unlink()


def commands() -> str:
    """All commands with their options, as the parsers describe them."""
    lines = ["# Commands", "", "What `depthscope COMMAND --help` says, made from the parsers.", ""]
    lines += ["| command | |", "|---|---|"]
    lines += [f"| [`{verb}`](#depthscope-{verb}) | {summary} |" for verb, summary in VERBS.items()]
    lines += ["", "## Options of every command", ""]
    lines += [
        "| option | |",
        "|---|---|",
        "| `--json` | the result on standard output as JSON, everything else on standard error |",
        "| `--quiet` | only errors |",
        "| `--verbose` | the traceback of an error |",
        "",
        "## Exit codes",
        "",
        "| code | meaning |",
        "|---|---|",
        *(f"| {code} | {meaning} |" for code, meaning in EXIT_CODES.items()),
        "",
    ]
    for verb, summary in VERBS.items():
        names = [verb, *(name for name in interface() if name.startswith(f"{verb} "))]
        for name in names:
            lines += _command(name, summary)
    return "\n".join(lines) + "\n"


def _command(name: str, summary: str) -> Iterator[str]:
    """The section of one command."""
    level = "##" if " " not in name else "###"
    yield from (f"(depthscope-{name.replace(' ', '-')})=", f"{level} depthscope {name}", "")
    if name not in interface():
        yield from (f"{summary[0].upper()}{summary[1:]}.", "")
        return
    told = interface()[name]
    yield from (told["description"], "", f"    depthscope {usage(name)}", "")
    for line in EXAMPLES.get(name, ()):
        yield f"    {line}"
    yield ""
    for group in told["groups"]:
        yield from (f"*{group['title']}*", "", "| | |", "|---|---|")
        for option in group["options"]:
            flags = ", ".join(option["flags"]) or option["metavar"]
            value = option["metavar"] if option["flags"] and option["metavar"] else ""
            yield f"| `{_cell(f'{flags} {value}'.strip())}` | {_cell(option['help'])} |"
        yield ""


def _cell(text: str) -> str:
    """Text that fits into a cell of a table."""
    return text.replace("|", "\\|").replace("<", "\\<")


def recipes() -> str:
    """All recipes as YAML, which is what ``--config`` takes."""
    lines = [
        "# Recipes",
        "",
        "Every recipe in full, as `recipe.yaml` of a run holds it. A file with a few of these keys changes a recipe:",
        "`depthscope train clip --recipe fast --config changes.yaml --out run`. Keys that are not known are refused.",
        "",
    ]
    for name, recipe in RECIPES.items():
        lines += [f"## {name}", "", "```yaml", to_yaml(recipe).strip(), "```", ""]
    return "\n".join(lines) + "\n"


def errors() -> str:
    """All errors that the code can raise, by the part of the program that raises them."""
    lines = [
        "# Errors",
        "",
        "Every error that the program raises on purpose, read from its source. Each line on your screen has three",
        "parts: what was found, what was expected, what to do. `…` stands for what depends on your files. The exit",
        "code is 2 unless another is given.",
        "",
    ]
    rooms: dict[str, list[str]] = {}
    for path in sorted(SOURCE.rglob("*.py")):
        room = path.relative_to(SOURCE).parts[0].removesuffix(".py")
        for code, parts in raised(path):
            found, expected, remedy = (*parts, "", "", "")[:3]
            note = "" if code == 2 else f" (exit code {code})"
            row = f"| {_prose(found)}{note} | {_prose(expected)} | {_prose(remedy)} |"
            if row not in rooms.setdefault(room, []):
                rooms[room].append(row)
    for room, rows in rooms.items():
        lines += [f"## {room}", "", "| found | expected | what to do |", "|---|---|---|", *rows, ""]
    return "\n".join(lines) + "\n"


def raised(path: Path) -> Iterator[tuple[int, list[str]]]:
    """The errors that a file raises: the exit code, and the texts."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ERRORS and node.args:
            yield ERRORS[node.func.id], [_text(argument) for argument in node.args]


def _text(node: ast.expr) -> str:
    """A text with an ellipsis for each value in it."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=values):
            return "".join(_text(value) if isinstance(value, ast.Constant) else "…" for value in values)
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return _text(left) + _text(right)
    return "…"


def _prose(text: str) -> str:
    """Text of an error as plain words in a table: nothing in it is markup."""
    plain = "".join(f"\\{c}" if c in "|<>*_`[]\\$#{}" else c for c in text)
    return " ".join(plain.split())


if __name__ == "__main__":
    main()
