"""One map of several clips: what they see in common, how they lie to each other, and which of that can be believed."""

from depthscope.reconstruction.joining.correspondences import (
    Correspondences,
    Matcher,
    in_matched_frames,
    in_shared_frames,
)
from depthscope.reconstruction.joining.folders import Joined, join, staged, write_maps
from depthscope.reconstruction.joining.graph import Map, maps_of
from depthscope.reconstruction.joining.joint import Joint, joint_of
from depthscope.reconstruction.joining.merging import merged

__all__ = [
    "Correspondences",
    "Joined",
    "Joint",
    "Map",
    "Matcher",
    "in_matched_frames",
    "in_shared_frames",
    "join",
    "joint_of",
    "maps_of",
    "merged",
    "staged",
    "write_maps",
]
