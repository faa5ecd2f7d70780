"""What is asked of a depth map: agreement with the sparse points, of two frames with each other, or of their images."""

from depthscope.objectives.photometric import ViewSynthesis
from depthscope.objectives.siamese import Siamese

__all__ = ["Siamese", "ViewSynthesis"]
