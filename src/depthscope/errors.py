"""The errors a user can meet: each says what was found, what was expected, and the way out."""

import os
import stat
from pathlib import Path

LONGEST = 1000
"""Characters of each part of an error."""

SPACES = "\N{NO-BREAK SPACE}\N{NARROW NO-BREAK SPACE}"


class DepthscopeError(Exception):
    """An error that is told in one line, without a traceback.

    Args:
        found: What is wrong, with the file or option it was found in.
        expected: What would have been right.
        remedy: What the user can do about it.

    Example:
        >>> print(DepthscopeError("no frames in clip/", "at least 2 images", "check the path"))
        no frames in clip/; expected at least 2 images; check the path
    """

    exit_code = 2

    def __init__(self, found: str, expected: str = "", remedy: str = "") -> None:
        self.found, self.expected, self.remedy = map(_in_one_line, (found, expected, remedy))
        parts = [self.found, f"expected {self.expected}" if self.expected else "", self.remedy]
        super().__init__("; ".join(part for part in parts if part))


class BadInputError(DepthscopeError):
    """A file, folder or option that cannot be used as it is (exit code 2)."""


class UnusableSequenceError(BadInputError):
    """A sequence that was read without fault and has nothing in it to judge or to learn from."""


class NoAnswerError(DepthscopeError):
    """The input is well formed, but the data does not support an answer (exit code 3)."""

    exit_code = 3


class InterruptedRunError(DepthscopeError):
    """The user or the system asked the run to stop; it was saved and can be resumed (exit code 130)."""

    exit_code = 130


def _in_one_line(text: str) -> str:
    """The text without line ends and without what a terminal would act on; the middle of what is very long left out.

    What a file holds ends up in these texts.
    """
    line = "".join(c if c.isprintable() or c in SPACES else " " if c.isspace() else "\ufffd" for c in text)
    return line if len(line) <= LONGEST else f"{line[: LONGEST // 2]} ... {line[-LONGEST // 2 :]}"


def require_file(path: Path, purpose: str) -> Path:
    """The path itself if it is a file that can be read from start to end.

    Raises:
        BadInputError: It is missing, a folder, a link to nothing, a pipe or a device, or may not be looked at.
    """
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        if path.is_symlink():
            raise BadInputError(
                f"{path} is a link to {os.readlink(path)}, which is missing", purpose, "copy the file itself"
            ) from None
        raise BadInputError(f"{path} is missing", purpose, "check the folder, or export it again") from None
    except PermissionError as error:
        raise BadInputError(f"{path}: permission denied", purpose, "make its folder readable, or copy it") from error
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise BadInputError(f"{path} cannot be read ({why})", purpose, "check the path") from error
    if stat.S_ISREG(mode):
        return path
    what = "a folder" if stat.S_ISDIR(mode) else "a pipe" if stat.S_ISFIFO(mode) else "a device or socket"
    raise BadInputError(f"{path} is {what}, not a file", purpose, "check the path")
