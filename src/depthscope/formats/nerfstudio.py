"""nerfstudio's ``transforms.json`` (also Instant-NGP's and Blender-NeRF's).

Checked against nerfstudio's documentation of its data conventions: world_from_camera with OpenGL camera axes (y up, z
back), pixel centres at half numbers as here, distortion as OpenCV's. Depth files hold numbers that times 0.001 are in
the unit of the poses, unless ``depth_unit_scale_factor`` says otherwise (an option of nerfstudio, which others write
into the file). ``applied_transform`` moves the whole world and is left in place: depth, poses and cameras agree without
undoing it; ``applied_scale`` is refused where there is depth, as the two scales then differ.
"""

import json
import math
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from depthscope.errors import BadInputError
from depthscope.formats.dataset_files import motions_of_matrices
from depthscope.formats.intrinsics import camera_for, remarks_on_centre
from depthscope.formats.lens_fit import BROWN_5, FISHEYE, with_named_lenses
from depthscope.geometry import Brown, Camera, KannalaBrandt, NoDistortion
from depthscope.ground_truth import DepthEncoding, DepthFile, GroundTruth
from depthscope.reading import inside, json_of, reader
from depthscope.sequence import Sequence
from depthscope.video import IMAGE_ENDINGS, check_sizes, image_size, order_of_name

FILE = "transforms.json"
FLIP = np.diag([1.0, -1.0, -1.0, 1.0])
"""Between OpenGL's camera axes and OpenCV's."""

COEFFICIENTS = ("k1", "k2", "k3", "k4", "p1", "p2")

LENSES: dict[str, tuple[str, ...]] = {
    "OPENCV": ("k1", "k2", "p1", "p2", "k3"),
    "PINHOLE": (),
    "SIMPLE_PINHOLE": (),
    "SIMPLE_RADIAL": ("k1",),
    "RADIAL": ("k1", "k2"),
    "OPENCV_FISHEYE": ("k1", "k2", "k3", "k4"),
    "RADIAL_FISHEYE": ("k1", "k2"),
    "SIMPLE_RADIAL_FISHEYE": ("k1",),
}
"""The lenses by their ``camera_model``, with the coefficients that each has. nerfstudio's k4 of OPENCV is a fourth
power of r^2, which OpenCV itself has not: it is refused unless 0."""

CAMERA_ENTRIES = (
    *COEFFICIENTS, "fl_x", "fl_y", "cx", "cy", "w", "h", "camera_angle_x", "camera_angle_y", "camera_model",
    "is_fisheye",
)  # fmt: skip
LENS_LIKE = re.compile(
    r"[kps]\d+|.*fish_?eye.*|.*distort.*|.*lens.*|.*ftheta.*|.*lat_?long.*|.*equirect.*|.*rolling_?shutter.*|"
    r".*skew.*|sk_[xy]|xi|alpha|omega|.*fov.*|.*camera_(?:model|type).*|camera_angle.*"
)
"""Names of entries that change the rays."""

DEPTH_SCALE = 1e-3
MM_PER_M = 1000.0
UNIT = "depthscope_unit"


def recognises(folder: Path) -> bool:
    """Whether a folder holds a ``transforms.json``."""
    return (folder / FILE).is_file()


@reader("a folder of nerfstudio")
def read(folder: Path) -> GroundTruth:
    """Reads a folder.

    Raises:
        BadInputError: The file is damaged, or a file it names is missing.
    """
    folder = Path(folder)
    path = folder / FILE
    try:
        entries = json_of(path, "frames with file_path and transform_matrix", object)
        frames = sorted(entries["frames"], key=lambda frame: order_of_name(str(frame["file_path"])))
        matrices = np.array([frame["transform_matrix"] for frame in frames], float)
    except (ValueError, KeyError, TypeError) as error:
        raise BadInputError(
            f"{path} is damaged", "frames with file_path and transform_matrix", "export it again"
        ) from error
    if not frames or matrices.shape[1:] not in ((4, 4), (3, 4)):
        raise BadInputError(f"{path} holds {len(frames)} frames or no 4x4 matrices", "at least one", "export it again")
    if matrices.shape[1] == 3:
        matrices = np.concatenate([matrices, np.tile([[[0, 0, 0, 1.0]]], (len(matrices), 1, 1))], 1)
    if not np.isfinite(matrices).all():
        bad = frames[int(np.argmin(np.isfinite(matrices).all((1, 2))))]["file_path"]
        raise BadInputError(f"{path}: the pose of {bad} is not finite", "a rigid motion", "leave this frame out")
    images = tuple(_image(folder, str(frame["file_path"]), path) for frame in frames)
    cameras = tuple(_camera({**entries, **frame}, image, path) for frame, image in zip(frames, images, strict=True))
    for camera in dict.fromkeys(cameras):
        own = [image for image, c in zip(images, cameras, strict=True) if c == camera]
        check_sizes(own, camera.size_px, f"its camera in {FILE}")
    metres = entries.get(UNIT) == "m"
    world_from_camera = motions_of_matrices(matrices @ FLIP, path).scaled(MM_PER_M if metres else 1.0)
    depth = tuple(_depth(folder, frame, entries, MM_PER_M if metres else 1.0, path) for frame in frames)
    return GroundTruth(
        name=folder.resolve().name,
        layout="nerfstudio",
        images=images,
        cameras=cameras,
        camera_from_world=world_from_camera.inverse(),
        depth=depth,
        unit="mm" if metres else "sfm",
        notes=("poses are world_from_camera with OpenGL axes, turned to OpenCV's", *remarks_on_centre(cameras[0])),
        pose_direction="world_from_camera",
    )


def write(clip: Sequence | GroundTruth, folder: Path) -> tuple[str, ...]:
    """Writes ``transforms.json``, images, and depth where the clip has it; returns what was decided, in words.

    Depth is written as float arrays (``.npy``) in thousandths of the unit of the poses, which is nerfstudio's default;
    a clip in mm is written in metres.

    Lenses that nerfstudio has no name for (omnidirectional ones, rational Brown ones) are written as the nearest one
    that it has, and their error is among what is returned.

    Raises:
        BadInputError: The clip has no cameras or poses, or no lens of nerfstudio comes near its own.
    """
    clip, lens_notes = with_named_lenses(
        clip, lambda camera: _named(camera) is not None, (BROWN_5, FISHEYE), "nerfstudio"
    )
    if clip.cameras is None or clip.camera_from_world is None:
        raise BadInputError(f"{clip.name} has no cameras or no poses", "both", "this layout cannot hold the clip")
    scale = 1 / MM_PER_M if clip.unit == "mm" else 1.0
    motions = clip.camera_from_world.inverse().scaled(scale)
    matrices = np.tile(np.eye(4), (len(clip.images), 1, 1))
    matrices[:, :3, :3], matrices[:, :3, 3] = motions.rotation.numpy(), motions.translation.numpy()
    frames = []
    (folder / "images").mkdir(parents=True, exist_ok=True)
    for n, (image, camera, matrix) in enumerate(zip(clip.images, clip.cameras, matrices @ FLIP, strict=True)):
        shutil.copyfile(image, folder / "images" / image.name)
        frame = {
            "file_path": f"images/{image.name}",
            **_entries(camera),
            "transform_matrix": matrix.tolist(),
        }
        if isinstance(clip, GroundTruth) and clip.depth[n] is not None:
            (folder / "depth").mkdir(exist_ok=True)
            np.save(folder / "depth" / f"{image.stem}.npy", (clip.depth_of(n) * (scale / DEPTH_SCALE)).numpy())
            frame["depth_file_path"] = f"depth/{image.stem}.npy"
        frames.append(frame)
    head = {"depth_unit_scale_factor": DEPTH_SCALE, UNIT: "m" if clip.unit == "mm" else clip.unit}
    (folder / FILE).write_text(json.dumps({**head, "frames": frames}, indent=1))
    note = "poses are written as world_from_camera with OpenGL axes" + (", in metres" if scale != 1 else "")
    return (note, *lens_notes)


def _image(folder: Path, name: str, source: Path) -> Path:
    """The image of a frame; Blender-NeRF leaves the ending away."""
    place = inside(folder, name, source)
    if place.suffix.lower() in IMAGE_ENDINGS:
        return place
    endings = (place.with_name(f"{place.name}{ending}") for ending in IMAGE_ENDINGS)
    return next((file for file in endings if file.is_file()), place.with_name(f"{place.name}.png"))


def _depth(folder: Path, frame: dict[str, Any], entries: dict[str, Any], unit: float, path: Path) -> DepthFile | None:
    name = frame.get("depth_file_path")
    if not name:
        return None
    if float(entries.get("applied_scale", 1.0)) != 1.0:
        raise BadInputError(
            f"{path} has depth and an applied_scale", "poses in the unit of the depth", "undo the scale"
        )
    file = inside(folder, str(name), path)
    if not file.is_file():
        raise BadInputError(f"{file}, named in {FILE}, is missing", "the depth of this frame", "copy it too")
    per_level = float(entries.get("depth_unit_scale_factor", DEPTH_SCALE)) * unit
    kind = "float32" if file.suffix.lower() in (".npy", ".tiff", ".tif", ".exr") else "uint16"
    return DepthFile(file, DepthEncoding(kind, per_level))


def _camera(entry: dict[str, Any], image: Path, path: Path) -> Camera:
    _refuse_unknown_lenses(entry, path)
    try:
        size = (int(entry["w"]), int(entry["h"])) if "w" in entry and "h" in entry else image_size(image)
        fx = entry.get("fl_x") or size[0] / (2 * math.tan(float(entry["camera_angle_x"]) / 2))
        angle = entry.get("camera_angle_y")
        fy = entry.get("fl_y") or (size[1] / (2 * math.tan(float(angle) / 2)) if angle else fx)
        centre = float(entry.get("cx", size[0] / 2)), float(entry.get("cy", size[1] / 2))
        numbers = {name: float(entry.get(name) or 0.0) for name in COEFFICIENTS}
    except (KeyError, TypeError, ValueError) as error:
        raise BadInputError(f"{path} tells no camera for {image.name}", "fl_x or camera_angle_x", "add it") from error
    return camera_for(size, (float(fx), float(fy)), centre, str(path), _lens(entry, numbers, path))


def _lens(entry: dict[str, Any], numbers: dict[str, float], path: Path) -> NoDistortion | Brown | KannalaBrandt:
    """The lens of a frame: by ``camera_model`` (nerfstudio), or by ``is_fisheye`` (Instant-NGP).

    Raises:
        BadInputError: The model is not known, two entries contradict each other, or a coefficient has no place in it.
    """
    fisheye, named = bool(entry.get("is_fisheye", False)), entry.get("camera_model")
    model = str(named or ("OPENCV_FISHEYE" if fisheye else "OPENCV")).upper()
    if model not in LENSES:
        raise BadInputError(f"{path}: camera_model {named}", f"one of {', '.join(LENSES)}", "convert it first")
    if named and "is_fisheye" in entry and fisheye != ("FISHEYE" in model):
        raise BadInputError(
            f"{path}: camera_model {named} and is_fisheye {str(fisheye).lower()}",
            "one lens",
            "take one of the two entries out",
        )
    strangers = [name for name, value in numbers.items() if value and name not in LENSES[model]]
    if strangers:
        raise BadInputError(
            f"{path}: {', '.join(strangers)} for a lens {model}",
            f"{', '.join(LENSES[model]) or 'no coefficients'}",
            "undistort the frames with the program that calibrated them, or calibrate with another model",
        )
    k1, k2, k3, k4, p1, p2 = (numbers[name] for name in COEFFICIENTS)
    if "FISHEYE" in model:
        return KannalaBrandt((k1, k2, k3, k4))
    if any((k1, k2, p1, p2, k3)):
        return Brown((k1, k2, p1, p2, k3) if k3 else (k1, k2, p1, p2))
    return NoDistortion()


def _refuse_unknown_lenses(entry: dict[str, Any], path: Path) -> None:
    """Refuses entries that look like a lens and have no place here: left out, every ray would be wrong."""
    for name, value in entry.items():
        if name in CAMERA_ENTRIES or not LENS_LIKE.fullmatch(name.lower()):
            continue
        if value and any(np.atleast_1d(np.asarray(value, dtype=object)).ravel().tolist()):
            raise BadInputError(
                f"{path} has {name} {str(value)[:40]}, a lens that is not known here",
                "fl_x, fl_y, cx, cy, k1 to k4, p1, p2, camera_model or is_fisheye",
                "undistort the frames with the program that calibrated them",
            )


def _named(camera: Camera) -> tuple[str, tuple[str, ...]] | None:
    """The ``camera_model`` of a camera and the names of its coefficients; None where nerfstudio has no such lens."""
    match camera.distortion:
        case NoDistortion():
            return "OPENCV", ()
        case Brown(numbers) if not any(numbers[4:]):
            return "OPENCV", ("k1", "k2", "p1", "p2")
        case Brown(numbers) if not any(numbers[5:]):
            return "OPENCV", ("k1", "k2", "p1", "p2", "k3")
        case KannalaBrandt():
            return "OPENCV_FISHEYE", ("k1", "k2", "k3", "k4")
        case _:
            return None


def _entries(camera: Camera) -> dict[str, Any]:
    found = _named(camera)
    assert found is not None
    model, names = found
    lens = dict(zip(names, camera.distortion.coefficients, strict=False))
    (w, h), (fx, fy), (cx, cy) = camera.size_px, camera.focal_px, camera.centre_px
    return {"camera_model": model, "w": w, "h": h, "fl_x": fx, "fl_y": fy, "cx": cx, "cy": cy, **lens}
