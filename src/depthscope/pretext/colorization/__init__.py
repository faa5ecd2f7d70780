"""Colourful image colorization (Zhang, Isola & Efros, ECCV 2016): guess colours from luma, as a distribution."""

from depthscope.pretext.colorization.learning import Colorization

__all__ = ["Colorization"]
