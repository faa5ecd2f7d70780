"""What things are: motions, cameras, depth maps, surfaces. No files, no weights."""

from depthscope.geometry.camera import Camera
from depthscope.geometry.distortion import Brown, KannalaBrandt, NoDistortion
from depthscope.geometry.lens import DistortingLens, Kind, Lens, Pinhole, converted, depth_of, stacked
from depthscope.geometry.motion import RigidMotion, Similarity
from depthscope.geometry.omnidirectional import Scaramuzza
from depthscope.geometry.surface import Surface

__all__ = [
    "Brown",
    "Camera",
    "DistortingLens",
    "KannalaBrandt",
    "Kind",
    "Lens",
    "NoDistortion",
    "Pinhole",
    "RigidMotion",
    "Scaramuzza",
    "Similarity",
    "Surface",
    "converted",
    "depth_of",
    "stacked",
]
