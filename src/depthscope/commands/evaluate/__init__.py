"""``depthscope evaluate``: depth maps, camera paths and surfaces against what is true, by a protocol with a name."""

from depthscope.commands.evaluate.depth import resized_to
from depthscope.commands.evaluate.frame_names import same_frames
from depthscope.commands.evaluate.verb import evaluate

__all__ = ["evaluate", "resized_to", "same_frames"]
