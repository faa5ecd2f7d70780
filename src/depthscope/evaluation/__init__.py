"""How good results are: depth maps, camera paths and surfaces against what is true."""

from depthscope.evaluation.depth import (
    DepthEvaluation,
    DepthMetrics,
    FrameDepth,
    cross_view_difference,
    evaluated,
    flat_wall,
    median,
)
from depthscope.evaluation.path import PathError, RelativeError, path_error
from depthscope.evaluation.surface import Distances, SurfaceError, surface_error

__all__ = [
    "DepthEvaluation",
    "DepthMetrics",
    "Distances",
    "FrameDepth",
    "PathError",
    "RelativeError",
    "SurfaceError",
    "cross_view_difference",
    "evaluated",
    "flat_wall",
    "median",
    "path_error",
    "surface_error",
]
