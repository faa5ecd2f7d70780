"""COLMAP's camera models, as far as this package can represent them."""

from pathlib import Path

from depthscope.errors import BadInputError
from depthscope.geometry import Brown, Camera, KannalaBrandt, NoDistortion, Scaramuzza

MODELS = (
    "SIMPLE_PINHOLE", "PINHOLE", "SIMPLE_RADIAL", "RADIAL", "OPENCV", "OPENCV_FISHEYE", "FULL_OPENCV", "FOV",
    "SIMPLE_RADIAL_FISHEYE", "RADIAL_FISHEYE", "THIN_PRISM_FISHEYE",
)  # fmt: skip
"""Names of COLMAP's camera models in the order of their numbers."""

PARAMETERS = (3, 4, 4, 5, 8, 8, 12, 5, 4, 5, 12)
"""How many parameters each has."""


def camera_of(model: str, width: int, height: int, numbers: list[float], path: Path) -> Camera:
    """A camera of this package from COLMAP's.

    Raises:
        BadInputError: The model is unknown, or cannot be represented.
    """
    match model, numbers:
        case (
            ("SIMPLE_PINHOLE" | "SIMPLE_RADIAL" | "RADIAL" | "SIMPLE_RADIAL_FISHEYE" | "RADIAL_FISHEYE"),
            [f, cx, cy, *rest],
        ):
            fx = fy = f
        case (("PINHOLE" | "OPENCV" | "FULL_OPENCV" | "OPENCV_FISHEYE"), [fx, fy, cx, cy, *rest]):
            pass
        case _:
            raise BadInputError(
                f"{path}: camera model {model} with {len(numbers)} parameters",
                "one of SIMPLE_PINHOLE to OPENCV, FULL_OPENCV, OPENCV_FISHEYE, (SIMPLE_)RADIAL_FISHEYE",
                "undistort with COLMAP's image_undistorter, or reconstruct with another camera model",
            )
    rest = tuple(rest)
    if "FISHEYE" in model:
        distortion = KannalaBrandt((*rest, 0.0, 0.0, 0.0, 0.0)[:4])
    elif model == "FULL_OPENCV":
        distortion = Brown(rest if any(rest[5:]) else rest[:5])
    elif rest:
        distortion = Brown((*rest, 0.0, 0.0, 0.0)[:4])
    else:
        distortion = NoDistortion()
    return Camera((width, height), (fx, fy), (cx, cy), distortion)


def has_name(camera: Camera) -> bool:
    """Whether COLMAP has the lens model of a camera."""
    return not isinstance(camera.distortion, Scaramuzza)


def numbers_of(camera: Camera) -> tuple[int, list[float]]:
    """COLMAP's model number and parameters of a camera.

    Raises:
        BadInputError: COLMAP has no such lens.
    """
    numbers = [*camera.focal_px, *camera.centre_px]
    match camera.distortion:
        case NoDistortion():
            model = "PINHOLE"
        case Scaramuzza():
            raise BadInputError(
                "an omnidirectional camera", "a model that COLMAP has", "undistort frames first, or choose --to tum"
            )
        case KannalaBrandt(coefficients):
            model, numbers = "OPENCV_FISHEYE", [*numbers, *coefficients]
        case Brown(coefficients) if len(coefficients) == 4:
            model, numbers = "OPENCV", [*numbers, *coefficients]
        case Brown(coefficients):
            model, numbers = "FULL_OPENCV", [*numbers, *(*coefficients, 0.0, 0.0, 0.0)[:8]]
    return MODELS.index(model), [float(n) for n in numbers]
