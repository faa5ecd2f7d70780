"""What things are: motions, cameras, depth maps, surfaces. No files, no weights."""

from depthscope.geometry.camera import Brown, Camera, KannalaBrandt, NoDistortion, Pinhole
from depthscope.geometry.motion import RigidMotion, Similarity
from depthscope.geometry.omnidirectional import Scaramuzza
from depthscope.geometry.surface import Surface

__all__ = [
    "Brown",
    "Camera",
    "KannalaBrandt",
    "NoDistortion",
    "Pinhole",
    "RigidMotion",
    "Scaramuzza",
    "Similarity",
    "Surface",
]
