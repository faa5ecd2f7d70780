"""TUM trajectories: ``timestamp tx ty tz qx qy qz qw`` in each line, world_from_camera, quaternion w last.

Written after the description of the TUM RGB-D benchmark and the reader of evo, which wants single blanks and no
trailing one. A trajectory has neither frames nor camera, so it is a value of its own.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from depthscope.errors import BadInputError
from depthscope.formats.dataset_files import rows_of_numbers
from depthscope.formats.motions import motions_of
from depthscope.geometry import RigidMotion
from depthscope.reading import reader
from depthscope.sequence import Sequence
from depthscope.truth import TruthClip

FILE = "trajectory.txt"


@dataclass(frozen=True, eq=False)
class Trajectory:
    """A camera's way.

    Attributes:
        times_s: Time of each pose in seconds, rising, shape (poses,).
        camera_from_world: The motions, batch shape (poses,).
    """

    times_s: Float[Tensor, " poses"]
    camera_from_world: RigidMotion

    def __post_init__(self) -> None:
        if not bool((self.times_s.diff() > 0).all()):
            raise BadInputError("a trajectory whose times do not rise", "each time once, in order", "sort it")


@reader("a trajectory")
def read(path: Path) -> Trajectory:
    """Reads a trajectory file.

    Raises:
        BadInputError: It is missing, a line is damaged, or its times do not rise.
    """
    rows = torch.from_numpy(rows_of_numbers(Path(path), (8,)))
    names = [f"time {time:g}" for time in rows[:, 0].tolist()]
    world_from_camera = motions_of(rows[:, [7, 4, 5, 6]], rows[:, 1:4], names, Path(path))
    return Trajectory(rows[:, 0], world_from_camera.inverse())


def write(clip: Sequence | TruthClip, folder: Path) -> tuple[str, ...]:
    """Writes ``trajectory.txt`` and the names of its frames; returns what was decided, in words.

    Raises:
        BadInputError: The clip has no poses.
    """
    motions = clip.camera_from_world
    if motions is None:
        raise BadInputError(f"{clip.name} has no poses", "a clip with poses", "another layout may hold it")
    folder.mkdir(parents=True, exist_ok=True)
    world_from_camera = motions.inverse()
    places, turns = world_from_camera.translation.tolist(), world_from_camera.quaternion_wxyz.tolist()
    lines = [f"# {clip.name}: time tx ty tz qx qy qz qw, world_from_camera, unit {clip.unit}, time = frame number"]
    for number, (t, (w, *xyz)) in enumerate(zip(places, turns, strict=True)):
        lines.append(" ".join(map(repr, (float(number), *t, *xyz, w))))
    (folder / FILE).write_text("\n".join(lines) + "\n")
    (folder / "frames.txt").write_text("".join(f"{n} {path.name}\n" for n, path in enumerate(clip.images)))
    return ("poses are written as world_from_camera, quaternion w last, and the frame's number in place of a time",)
