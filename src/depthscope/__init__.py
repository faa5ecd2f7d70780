"""Dense depth and measured 3D surfaces from plain endoscopic video.

    import depthscope as ds

    ds.depth("frame.png").show()
    sequence = ds.reconstruct("clip.mp4")
    depths = ds.predict(ds.train(sequence), sequence)
    ds.fuse(depths).save("surface.ply")

What a notebook needs is imported when it is first used, so that ``import depthscope`` itself costs nothing.
"""

import importlib
import os
from typing import TYPE_CHECKING, Any

from depthscope.threads import wait_patiently

if TYPE_CHECKING:
    from depthscope.public import (
        FrameDepth,
        FrameDepths,
        FusedSurface,
        Registered,
        depth,
        fuse,
        load,
        predict,
        reconstruct,
        register,
        train,
    )

os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(1 << 26))  # read when cv2 is loaded; its own bound is 16 times

wait_patiently()  # first of all: pools of threads read their settings when they are loaded

__version__ = "0.1.0"

__all__ = [
    "FrameDepth",
    "FrameDepths",
    "FusedSurface",
    "Registered",
    "depth",
    "fuse",
    "load",
    "predict",
    "reconstruct",
    "register",
    "train",
]


def __getattr__(name: str) -> Any:
    """What `depthscope.public` offers."""
    if name not in __all__:
        raise AttributeError(f"module 'depthscope' has no attribute {name!r}")
    return getattr(importlib.import_module("depthscope.public"), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
