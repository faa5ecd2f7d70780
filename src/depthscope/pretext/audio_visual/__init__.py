"""Objects that sound: which sound belongs to a frame, and where in it (Arandjelovic & Zisserman, ECCV 2018)."""

from depthscope.pretext.audio_visual.learning import AudioVisual
from depthscope.pretext.audio_visual.spectrogram import Spectrogram

__all__ = ["AudioVisual", "Spectrogram"]
