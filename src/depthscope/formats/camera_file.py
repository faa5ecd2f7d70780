"""``camera.yaml``: one camera, in and out everywhere."""

from pathlib import Path
from typing import Any

import yaml

from depthscope.errors import BadInputError
from depthscope.geometry import Brown, Camera, KannalaBrandt, NoDistortion, Scaramuzza
from depthscope.geometry.camera import Distortion
from depthscope.reading import reader, text_of, yaml_of
from depthscope.workspace import write_text

REQUIRED = ("model", "size_px", "focal_px", "centre_px")
OPTIONAL = ("distortion", "source")
MODELS = ("pinhole", "brown", "fisheye", "omnidirectional")


@reader("a camera file", "write it again")
def read(path: Path) -> Camera:
    """Reads a camera file.

    Raises:
        BadInputError: The file is missing, is no camera file, or its numbers make no camera.
    """
    _refuse_foreign(Path(path))
    entries = yaml_of(Path(path), f"a camera file with {', '.join(REQUIRED)}", object)
    if not isinstance(entries, dict):
        raise BadInputError(f"{path} is no camera file", f"entries {', '.join(REQUIRED)}", "write it again")
    missing = [name for name in REQUIRED if name not in entries]
    unknown = [str(name) for name in entries if name not in (*REQUIRED, *OPTIONAL)]
    if missing or unknown:
        what = f"lacks {', '.join(missing)}" if missing else f"has unknown entries {', '.join(unknown)}"
        raise BadInputError(
            f"{path} {what}", f"{', '.join(REQUIRED)} and if need be {', '.join(OPTIONAL)}", "correct it"
        )
    width, height = _numbers(entries, "size_px", path, 2)
    distortion = _numbers(entries, "distortion", path)
    try:
        lens = _lens(entries["model"], distortion, path)
    except BadInputError as error:  # of numbers that make no lens of this model
        found = error.found if str(path) in error.found else f"{path}: {error.found}"
        raise BadInputError(found, error.expected, error.remedy) from None
    fx, fy = _numbers(entries, "focal_px", path, 2)
    cx, cy = _numbers(entries, "centre_px", path, 2)
    return Camera((int(width), int(height)), (fx, fy), (cx, cy), lens, source=str(entries.get("source") or ""))


def _lens(model: Any, distortion: tuple[float, ...], path: Path) -> Distortion:
    match model:
        case "pinhole":
            if any(distortion):
                raise BadInputError(f"{path}: a pinhole with distortion", "model brown or fisheye", "name the model")
            return NoDistortion()
        case "brown":
            return Brown(distortion or (0.0,) * 4)
        case "fisheye":
            return KannalaBrandt(distortion or (0.0,) * 4)
        case "omnidirectional":
            return Scaramuzza(distortion)
        case other:
            raise BadInputError(f"{path}: model {other}", f"one of {', '.join(MODELS)}", "correct it")


def write(camera: Camera, path: Path) -> Path:
    """Writes a camera file, with all digits."""
    entries: dict[str, Any] = {
        "model": camera.model,
        "size_px": [int(side) for side in camera.size_px],
        "focal_px": [float(value) for value in camera.focal_px],  # NumPy's floats are floats too, but not to YAML
        "centre_px": [float(value) for value in camera.centre_px],
        "distortion": [float(value) for value in camera.distortion.coefficients],
    }
    if camera.source:
        entries["source"] = camera.source
    head = "# Pixels: the centre of the top-left pixel is (0.5, 0.5). Distortion in OpenCV's order.\n"
    path = Path(path)
    write_text(path, head + yaml.safe_dump(entries, sort_keys=False, default_flow_style=None))
    return path


FOREIGN = {
    "cam0:": "of Kalibr (intrinsics: fx, fy, cx, cy)",
    "camera_matrix": "of ROS or OpenCV (camera_matrix: fx 0 cx, 0 fy cy, 0 0 1)",
    "camera_model": "of another program",
    '"K"': "of another program (K: fx 0 cx, 0 fy cy, 0 0 1)",
    "%YAML:1.0": "of OpenCV",
}
"""Words by which a camera file of another program is known, and which."""


def _refuse_foreign(path: Path) -> None:
    """Says how to rewrite a camera file of another program, whose pixels count from another point.

    Raises:
        BadInputError: It is one.
    """
    text = text_of(path, f"a camera file with {', '.join(REQUIRED)}")
    found = "" if "focal_px" in text else next((program for word, program in FOREIGN.items() if word in text), "")
    if found:
        raise BadInputError(
            f"{path} is a camera file {found}",
            f"entries {', '.join(REQUIRED)} and distortion",
            "write model: pinhole, brown or fisheye, size_px: [width, height], focal_px: [fx, fy], "
            "centre_px: [cx + 0.5, cy + 0.5] (here the first pixel's centre is 0.5) and distortion in OpenCV's order",
        )


def _numbers(entries: dict[str, Any], name: str, path: Path, count: int | None = None) -> tuple[float, ...]:
    values = entries.get(name) or []
    try:
        numbers = tuple(float(value) for value in values)
    except (TypeError, ValueError):
        numbers = None
    if numbers is None or (count is not None and len(numbers) != count):
        raise BadInputError(f"{path}: {name} is {values}", f"{count or 'a list of'} numbers", "correct it")
    return numbers
