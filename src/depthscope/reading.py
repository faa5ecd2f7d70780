"""The way through which every reader passes: whatever goes wrong with a file ends as one line that names it.

A reader is wrapped by `reader`, or does its work inside `reading`; text, JSON and YAML come from `text_of`, `json_of`
and `yaml_of`, which refuse what would exhaust the stack or the memory before it is built. Names that a file gives for
other files pass through `inside`.
"""

import functools
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import yaml

from depthscope.errors import BadInputError, DepthscopeError, require_file

Parameters = ParamSpec("Parameters")
Value = TypeVar("Value")

CHECK = "check it, or export it again"
"""The way out where a reader knows no better one."""

FAULTS_OF_OURS = (NameError, ImportError, AssertionError, NotImplementedError)
"""What no file can cause: these pass, so that mistakes in this package are not blamed on a file."""

DEEPEST = 100
"""Levels of nesting that are read from YAML; libyaml's loader exhausts the C stack on a few ten thousand."""

MOST_NODES = 2_000_000
"""Values that a YAML file may hold once its aliases are written out; a few lines of aliases can stand for billions."""

SHOWN = 160
"""Characters of a library's own message that are passed on."""


@contextmanager
def reading(path: Path | str, expected: str = "", remedy: str = CHECK) -> Iterator[None]:
    """Turns every exception of the block into a `BadInputError` that names the file.

    Args:
        path: The file or folder that is read; where the system names another one (a file in the folder), that is named.
        expected: What it should have been.
        remedy: The way out.

    Raises:
        BadInputError: Anything went wrong. Errors of this package know more and pass; where a value refused what the
            file holds, the file's name is put before.
    """
    try:
        yield
    except BadInputError as error:
        if Path(path).name in str(error):
            raise
        raise BadInputError(f"{path}: {error.found}", error.expected, error.remedy) from error
    except (DepthscopeError, *FAULTS_OF_OURS):
        raise
    except Exception as error:
        raise explained(error, path, expected, remedy) from error


def reader(expected: str, remedy: str = CHECK) -> Callable[[Callable[Parameters, Value]], Callable[Parameters, Value]]:
    """Decorates a function whose first argument is the path it reads; see `reading`."""

    def decorated(function: Callable[Parameters, Value]) -> Callable[Parameters, Value]:
        @functools.wraps(function)
        def read(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Value:
            path: Any = args[0] if args else next(iter(kwargs.values()))
            with reading(path, expected, remedy):
                return function(*args, **kwargs)

        return read

    return decorated


def explained(error: BaseException, path: Path | str, expected: str = "", remedy: str = CHECK) -> BadInputError:
    """The one line for an exception that came up while a file was read."""
    match error:
        case PermissionError():
            place = error.filename or path
            return BadInputError(f"{_named(place)}: permission denied", expected, "make it readable, or copy it")
        case OSError() if error.strerror:
            return BadInputError(
                f"{_named(error.filename or path)} cannot be read ({error.strerror})", expected, remedy
            )
        case UnicodeDecodeError():
            return BadInputError(
                f"{path} cannot be read as text (byte {error.start} is not {error.encoding})",
                expected,
                "save it as UTF-8 text",
            )
        case json.JSONDecodeError():
            return BadInputError(
                f"{path} is not JSON (line {error.lineno}, column {error.colno}: {error.msg})", expected, remedy
            )
        case yaml.YAMLError():
            return BadInputError(f"{path} is not YAML ({_yaml_problem(error)})", expected, remedy)
        case RecursionError():
            return BadInputError(f"{path} is nested too deeply to be read", expected, remedy)
        case MemoryError():
            return BadInputError(f"{path} needs more memory to read than there is", expected, remedy)
        case _ if "CV_IO_MAX_IMAGE" in str(error):
            return BadInputError(f"{path} claims to be of more pixels than any frame has", expected, remedy)
        case _:
            return BadInputError(
                f"{path} is damaged or cut short and cannot be read ({_first_line(error)})", expected, remedy
            )


def bytes_of(path: Path, expected: str) -> bytes:
    """The bytes of a file.

    Raises:
        BadInputError: It is missing, no regular file, unreadable or empty.
    """
    with reading(path, expected):
        found = require_file(Path(path), expected).read_bytes()
    if not found:
        raise BadInputError(f"{path} is empty (0 bytes)", expected, "copy or export it again")
    return found


def text_of(path: Path, expected: str) -> str:
    """The text of a file in UTF-8, with or without a byte order mark; line ends become those of Unix.

    Raises:
        BadInputError: It is missing, no regular file, unreadable, or no text.
    """
    with reading(path, expected):
        data = require_file(Path(path), expected).read_bytes()
        return data.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")


def json_of(path: Path, expected: str, kind: type = dict, *, remedy: str = CHECK) -> Any:
    """What a JSON file holds.

    Args:
        path: The file.
        expected: What it should hold, for errors.
        kind: The type of the outermost value; ``object`` for any.
        remedy: The way out.

    Raises:
        BadInputError: As `text_of`; or it is no JSON, or of another type.
    """
    text = text_of(path, expected)
    if not text.strip():
        raise BadInputError(f"{path} is empty", expected, remedy)
    with reading(path, expected, remedy):
        found = json.loads(text)
    return _of_kind(found, kind, path, expected)


def yaml_of(path: Path, expected: str, kind: type = dict) -> Any:
    """What a YAML file holds; see `json_of`."""
    text = text_of(path, expected)
    return _of_kind(yaml_from(text, path, expected), kind, path, expected)


def yaml_from(text: str, source: Path | str, expected: str = "YAML") -> Any:
    """The value of a YAML text.

    Args:
        text: The text.
        source: Where it came from, for errors.
        expected: What it should hold, for errors.

    Raises:
        BadInputError: It is no YAML, nested beyond reason, or its aliases stand for more values than can be held.
    """
    with reading(source, expected):
        _check_size(text, source, expected)
        return yaml.load(text, _Loader)


def inside(folder: Path, name: str, source: Path | str) -> Path:
    """The path of a file that another file names relative to a folder.

    Args:
        folder: Where names are counted from.
        name: As the file gives it.
        source: The file that names it, for errors.

    Returns:
        ``folder / name``.

    Raises:
        BadInputError: The name is no file name, or leads out of the folder (``../``, an absolute path).
    """
    text = str(name)
    path = Path(folder) / text
    if not text.strip() or "\0" in text:
        raise BadInputError(f"{source} names the file {text[:60]!r}", f"the name of a file in {folder}", "correct it")
    within = Path(os.path.normpath(path)).is_relative_to(Path(os.path.normpath(folder)))
    if not within or os.path.normpath(path) == os.path.normpath(folder):
        raise BadInputError(
            f"{source} names {text[:120]!r}, which is outside {folder}",
            "names of files inside it",
            "copy the files into the folder and name them relative to it",
        )
    return path


def leads_out(folder: Path, path: Path) -> bool:
    """Whether a file in a folder is, or lies behind, a link that leads out of the folder."""
    return not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))


_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def _check_size(text: str, source: Path | str, expected: str) -> None:
    """Refuses nesting and aliases that could not be built, from the parser's events alone, which need no stack."""
    sizes: dict[str, int] = {}
    open_ones: list[tuple[str | None, int]] = []
    count = 0
    for event in yaml.parse(text, _Loader):
        match event:
            case yaml.AliasEvent():
                if event.anchor in sizes:
                    count += sizes[event.anchor]
                elif any(anchor == event.anchor for anchor, _ in open_ones):
                    raise BadInputError(f"{source} holds a value that contains itself", expected, "write it out")
            case yaml.CollectionStartEvent():
                open_ones.append((event.anchor, count))
                count += 1
            case yaml.CollectionEndEvent():
                anchor, before = open_ones.pop()
                if anchor is not None:
                    sizes[anchor] = count - before
            case yaml.ScalarEvent():
                count += 1
                if event.anchor is not None:
                    sizes[event.anchor] = 1
        if len(open_ones) > DEEPEST:
            raise BadInputError(f"{source} is nested more than {DEEPEST} deep", expected, "check what wrote it")
        if sizes and count > MOST_NODES:
            raise BadInputError(
                f"{source} stands for more than {MOST_NODES:,} values once its aliases are written out",
                expected,
                "write it without aliases",
            )


def _of_kind(found: Any, kind: type, path: Path | str, expected: str) -> Any:
    if not isinstance(found, kind):
        what = "nothing" if found is None else f"a {type(found).__name__}"
        raise BadInputError(f"{path} holds {what} and no {_KINDS.get(kind, kind.__name__)}", expected, "correct it")
    return found


_KINDS: dict[type, str] = {dict: "mapping of names to values", list: "list"}


def _yaml_problem(error: yaml.YAMLError) -> str:
    problem = str(getattr(error, "problem", None) or str(error).splitlines()[0])
    mark = getattr(error, "problem_mark", None)
    return (problem if mark is None else f"line {mark.line + 1}, column {mark.column + 1}: {problem}")[:SHOWN]


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}{': ' + lines[0][:SHOWN] if lines else ''}"


def _named(place: Any) -> str:
    return os.fsdecode(place) if isinstance(place, str | bytes | os.PathLike) else str(place)
