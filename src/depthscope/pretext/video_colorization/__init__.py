"""Tracking by colorizing video (Vondrick et al., ECCV 2018): learn to copy colours, then copy points and masks."""

from depthscope.pretext.video_colorization.learning import VideoColorization

__all__ = ["VideoColorization"]
