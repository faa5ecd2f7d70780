"""SERV-CT: 16 stereo pairs of ex-vivo torsos with depth from CT (Edwards et al. 2022), left camera.

Written after the dataset's published description: 16-bit PNG, mm = value / 256, 0 = none; ``Rectified_calibration``
holds P1, P2 and Q for each pair. The pairs are single views: there are no poses. Not verified, as the data is not here:
how P1 is nested in the JSON (any list of 12 numbers, nested or flat, is read), and the half pixel of its centre.
"""

from pathlib import Path

import numpy as np

from depthscope.errors import BadInputError
from depthscope.formats.dataset_files import camera_beside, depth_beside, numbered, size_of
from depthscope.geometry import Camera
from depthscope.reading import json_of, reader
from depthscope.truth import DepthEncoding, TruthClip

ENCODING = DepthEncoding("uint16", 1 / 256)
IMAGES, CALIBRATION = "Left_rectified", "Rectified_calibration"
DEPTH_PLACES = ("Ground_truth_CT/DepthL", "Ground_truth_RGB/DepthL")


def recognises(folder: Path) -> bool:
    """Whether a folder is an ``Experiment_*`` of SERV-CT, complete or not."""
    return (folder / IMAGES).is_dir()


@reader("an experiment of SERV-CT")
def read(folder: Path) -> TruthClip:
    """Reads one experiment.

    Raises:
        BadInputError: A file is missing or damaged.
    """
    folder = Path(folder)
    frames = numbered(folder / IMAGES, r"(\d+)\.png")
    if not frames:
        raise BadInputError(f"{folder} looks like SERV-CT, but {IMAGES} holds no numbered PNG", "001.png, ...")
    maps = next((m for place in DEPTH_PLACES if (m := numbered(folder / place, r"(\d+)\.png"))), {})
    depth = depth_beside(
        frames, maps, ENCODING, f"{folder} looks like SERV-CT: {len(frames)} frames", f"{DEPTH_PLACES[0]}/*.png"
    )
    paths = tuple(frames.values())
    size = size_of(paths)
    given = camera_beside((folder,), size)
    cameras = tuple(given or _camera(folder / CALIBRATION / f"{path.stem}.json", size) for path in paths)
    return TruthClip(
        name=folder.resolve().name,
        layout="SERV-CT",
        images=paths,
        cameras=cameras,
        camera_from_world=None,
        depth=depth,
        notes=("single stereo pairs: no poses; the reference is good to about 2 mm, say its authors",),
    )


def _camera(path: Path, size: tuple[int, int]) -> Camera:
    try:
        entry = json_of(path, "the calibration of a frame", object)["P1"]
        p = np.array(entry["data"] if isinstance(entry, dict) else entry, float).reshape(3, 4)
    except (ValueError, KeyError, TypeError) as error:
        raise BadInputError(
            f"{path} has no P1 of 3 x 4 numbers", "the rectified projection of the left view"
        ) from error
    focal, centre = (float(p[0, 0]), float(p[1, 1])), (float(p[0, 2]) + 0.5, float(p[1, 2]) + 0.5)
    return Camera(size, focal, centre, source="SERV-CT P1")
