"""Learned features for structure from motion: networks of kornia with weights from packages, run outside the child.

The child loads no torch; it gets keypoints and descriptors as a file (`depthscope.reconstruction.described`).
"""

from depthscope.reconstruction.learned.extraction import describe
from depthscope.reconstruction.learned.networks import (
    INSTALL,
    LEARNED,
    Aliked,
    Disk,
    LearnedFeatures,
    XFeat,
    available,
)

__all__ = ["INSTALL", "LEARNED", "Aliked", "Disk", "LearnedFeatures", "XFeat", "available", "describe"]
