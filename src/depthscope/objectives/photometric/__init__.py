"""Depth and motion from video by view synthesis: the objectives of SfMLearner and Monodepth2, and for endoscopy."""

from depthscope.objectives.photometric.agreement import GeometryConsistency
from depthscope.objectives.photometric.error import PhotometricError
from depthscope.objectives.photometric.light import AffineBrightness, Highlights
from depthscope.objectives.photometric.reprojection import EverySource, MinimumReprojection
from depthscope.objectives.photometric.smoothness import EdgeAware, SecondOrder
from depthscope.objectives.photometric.synthesis import Synthesis, synthesised
from depthscope.objectives.photometric.view_synthesis import ViewSynthesis

__all__ = [
    "AffineBrightness",
    "EdgeAware",
    "EverySource",
    "GeometryConsistency",
    "Highlights",
    "MinimumReprojection",
    "PhotometricError",
    "SecondOrder",
    "Synthesis",
    "ViewSynthesis",
    "synthesised",
]
