"""Clips with exact truth: every pixel's depth, every motion, and who truly saw which point."""

from depthscope.simulation.clip import simulate
from depthscope.simulation.tube import Tube, Wall, ray_depth

__all__ = ["Tube", "Wall", "ray_depth", "simulate"]
