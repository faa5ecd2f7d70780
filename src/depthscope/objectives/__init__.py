"""What is asked of a depth map: agreement with the sparse points, and of two frames with each other."""

from depthscope.objectives.siamese import Siamese

__all__ = ["Siamese"]
