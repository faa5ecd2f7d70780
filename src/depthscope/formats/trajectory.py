"""Files of poses: TUM's lines, EuRoC's and EndoSLAM's tables, and any table whose header names its columns.

Written after the description of the TUM RGB-D benchmark, the reader of evo, and the headers of EuRoC's and EndoSLAM's
files. A header decides the order of the columns, in particular whether w stands first; without one, eight columns are
TUM's (quaternion w last), seventeen are EuRoC's (w first), and twelve are KITTI's matrices. Poses are
world_from_camera. What looks wrong about them is told in the notes and never corrected without a word.
"""

import re
from collections.abc import Sequence as Series
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import numpy as np
import torch

from depthscope.errors import BadInputError
from depthscope.formats import times
from depthscope.formats.motions import motions_of
from depthscope.geometry import RigidMotion
from depthscope.geometry.units import LengthUnit
from depthscope.reading import reader, text_of

ROLES = ("x", "y", "z", "qx", "qy", "qz", "qw")
TUM = ("time", *ROLES)
EUROC = ("time", "x", "y", "z", "qw", "qx", "qy", "qz", *("",) * 9)
"""Velocities and biases follow the pose."""

KITTI_COLUMNS = 12
MM_PER_M = 1000.0

POSITION = re.compile(r"(?:.*(?:position|translation)|p(?:os)?(?:rs[rsb]?)?|t(?:rans)?|)([xyz])")
QUATERNION = re.compile(r"(?:.*(?:orientation|rotation)|q(?:uat(?:ernion)?)?(?:rs)?|r(?:ot)?)([wxyz])")
TIME = re.compile(r"#?(?:.*(?:time|stamp).*|t|secs?|ns|nsecs?)")
"""How headers call columns, once everything but letters and digits is removed."""

TIME_UNITS = {
    "s": times.SECONDS,
    "sec": times.SECONDS,
    "ms": times.MILLISECONDS,
    "us": times.MICROSECONDS,
    "ns": times.NANOSECONDS,
    "nsec": times.NANOSECONDS,
}

SAME_ROTATION_RAD = 1e-4
"""Rotations that differ by less than this are one and the same: even a still camera's are less equal."""

SAME_PLACE = 1e-9
LEAST_CONSTANT = 4
"""Fewer poses may well be without rotation."""

MOST_EXTENT_M, MOST_STEP_M = 2.0, 0.05
"""An endoscope's path is no wider than a body, nor do its frames lie 5 cm apart: such metres are millimetres."""


@dataclass(frozen=True, eq=False)
class Trajectory:
    """A camera's path.

    Attributes:
        times_s: Time of each pose in seconds, rising, with all digits of the file.
        camera_from_world: The motions, batch shape (poses,).
        unit: "mm", or "not told".
        notes: What the reader found and decided, in words.
        names: What the frames of the poses are called, where a file beside it says so.
    """

    times_s: tuple[Decimal, ...]
    camera_from_world: RigidMotion
    unit: LengthUnit = "not told"
    notes: tuple[str, ...] = ()
    names: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if any(later <= earlier for earlier, later in zip(self.times_s, self.times_s[1:], strict=False)):
            raise BadInputError("a trajectory whose times do not rise", "each time once, in order", "sort it")


@dataclass(frozen=True, eq=False)
class PoseTable:
    """The columns of a table of poses.

    Attributes:
        times: As stored, with all digits; None where the table has no column of times.
        time_unit: The unit that the header names, a power of ten of a second, or None.
        position: Shape (poses, 3).
        quaternion_wxyz: Shape (poses, 4).
        order: What is unusual about the order of the columns, in words; "" for TUM's.
    """

    times: tuple[Decimal, ...] | None
    time_unit: int | None
    position: np.ndarray
    quaternion_wxyz: np.ndarray
    order: str


@reader("a file of poses")
def read(path: Path) -> Trajectory:
    """Reads a file of poses of any of the kinds above.

    Raises:
        BadInputError: It is missing, a line is damaged, or its times do not rise.
    """
    path = Path(path)
    lines = _lines(path)
    rows = [line for line in lines if not line.text.startswith("#")]
    if rows and len(rows[0].cells) == KITTI_COLUMNS and all(cell is not None for cell in rows[0].numbers):
        return _of_matrices(path, rows)
    table = read_table(path)
    stored = table.times if table.times is not None else tuple(Decimal(n) for n in range(len(table.position)))
    unit, said = times.unit_of(stored, table.time_unit)
    names = [f"time {time:f}" for time in stored]
    quaternion = torch.from_numpy(table.quaternion_wxyz)
    motions = motions_of(quaternion, torch.from_numpy(table.position), names, path)
    notes = [f"{path.name}: {said}"] if said else []
    notes += [f"{path.name}: no times, so its lines are counted from 0"] if table.times is None else []
    notes += [f"{path.name}: {table.order}"] if table.order else []
    extent, step = _extent_and_step(table.position)
    if extent > MOST_EXTENT_M or step > MOST_STEP_M:
        notes.append(
            f"{path.name}: the path is {extent:.3g} across and its poses {step:.2g} apart: no endoscope's in metres, "
            "so millimetres, or no known unit"
        )
    try:
        return Trajectory(
            times.in_seconds(stored, unit),
            motions.inverse(),
            notes=(*notes, *remarks(motions, path.name)),
            names=_names_beside(path, stored),
        )
    except BadInputError as error:
        raise BadInputError(f"{path}: {error.found}", error.expected, error.remedy) from None


@reader("a table of poses")
def read_table(path: Path) -> PoseTable:
    """The columns of a table of poses by the names in its header, or by how many there are.

    Raises:
        BadInputError: It is missing or empty, its columns are not known, or a line is damaged; it names the line.
    """
    path = Path(path)
    lines = _lines(path)
    rows = [line for line in lines if not line.text.startswith("#")]
    headed = bool(rows) and all(number is None for number in rows[0].numbers)
    rows = rows[1:] if headed else rows
    if not rows:
        raise BadInputError(f"{path} holds no numbers", "a pose in each line", "export it again")
    count = len(rows[0].cells)
    columns, unit = _columns(lines, count)
    order = "w stands first in the quaternions, as the header says" if _w_first(columns) else ""
    if columns is None and not headed:
        columns, unit = {8: TUM, 17: EUROC}.get(count, ()), None
        order = "" if count == len(TUM) else "seventeen columns and no header, read as EuRoC's: w first"
    if not columns:
        raise BadInputError(
            f"{path}, line {lines[0].number}: {lines[0].text[:60]!r} begins {count} columns, not all of them known",
            "timestamp tx ty tz qx qy qz qw (or tX,tY,tZ,rX,rY,rZ,rW,time) by these names",
            "name the columns in the first line",
        )
    place = {role: column for column, role in enumerate(columns) if role}
    values, stored = [], []
    for line in rows:
        numbers = line.numbers
        chosen = [numbers[place[role]] for role in ROLES if place[role] < len(numbers)]
        time = numbers[place["time"]] if "time" in place and place["time"] < len(numbers) else Decimal(0)
        if len(line.cells) != count or len(chosen) < len(ROLES) or None in chosen or time is None:
            raise BadInputError(
                f"{path}, line {line.number}: {line.text[:60]!r}", f"{count} finite numbers", "correct it"
            )
        values.append([float(number) for number in chosen if number is not None])
        stored.append(time)
    array = np.array(values)
    return PoseTable(tuple(stored) if "time" in place else None, unit, array[:, :3], array[:, [6, 3, 4, 5]], order)


def remarks(world_from_camera: RigidMotion, what: str) -> tuple[str, ...]:
    """What looks wrong about some poses, in words: no rotation, no translation, or a quaternion with w in front.

    Args:
        world_from_camera: As stored, batch shape (poses,).
        what: What they belong to, for the text.
    """
    quaternion, place = world_from_camera.quaternion_wxyz, world_from_camera.translation
    if len(place) < LEAST_CONSTANT:
        return ()
    notes = []
    turned = 2 * torch.acos((quaternion @ quaternion[0]).abs().clamp(max=1.0))
    moved = (place - place[0]).norm(dim=-1)
    still = float(moved.max()) <= SAME_PLACE * max(1.0, float(place.abs().max()))
    if float(turned.max()) < SAME_ROTATION_RAD and not still:
        notes.append(
            f"{what}: all {len(place)} poses have one and the same rotation, as if it had not been exported; "
            "what follows from rotations means nothing"
        )
    if still:
        notes.append(f"{what}: all {len(place)} poses are in one place, as if no translation had been exported")
    if float((quaternion[0] - quaternion.new_tensor([0.0, 1, 0, 0])).abs().max()) < 1e-6:
        notes.append(
            f"{what}: the first quaternion reads x y z w = 1 0 0 0, half a turn about x; if it is meant as no turn, w "
            "stands first: name the columns in a header (timestamp tx ty tz qw qx qy qz)"
        )
    return tuple(notes)


def millimetres(position: np.ndarray, what: str) -> tuple[np.ndarray, str]:
    """Positions of an endoscope that are said to be in metres, in mm, and how they were taken.

    Args:
        position: As stored, shape (poses, 3).
        what: Where they come from, for the text.
    """
    extent, step = _extent_and_step(position)
    if extent > MOST_EXTENT_M or step > MOST_STEP_M:
        return position.copy(), (
            f"{what}: positions are taken as millimetres: as metres the path would be {extent:.3g} m across and "
            f"its frames {step:.2g} m apart"
        )
    return position * MM_PER_M, f"{what}: positions are taken as metres: the path is {extent * MM_PER_M:.3g} mm across"


def _extent_and_step(position: np.ndarray) -> tuple[float, float]:
    """The diagonal of the box around a path, and the median distance of neighbouring poses."""
    steps = np.linalg.norm(np.diff(position, axis=0), axis=1)
    return float(np.linalg.norm(np.ptp(position, axis=0))), float(np.median(steps)) if len(steps) else 0.0


@dataclass(frozen=True)
class _Line:
    """A line that is not empty: its number in the file, its text, its cells, and these as numbers."""

    number: int
    text: str
    cells: tuple[str, ...]

    @property
    def numbers(self) -> tuple[Decimal | None, ...]:
        return tuple(times.parsed(cell) for cell in self.cells)


def _lines(path: Path) -> list[_Line]:
    found = []
    for number, line in enumerate(text_of(path, "a table of poses").split("\n"), 1):
        text = line.strip()
        if text:
            found.append(_Line(number, text, _cells(text)))
    return found


def _cells(text: str) -> tuple[str, ...]:
    """What stands between commas or semicolons, or else between blanks; a comma at the end opens no further cell."""
    divided = re.split(r"[,;]", text.rstrip(",; \t")) if re.search(r"[,;]", text) else text.split()
    return tuple(cell.strip() for cell in divided)


def _role(cell: str) -> tuple[str, int | None]:
    """What a column of this name holds ("" for something else), and the unit that it names for a time."""
    unit = re.search(r"[\[(]\s*([a-zA-Zµ]+)\s*[\])]", cell)
    name = re.sub(r"[^a-z0-9]", "", re.sub(r"[\[(].*", "", cell.lower()))
    if TIME.fullmatch(name):
        named = (
            unit[1].lower().replace("µ", "u") if unit else next((e for e in ("ns", "us", "ms") if _ends(name, e)), "")
        )
        return "time", TIME_UNITS.get(named)
    for pattern, before in ((QUATERNION, "q"), (POSITION, "")):
        if found := pattern.fullmatch(name):
            return before + found[1], None
    return "", None


def _ends(name: str, unit: str) -> bool:
    """Whether a column's name ends in a unit that is no part of another word, as in ``timestampns``."""
    return bool(re.fullmatch(rf"(?:time|timestamp|stamp|t){unit}", name))


def _columns(lines: Series[_Line], count: int) -> tuple[tuple[str, ...] | None, int | None]:
    """The role of each of `count` columns by the first header that names them all, and the unit of its times.

    A header is a line of its own or a comment; in a comment the names may stand among other words.
    """
    for line in lines:
        cells = _cells(line.text.lstrip("#").strip()) if line.text.startswith("#") else line.cells
        candidates = [cells, tuple(line.text.lstrip("# ").replace(",", " ").split())]
        for names in candidates:
            for start in range(len(names) - count + 1):
                roles = [_role(name) for name in names[start : start + count]]
                plain = [role for role, _ in roles]
                if all(plain.count(role) == 1 for role in ROLES) and plain.count("time") <= 1:
                    return tuple(plain), next((unit for role, unit in roles if role == "time"), None)
    return None, None


def _w_first(columns: Series[str] | None) -> bool:
    return bool(columns) and columns.index("qw") < columns.index("qx")


def _of_matrices(path: Path, rows: Series[_Line]) -> Trajectory:
    """KITTI's odometry: the upper three rows of world_from_camera in metres; a line for each frame."""
    values = []
    for line in rows:
        if len(line.cells) != KITTI_COLUMNS or None in line.numbers:
            raise BadInputError(f"{path}, line {line.number}: {line.text[:60]!r}", "12 finite numbers", "correct it")
        values.append([float(number) for number in line.numbers if number is not None])
    matrices = torch.tensor(values, dtype=torch.float64).reshape(-1, 3, 4)
    motions = RigidMotion(matrices[..., :3], MM_PER_M * matrices[..., 3])
    for line, defect in zip(rows, motions.defects(), strict=True):
        if defect:
            raise BadInputError(f"{path}, line {line.number} is {defect}", "a rigid motion", "download it again")
    notes = ("twelve numbers in each line: KITTI's matrices, world_from_camera in metres", *remarks(motions, path.name))
    names = tuple(f"{n:06d}" for n in range(len(values)))
    return Trajectory(tuple(Decimal(n) for n in range(len(values))), motions.inverse(), "mm", notes, names)


def _names_beside(path: Path, stored: Series[Decimal]) -> tuple[str, ...] | None:
    """Names of the frames by the ``frames.txt`` that depthscope writes beside a trajectory of numbered frames."""
    beside = path.parent / "frames.txt"
    if path.name != "trajectory.txt" or not beside.is_file():
        return None
    found = {}
    for line in text_of(beside, "numbers and names of frames").split("\n"):
        number, _, name = line.partition(" ")
        if number.isdigit() and name:
            found[Decimal(number)] = Path(name).stem
    return tuple(found[time] for time in stored) if all(time in found for time in stored) else None
