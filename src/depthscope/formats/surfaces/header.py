"""What the head of a surface file says of its space and unit."""

import re
from pathlib import Path
from typing import Literal

from depthscope.errors import BadInputError

Unit = Literal["mm", "cm", "m"]

MM: dict[str, float] = {"mm": 1.0, "cm": 10.0, "m": 1000.0}
"""Millimetres in each unit."""

LONGEST_HEAD = 1 << 20
"""Bytes in which a header ends."""

SPACE = re.compile(rb"SPACE\s*[=:]\s*\"?([A-Za-z][A-Za-z-]*)", re.IGNORECASE)
UNIT = re.compile(
    rb"\bUNITS?\s*[=:]?\s*\"?(mm|millimet(?:er|re)s?|cm|centimet(?:er|re)s?|m|met(?:er|re)s?)\b", re.IGNORECASE
)

LPS = ("lps", "left-posterior-superior")
RAS = ("ras", "right-anterior-superior")


def space_of(path: Path) -> str | None:
    """The space that the comments of a file name, or None."""
    found = SPACE.search(_comments(path))
    return None if found is None else found.group(1).decode()


def stated_unit(path: Path) -> Unit | None:
    """The unit of length that the comments of a file name, or None."""
    found = UNIT.search(_comments(path))
    if found is None:
        return None
    match found.group(1).decode().lower():
        case "mm":
            return "mm"
        case "cm":
            return "cm"
        case name if name.startswith("milli"):
            return "mm"
        case name if name.startswith("centi"):
            return "cm"
        case _:
            return "m"


def is_ras(space: str | None, path: Path) -> bool:
    """Whether a space is RAS; LPS and none named are not.

    Raises:
        BadInputError: It is another one.
    """
    if space is None or space.lower() in LPS:
        return False
    if space.lower() in RAS:
        return True
    raise BadInputError(f"{path}: space '{space}'", "LPS or RAS", "export it in LPS")


def _comments(path: Path) -> bytes:
    """What a file holds beside its numbers."""
    with path.open("rb") as stream:
        head = stream.read(LONGEST_HEAD)
    match path.suffix.lower():
        case ".ply":
            lines = re.split(rb"end_header", head, maxsplit=1)[0].splitlines()
            return b"\n".join(line for line in lines if line.lstrip().startswith((b"comment", b"obj_info")))
        case ".obj":
            return b"\n".join(line for line in path.read_bytes().splitlines() if line.lstrip().startswith(b"#"))
        case ".stl":
            return head[:80] + b"\n" + head.splitlines()[0][:1000] if head else b""
        case ".vtk":
            return b"\n".join(head.splitlines()[:2])
        case ".vtp":
            return b"\n".join(re.findall(rb"<!--(.*?)-->", head, re.DOTALL)) + b"\n" + head[:200].split(b">")[0]
        case _:
            return b""
