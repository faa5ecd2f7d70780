"""EndoSLAM: capsule and endoscope recordings of organs with robot poses, and a Unity colon (Ozyoruk et al. 2021).

Written after the dataset's published description and issues: ``Poses/*.csv`` with the header tX tY tZ rX rY rZ rW
time beside ``Frames/``; Unity's "Pixelwise Depths" are 8-bit, relative, possibly inverse and not aligned with the
frames, so they are never read as depth. Unity's axes are left-handed and turned as in `simcol3d`. Not verified, as the
data is not here: the unit and direction of the poses (taken as world_from_camera, in metres), and that the robot's
poses are those of the camera rather than of the arm. The calibration is a MATLAB object, which nothing else reads: put
a ``camera.yaml`` beside.
"""

import re
from pathlib import Path

import numpy as np
import torch

from depthscope.errors import BadInputError
from depthscope.formats.dataset_files import camera_beside, check_count, numbered, size_of
from depthscope.formats.motions import motions_of
from depthscope.formats.simcol3d import right_handed
from depthscope.reading import reader
from depthscope.truth import TruthClip

COLUMNS = ("tx", "ty", "tz", "rx", "ry", "rz", "rw")
MM_PER_M = 1000.0


def recognises(folder: Path) -> bool:
    """Whether a folder is a trajectory of EndoSLAM, complete or not."""
    return (folder / "Frames").is_dir() and (folder / "Poses").is_dir()


@reader("a trajectory of EndoSLAM")
def read(folder: Path) -> TruthClip:
    """Reads one trajectory: a folder with ``Frames`` and ``Poses``.

    Raises:
        BadInputError: A file is missing or damaged.
    """
    folder = Path(folder)
    frames = numbered(folder / "Frames", r"\D*(\d+)\.(?:png|jpe?g)")
    tables = sorted((folder / "Poses").glob("*.csv"))
    if not frames or len(tables) != 1:
        raise BadInputError(
            f"{folder} looks like EndoSLAM: {len(frames)} numbered frames and {len(tables)} CSV files of poses",
            "frames and one CSV file",
            "give the folder of one trajectory",
        )
    table = pose_table(tables[0])
    check_count(len(table), frames, tables[0])
    paths = tuple(frames.values())
    quaternion, translation = torch.from_numpy(table[:, [6, 3, 4, 5]]), torch.from_numpy(table[:, :3]) * MM_PER_M
    motions = motions_of(quaternion, translation, [path.name for path in paths], tables[0])
    unity = (folder / "Pixelwise Depths").is_dir() or "UnityCam" in folder.resolve().parts
    camera = camera_beside((folder, folder.resolve().parent), size_of(paths))
    notes = ["poses are taken as world_from_camera in metres; no check on the data itself was possible"]
    notes += ["Unity's axes were turned to right-handed ones"] if unity else []
    notes += ["Pixelwise Depths are relative and not aligned with the frames: not read"] if unity else []
    return TruthClip(
        name="-".join(folder.resolve().parts[-2:]),
        layout="EndoSLAM",
        images=paths,
        cameras=None if camera is None else (camera,) * len(paths),
        camera_from_world=(right_handed(motions) if unity else motions).inverse(),
        depth=(None,) * len(paths),
        notes=tuple(notes),
        pose_direction="world_from_camera",
    )


@reader("tX,tY,tZ,rX,rY,rZ,rW,time")
def pose_table(path: Path) -> np.ndarray:
    """The columns tX tY tZ rX rY rZ rW of a CSV file, by their names; commas or semicolons.

    Raises:
        BadInputError: A column is missing, or a line is damaged; it names the line.
    """
    lines = [line for line in path.read_text(errors="replace").splitlines() if line.strip()]
    header = [re.sub(r"\W", "", word).lower() for word in re.split(r"[,;\t]", lines[0])] if lines else []
    if any(name not in header for name in COLUMNS):
        raise BadInputError(
            f"{path} starts with {lines[0][:60] if lines else 'nothing'!r}", "tX,tY,tZ,rX,rY,rZ,rW,time"
        )
    places, rows = [header.index(name) for name in COLUMNS], []
    for number, line in enumerate(lines[1:], 2):
        words = re.split(r"[,;\t]", line)
        try:
            rows.append([float(words[place]) for place in places])
        except (ValueError, IndexError):
            raise BadInputError(
                f"{path}, line {number}: {line[:60]!r}", "numbers as in the header", "correct it"
            ) from None
    return np.array(rows).reshape(-1, 7)
