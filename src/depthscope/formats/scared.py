"""SCARED: stereo laparoscopy of porcine abdomens with structured light (Allan et al. 2021), left camera.

A keyframe folder holds ``Left_Image.png`` with ``left_depth_map.tiff``; its clip, unpacked, holds frames in
``image_02/data`` (the AF-SfMLearner layout, counted from 1) or ``data/left``, ``scene_points*.tiff`` (left above
right, counted from 0) and ``frame_data*.json``. Written after the public toolkits' loaders: X Y Z in mm per pixel, of
which OpenCV reads the third first; ``camera-pose`` maps keyframe to frame, which is camera_from_world; K and D are
OpenCV's, with integer pixel centres. What scared_toolkit extracts (``left``, ``depthmap``) is read too. Not verified,
as the data is not here: the half pixel, and the name ``data/left``.
"""

import re
from pathlib import Path

import numpy as np

from depthscope.errors import BadInputError
from depthscope.formats.dataset_files import camera_beside, depth_beside, motions_of_matrices, numbered, size_of
from depthscope.formats.intrinsics import camera_for, remarks_on_centre
from depthscope.geometry import Brown, Camera, NoDistortion, RigidMotion
from depthscope.ground_truth import DepthEncoding, DepthFile, GroundTruth
from depthscope.reading import json_of, reader, reading, text_of, yaml_from

STILL, STILL_DEPTH, CALIBRATION = "Left_Image.png", "left_depth_map.tiff", "endoscope_calibration.yaml"
STILL_ENCODING = DepthEncoding("float32", 1.0, channels=3, channel=0)
CLIP_ENCODING = DepthEncoding("float32", 1.0, channels=3, channel=0, upper_half=True)

TOOLKIT_FRAMES, TOOLKIT_DEPTH, TOOLKIT_CALIBRATION = "left", "depthmap", "stereo_calib.json"
TOOLKIT_FACTORS, FACTOR_SPREAD = (256, 128), 0.1
"""Levels in a mm of the maps that scared_toolkit writes: its page and its script have different defaults, and a user
may give any. How far, in log depth, the keyframe's own map may be from one of them."""

FRAME = r"\D*(\d+)\.(?:png|jpe?g)"
FRAME_PLACES = ("image_02/data", "data/left", "data/image_02/data")
POINT_PLACES = ("data/scene_points", "groundtruth", "image_02/data/groundtruth", "scene_points")
DATA_PLACES = ("data/frame_data", "frame_data", "data")


def recognises(folder: Path) -> bool:
    """Whether a folder is a keyframe of SCARED, complete or not."""
    has = [(folder / name).is_file() for name in (STILL, STILL_DEPTH, CALIBRATION)]
    if sum(has) >= 2 or (_clip_frames(folder) and (_points(folder) or _frame_data(folder))):
        return True
    known = (folder / TOOLKIT_CALIBRATION).is_file() or (folder / CALIBRATION).is_file()
    return bool(known and numbered(folder / TOOLKIT_FRAMES, FRAME) and numbered(folder / TOOLKIT_DEPTH, FRAME))


@reader("a keyframe of SCARED")
def read(folder: Path) -> GroundTruth:
    """Reads a keyframe folder: its clip where that is unpacked, else the keyframe alone.

    Raises:
        BadInputError: A file is missing or damaged.
    """
    folder = Path(folder)
    if frames := _clip_frames(folder):
        return _clip(folder, frames)
    maps = numbered(folder / TOOLKIT_DEPTH, FRAME)
    return _toolkit(folder, maps) if maps else _keyframe(folder)


def _clip_frames(folder: Path) -> dict[int, Path]:
    return next((f for p in FRAME_PLACES if (f := numbered(folder / p, FRAME))), {})


def _points(folder: Path) -> dict[int, Path]:
    return next((f for p in POINT_PLACES if (f := numbered(folder / p, r"scene_points(\d+)\.tiff?"))), {})


def _frame_data(folder: Path) -> dict[int, Path]:
    return next((f for p in DATA_PLACES if (f := numbered(folder / p, r"frame_data(\d+)\.json"))), {})


def _first_number(folder: Path, frames: dict[int, Path], truth: dict[int, Path]) -> int:
    """The number of the frame that scene_points and frame_data 0 belong to: 0 or 1.

    Part of the frames, or of the truth, may have been left out, so that their first numbers tell nothing; a frame
    that only one way of counting has truth for does, and else the layout: ``image_02/data`` counts from 1.

    Raises:
        BadInputError: Nothing tells.
    """
    numbers = list(frames)
    if numbers[0] == 0 or not truth:
        return min(numbers[0], 1)
    fitting = [start for start in (0, 1) if all(number - start in truth for number in numbers)]
    if len(fitting) == 1:
        return fitting[0]
    if frames[numbers[0]].parent.parent.name == "image_02":
        return 1
    raise BadInputError(
        f"{frames[numbers[0]].parent}: frames {numbers[0]} to {numbers[-1]} may count from 0 or from 1, truth "
        f"{min(truth)} to {max(truth)} counts from 0",
        "frame 0 or the last one among the frames",
        "lay the frames out as image_02/data, counted from 1",
    )


def _clip(folder: Path, frames: dict[int, Path]) -> GroundTruth:
    """All frames with their scene points and poses, by their numbers: scene points and frame data count from 0."""
    shift = _first_number(folder, frames, _points(folder) or _frame_data(folder))
    maps = {number + shift: path for number, path in _points(folder).items()}
    data = {number + shift: path for number, path in _frame_data(folder).items()}
    seems = f"{folder} looks like SCARED: {len(frames)} frames"
    depth = depth_beside(frames, maps, CLIP_ENCODING, seems, "scene_points*.tiff unpacked in data/scene_points")
    paths = tuple(frames.values())
    size = size_of(paths)
    given = camera_beside((folder,), size)
    missing = [frames[n].name for n in frames if n not in data]
    if data and missing:
        raise BadInputError(f"{folder}: {missing[0]} has no frame_data", "frame_data*.json for each frame", "unpack it")
    read = [_read_frame_data(data[n], size) for n in frames] if data else []
    cameras = (given,) * len(paths) if given else tuple(camera for camera, _ in read) or None
    poses = np.array([pose for _, pose in read])
    motions = motions_of_matrices(poses, next(iter(data.values())).parent) if read else None
    notes = [f"frames count from {shift}: frame {min(frames)} belongs to scene_points {min(frames) - shift}"]
    notes += ["poses are camera_from_world, the world being the keyframe"] if read else ["frame_data*.json is missing"]
    notes += ["depth far from the keyframe was warped by kinematics and drifts: prefer frames near it"]
    notes += remarks_on_centre(cameras[0]) if cameras else []
    return GroundTruth(
        name=_name(folder),
        layout="SCARED",
        images=paths,
        cameras=cameras,
        camera_from_world=motions,
        depth=depth,
        notes=tuple(notes),
        pose_direction="camera_from_world" if read else "",
    )


def _toolkit(folder: Path, maps: dict[int, Path]) -> GroundTruth:
    """What scared_toolkit's scripts extract: frames in ``left``, depth in ``depthmap`` as 16-bit PNG, no poses.

    The files do not say how many levels a mm has; the keyframe's own map, which is that of frame 0, does.

    Raises:
        BadInputError: Frames are missing, or nothing says what a level is.
    """
    frames = numbered(folder / TOOLKIT_FRAMES, FRAME)
    seems = f"{folder} looks like SCARED by scared_toolkit"
    if not frames:
        raise BadInputError(f"{seems}: depth, but no frames", f"{TOOLKIT_FRAMES}/000000.png", "extract with --depth")
    factor = _levels_in_a_mm(folder, maps)
    size = size_of(tuple(frames.values()))
    camera = camera_beside((folder,), size) or _calibrated(folder / CALIBRATION, size)
    return GroundTruth(
        name=_name(folder),
        layout="SCARED",
        images=tuple(frames.values()),
        cameras=None if camera is None else (camera,) * len(frames),
        camera_from_world=None,
        depth=depth_beside(frames, maps, DepthEncoding("uint16", 1 / factor), seems, f"{TOOLKIT_DEPTH}/000000.png"),
        notes=(
            f"depth by scared_toolkit, {factor} levels in a mm as {STILL_DEPTH} says",
            "depth far from the keyframe was warped by kinematics and drifts: prefer frames near it",
        ),
    )


def _levels_in_a_mm(folder: Path, maps: dict[int, Path]) -> int:
    """How the toolkit's numbers become mm, by the keyframe's own map."""
    wanted = f"{folder / STILL_DEPTH} beside {TOOLKIT_DEPTH}, as the toolkit's maps do not say what a level is"
    if 0 not in maps or not (folder / STILL_DEPTH).is_file():
        raise BadInputError(
            f"{folder / TOOLKIT_DEPTH}: depth in levels of unknown size (1/128 or 1/256 mm by the toolkit's defaults)",
            wanted,
            f"copy {STILL_DEPTH} of the keyframe here, with frame 0",
        )
    levels, known = (
        DepthFile(maps[0], DepthEncoding("uint16")).levels(),
        DepthFile(folder / STILL_DEPTH, STILL_ENCODING),
    )
    mm = known.read((levels.shape[1], levels.shape[0])).numpy()
    both = (levels > 0) & (mm > 0)
    found = float(np.median(levels[both] / mm[both])) if both.any() else float("nan")
    factor = min(TOOLKIT_FACTORS, key=lambda one: abs(np.log(found / one)))
    if not abs(np.log(found / factor)) < FACTOR_SPREAD:
        raise BadInputError(
            f"{maps[0]} has {found:.4g} levels in a mm of {STILL_DEPTH}",
            f"{' or '.join(map(str, sorted(TOOLKIT_FACTORS)))}, or 16 bits of which all fit",
            "extract again with --scale_factor 256",
        )
    return factor


def _keyframe(folder: Path) -> GroundTruth:
    """The keyframe alone."""
    for name, what in ((STILL, "the left frame"), (STILL_DEPTH, "depth")):
        if not (folder / name).is_file():
            raise BadInputError(f"{folder} looks like SCARED, but no {what}", name, "download the keyframe again")
    size = size_of([folder / STILL])
    camera = camera_beside((folder,), size) or _calibrated(folder / CALIBRATION, size)
    packed = (folder / "data" / "rgb.mp4").is_file()
    hint = "; its clip is packed: unpack rgb.mp4 (upper half) to data/left, and scene_points and frame_data"
    return GroundTruth(
        name=_name(folder),
        layout="SCARED",
        images=(folder / STILL,),
        cameras=None if camera is None else (camera,),
        camera_from_world=RigidMotion.identity(1),
        depth=(DepthFile(folder / STILL_DEPTH, STILL_ENCODING),),
        notes=("the keyframe alone" + (hint if packed else ""),),
        pose_direction="camera_from_world",
    )


def _name(folder: Path) -> str:
    return "-".join(folder.resolve().parts[-2:])


def _read_frame_data(path: Path, size: tuple[int, int]) -> tuple[Camera, np.ndarray]:
    try:
        entries = json_of(path, "camera-calibration {KL, DL} and camera-pose 4x4", object)
        calibration = entries["camera-calibration"]
        k, d = np.array(calibration["KL"], float), np.array(calibration["DL"], float).ravel()
        pose = np.array(entries["camera-pose"], float).reshape(4, 4)
    except (ValueError, KeyError, TypeError) as error:
        raise BadInputError(f"{path} is damaged", "camera-calibration {KL, DL} and camera-pose 4x4") from error
    if not np.isfinite(pose).all():
        raise BadInputError(f"{path}: the pose is not finite", "a rigid motion", "leave this frame out")
    return _camera(k, d, size, path), pose


def _matrices(text: str, path: Path) -> dict[str, np.ndarray]:
    """The matrices of OpenCV's YAML by name; its own reader, on damaged files, writes past the end of its memory."""
    plain = re.sub(r"^%YAML.*$", "", text.replace("!!opencv-matrix", ""), flags=re.MULTILINE)
    nodes, found = yaml_from(plain, path, "an OpenCV calibration file"), {}
    with reading(path, "an OpenCV calibration file", "download it again"):
        for name, node in nodes.items() if isinstance(nodes, dict) else ():
            if isinstance(node, dict) and {"rows", "cols", "data"} <= node.keys():
                found[str(name)] = np.array(node["data"], float).reshape(int(node["rows"]), int(node["cols"]))
    return found


def _calibrated(path: Path, size: tuple[int, int]) -> Camera | None:
    """The left camera of OpenCV's file storage."""
    if not path.is_file():
        return None
    text = text_of(path, "an OpenCV calibration file")
    if not re.match(r"%YAML", text):
        raise BadInputError(f"{path} does not start with %YAML", "an OpenCV calibration file", "download it again")
    found = _matrices(text, path)
    k, d = found.get("M1", found.get("K1")), found.get("D1")
    if k is None or d is None or k.shape != (3, 3):
        raise BadInputError(f"{path} is damaged", "3 x 3 numbers in M1, and D1", "download it again")
    return _camera(k, d.ravel(), size, path)


def _camera(k: np.ndarray, d: np.ndarray, size: tuple[int, int], path: Path) -> Camera:
    if k.shape != (3, 3) or len(d) not in (4, 5, 8):
        raise BadInputError(f"{path}: K of shape {k.shape} and {len(d)} distortion numbers", "3x3, and 4, 5 or 8")
    lens = Brown(tuple(map(float, d))) if np.any(d) else NoDistortion()
    focal, centre = (float(k[0, 0]), float(k[1, 1])), (float(k[0, 2]) + 0.5, float(k[1, 2]) + 0.5)
    return camera_for(size, focal, centre, str(path), lens, f"SCARED {path.name}")
