"""How good results are: depth maps, camera paths and surfaces against what is true."""

from depthscope.evaluation.association import LIMIT_S, Association, associated
from depthscope.evaluation.conventions import path_warnings
from depthscope.evaluation.depth import (
    ComparedFrame,
    DepthEvaluation,
    DepthMetrics,
    cross_view_difference,
    evaluated,
    flat_wall,
    median,
)
from depthscope.evaluation.path import PathError, RelativeError, path_error
from depthscope.evaluation.path_protocols import (
    PATH,
    PATH_PROTOCOLS,
    ChainProtocol,
    PathProtocol,
    SimilarityProtocol,
    SnippetProtocol,
)
from depthscope.evaluation.protocols import (
    DENSE,
    DEPTH_PROTOCOLS,
    Crop,
    DepthProtocol,
    MapPair,
    MeanErrorProtocol,
    MedianProtocol,
)
from depthscope.evaluation.ray import AlongRay, along_ray, along_ray_at
from depthscope.evaluation.seen import faces_seen
from depthscope.evaluation.surface import (
    SURFACE,
    SURFACE_PROTOCOLS,
    Distances,
    SurfaceError,
    SurfaceProtocol,
    surface_error,
)

__all__ = [
    "AlongRay",
    "Association",
    "ChainProtocol",
    "Crop",
    "DENSE",
    "DEPTH_PROTOCOLS",
    "DepthProtocol",
    "LIMIT_S",
    "MapPair",
    "MeanErrorProtocol",
    "MedianProtocol",
    "PATH",
    "PATH_PROTOCOLS",
    "PathProtocol",
    "SURFACE",
    "SURFACE_PROTOCOLS",
    "SimilarityProtocol",
    "SurfaceProtocol",
    "SnippetProtocol",
    "DepthEvaluation",
    "DepthMetrics",
    "Distances",
    "ComparedFrame",
    "PathError",
    "RelativeError",
    "SurfaceError",
    "along_ray",
    "along_ray_at",
    "associated",
    "cross_view_difference",
    "evaluated",
    "faces_seen",
    "flat_wall",
    "median",
    "path_error",
    "path_warnings",
    "surface_error",
]
