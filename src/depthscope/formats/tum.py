"""TUM trajectories: ``timestamp tx ty tz qx qy qz qw`` in each line, world_from_camera, quaternion w last.

Written after the description of the TUM RGB-D benchmark and the reader of evo, which wants single blanks and no
trailing one. A trajectory has neither frames nor camera, so it is a value of its own; `trajectory` reads it. The
cameras are written beside it as ``camera.yaml``, which names every lens that this package has.
"""

from pathlib import Path

from depthscope.errors import BadInputError
from depthscope.formats import camera_file
from depthscope.formats.trajectory import Trajectory, read
from depthscope.ground_truth import GroundTruth
from depthscope.sequence import Sequence

__all__ = ["FILE", "Trajectory", "read", "write"]

FILE, CAMERA = "trajectory.txt", "camera.yaml"


def write(clip: Sequence | GroundTruth, folder: Path) -> tuple[str, ...]:
    """Writes ``trajectory.txt``, the names of its frames and their camera; returns what was decided, in words.

    Where frames have different cameras, each has a file in ``cameras``, and ``frames.txt`` names it.

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
    files = _write_cameras(clip, folder)
    rows = (
        f"{n} {path.name}{f' {file}' if file else ''}\n"
        for n, (path, file) in enumerate(zip(clip.images, files, strict=True))
    )
    (folder / "frames.txt").write_text("".join(rows))
    return ("poses are written as world_from_camera, quaternion w last, and the frame's number in place of a time",)


def _write_cameras(clip: Sequence | GroundTruth, folder: Path) -> list[str]:
    """Writes the cameras; returns the file of each frame's, "" where one is for all or none is known."""
    distinct = list(dict.fromkeys(clip.cameras or ()))
    if len(distinct) == 1:
        camera_file.write(distinct[0], folder / CAMERA)
    if clip.cameras is None or len(distinct) < 2:
        return [""] * len(clip.images)
    (folder / "cameras").mkdir(exist_ok=True)
    files = {camera: f"cameras/{number}.yaml" for number, camera in enumerate(distinct, 1)}
    for camera, file in files.items():
        camera_file.write(camera, folder / file)
    return [files[camera] for camera in clip.cameras]
