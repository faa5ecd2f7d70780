"""EndoSLAM: capsule and endoscope recordings of organs with robot poses, and a Unity colon (Ozyoruk et al. 2021).

Written after the dataset's published description and issues: ``Poses/*.csv`` with the header tX tY tZ rX rY rZ rW
time (read by these names) beside ``Frames/``; Unity's "Pixelwise Depths" are 8-bit, relative, possibly inverse and not
aligned with the frames, so they are never read as depth. Unity's axes are left-handed and turned as in `simcol3d`. Not
verified, as the data is not here: the direction and unit of the poses (taken as world_from_camera, and in metres unless
the path would then be longer than a body), and that the robot's poses are those of the camera rather than of the arm.
The calibration is a MATLAB object, which nothing else reads: put a ``camera.yaml`` beside.
"""

from pathlib import Path

import torch

from depthscope.errors import BadInputError
from depthscope.formats.dataset_files import camera_beside, lines_of_frames, numbered, size_of
from depthscope.formats.motions import motions_of
from depthscope.formats.simcol3d import right_handed
from depthscope.formats.trajectory import millimetres, read_table, remarks
from depthscope.ground_truth import GroundTruth
from depthscope.reading import reader


def recognises(folder: Path) -> bool:
    """Whether a folder is a trajectory of EndoSLAM, complete or not."""
    return (folder / "Frames").is_dir() and (folder / "Poses").is_dir()


@reader("a trajectory of EndoSLAM")
def read(folder: Path) -> GroundTruth:
    """Reads one trajectory: a folder with ``Frames`` and ``Poses``.

    Raises:
        BadInputError: A file is missing or damaged.
    """
    folder = Path(folder)
    frames = numbered(folder / "Frames", r"\D*(\d+)\.(?:png|jpe?g)")
    tables = sorted(path for path in (folder / "Poses").iterdir() if path.suffix.lower() == ".csv")
    if not frames or len(tables) != 1:
        raise BadInputError(
            f"{folder} looks like EndoSLAM: {len(frames)} numbered frames and {len(tables)} CSV files of poses",
            "frames and one CSV file",
            "give the folder of one trajectory",
        )
    table = read_table(tables[0])
    lines, paired = lines_of_frames(len(table.position), frames, tables[0], None)
    paths = tuple(frames.values())
    position, unit = millimetres(table.position, tables[0].name)
    stored = motions_of(
        torch.from_numpy(table.quaternion_wxyz[lines]),
        torch.from_numpy(position[lines]),
        [path.name for path in paths],
        tables[0],
    )
    unity = (folder / "Pixelwise Depths").is_dir() or "UnityCam" in folder.resolve().parts
    camera = camera_beside((folder, folder.resolve().parent), size_of(paths))
    notes = ["poses are taken as world_from_camera; no check on the data itself was possible", unit, paired]
    notes += remarks(stored, tables[0].name)
    notes += ["Unity's axes were turned to right-handed ones"] if unity else []
    notes += ["Pixelwise Depths are relative and not aligned with the frames: not read"] if unity else []
    return GroundTruth(
        name="-".join(folder.resolve().parts[-2:]),
        layout="EndoSLAM",
        images=paths,
        cameras=None if camera is None else (camera,) * len(paths),
        camera_from_world=(right_handed(stored) if unity else stored).inverse(),
        depth=(None,) * len(paths),
        notes=tuple(notes),
        pose_direction="world_from_camera",
    )
