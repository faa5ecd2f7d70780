"""SERV-CT: 16 stereo pairs of ex-vivo torsos with depth from CT (Edwards et al. 2022), left camera.

Written after the dataset's published description: 16-bit PNG, mm = value / 256, 0 = none; ``Rectified_calibration``
holds P1, P2 and Q for each pair. The pairs are single views: there are no poses. Not verified, as the data is not here:
how P1 is nested in the JSON (any list of 12 numbers, nested or flat, is read), and the half pixel of its centre.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from depthscope.errors import BadInputError
from depthscope.formats.dataset_files import camera_beside, depth_beside, numbered, size_of
from depthscope.formats.intrinsics import camera_for, remarks_on_centre
from depthscope.geometry import Camera
from depthscope.ground_truth import DepthEncoding, DepthFile, GroundTruth
from depthscope.reading import json_of, reader

ENCODING = DepthEncoding("uint16", 1 / 256)
"""Of depth in mm and of disparity in pixels."""

FRAME = r"\D*(\d+)\.png"
IMAGES, CALIBRATION = "Left_rectified", "Rectified_calibration"
DEPTH_PLACES = ("Ground_truth_CT/DepthL", "Ground_truth_RGB/DepthL")
DISPARITY_PLACES = ("Ground_truth_CT/Disparity", "Ground_truth_RGB/Disparity")

MOST_APART, LEAST_PIXELS = 0.1, 100
"""Depth and disparity of a frame that differ by more than this share in the median do not belong together."""


def recognises(folder: Path) -> bool:
    """Whether a folder is an ``Experiment_*`` of SERV-CT, complete or not."""
    return (folder / IMAGES).is_dir()


@reader("an experiment of SERV-CT")
def read(folder: Path) -> GroundTruth:
    """Reads one experiment.

    Raises:
        BadInputError: A file is missing or damaged.
    """
    folder = Path(folder)
    frames = numbered(folder / IMAGES, FRAME)
    if not frames:
        raise BadInputError(f"{folder} looks like SERV-CT, but {IMAGES} holds no numbered PNG", "001.png, ...")
    paths = tuple(frames.values())
    size = size_of(paths)
    projections = {n: _projections(path) for n, path in numbered(folder / CALIBRATION, r"\D*(\d+)\.json").items()}
    given = camera_beside((folder,), size)
    missing = [path.stem for n, path in frames.items() if n not in projections]
    if given is None and missing:
        raise BadInputError(
            f"{folder / CALIBRATION}: no {missing[0]}.json", "the calibration of each frame", "download it again"
        )
    maps = next((m for place in DEPTH_PLACES if (m := numbered(folder / place, FRAME))), {})
    disparity = next((m for place in DISPARITY_PLACES if (m := numbered(folder / place, FRAME))), {})
    notes = ["single stereo pairs: no poses; the reference is good to about 2 mm, say its authors"]
    seems = f"{folder} looks like SERV-CT: {len(frames)} frames"
    if not maps and disparity and all(n in projections for n in frames):
        depth = tuple(_of_disparity(disparity, projections, n, path) for n, path in frames.items())
        notes.append("no DepthL: depth was computed from Disparity by P1 and P2")
    else:
        depth = depth_beside(frames, maps, ENCODING, seems, f"{DEPTH_PLACES[0]}/*.png")
    shared = next((n for n in frames if n in maps and n in disparity and n in projections), None)
    if shared is not None:
        notes += _disagreement(DepthFile(maps[shared], ENCODING), disparity[shared], projections[shared], size)
    cameras = tuple(given or _camera(projections[n].left, size, folder / CALIBRATION) for n in frames)
    return GroundTruth(
        name=folder.resolve().name,
        layout="SERV-CT",
        images=paths,
        cameras=cameras,
        camera_from_world=None,
        depth=depth,
        notes=(*notes, *remarks_on_centre(cameras[0])),
    )


@dataclass(frozen=True)
class Projections:
    """P1 and P2 of a rectified pair, shape (3, 4) each; P2 is None where the file has none."""

    left: np.ndarray
    right: np.ndarray | None

    @property
    def depth_times_disparity(self) -> float | None:
        """Focal length times baseline, in mm px."""
        return None if self.right is None or not self.right[0, 3] else abs(float(self.right[0, 3]))

    @property
    def zero_px(self) -> float:
        """The disparity of a point at infinity: the difference of the two centres."""
        return 0.0 if self.right is None else float(self.left[0, 2] - self.right[0, 2])


def _projections(path: Path) -> Projections:
    try:
        entries = json_of(path, "the calibration of a frame", object)
        left = _matrix(entries["P1"])
        right = _matrix(entries["P2"]) if "P2" in entries else None
    except (ValueError, KeyError, TypeError) as error:
        raise BadInputError(
            f"{path} has no P1 of 3 x 4 numbers", "the rectified projection of the left view", "download it again"
        ) from error
    return Projections(left, right)


def _matrix(entry: Any) -> np.ndarray:
    return np.array(entry["data"] if isinstance(entry, dict) else entry, float).reshape(3, 4)


def _camera(p: np.ndarray, size: tuple[int, int], place: Path) -> Camera:
    focal, centre = (float(p[0, 0]), float(p[1, 1])), (float(p[0, 2]) + 0.5, float(p[1, 2]) + 0.5)
    return camera_for(size, focal, centre, str(place), source="SERV-CT P1")


def _of_disparity(
    files: dict[int, Path], projections: dict[int, Projections], number: int, frame: Path
) -> DepthFile | None:
    own = projections[number]
    if number not in files or own.depth_times_disparity is None:
        raise BadInputError(
            f"{frame} has neither depth nor a disparity with P2", "DepthL, or Disparity and P2", "download it again"
        )
    encoding = replace(ENCODING, times_disparity=own.depth_times_disparity, zero_disparity=own.zero_px)
    return DepthFile(files[number], encoding)


def _disagreement(depth: DepthFile, disparity: Path, own: Projections, size: tuple[int, int]) -> list[str]:
    """What to say where depth and disparity of a frame do not belong together: one of them is in another unit."""
    if own.depth_times_disparity is None:
        return []
    encoding = replace(ENCODING, times_disparity=own.depth_times_disparity, zero_disparity=own.zero_px)
    z, other = depth.read(size), DepthFile(disparity, encoding).read(size)
    both = (z > 0) & (other > 0)
    if int(both.sum()) < LEAST_PIXELS:
        return []
    ratio = float((z[both] / other[both]).double().median())
    if abs(ratio - 1) < MOST_APART:
        return []
    return [
        f"{depth.path.name} of DepthL is {ratio:.3g} times what {disparity.parent.name} and P2 say: one of them is in "
        "another unit, or the calibration is for another size"
    ]
