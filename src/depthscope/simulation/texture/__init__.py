"""How the lining of a cavity looks: blood, pallor and vessels in its colour, and the wet film on it.

The colour is pale tissue seen through blood: exp(-(blood absorption)), channel by channel, so that more blood is also
redder. Blotches, grain and film come from smooth 3-D noise, which has no seams. Vessels are branching trees, drawn once
on a tile that repeats without a seam and projected onto the wall along the three axes (triplanar), with coarser copies
for walls that are further away.
"""

from depthscope.simulation.texture.look import Look, Texture
from depthscope.simulation.texture.mucosa import Mucosa
from depthscope.simulation.texture.noise import Noise
from depthscope.simulation.texture.plain import Plain, PrintedChessboard
from depthscope.simulation.texture.regions import smoothed_over, tones
from depthscope.simulation.texture.vessels import Vessels

__all__ = ["PrintedChessboard", "Look", "Mucosa", "Noise", "Plain", "Texture", "Vessels", "smoothed_over", "tones"]
