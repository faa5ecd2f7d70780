"""TUM trajectories: ``timestamp tx ty tz qx qy qz qw`` in each line, world_from_camera, quaternion w last.

Written after the description of the TUM RGB-D benchmark and the reader of evo, which wants single blanks and no
trailing one. A trajectory has neither frames nor camera, so it is a value of its own; `trajectory` reads it.
"""

from pathlib import Path

from depthscope.errors import BadInputError
from depthscope.formats.trajectory import Trajectory, read
from depthscope.sequence import Sequence
from depthscope.truth import TruthClip

__all__ = ["FILE", "Trajectory", "read", "write"]

FILE = "trajectory.txt"


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
